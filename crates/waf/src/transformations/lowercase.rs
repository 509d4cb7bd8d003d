//! `lowercase`: ASCII letters to lower case.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "lowercase",
    summary: "ASCII letters to lower case",
    only_case: true,
    may_change,
    apply,
};

fn may_change(mask: &ByteMask) -> bool {
    mask.intersects(&const { ByteMask::range(b'A', b'Z') })
}

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(bytes);
    if let Some(added) = out.get_mut(start..) {
        added.make_ascii_lowercase();
    }
}
