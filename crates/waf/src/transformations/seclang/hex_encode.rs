//! `hexEncode`: each byte to two hexadecimal digits.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "hexEncode",
    summary: "each byte to two hexadecimal digits",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply,
};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(nibble)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn bytes_become_digits() {
        check("hexEncode", b"Te\x00\xff", b"546500ff");
    }
}
