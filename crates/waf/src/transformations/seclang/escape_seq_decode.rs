//! `escapeSeqDecode`: the escapes of ANSI C. A backslash before anything else is dropped.

use super::number;
use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "escapeSeqDecode",
    summary: "the escapes of ANSI C",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'\\'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape.get(1..).unwrap_or_default() {
            [] => {
                out.push(b'\\');
                &[]
            }
            [b'x' | b'X', a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                out.push(number(&[*a, *b]));
                tail
            }
            after @ [b'0'..=b'7', ..] => {
                let length = after.iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let (digits, tail) = after.split_at(length);
                out.push(super::octal(digits));
                tail
            }
            [byte, tail @ ..] => {
                out.push(super::control(*byte));
                tail
            }
        };
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn escapes_become_bytes() {
        check("escapeSeqDecode", br"\a\n\x41\101\q\", b"\x07\nAAq\\");
        check("escapeSeqDecode", br"\xag\xga\0123", b"xagxga\n3");
    }
}
