//! The table of those who are banned by another name than an address: subjects, clients, tokens,
//! routes. It is immutable; a change makes a new one.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tidegate_core::decision::{Measure, Party, Target};

use super::book::{Key, Line};
use super::view::{End, Found, Whom};

/// A name as a request has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named<'a> {
    Subject { provider: &'a str, id: &'a str },
    Client { provider: &'a str, id: &'a str },
    Token(&'a str),
    Route(&'a str),
}

/// What kind of a name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Party,
    Token,
    Route,
}

/// All names of one kind at one moment, by a hash that nobody outside can aim at. Where two hashes
/// are one, the later name has the next free one.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_hash: FxHashMap<u64, Held>,
    hasher: RandomState,
}

/// What holds for one name.
#[derive(Debug)]
struct Held {
    target: Target,
    bans: Vec<(Measure, Arc<str>, End)>,
}

impl<'a> Named<'a> {
    fn of(target: &'a Target) -> Option<Self> {
        match target {
            Target::Subject(Party { provider, id }) => Some(Self::Subject { provider, id }),
            Target::Client(Party { provider, id }) => Some(Self::Client { provider, id }),
            Target::Token(hash) => Some(Self::Token(hash)),
            Target::Route(route) => Some(Self::Route(route)),
            Target::Network(_) | Target::Endpoint { .. } | Target::Zone { .. } => None,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Subject { .. } | Self::Client { .. } => Kind::Party,
            Self::Token(_) => Kind::Token,
            Self::Route(_) => Kind::Route,
        }
    }
}

impl Names {
    /// The names of one kind among the bans.
    pub(super) fn new(kind: Kind, bans: &[Line]) -> Self {
        let mut names = Self::default();
        for (Key { target, measure, source }, end) in bans {
            let Some(name) = Named::of(target).filter(|name| name.kind() == kind) else { continue };
            let slot = names.slot(&name);
            let held = names.by_hash.entry(slot);
            let held = held.or_insert_with(|| Held { target: target.clone(), bans: Vec::new() });
            held.bans.push((*measure, Arc::clone(source), *end));
        }
        names
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Of the bans that hold a name and are not `outdated` the hardest, and of those the longest.
    pub(super) fn find(
        &self,
        name: &Named<'_>,
        now: Instant,
        outdated: &BTreeSet<Key>,
    ) -> Option<Found<'_>> {
        if self.is_empty() {
            return None;
        }
        let held = self.by_hash.get(&self.slot(name))?;
        let in_force = held.bans.iter().filter(|(.., end)| end.is_after(now));
        let found = in_force.map(|(measure, source, end)| {
            let whom = Whom::Named(&held.target);
            Found { whom, measure: *measure, source, end: *end }
        });
        let counting = found.filter(|it| outdated.is_empty() || !outdated.contains(&it.key()));
        counting.max_by_key(Found::rank)
    }

    /// Where a name is, or would be.
    fn slot(&self, name: &Named<'_>) -> u64 {
        let mut slot = self.hasher.hash_one(name);
        while self.by_hash.get(&slot).is_some_and(|held| Named::of(&held.target) != Some(*name)) {
            slot = slot.wrapping_add(1);
        }
        slot
    }
}
