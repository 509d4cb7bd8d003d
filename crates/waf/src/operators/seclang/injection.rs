//! `detectSQLi` and `detectXSS`: libinjection, as the crate `libinjectionrs` has it. A byte class
//! that no detection does without keeps it away from benign values.

use std::ops::Range;

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
        libinjectionrs::detect_sqli(bytes).is_injection().then_some(0..bytes.len())
    }

    /// TX.0 is the fingerprint.
    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
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
    }
}
