//! [`Captures`]: what SecLang's `capture` action stores as TX.0 to TX.9.

use std::ops::Range;

/// How many groups are kept: TX.0 to TX.9.
pub(crate) const MAX_GROUPS: usize = 10;

/// One group: a piece of the value, or a text of the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Group {
    Piece(Range<usize>),
    Text(Box<[u8]>),
}

/// What an operator captured from a value. A group without a value leaves its variable as it was,
/// as ModSecurity does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captures([Option<Group>; MAX_GROUPS]);

impl Captures {
    pub(crate) fn clear(&mut self) {
        self.0 = Default::default();
    }

    /// Sets a group to a piece of the value; groups beyond the ninth are dropped.
    pub(crate) fn set(&mut self, group: usize, piece: Range<usize>) {
        if let Some(slot) = self.0.get_mut(group) {
            *slot = Some(Group::Piece(piece));
        }
    }

    /// Sets a group to a text that is not a piece of the value (a fingerprint).
    pub(crate) fn set_text(&mut self, group: usize, text: &[u8]) {
        if let Some(slot) = self.0.get_mut(group) {
            *slot = Some(Group::Text(text.into()));
        }
    }

    /// The groups that were captured: their number and their bytes, given those of the value.
    pub(crate) fn iter<'a>(&'a self, value: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.0.iter().enumerate().filter_map(|(number, group)| {
            let bytes = match group.as_ref()? {
                Group::Piece(piece) => value.get(piece.clone()).unwrap_or_default(),
                Group::Text(text) => text,
            };
            Some((number, bytes))
        })
    }
}
