//! `uppercase`: ASCII letters to upper case.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "uppercase",
    summary: "ASCII letters to upper case",
    only_case: true,
    may_change: |mask: &ByteMask| mask.intersects(&const { ByteMask::range(b'a', b'z') }),
    apply: |bytes, out| out.extend(bytes.iter().map(u8::to_ascii_uppercase)),
};
