//! The variables that rules write, of one request.

use crate::program::pick::TxPick;
use crate::program::slots::{CAPTURES, Slot, Slots};

/// TX and its relatives. Every value is text, as in ModSecurity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tx {
    text: Vec<u8>,
    slots: Vec<Option<Piece>>,
    /// Those whose names came up at run time only.
    others: Vec<(Box<[u8]>, Option<Piece>)>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    end: usize,
}

impl Tx {
    /// No variable is set.
    pub(crate) fn new(slots: &Slots) -> Self {
        Self { text: Vec::new(), slots: vec![None; slots.len()], others: Vec::new() }
    }

    /// Makes this a copy of `other`, reusing its memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.text.clear();
        self.text.extend_from_slice(&other.text);
        self.slots.clear();
        self.slots.extend_from_slice(&other.slots);
        self.others.clear();
    }

    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.others.capacity() * 64
    }

    pub(crate) fn value(&self, slot: Slot) -> Option<&[u8]> {
        self.piece(self.slots.get(slot.index()).copied().flatten())
    }

    pub(crate) fn set(&mut self, slot: Slot, value: &[u8]) {
        let piece = self.keep(value);
        if let Some(slot) = self.slots.get_mut(slot.index()) {
            *slot = Some(piece);
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(slot) = self.slots.get_mut(slot.index()) {
            *slot = None;
        }
    }

    /// The value of TX.0 to TX.9.
    pub(crate) fn set_capture(&mut self, group: usize, value: &[u8]) {
        if let Some(group) = u32::try_from(group).ok().filter(|group| *group < CAPTURES) {
            self.set(Slot(group), value);
        }
    }

    pub(crate) fn other(&self, name: &[u8]) -> Option<&[u8]> {
        let (_, piece) = self.others.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        self.piece(*piece)
    }

    pub(crate) fn set_other(&mut self, name: &[u8], value: Option<&[u8]>) {
        let piece = value.map(|value| self.keep(value));
        match self.others.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, known)) => *known = piece,
            None => self.others.push((name.into(), piece)),
        }
    }

    /// The variables that a pick means and that are set: the name and the value of the one with
    /// this number, counted over slots and others.
    pub(crate) fn nth<'a>(
        &'a self,
        pick: &'a TxPick,
        slots: &'a Slots,
        index: usize,
    ) -> Option<Nth<'a>> {
        if let Some(slot) = pick.slots.get(index) {
            let name = slots.name(*slot).strip_prefix(pick.prefix).unwrap_or_default();
            return Some((name.as_bytes(), self.value(*slot)));
        }
        let others = pick.others.as_ref()?;
        let (name, piece) = self.others.get(index - pick.slots.len())?;
        let value = self.piece(*piece).filter(|_| others.take(name));
        Some((name, value))
    }

    fn keep(&mut self, value: &[u8]) -> Piece {
        let start = self.text.len();
        self.text.extend_from_slice(value);
        Piece { start, end: self.text.len() }
    }

    fn piece(&self, piece: Option<Piece>) -> Option<&[u8]> {
        self.text.get(piece?.start..piece?.end)
    }
}

/// A variable's name, and its value if it has one.
pub(crate) type Nth<'a> = (&'a [u8], Option<&'a [u8]>);

/// The number at the beginning of a text, 0 if there is none, as C's `atoi` reads it.
pub(crate) fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_i64, |value, byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    if negative { -value } else { value }
}
