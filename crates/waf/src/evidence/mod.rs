//! What may be told of a match: short, printable, and without the secrets of the fields that hold
//! them.

use std::ops::Range;

use crate::evaluation::Evidence;
use crate::target::Target;

/// No piece of a request is longer than this in logs, before escaping.
const MAX_PIECE: usize = 64;

/// No text of a rule is longer than this in logs, before escaping.
const MAX_TEXT: usize = 256;

/// So far around a piece, a card's number may go on.
const AROUND: usize = 40;

/// Fields whose values are credentials, or hold some.
const SECRET_FIELDS: [&[u8]; 6] = [
    b"authorization",
    b"proxy-authorization",
    b"x-api-key",
    b"x-auth-token",
    b"x-csrf-token",
    b"x-amz-security-token",
];

/// Parts of parameter names behind which people put secrets.
const SECRET_WORDS: [&[u8]; 7] =
    [b"passw", b"secret", b"token", b"apikey", b"api_key", b"credential", b"authorization"];

/// Where it was: `query:id`, `path`, or `ARGS:id` as the rule calls it.
pub(crate) fn place(found: &Evidence<'_>) -> Box<str> {
    let own = found.full_name.len() == found.name.len();
    match found.target.filter(|_| own) {
        Some(target) if found.name.is_empty() => target.name().into(),
        Some(target) => format!("{}:{}", target.name(), escaped(found.name, 0..0)).into(),
        None => escaped(found.full_name, 0..0).into(),
    }
}

/// What was matched: escaped, at most [`MAX_PIECE`] bytes of it.
pub(crate) fn piece(found: &Evidence<'_>) -> Box<str> {
    if is_secret(found) {
        return redacted(found);
    }
    escaped(found.value, found.found.clone()).into()
}

/// What is told instead of a piece that may be a credential.
pub(crate) fn redacted(found: &Evidence<'_>) -> Box<str> {
    format!("[{} bytes redacted]", found.found.len()).into()
}

/// A rule's own words with pieces of the request in them, escaped and at most [`MAX_TEXT`] bytes.
pub(crate) fn text(bytes: &[u8]) -> Box<str> {
    shortened(bytes, MAX_TEXT).into()
}

/// Whether what stands there may be a credential.
pub(crate) fn is_secret(found: &Evidence<'_>) -> bool {
    let name = found.name;
    let has_secret_word = || {
        let name = name.to_ascii_lowercase();
        SECRET_WORDS.iter().any(|word| memchr::memmem::find(&name, word).is_some())
    };
    let Some(target) = found.target else {
        // MATCHED_VARS names what it found elsewhere: `REQUEST_COOKIES:a`.
        return has_secret_word() || name.starts_with(b"REQUEST_COOKIES:");
    };
    match target {
        Target::RequestCookies | Target::CookieHeader => true,
        Target::RequestHeaders => {
            SECRET_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
        }
        Target::ArgsPost | Target::ArgsJson | Target::ArgsGet => has_secret_word(),
        _ => false,
    }
}

/// The bytes of the range (of everything if it is empty), shortened and escaped.
fn escaped(bytes: &[u8], range: Range<usize>) -> String {
    if range.is_empty() || range.end > bytes.len() {
        return shortened(bytes, MAX_PIECE);
    }
    // A number is looked at as a whole, whatever part of it a rule found.
    let shown = range.start..range.end.min(range.start + MAX_PIECE + 1);
    let start = shown.start.saturating_sub(AROUND);
    let end = shown.end.saturating_add(AROUND).min(bytes.len());
    let around = tidegate_core::cards::masked(bytes.get(start..end).unwrap_or_default());
    cut(around.get(shown.start - start..shown.end - start).unwrap_or_default(), MAX_PIECE)
}

fn shortened(text: &[u8], limit: usize) -> String {
    let around = text.get(..limit + AROUND).unwrap_or(text);
    cut(&tidegate_core::cards::masked(around), limit)
}

fn cut(piece: &[u8], limit: usize) -> String {
    let shown = piece.get(..limit).unwrap_or(piece);
    let mut text = String::with_capacity(shown.len() + 4);
    for part in shown.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text.extend(part.invalid().escape_ascii().map(char::from));
    }
    if shown.len() < piece.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence<'a>(
        target: Target,
        name: &'a str,
        value: &'a [u8],
        found: Range<usize>,
    ) -> Evidence<'a> {
        let name = name.as_bytes();
        Evidence { target: Some(target), full_name: name, name, value, found }
    }

    #[track_caller]
    fn check(value: &[u8], found: Range<usize>, told: &str) {
        assert_eq!(&*piece(&evidence(Target::ArgsGet, "q", value, found)), told);
    }

    #[test]
    fn a_piece_is_short_and_printable() {
        check(&[b'x'; 100], 0..100, &format!("{}…", "x".repeat(MAX_PIECE)));
        check(b"a\n\xff\x00b", 0..5, r"a\n\xff\u{0}b");
        check(b"abcdef", 2..4, "cd");
        assert_eq!(&*place(&evidence(Target::ArgsGet, "q", b"", 0..0)), "query:q");
        assert_eq!(&*place(&evidence(Target::Path, "", b"", 0..0)), "path");
        let full = Evidence { full_name: b"ARGS:q", ..evidence(Target::ArgsGet, "q", b"", 0..0) };
        assert_eq!(&*place(&full), "ARGS:q");
    }

    #[test]
    fn a_card_is_not_told_even_in_part() {
        let card = b"x' or 4111111111111111='";
        check(card, 3..21, "or ************111");
        check(card, 6..10, "****");
        check(card, 0..0, "x' or ************1111='");
        let text = text(&[b"y".repeat(250).as_slice(), b" 4111111111111111"].concat());
        assert!(!text.contains("411"), "{text}");
    }

    #[test]
    fn what_was_matched_elsewhere_is_as_secret_as_there() {
        for (name, secret) in [
            ("ARGS:Password", true),
            ("REQUEST_COOKIES:sid", true),
            ("ARGS:q", false),
            ("1", false),
        ] {
            let found = Evidence { target: None, ..evidence(Target::Path, name, b"x", 0..1) };
            assert_eq!(is_secret(&found), secret, "{name}");
        }
    }

    #[test]
    fn secrets_are_not_told() {
        for (target, name) in [
            (Target::RequestCookies, "session"),
            (Target::RequestHeaders, "authorization"),
            (Target::ArgsPost, "json.user.Password"),
            (Target::ArgsGet, "access_token"),
        ] {
            let told = piece(&evidence(target, name, b"hunter2 or 1=1", 0..14));
            assert_eq!(&*told, "[14 bytes redacted]", "{name}");
        }
    }
}
