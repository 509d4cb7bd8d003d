//! Numbers of payment cards, which no log may hold in full (PCI DSS requirement 3.4).

use std::borrow::Cow;

/// How long a card's number is (ISO/IEC 7812-1).
const SHORTEST: usize = 13;
const LONGEST: usize = 19;
/// How many digits at the end stay readable.
const SHOWN: usize = 4;

/// The text with all but the last four digits of each card number as stars; as long as before. A
/// number is 13 to 19 digits with a right check digit, in one group or in several that single
/// blanks or dashes divide (or a plus, which stands for a blank in a query). Other groups, such as
/// a date or a security code, may stand beside it.
#[must_use]
pub fn masked(text: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(start) = next_digit(text, at) {
        let run = Run::at(text, start);
        at = run.digits.last().map_or(start, |(place, _)| *place) + 1;
        for card in run.cards() {
            let hidden = card.len() - SHOWN;
            for (place, _) in card.iter().take(hidden) {
                if let Some(byte) = masked.to_mut().get_mut(*place) {
                    *byte = b'*';
                }
            }
        }
    }
    masked
}

fn next_digit(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.iter().position(u8::is_ascii_digit).map(|at| from + at)
}

/// Digits that stand together, perhaps in groups: where each stands, and its value.
struct Run {
    digits: Vec<(usize, u8)>,
}

impl Run {
    fn at(text: &[u8], start: usize) -> Self {
        let mut digits = Vec::new();
        let mut at = start;
        while let Some(digit) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            digits.push((at, digit - b'0'));
            let divided = matches!(text.get(at + 1), Some(b' ' | b'-' | b'+'))
                && text.get(at + 2).is_some_and(u8::is_ascii_digit);
            at += if divided { 2 } else { 1 };
        }
        Self { digits }
    }

    /// Whole groups that make a number. No issuer has numbers that start with 0 or 1; times in
    /// milliseconds do.
    fn cards(&self) -> impl Iterator<Item = &[(usize, u8)]> {
        let starts = (0..self.digits.len()).filter(|start| self.is_edge(*start));
        let ranges = starts.flat_map(move |start| {
            (start + SHORTEST..=start + LONGEST)
                .filter(move |end| self.is_edge(*end))
                .filter_map(move |end| self.digits.get(start..end))
        });
        ranges.filter(|card| card.first().is_some_and(|(_, digit)| *digit > 1) && luhn(card))
    }

    /// Whether a group begins or ends before the digit of this index.
    fn is_edge(&self, index: usize) -> bool {
        let place = |index: usize| self.digits.get(index).map(|(place, _)| *place);
        let before = index.checked_sub(1).and_then(place);
        match (before, place(index)) {
            (Some(before), Some(here)) => here != before + 1,
            (None, _) | (_, None) => index <= self.digits.len(),
        }
    }
}

/// Luhn's check (ISO/IEC 7812-1, annex B).
fn luhn(digits: &[(usize, u8)]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let weighed = digits.iter().rev().enumerate().map(|(index, (_, digit))| {
        u32::from(if index % 2 == 1 { doubled(*digit) } else { *digit })
    });
    weighed.sum::<u32>().is_multiple_of(10)
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
        check("card=5500+0000+0000+0004", "card=****+****+****+0004");
        check("378282246310005", "***********0005");
    }

    #[test]
    fn other_digits_beside_a_number_do_not_hide_it() {
        check("4111111111111111 12/27", "************1111 12/27");
        check("4111 1111 1111 1111 123", "**** **** **** 1111 123");
        check("1 4111111111111111", "1 ************1111");
        check("2026-11-23 4111111111111111-99", "2026-11-23 ************1111-99");
    }

    #[test]
    fn other_numbers_stay() {
        check("41111111111111114111111111111111", "41111111111111114111111111111111");
        check("4111111111111112", "4111111111111112");
        check("1795445800123", "1795445800123");
        check("1234567", "1234567");
        check("", "");
    }
}
