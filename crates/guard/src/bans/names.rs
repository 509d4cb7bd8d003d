//! The table of those who are banned by another name than an address: subjects, clients, tokens,
//! routes. It is immutable; a change makes a new one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tidegate_core::decision::{Measure, Party, Target};

use super::InForce;
use super::book::Key;
use super::table::End;

/// A name as a request has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named<'a> {
    Subject { provider: &'a str, id: &'a str },
    Client { provider: &'a str, id: &'a str },
    Token(&'a str),
    Route(&'a str),
}

/// All names at one moment, by a hash that nobody outside can aim at. Where two hashes are one, the
/// later name has the next free one.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_hash: FxHashMap<u64, Held>,
    hasher: RandomState,
}

/// What holds for one name.
#[derive(Debug)]
struct Held {
    target: Target,
    measures: Vec<(Measure, End, Arc<str>)>,
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
}

impl Names {
    pub(super) fn new(bans: Vec<(Key, End, Arc<str>)>) -> Self {
        let mut names = Self::default();
        for (Key { target, measure }, end, source) in bans {
            let Some(name) = Named::of(&target) else { continue };
            let slot = names.slot(&name);
            let held = names.by_hash.entry(slot);
            let held = held.or_insert_with(|| Held { target, measures: Vec::with_capacity(1) });
            held.measures.push((measure, end, source));
        }
        names
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The hardest measure that holds for a name, but for those that are gone.
    pub(super) fn find(
        &self,
        name: &Named<'_>,
        now: Instant,
        is_gone: impl Fn(&Target, Measure) -> bool,
    ) -> Option<InForce> {
        if self.is_empty() {
            return None;
        }
        let held = self.by_hash.get(&self.slot(name))?;
        let holds = |(measure, end, _): &&(Measure, End, Arc<str>)| {
            end.is_after(now) && !is_gone(&held.target, *measure)
        };
        let hardest = held.measures.iter().filter(holds).max_by_key(|(measure, ..)| *measure);
        hardest.map(|(measure, _, source)| InForce {
            measure: *measure,
            target: held.target.clone(),
            source: Arc::clone(source),
        })
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
