//! Finds card numbers, tokens and passwords in texts that were not written to be recorded: chosen
//! fields, evidence, paths. It takes too much rather than too little.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::MASK;
use super::names::is_secret;

/// Credentials behind the word that announces them (RFC 9110 §11.4).
static TOKENS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(basic|bearer|digest|dpop|negotiate)[ \t]+[A-Za-z0-9._~+/=-]{4,}").ok()
});

/// A JSON web token, by the `{"` that its header starts with.
static JWT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*").ok());

/// A field with cookies.
static COOKIES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b((?:set-)?cookie):[^\r\n]+").ok());

/// A name with its value, in queries, forms, JSON and prose.
static PAIRS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let value = r#"([^\s"'&;,{}\[\]]+)"#;
    Regex::new(&format!(
        r#"([A-Za-z0-9_%.\[\]-]{{2,64}})(["']?\s{{0,4}}[=:]\s{{0,4}}["']?){value}"#
    ))
    .ok()
});

/// A text with its secrets masked.
#[must_use]
pub fn scan(text: &str) -> Cow<'_, str> {
    let text = cards(text);
    let text = replaced(text, &TOKENS, |found| format!("{} {MASK}", part(found, 1)));
    let text = replaced(text, &JWT, |_found| MASK.to_owned());
    let text = replaced(text, &COOKIES, |found| format!("{}: {MASK}", part(found, 1)));
    replaced(text, &PAIRS, |found| {
        let (name, between) = (part(found, 1), part(found, 2));
        let value = if is_secret(name) { MASK } else { part(found, 3) };
        format!("{name}{between}{value}")
    })
}

fn replaced<'t>(
    text: Cow<'t, str>,
    pattern: &LazyLock<Option<Regex>>,
    by: impl Fn(&Captures<'_>) -> String,
) -> Cow<'t, str> {
    // The patterns are fixed, and a test compiles them. Without one nothing would be masked.
    let Some(pattern) = LazyLock::force(pattern) else { return MASK.into() };
    match pattern.replace_all(&text, |found: &Captures<'_>| by(found)) {
        Cow::Borrowed(_same) => text,
        Cow::Owned(masked) => masked.into(),
    }
}

fn part<'t>(found: &Captures<'t>, index: usize) -> &'t str {
    found.get(index).map_or("", |part| part.as_str())
}

/// Masks all but the last four digits of what may be a card's number.
fn cards(text: &str) -> Cow<'_, str> {
    match tidegate_core::cards::masked(text.as_bytes()) {
        Cow::Borrowed(_same) => text.into(),
        // Digits were replaced by stars, both single bytes.
        Cow::Owned(masked) => String::from_utf8(masked).map_or(MASK.into(), Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(scan(text), expected);
    }

    #[test]
    fn cards_are_masked_up_to_their_last_digits() {
        check("4111111111111111", "************1111");
        check("pay 4111-1111-1111-1111 now", "pay ****-****-****-1111 now");
        check("378282246310005", "***********0005");
        check("4111111111111112", "4111111111111112");
        check("1763901863123", "1763901863123");
        check("/cards/5555555555554444/x", "/cards/************4444/x");
        check("41111111111111114111111111111111", "41111111111111114111111111111111");
    }

    #[test]
    fn tokens_cookies_and_passwords_are_masked() {
        check("Authorization: Bearer abc.def-ghi", "Authorization: *** ***");
        check("got Bearer abcdef from", "got Bearer *** from");
        check("x eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "x ***");
        check("Cookie: a=b; c=d\nx", "Cookie: ***\nx");
        check("password=hunter2&a=1", "password=***&a=1");
        check("{\"password\": \"hunter2\", \"a\": 1}", "{\"password\": \"***\", \"a\": 1}");
        check("user[pass]=x y", "user[pass]=*** y");
        check("amount=12&currency=EUR", "amount=12&currency=EUR");
        check("", "");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,200}") {
            let once = scan(&text).into_owned();
            prop_assert!(once.len() <= text.len() * 3 + 3);
        }

        #[test]
        fn a_card_is_found_anywhere(before in "[a-z /]{0,9}", after in "[a-z /.]{0,9}") {
            let text = format!("{before}x4111111111111111y{after}");
            prop_assert!(!scan(&text).contains("4111111111111111"));
        }
    }
}
