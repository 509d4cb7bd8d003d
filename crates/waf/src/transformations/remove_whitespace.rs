//! `remove_whitespace`: control characters and spaces removed, as browsers do inside a URL's
//! scheme.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "remove_whitespace",
    summary: "spaces and control characters removed",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.contains(0x7f) || mask.intersects(&const { ByteMask::range(0, b' ') })
    },
    apply: |bytes, out| out.extend(bytes.iter().filter(|byte| **byte > b' ' && **byte != 0x7f)),
};

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn nothing_unseen_is_left() {
        check("remove_whitespace", b" java\tscr\n\x01ipt\x7f:", b"javascript:");
    }
}
