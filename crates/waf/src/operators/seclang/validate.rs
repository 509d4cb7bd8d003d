//! `validateByteRange`, `validateUrlEncoding`, `validateUtf8Encoding`: each matches what is not
//! valid.

use std::ops::Range;

use super::Argument;
use crate::mask::ByteMask;
use crate::operators::Operator;
use crate::prefilter::Required;

#[derive(Debug)]
struct OutsideOf {
    allowed: ByteMask,
    forbidden: ByteMask,
}

/// Numbers and ranges of bytes with commas between them: `9,10,32-126`.
pub(super) fn build_byte_range(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let mut allowed = ByteMask::EMPTY;
    let text = String::from_utf8_lossy(argument.text);
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let byte = |text: &str| text.trim().parse::<u8>();
        match (byte(first), byte(last)) {
            (Ok(first), Ok(last)) if first <= last => {
                allowed = allowed.union(&ByteMask::range(first, last));
            }
            _ => return Err(format!("`{part}` is no byte and no range of bytes, like 32-126")),
        }
    }
    let forbidden: Vec<u8> = (0..=u8::MAX).filter(|byte| !allowed.contains(*byte)).collect();
    Ok(Box::new(OutsideOf { allowed, forbidden: ByteMask::of(&forbidden) }))
}

impl Operator for OutsideOf {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let at = bytes.iter().position(|byte| !self.allowed.contains(*byte))?;
        Some(at..at + 1)
    }

    fn required(&self) -> Required {
        Required::class(self.forbidden)
    }
}

#[derive(Debug)]
struct BadEscape;

/// A percent sign without two hexadecimal digits.
pub(super) fn build_url_encoding(_argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(BadEscape))
}

impl Operator for BadEscape {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let bad = |at: &usize| {
            let digits = bytes.get(at + 1..at + 3);
            !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        memchr::memchr_iter(b'%', bytes).find(bad).map(|at| at..bytes.len())
    }

    fn required(&self) -> Required {
        Required::class(ByteMask::of(b"%"))
    }
}

#[derive(Debug)]
struct BadUtf8;

/// Anything that is not UTF-8 as of RFC 3629.
pub(super) fn build_utf8_encoding(_argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(BadUtf8))
}

impl Operator for BadUtf8 {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let error = std::str::from_utf8(bytes).err()?;
        Some(error.valid_up_to()..bytes.len())
    }

    fn required(&self) -> Required {
        Required::class(ByteMask::range(0x80, 0xff))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(build: super::super::Build, text: &str, value: &[u8], at: Option<usize>) {
        let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let argument = Argument { text: text.as_bytes(), base: Path::new(""), read: &read };
        let found = build(&argument).unwrap().find(value).map(|range| range.start);
        assert_eq!(found, at, "{}", value.escape_ascii());
    }

    #[test]
    fn what_is_not_valid_matches() {
        check(build_byte_range, "9,10, 32-126", b"abc\tdef\x00", Some(7));
        check(build_byte_range, "0-255", b"\x00\xff", None);
        check(build_url_encoding, "", b"%20%4", Some(3));
        check(build_url_encoding, "", b"%zz", Some(0));
        check(build_url_encoding, "", b"%41a", None);
        check(build_utf8_encoding, "", "a\u{e9}".as_bytes(), None);
        check(build_utf8_encoding, "", b"a\xc0\xaf", Some(1));
    }

    #[test]
    fn broken_ranges_are_refused() {
        let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        for text in ["", "xxx", "1-256", "5-3"] {
            let argument = Argument { text: text.as_bytes(), base: Path::new(""), read: &read };
            assert!(build_byte_range(&argument).is_err(), "{text}");
        }
    }
}
