//! `hexDecode`: two hexadecimal digits to one byte; a last odd digit is dropped.

use super::nibble;
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
    out.extend(bytes.as_chunks().0.iter().map(|[a, b]| nibble(*a) << 4 | nibble(*b)));
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn digits_become_bytes() {
        check("hexDecode", b"54657374", b"Test");
        check("hexDecode", b"4", b"");
    }
}
