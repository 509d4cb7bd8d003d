//! `remove_nulls`: bytes of zero, which some origins drop or stop at.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "remove_nulls",
    summary: "NUL bytes removed",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(0),
    apply: |bytes, out| out.extend(bytes.iter().filter(|byte| **byte != 0)),
};

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn nulls_are_removed() {
        check("remove_nulls", b"\0a\0\0b\0", b"ab");
    }
}
