//! What is undone before a rule looks at a value: encodings, comments, case. To add a
//! transformation, write one file and add one row to [`TRANSFORMATIONS`].

mod lowercase;
pub(crate) mod trie;

use crate::mask::ByteMask;

/// A row of the table. A transformation is a pure function of bytes and never fails.
#[derive(Debug)]
pub(crate) struct Transformation {
    pub(crate) name: &'static str,
    summary: &'static str,
    /// Whether it could change a value with these bytes. `true` is always safe, `false` must be
    /// certain: the engine then skips it.
    pub(crate) may_change: fn(&ByteMask) -> bool,
    /// Appends the transformed bytes.
    pub(crate) apply: fn(&[u8], &mut Vec<u8>),
}

/// Every transformation.
pub(crate) static TRANSFORMATIONS: &[Transformation] = &[lowercase::ROW];

/// The transformation of that name.
pub(crate) fn transformation(name: &str) -> Option<&'static Transformation> {
    TRANSFORMATIONS.iter().find(|row| row.name == name)
}

/// Every transformation's name and summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    TRANSFORMATIONS.iter().map(|row| (row.name, row.summary))
}
