//! `base64_decode`: a value that is Base64 from end to end (RFC 4648 §4 or §5) and decodes to
//! text. Anything else becomes empty, so that a rule behind it sees decoded values only.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "base64_decode",
    summary: "a value that is Base64 of text, decoded; any other becomes empty",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply,
};

const MIN_LENGTH: usize = 12;

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let decoded =
        bytes.len() >= MIN_LENGTH && !bytes.contains(&b' ') && decode(bytes, out).is_some();
    if !decoded || out.get(start..).is_some_and(|text| text.contains(&0)) {
        out.truncate(start);
    }
}

/// Appends the text that Base64 of any length stands for; `None`, with a part of it appended, if it
/// is none. A space is a plus that was decoded; a zero byte may be in the text, as attacks have it.
pub(crate) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let digits = without_padding(bytes);
    if digits.len() % 4 == 1 {
        return None;
    }
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, a, b, c] = bits.to_be_bytes();
        for byte in [a, b, c].into_iter().take(group.len() - 1) {
            let text = matches!(byte, 0 | b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..);
            out.push(text.then_some(byte)?);
        }
    }
    Some(())
}

fn without_padding(bytes: &[u8]) -> &[u8] {
    let padding = bytes.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    bytes.get(..bytes.len() - padding).unwrap_or_default()
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' | b' ' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn text_is_decoded_and_all_else_is_empty() {
        check(
            "base64_decode",
            b"PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
            b"<script>alert(1)</script>",
        );
        check("base64_decode", b"PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg", b"<script>alert(1)</script>");
        check("base64_decode", b"short===", b"");
        check("base64_decode", b"a value with spaces", b"");
        check("base64_decode", b"AAAAAAAAAAAAAAAA", b"");
    }
}
