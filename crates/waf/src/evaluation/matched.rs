//! What the conditions of the rule at hand matched: MATCHED_VAR and its family.

use std::ops::Range;

use crate::program::Matched;
use crate::target::Target;

/// The values that matched, with their names; copies, since rules may change what they look at.
#[derive(Debug, Default)]
pub(crate) struct MatchedValues {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    target: Option<Target>,
    /// With the variable in front.
    name: Range<usize>,
    own_name: usize,
    value: Range<usize>,
    found: Range<usize>,
}

impl MatchedValues {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Adds a value, and where in it the operator found what it looked for.
    pub(crate) fn push(&mut self, of: Origin<'_>, value: &[u8], found: Range<usize>) {
        let start = self.text.len();
        self.text.extend_from_slice(of.label.as_bytes());
        if !of.name.is_empty() && !of.label.is_empty() {
            self.text.push(b':');
        }
        let own_name = self.text.len();
        self.text.extend_from_slice(of.name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        let (name, value) = (start..middle, middle..self.text.len());
        self.entries.push(Entry { target: of.target, name, own_name, value, found });
    }

    /// The name and value of one; the last is what MATCHED_VAR means.
    pub(crate) fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(index)?;
        Some((self.text.get(entry.name.clone())?, self.text.get(entry.value.clone())?))
    }

    pub(crate) fn last(&self) -> Option<(&[u8], &[u8])> {
        self.entry(self.entries.len().checked_sub(1)?)
    }

    /// What a macro stands for.
    pub(crate) fn text_of(&self, which: Matched) -> &[u8] {
        let (name, value) = self.last().unwrap_or_default();
        match which {
            Matched::Name | Matched::Names => name,
            Matched::Value | Matched::Values => value,
        }
    }

    /// What to tell of one.
    pub(crate) fn evidence(&self, index: usize) -> Option<Evidence<'_>> {
        let entry = self.entries.get(index)?;
        Some(Evidence {
            target: entry.target,
            full_name: self.text.get(entry.name.clone())?,
            name: self.text.get(entry.own_name..entry.name.end)?,
            value: self.text.get(entry.value.clone())?,
            found: entry.found.clone(),
        })
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The variable as the rule names it; empty for YAML rules, which name targets.
    pub(crate) label: &'static str,
    pub(crate) target: Option<Target>,
    pub(crate) name: &'a [u8],
}

/// A match, as it is told.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) target: Option<Target>,
    pub(crate) full_name: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) found: Range<usize>,
}
