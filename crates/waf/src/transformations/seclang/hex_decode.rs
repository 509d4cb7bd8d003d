//! `hexDecode`: two hexadecimal digits to one byte; a last odd digit is dropped. What is no digit
//! counts as its distance from `0` or, from `A` on, from where the letters' digits begin.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "hexDecode",
    summary: "two hexadecimal digits to a byte",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.as_chunks().0.iter().map(|[a, b]| (digit(*a) << 4).wrapping_add(digit(*b))));
}

fn digit(byte: u8) -> u8 {
    if byte >= b'A' {
        (byte & !0x20).wrapping_sub(b'A').wrapping_add(10)
    } else {
        byte.wrapping_sub(b'0')
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn digits_become_bytes() {
        check("hexDecode", b"54657374", b"Test");
        check("hexDecode", b"4", b"");
        check("hexDecode", b"0z4a4A", b"#JJ");
    }
}
