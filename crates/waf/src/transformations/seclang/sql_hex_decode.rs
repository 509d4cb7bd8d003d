//! `sqlHexDecode`: the hexadecimal strings of SQL (`0x616263`).

use super::number;
use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "sqlHexDecode",
    summary: "0x616263 to its bytes",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.contains(b'0') && mask.intersects(&const { ByteMask::text(b"xX") })
    },
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [b'0', b'x' | b'X', tail @ ..] if starts_with_pair(tail) => {
                let mut digits = tail;
                while let [a, b, tail @ ..] = digits
                    && starts_with_pair(digits)
                {
                    out.push(number(&[*a, *b]));
                    digits = tail;
                }
                digits
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return,
        };
    }
}

fn starts_with_pair(text: &[u8]) -> bool {
    matches!(text, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn hexadecimal_strings_become_bytes() {
        check("sqlHexDecode", b"a0x414243 0X4g 0x61f", b"aABC 0X4g af");
    }
}
