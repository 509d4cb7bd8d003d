//! `base64Decode`, `base64DecodeExt`, `base64Encode` (RFC 4648 §4). The first takes Base64 up to
//! the first NUL and makes anything else empty; the second skips what is no digit.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const DECODE: Transformation = Transformation {
    name: "base64Decode",
    summary: "strict Base64; what is none becomes empty",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply: decode,
};

pub(crate) const DECODE_EXT: Transformation = Transformation {
    name: "base64DecodeExt",
    summary: "Base64, other bytes skipped",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply: decode_leniently,
};

pub(crate) const ENCODE: Transformation = Transformation {
    name: "base64Encode",
    summary: "Base64 of the value",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply: encode,
};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Appends the first `keep` of the three bytes that four digits make; missing digits are zero.
fn group(digits: &[u8], keep: usize, out: &mut Vec<u8>) {
    let bits = digits.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
    let [_, a, b, c] = (bits << (6 * (4 - digits.len()))).to_be_bytes();
    out.extend([a, b, c].iter().take(keep));
}

fn decode(bytes: &[u8], out: &mut Vec<u8>) {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let text = bytes.get(..end).unwrap_or_default();
    let Some((digits, paddings)) = strict_digits(text) else { return };
    let all = digits.len() + paddings;
    for quantum in digits.chunks(4) {
        // What padding does not complete to four is dropped.
        let complete = quantum.len() == 4 || all.is_multiple_of(4);
        if complete {
            group(quantum, quantum.len().saturating_sub(1), out);
        }
    }
}

/// The digits' values and the number of paddings, if the text is nothing but lines of Base64 with
/// spaces before their ends.
fn strict_digits(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut digits = Vec::with_capacity(text.len());
    let mut paddings = 0;
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match rest {
            [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..] => tail,
            [b' ', ..] => {
                let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
                let tail = rest.get(spaces..).unwrap_or_default();
                if !matches!(tail, [] | [b'\n', ..] | [b'\r', b'\n', ..]) {
                    return None;
                }
                tail
            }
            [b'=', ..] if paddings < 2 => {
                paddings += 1;
                tail
            }
            _ if paddings == 0 => {
                digits.push(sextet(byte)?);
                tail
            }
            _ => return None,
        };
    }
    Some((digits, paddings))
}

fn decode_leniently(bytes: &[u8], out: &mut Vec<u8>) {
    let mut digits = Vec::with_capacity(bytes.len());
    for (at, &byte) in bytes.iter().enumerate() {
        // A padding after one digit of four shows that this is something else.
        if byte == b'=' && digits.len() % 4 == 1 && bytes.get(at + 1) != Some(&b'=') {
            return;
        }
        digits.extend(sextet(byte));
    }
    for quantum in digits.chunks(4) {
        group(quantum, quantum.len().saturating_sub(1), out);
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4_usize {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let known = place <= chunk.len();
            out.push(if known {
                ALPHABET.get(digit as usize).copied().unwrap_or(b'=')
            } else {
                b'='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn base64_is_decoded_strictly() {
        check("base64Decode", b"VGVzdENhc2U=", b"TestCase");
        check("base64Decode", b"VGVz\r\ndENh  \nc2U=", b"TestCase");
        check("base64Decode", b"VGVz dENh", b"");
        check("base64Decode", b"VGVzd!", b"");
        check("base64Decode", b"VGVzdA\0junk", b"Tes");
        check("base64Decode", b"", b"");
    }

    #[test]
    fn base64_is_decoded_leniently() {
        check("base64DecodeExt", b"VGVz.dEN-hc2U", b"TestCase");
        check("base64DecodeExt", b"V=", b"");
    }

    #[test]
    fn values_are_encoded() {
        check("base64Encode", b"TestCase", b"VGVzdENhc2U=");
        check("base64Encode", b"a", b"YQ==");
        check("base64Encode", b"abc", b"YWJj");
    }
}
