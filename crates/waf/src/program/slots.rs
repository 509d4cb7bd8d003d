//! The variables that rules write and read (TX and its relatives), by number instead of name.

use rustc_hash::FxHashMap;

use crate::seclang::ast::Collection;

/// The number of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// TX.0 to TX.9 come first.
pub(crate) const CAPTURES: u32 = 10;

/// The names of the slots: in lower case, with the collection in front if it is not TX.
#[derive(Debug)]
pub(crate) struct Slots {
    names: Vec<Box<str>>,
    by_name: FxHashMap<Box<str>, Slot>,
    /// The slots that count what rules found, as CRS names them.
    scores: Vec<bool>,
}

impl Default for Slots {
    fn default() -> Self {
        let mut slots =
            Self { names: Vec::new(), by_name: FxHashMap::default(), scores: Vec::new() };
        for capture in 0..CAPTURES {
            slots.intern(&capture.to_string());
        }
        slots
    }
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, slot: Slot) -> &str {
        self.names.get(slot.index()).map_or("", AsRef::as_ref)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    /// The slot of that name; made if there is none yet.
    pub(crate) fn intern(&mut self, name: &str) -> Slot {
        let name = name.to_ascii_lowercase();
        if let Some(slot) = self.by_name.get(name.as_str()) {
            return *slot;
        }
        let slot = Slot(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.scores.push(is_score(&name));
        self.names.push(name.as_str().into());
        self.by_name.insert(name.into(), slot);
        slot
    }

    /// Whether what is added to the slot is a rule's contribution to the score.
    pub(crate) fn counts(&self, slot: Slot) -> bool {
        self.scores.get(slot.index()) == Some(&true)
    }

    /// The slots behind `prefix` whose name `takes` takes.
    pub(crate) fn matching(&self, prefix: &str, takes: impl Fn(&str) -> bool) -> Vec<Slot> {
        let known = |name: &str| match name.strip_prefix(prefix) {
            Some(rest) if !prefix.is_empty() || !is_prefixed(name) => takes(rest),
            _ => false,
        };
        let slots = (0..).map(Slot).zip(&self.names);
        slots.filter(|(_, name)| known(name)).map(|(slot, _)| slot).collect()
    }
}

fn is_prefixed(name: &str) -> bool {
    ["env.", "global.", "ip.", "resource.", "session.", "user."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// What stands before the names of a collection.
pub(crate) fn prefix(collection: Collection) -> &'static str {
    match collection {
        Collection::Global => "global.",
        Collection::Ip => "ip.",
        Collection::Resource => "resource.",
        Collection::Session => "session.",
        Collection::Tx => "",
        Collection::User => "user.",
    }
}

/// CRS 4 counts per paranoia level and direction, CRS 3 per paranoia level.
fn is_score(name: &str) -> bool {
    ["inbound_anomaly_score_pl", "outbound_anomaly_score_pl", "anomaly_score_pl"]
        .iter()
        .any(|start| name.starts_with(start))
}
