//! `detectSQLi` and `detectXSS`: libinjection, as the crate `libinjectionrs` has it. A byte class
//! that no detection does without keeps it away from benign values.

use std::ops::Range;
use std::sync::LazyLock;

use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;
use rustc_hash::FxHashSet;

use super::Argument;
use crate::mask::ByteMask;
use crate::operators::{Captures, Operator};
use crate::prefilter::Required;

#[derive(Debug)]
struct Sqli;

#[derive(Debug)]
struct Xss;

pub(super) fn build_sqli(_argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Sqli))
}

pub(super) fn build_xss(_argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Xss))
}

impl Operator for Sqli {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        if is_plain(bytes) {
            return None;
        }
        libinjectionrs::detect_sqli(bytes).is_injection().then_some(0..bytes.len())
    }

    /// TX.0 is the fingerprint.
    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
        if is_plain(bytes) {
            return None;
        }
        let result = libinjectionrs::detect_sqli(bytes);
        if let Some(fingerprint) = &result.fingerprint {
            captures.set_text(0, fingerprint.as_str().as_bytes());
        }
        result.is_injection().then_some(0..bytes.len())
    }

    /// One word or one number is no injection.
    fn required(&self) -> Required {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| !word(byte)).collect();
        Required::class(ByteMask::of(&others))
    }
}

/// Bytes of words, numbers, blanks and operators. Every fingerprint that libinjection knows has a
/// token of another kind: a keyword, a string, a variable, a comment, a parenthesis.
const PLAIN: ByteMask = ByteMask::text(b"\t\n\r !%&*+,-./:;<=>^_~|?")
    .union(&ByteMask::range(b'0', b'9'))
    .union(&ByteMask::range(b'A', b'Z'))
    .union(&ByteMask::range(b'a', b'z'));

/// What the bytes before the one at hand are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A number with its point, or a point alone.
    Fraction,
    Other,
    /// A word, which goes on behind a point.
    Word,
}

/// Whether libinjection certainly sees nothing in the value, because it holds no keyword and
/// nothing that begins a string, a variable, a comment or a parenthesis. Most values that reach the
/// operator are of this kind, and to know it costs a tenth of asking.
fn is_plain(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut before = Before::Other;
    while let Some(&byte) = rest.first() {
        if !PLAIN.contains(byte) {
            return false;
        }
        if !is_word(byte) {
            if let [b'-', b'-', ..] | [b'/', b'*', ..] | [b'&', b'&', ..] | [b'|', b'|', ..] = rest
            {
                return false;
            }
            before = match (byte, before) {
                (b'.', Before::Word) => Before::Word,
                (b'.', _) => Before::Fraction,
                _ => Before::Other,
            };
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        if !is_plain_run(run, before) {
            return false;
        }
        before = if byte.is_ascii_digit() { Before::Other } else { Before::Word };
        rest = behind;
    }
    true
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_plain_run(run: &[u8], before: Before) -> bool {
    match run.first() {
        // A number ends where its digits do, and a keyword may follow without a gap.
        Some(b'0'..=b'9') => return run.iter().all(u8::is_ascii_digit),
        // The exponent or the suffix of a number, likewise.
        Some(b'd' | b'D' | b'e' | b'E' | b'f' | b'F') if before == Before::Fraction => {
            return false;
        }
        _ => {}
    }
    let mut folded = [0; MAX_WORD];
    let Some(folded) = folded.get_mut(..run.len()) else { return true };
    folded.copy_from_slice(run);
    folded.make_ascii_uppercase();
    !WORDS.contains(&*folded)
}

/// No word of a keyword is longer.
const MAX_WORD: usize = 40;

/// The words of which libinjection's keywords consist.
static WORDS: LazyLock<FxHashSet<&'static [u8]>> = LazyLock::new(|| {
    let keywords = SQL_KEYWORDS.iter().filter(|keyword| !b"FN1n".contains(&keyword.token_type));
    let words = keywords.flat_map(|keyword| {
        keyword.word.as_bytes().split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
    });
    words.filter(|word| !word.is_empty()).collect()
});

