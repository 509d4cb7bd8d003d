//! `trim`, `trimLeft`, `trimRight`: white space at the ends removed.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const BOTH: Transformation = Transformation {
    name: "trim",
    summary: "white space at both ends removed",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.contains(b' ') || mask.intersects(&const { ByteMask::range(b'\t', b'\r') })
    },
    apply: |bytes, out| out.extend_from_slice(start(end(bytes))),
};
pub(crate) const LEFT: Transformation = Transformation {
    name: "trimLeft",
    summary: "white space at the start removed",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.contains(b' ') || mask.intersects(&const { ByteMask::range(b'\t', b'\r') })
    },
    apply: |bytes, out| out.extend_from_slice(start(bytes)),
};
pub(crate) const RIGHT: Transformation = Transformation {
    name: "trimRight",
    summary: "white space at the end removed",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.contains(b' ') || mask.intersects(&const { ByteMask::range(b'\t', b'\r') })
    },
    apply: |bytes, out| out.extend_from_slice(end(bytes)),
};

fn start(bytes: &[u8]) -> &[u8] {
    let white = bytes.iter().take_while(|byte| is_white(byte)).count();
    bytes.get(white..).unwrap_or_default()
}

fn end(bytes: &[u8]) -> &[u8] {
    let white = bytes.iter().rev().take_while(|byte| is_white(byte)).count();
    bytes.get(..bytes.len() - white).unwrap_or_default()
}

fn is_white(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn only_the_ends_are_trimmed() {
        check("trim", b" \x0ba b\n", b"a b");
        check("trimLeft", b" a ", b"a ");
        check("trimRight", b" a ", b" a");
    }
}
