//! The operators that compare numbers: `eq`, `ge`, `gt`, `le`, `lt`. As in ModSecurity, a text's
//! leading digits are its number, and a text without any is 0.

use std::ops::Range;

use super::{Argument, Compare};
use crate::operators::Operator;
use crate::prefilter::Required;

#[derive(Debug)]
struct Number {
    argument: i64,
    holds: fn(i64, i64) -> bool,
    parse: fn(&[u8]) -> i64,
}

impl Operator for Number {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        (self.holds)((self.parse)(bytes), self.argument).then_some(0..0)
    }

    fn required(&self) -> Required {
        Required::nothing()
    }
}

/// An operator's two functions: with a known and with an expanded argument.
macro_rules! comparison {
    ($build:ident, $compare:ident, $parse:ident, $holds:expr) => {
        pub(super) fn $build(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
            Ok(Box::new(Number { argument: $parse(argument.text), holds: $holds, parse: $parse }))
        }

        pub(super) fn $compare(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
            let holds: fn(i64, i64) -> bool = $holds;
            holds($parse(value), $parse(argument)).then_some(0..0)
        }
    };
}

comparison!(build_eq, eq, small, |value, argument| value == argument);
comparison!(build_ge, ge, long, |value, argument| value >= argument);
comparison!(build_gt, gt, long, |value, argument| value > argument);
comparison!(build_le, le, long, |value, argument| value <= argument);
comparison!(build_lt, lt, long, |value, argument| value < argument);

/// The compiler's proof that the pairs fit the table.
const _: [Compare; 5] = [eq, ge, gt, le, lt];

/// The leading number: white space, a sign, digits; what is too large stays at the largest.
fn long(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let number = digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0_i64, |all, byte| {
        let digit = i64::from(byte - b'0');
        all.saturating_mul(10).saturating_add(digit)
    });
    if negative { -number } else { number }
}

/// Like [`long`], but a number that does not fit 32 bits is 0, as `eq` reads it.
fn small(text: &[u8]) -> i64 {
    let number = long(text);
    if i32::try_from(number).is_ok() { number } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_digits_are_the_number() {
        for (text, number) in [
            ("", 0),
            ("abc", 0),
            ("12abc", 12),
            (" -7", -7),
            ("+3", 3),
            ("99999999999999999999", i64::MAX),
        ] {
            assert_eq!(long(text.as_bytes()), number, "{text}");
        }
        assert_eq!(small(b"4294967296"), 0);
    }

    #[test]
    fn numbers_are_compared() {
        assert!(eq(b"0", b"").is_some() && eq(b"5", b"5").is_some() && eq(b"5", b"6").is_none());
        assert!(ge(b"5", b"5").is_some() && gt(b"5", b"5").is_none() && gt(b"5", b"6").is_some());
        assert!(le(b"5", b"5").is_some() && lt(b"5", b"5").is_none() && lt(b"5", b"4").is_some());
    }
}
