//! What a rule asks of a value. To add an operator to the YAML rules, write one file that
//! implements [`Operator`] and add one row to [`OPERATORS`]; those of SecLang are in [`seclang`].

mod captures;
mod contains;
mod equals;
mod longer_than;
mod phrases;
mod present;
mod rx;
pub(crate) mod seclang;

pub(crate) use captures::Captures;
use captures::MAX_GROUPS;

use std::fmt;
use std::ops::Range;

use crate::prefilter::Required;

/// A compiled question to a value's bytes.
pub(crate) trait Operator: fmt::Debug + Send + Sync {
    /// Where it matches first; an empty range where there is no particular place.
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>>;

    /// Whether it matches at all, which may be cheaper to know.
    fn matches(&self, bytes: &[u8]) -> bool {
        self.find(bytes).is_some()
    }

    /// Like [`Self::find`], and notes what SecLang's `capture` stores: the groups of a pattern, or
    /// whatever else the operator has to say. It costs more than `find`; ask only if needed.
    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
        self.find(bytes)
    }

    /// What every value that it matches must contain. Too little is slow; too much is a bypass.
    fn required(&self) -> Required;
}

/// What a rule gives to its operator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument<'a> {
    Text(&'a str),
    List(&'a [String]),
}

impl<'a> Argument<'a> {
    fn text(self) -> Result<&'a str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) => Err("takes one text, not a list".to_owned()),
        }
    }

    fn list(self) -> Result<Vec<&'a str>, String> {
        let list: Vec<&str> = match self {
            Self::Text(text) => vec![text],
            Self::List(list) => list.iter().map(String::as_str).collect(),
        };
        if list.is_empty() || list.iter().any(|text| text.is_empty()) {
            return Err("takes at least one text, and none may be empty".to_owned());
        }
        Ok(list)
    }
}

type Build = fn(Argument<'_>) -> Result<Box<dyn Operator>, String>;

/// A row of the table: the rule's key, what it does, and how it is compiled.
pub(crate) struct OperatorKind {
    pub(crate) name: &'static str,
    summary: &'static str,
    pub(crate) build: Build,
}

/// Every operator.
pub(crate) const OPERATORS: &[OperatorKind] =
    &[contains::KIND, equals::KIND, longer_than::KIND, phrases::KIND, present::KIND, rx::KIND];

/// The operator of that name.
pub(crate) fn operator(name: &str) -> Option<&'static OperatorKind> {
    OPERATORS.iter().find(|kind| kind.name == name)
}

/// Every operator's name and summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|kind| (kind.name, kind.summary))
}
