//! Which values of the request, or which variables of TX, a rule means.

use regex::bytes::Regex;

use super::slots::{Slot, Slots};
use crate::target::{Selector, Target, TargetSet};

/// Kinds of values, and which of them by name.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    pub(crate) targets: TargetSet,
    key: Key,
}

/// A name, or many.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    All,
    /// Letters without case.
    Name(Box<[u8]>),
    Pattern(Regex),
    /// As YAML rules and exclusions write it.
    Selector(Selector),
}

impl Pick {
    pub(crate) fn new(targets: TargetSet, key: Key) -> Self {
        Self { targets, key }
    }

    pub(crate) fn selects(&self, target: Target, name: &[u8]) -> bool {
        self.targets.contains(target)
            && match &self.key {
                Key::All => true,
                Key::Name(wanted) => name.eq_ignore_ascii_case(wanted),
                Key::Pattern(pattern) => pattern.is_match(name),
                Key::Selector(selector) => selector.selects(target, name),
            }
    }
}

impl Pick {
    /// How a value's name is told: a field's as the rule spells it, since fields arrive in lower
    /// case; any other as it came.
    pub(crate) fn told<'a>(&'a self, target: Target, name: &'a [u8]) -> &'a [u8] {
        let is_field = matches!(target, Target::RequestHeaders | Target::ResponseHeaders);
        match &self.key {
            Key::Name(spelled) if is_field => spelled,
            Key::All | Key::Name(_) | Key::Pattern(_) | Key::Selector(_) => name,
        }
    }
}

impl From<&Selector> for Pick {
    fn from(selector: &Selector) -> Self {
        Self::new(selector.targets, Key::Selector(selector.clone()))
    }
}

/// Variables of TX: those with a slot, and those that came up at run time.
#[derive(Debug)]
pub(crate) struct TxPick {
    /// What stands before the names of the collection.
    pub(crate) prefix: &'static str,
    pub(crate) slots: Box<[Slot]>,
    /// Which of the others; `None` if none can be meant.
    pub(crate) others: Option<OtherNames>,
}

#[derive(Debug)]
pub(crate) enum OtherNames {
    All,
    Pattern(Regex),
}

impl TxPick {
    /// Finds the slots of a pick that is no single name, once all are known.
    pub(crate) fn resolve(&mut self, slots: &Slots) {
        if let Some(others) = &self.others {
            self.slots = slots.matching(self.prefix, |name| others.take(name.as_bytes())).into();
        }
    }
}

impl OtherNames {
    pub(crate) fn take(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}
