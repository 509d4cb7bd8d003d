//! `sha1`: the digest of the value, as raw bytes. It serves to compare, not to protect.

use sha1::{Digest, Sha1};

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "sha1",
    summary: "the digest, as raw bytes",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Sha1::digest(bytes));
}
