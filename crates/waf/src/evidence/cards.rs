//! Numbers of payment cards, which no log may hold in full (PCI DSS requirement 3.4).

use std::borrow::Cow;

/// How long a card's number is (ISO/IEC 7812-1).
const LENGTHS: std::ops::RangeInclusive<usize> = 13..=19;
/// How many digits at the end stay readable.
const SHOWN: usize = 4;

/// The text with all but the last four digits of each card number as stars; as long as before.
pub(super) fn masked(text: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(start) =
        text.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)).map(|i| at + i)
    {
        let places = number(text, start);
        at = places.last().map_or(start, |last| *last) + 1;
        if LENGTHS.contains(&places.len()) && is_card(text, &places) {
            let hidden = places.len() - SHOWN;
            let out = masked.to_mut();
            for place in places.into_iter().take(hidden) {
                if let Some(byte) = out.get_mut(place) {
                    *byte = b'*';
                }
            }
        }
    }
    masked
}

/// Where the digits of the number are that begins at `start`; single blanks, dashes, and what
/// stands for a blank in a query, may be between them.
fn number(text: &[u8], start: usize) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = start;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        places.push(at);
        let separated = matches!(text.get(at + 1), Some(b' ' | b'-' | b'+'))
            && text.get(at + 2).is_some_and(u8::is_ascii_digit);
        at += if separated { 2 } else { 1 };
    }
    places
}

/// Luhn's check (ISO/IEC 7812-1, annex B).
fn is_card(text: &[u8], places: &[usize]) -> bool {
    let digits = places.iter().rev().filter_map(|place| text.get(*place)).enumerate();
    let sum: u32 = digits
        .map(|(index, byte)| match (u32::from(byte - b'0'), index % 2) {
            (digit, 0) => digit,
            (digit, _) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, told: &str) {
        assert_eq!(String::from_utf8_lossy(&masked(text.as_bytes())), told);
    }

    #[test]
    fn card_numbers_keep_four_digits() {
        check("4111111111111111", "************1111");
        check("n=4111-1111-1111-1111;", "n=****-****-****-1111;");
        check("5500 0000 0000 0004 or 1=1", "**** **** **** 0004 or 1=1");
        check("378282246310005", "***********0005");
        check("41111111111111114111111111111111", "41111111111111114111111111111111");
        check("4111111111111112", "4111111111111112");
        check("1234567", "1234567");
        check("", "");
    }
}
