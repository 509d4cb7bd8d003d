//! `parityEven7bit`, `parityOdd7bit`, `parityZero7bit`: the highest bit of each byte set to the
//! parity of the others, or cleared.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const EVEN: Transformation = Transformation {
    name: "parityEven7bit",
    summary: "the highest bit makes the parity even",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply: |bytes, out| out.extend(bytes.iter().map(|byte| with_parity(*byte, 1))),
};
pub(crate) const ODD: Transformation = Transformation {
    name: "parityOdd7bit",
    summary: "the highest bit makes the parity odd",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply: |bytes, out| out.extend(bytes.iter().map(|byte| with_parity(*byte, 0))),
};
pub(crate) const ZERO: Transformation = Transformation {
    name: "parityZero7bit",
    summary: "the highest bit cleared",
    only_case: false,
    may_change: ByteMask::has_high_bytes,
    apply: |bytes, out| out.extend(bytes.iter().map(|byte| byte & 0x7f)),
};

/// The byte with its highest bit set if its others have `ones` (mod 2) ones.
fn with_parity(byte: u8, ones: u32) -> u8 {
    let low = byte & 0x7f;
    if low.count_ones() % 2 == ones { low | 0x80 } else { low }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn the_highest_bit_is_the_parity() {
        check("parityEven7bit", b"ac", b"\xe1c");
        check("parityOdd7bit", b"ac", b"a\xe3");
        check("parityZero7bit", b"\xe1c", b"ac");
    }
}
