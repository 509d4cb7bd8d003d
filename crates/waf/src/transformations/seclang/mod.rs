//! SecLang's transformations (`t:name`). To add one, write a file and add one row to the table.
//! Their meaning is that of libmodsecurity, checked with the vectors of secrules-language-tests
//! (`tests/secrules.rs`); the YAML rules' own ones are stricter decoders and differ on purpose.

use super::Transformation;

/// What `t:name` does to a rule's chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// `t:none`: forgets the transformations named so far, the default action's too.
    Forget,
    /// One more transformation.
    Apply(&'static Transformation),
}

/// The transformation of that name, letters without case.
pub(crate) fn step(name: &str) -> Option<Step> {
    if name.eq_ignore_ascii_case("none") {
        return Some(Step::Forget);
    }
    TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| Step::Apply(row))
}

/// Every transformation of SecLang but `none`: its name and summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|row| (row.name, row.summary))
}

static TABLE: &[&Transformation] = &[&super::lowercase::ROW];
