//! `verifyCC`, `verifySSN`, `verifyCPF`, `verifySVNR`: what the pattern finds is a number whose
//! check digits are right (Luhn for cards; United States, Brazil, Austria).

use std::ops::Range;

use regex::bytes::Regex;

use super::{Argument, rx};
use crate::operators::{Captures, Operator};
use crate::prefilter::Required;

/// How many bytes of matches are looked at; overlapping ones count each time.
const MAX_MATCHED: usize = 1 << 20;
/// How many matches are looked at: each may have taken a search to the end of the value.
const MAX_MATCHES: usize = 4_096;

#[derive(Debug)]
struct Verified {
    regex: Regex,
    required: Required,
    is_valid: fn(&[u8]) -> bool,
}

fn verified(
    argument: &Argument<'_>,
    is_valid: fn(&[u8]) -> bool,
) -> Result<Box<dyn Operator>, String> {
    let (regex, required) = rx::compile(argument.text)?;
    Ok(Box::new(Verified { regex, required, is_valid }))
}

pub(super) fn build_cc(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    verified(argument, is_card)
}

pub(super) fn build_ssn(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    verified(argument, is_ssn)
}

pub(super) fn build_cpf(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    verified(argument, is_cpf)
}

pub(super) fn build_svnr(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    verified(argument, is_svnr)
}

impl Operator for Verified {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let mut from = 0;
        let mut matched = 0;
        for _ in 0..MAX_MATCHES {
            if from >= bytes.len() || matched >= MAX_MATCHED {
                break;
            }
            let found = self.regex.find_at(bytes, from)?;
            let digits: Vec<u8> = found
                .as_bytes()
                .iter()
                .filter(|byte| byte.is_ascii_digit())
                .map(|byte| byte - b'0')
                .collect();
            if (self.is_valid)(&digits) {
                return Some(found.range());
            }
            matched += found.len() + 1;
            from = found.start() + 1;
        }
        None
    }

    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
        let found = self.find(bytes)?;
        captures.set(0, found.clone());
        Some(found)
    }

    fn required(&self) -> Required {
        self.required.clone()
    }
}

/// Luhn's check digit (ISO/IEC 7812-1).
fn is_card(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (place, digit)| {
        let weighted = match (place % 2, digit) {
            (0, digit) => *digit,
            (_, digit @ 0..=4) => digit * 2,
            (_, digit) => digit * 2 - 9,
        };
        sum.saturating_add(weighted.into())
    });
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Nine digits in three fields, none of them zero, an area that was given out, no plain sequence.
fn is_ssn(digits: &[u8]) -> bool {
    let [a, b, c, d, e, f, g, h, i] = *digits else { return false };
    let number =
        |digits: &[u8]| digits.iter().fold(0_u32, |all, digit| all * 10 + u32::from(*digit));
    let (area, group, serial) = (number(&[a, b, c]), number(&[d, e]), number(&[f, g, h, i]));
    let steps = |by: u8| digits.windows(2).all(|pair| matches!(pair, [a, b] if a + by == *b));
    !steps(0) && !steps(1) && group != 0 && serial != 0 && !matches!(area, 0 | 666 | 740..)
}

fn is_repeated(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
}

fn weighted(digits: &[u8], weights: impl Iterator<Item = u32>) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// Eleven digits, of which two check the others.
fn is_cpf(digits: &[u8]) -> bool {
    let Some((_, [.., first, second])) = digits.split_at_checked(9).filter(|_| digits.len() == 11)
    else {
        return false;
    };
    let check = |sum: u32| if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
    let one = check(weighted(digits, (2..=10).rev()));
    let two = check(weighted(digits, (2..=11).rev()));
    !is_repeated(digits) && u32::from(*first) == one && u32::from(*second) == two
}

/// Ten digits, of which the fourth checks the others.
fn is_svnr(digits: &[u8]) -> bool {
    let sum = weighted(digits, [3, 7, 9, 0, 5, 8, 4, 2, 1, 6].into_iter()) % 11 % 10;
    let sequence = digits.windows(2).all(|pair| matches!(pair, [a, b] if (a + 1) % 10 == *b));
    digits.len() == 10
        && !is_repeated(digits)
        && !sequence
        && digits.get(3).is_some_and(|check| u32::from(*check) == sum)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(build: super::super::Build, pattern: &str, value: &str, expected: Option<&str>) {
        let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let argument = Argument { text: pattern.as_bytes(), base: Path::new(""), read: &read };
        let found = build(&argument).unwrap().find(value.as_bytes());
        assert_eq!(found.and_then(|range| value.get(range)), expected, "{value}");
    }

    #[test]
    fn check_digits_are_checked() {
        check(build_cc, r"\d{16}", "n 4111111111111111", Some("4111111111111111"));
        check(build_cc, r"\d{16}", "n 4111111111111112", None);
        check(build_ssn, r"\d{3}-?\d{2}-?\d{4}", "574-57-8065", Some("574-57-8065"));
        check(build_ssn, r"\d{3}-?\d{2}-?\d{4}", "666-57-8065", None);
        check(build_cpf, r"[\d.]{11}-\d\d", "a 529.982.247-25", Some("529.982.247-25"));
        check(build_cpf, r"[\d.]{11}-\d\d", "a 529.982.247-26", None);
        check(build_svnr, r"\d{4} ?\d{6}", "1237010180", Some("1237010180"));
        check(build_svnr, r"\d{4} ?\d{6}", "1238010180", None);
    }
}
