//! `utf8toUnicode`: each UTF-8 sequence of two bytes and more to `%uHHHH`. Sequences that are
//! overlong or stand for surrogates keep their first byte behind it; broken ones lose it.

use std::io::Write as _;

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "utf8toUnicode",
    summary: "UTF-8 sequences to %uHHHH",
    only_case: false,
    may_change: |mask: &ByteMask| mask.has_high_bytes() || mask.contains(0),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let (bits, more, least) = match byte {
            // A NUL is dropped, unless it is the last byte.
            0 if !tail.is_empty() => continue,
            0xc0..=0xdf => (byte & 0x1f, 1, 0x80),
            0xe0..=0xef => (byte & 0x0f, 2, 0x800),
            0xf0..=0xf7 => (byte & 0x07, 3, 0x1_0000),
            _ => {
                out.push(byte);
                continue;
            }
        };
        if byte >= 0xf5 {
            out.push(byte);
        }
        let Some(code) = continued(bits, tail.get(..more)) else { continue };
        rest = tail.get(more..).unwrap_or_default();
        // A `Vec` takes every byte.
        let _written: Result<(), _> = write!(out, "%u{code:04x}");
        if (0xd800..=0xdfff).contains(&code) || code < least {
            out.push(byte);
        }
    }
}

/// The code point of a sequence that is well-formed but for its range.
fn continued(bits: u8, continuation: Option<&[u8]>) -> Option<u32> {
    continuation?.iter().try_fold(u32::from(bits), |code, byte| {
        (byte & 0xc0 == 0x80).then_some(code << 6 | u32::from(byte & 0x3f))
    })
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn sequences_become_escapes() {
        check("utf8toUnicode", "a\u{e9}\u{ff1c}\u{1f600}".as_bytes(), b"a%u00e9%uff1c%u1f600");
        check("utf8toUnicode", b"\xc0\xaf\xc3(\x00a", b"%u002f\xc0(a");
    }
}
