//! `jsDecode`: the escapes of JavaScript, the low byte of each (full-width forms become ASCII). A
//! backslash before anything else is dropped.

use super::{control, full_width, number, octal};
use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "jsDecode",
    summary: "the escapes of JavaScript, their low byte",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'\\'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        rest = match escape.get(1..).unwrap_or_default() {
            [] => {
                out.push(b'\\');
                &[]
            }
            [b'u', a, b, c, d, tail @ ..] if hex(&[*a, *b, *c, *d]) => {
                out.push(full_width(&[*a, *b], number(&[*c, *d])));
                tail
            }
            [b'x', a, b, tail @ ..] if hex(&[*a, *b]) => {
                out.push(number(&[*a, *b]));
                tail
            }
            after @ [b'0'..=b'7', ..] => {
                let (digits, tail) = after.split_at(octal_length(after));
                out.push(octal(digits));
                tail
            }
            [b'?', tail @ ..] => {
                out.push(b'?');
                tail
            }
            [byte, tail @ ..] => {
                out.push(control(*byte));
                tail
            }
        };
    }
    out.extend_from_slice(rest);
}

/// Up to three digits, and two if the number would not fit a byte.
fn octal_length(text: &[u8]) -> usize {
    let most = if matches!(text, [b'4'..=b'9', ..]) { 2 } else { 3 };
    text.iter().take(most).take_while(|byte| matches!(byte, b'0'..=b'7')).count()
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn escapes_become_bytes() {
        check("jsDecode", br"\x3c\u003e\uff1c\50\777\a\q\", b"<><(?7\x07q\\");
    }
}