impl Operator for Xss {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        libinjectionrs::detect_xss(bytes).is_injection().then_some(0..bytes.len())
    }

    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
        let found = self.find(bytes)?;
        captures.set(0, found.clone());
        Some(found)
    }

    /// A tag needs its bracket, an attribute its sign.
    fn required(&self) -> Required {
        Required::class(ByteMask::of(b"<="))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn injections_are_found() {
        let mut captures = Captures::default();
        let value = b"1' or '1'='1";
        assert!(Sqli.capture(value, &mut captures).is_some());
        assert_eq!(captures.iter(value).collect::<Vec<_>>(), [(0, b"s&sos".as_slice())]);
        assert!(!Sqli.matches(b"O'Brien") && Xss.matches(b"<script>alert(1)"));
        assert!(!Xss.matches(b"a < b"));
    }

    #[track_caller]
    fn check(value: &[u8]) {
        let mask = ByteMask::of(value);
        for operator in [&Sqli as &dyn Operator, &Xss] {
            let allowed = operator.required().classes.iter().all(|class| class.intersects(&mask));
            assert!(allowed || !operator.matches(value), "{operator:?} {}", value.escape_ascii());
        }
    }

    /// Long values of one piece are the ones that take recursion or quadratic time to its end.
    #[test]
    fn hostile_values_are_survived() {
        let pieces: [&[u8]; 12] =
            [b"(", b"'", b"\"", b"`", b"/*", b"<", b"<a ", b"&#", b"1", b"--", b"=", b"\\"];
        for piece in pieces {
            let value = piece.repeat(65_536 / piece.len());
            let _found = (Sqli.matches(&value), Xss.matches(&value));
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            text in "[a-z0-9'\"`()<>/*!=&#;%x:@$,.\\\\{}\\[\\] -]{0,48}",
        ) {
            for value in [&bytes[..], text.as_bytes()] {
                let _found = (Sqli.matches(value), Xss.matches(value));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn what_the_gate_stops_is_no_injection(
            word in "[0-9a-zA-Z_]{0,24}",
            pieces in prop::collection::vec(
                prop::sample::select(&["1", "0x", "e1", "or", "and", "union", "select", "n", "b1", "x",
                    "null", "sleep", "_utf8", "5", "0b1", "from", "like", "div", "mod", "is", "not"][..]),
                0..8,
            ),
            text in "[^<=]{0,40}",
        ) {
            check(word.as_bytes());
            check(pieces.concat().as_bytes());
            check(text.as_bytes());
        }

        #[test]
        fn what_is_plain_is_no_injection(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(SIGNS),
                    prop::sample::select(SIGNS),
                    (0..SQL_KEYWORDS.len()).prop_map(|index| SQL_KEYWORDS[index].word),
                    prop::sample::select(&["1", "x", "0x1", "e1", "a1", "1e5", "_", "foo", "d", "b", "n", "u", "q"][..]),
                ],
                1..9,
            ),
            text in "[a-z0-9 ,.:;=<>/%?&*+_-]{0,30}",
        ) {
            check_plain(pieces.concat().as_bytes());
            check_plain(text.as_bytes());
        }
    }

    const SIGNS: &[&str] = &[
        " ", "\t", ".", ",", ":", ";", "-", "+", "*", "/", "<", ">", "=", "%", "&", "|", "^", "~",
        "!", "?", "'", "\"", "`", "(", ")", "@", "#", "\\", "{", "[", "\u{e9}", "\0",
    ];

    /// What libinjection sees in a value that the operator does not show to it.
    fn check_plain(value: &[u8]) {
        let seen = libinjectionrs::detect_sqli(value).is_injection();
        assert!(!(seen && is_plain(value)), "{}", value.escape_ascii());
    }

    /// libinjection's own inputs: `TIDEGATE_LIBINJECTION` names a checkout of it.
    #[test]
    fn the_gates_hold_on_the_inputs_of_libinjection() {
        let Some(root) = std::env::var_os("TIDEGATE_LIBINJECTION") else {
            eprintln!("skipped: TIDEGATE_LIBINJECTION names no checkout of libinjection");
            return;
        };
        let mut inputs = 0;
        for folder in ["data", "tests"] {
            for file in std::fs::read_dir(Path::new(&root).join(folder)).unwrap().flatten() {
                let text = std::fs::read(file.path()).unwrap_or_default();
                for line in text.split(|byte| *byte == b'\n') {
                    let mut decoded = Vec::new();
                    crate::values::urlencoded::decode(line, &mut decoded);
                    for value in [line, &decoded] {
                        check(value);
                        check_plain(value);
                        inputs += 1;
                    }
                }
            }
        }
        assert!(inputs > 10_000, "{inputs}");
    }

    #[test]
    fn no_keyword_is_too_long_and_no_fingerprint_is_plain() {
        assert!(WORDS.iter().all(|word| word.len() <= MAX_WORD));
        let plain =
            |fingerprint: &str| fingerprint.bytes().all(|token| b"1NO.,:;?".contains(&token));
        for keyword in SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type == b'F') {
            assert!(!plain(keyword.word.strip_prefix('0').unwrap()), "{}", keyword.word);
        }
    }

    #[test]
    fn usual_values_are_plain() {
        for value in [
            "red running shoes",
            "acme,nord",
            "en-GB",
            "https://shop.example.com/?q=a&p=2",
            "-9.80",
        ] {
            assert!(is_plain(value.as_bytes()), "{value}");
        }
        for value in ["1 union", "1.e5or", ".fAND 1", "a--b", "x'", "1or", "or"] {
            assert!(!is_plain(value.as_bytes()), "{value}");
        }
    }
}
