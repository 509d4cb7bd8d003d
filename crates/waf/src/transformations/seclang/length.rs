//! `length`: the number of bytes, as decimal digits.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "length",
    summary: "the number of bytes",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn a_value_becomes_its_length() {
        check("length", b"12345678901", b"11");
        check("length", b"", b"0");
    }
}
