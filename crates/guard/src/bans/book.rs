//! The book of bans: what was added and what lists say, with what changed since the tables were
//! made. It is behind a lock that requests never take.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::AddressSet;

use super::{Ban, BanStats, NotTaken, Why, seconds};

/// Up to so many bans the whole tables are made anew with each change, which takes well below a
/// millisecond.
const FEW: usize = 2_048;

/// Changes beside a table are worth making it anew when they are this part of it.
const LARGE_PART: usize = 8;

/// One measure about one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) target: Target,
    pub(super) measure: Measure,
}

/// What there is to say about it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) until: Option<u64>,
    pub(super) since: u64,
    pub(super) source: Arc<str>,
    pub(super) reason: Arc<str>,
}

type Entries = BTreeMap<Key, Entry>;

/// A ban as the tables know it.
pub(super) type Line = (Key, Option<u64>, Arc<str>);

#[derive(Debug)]
pub(super) struct Book {
    /// What was added while the process runs, or before its last restart.
    bans: Entries,
    /// What the configuration's lists say.
    listed: Entries,
    max: usize,
    /// Counts changes of `bans`, so that whoever keeps them sees that there is something to keep.
    changes: u64,
    measures: [usize; Measure::ALL.len()],
    /// What changed since the tables were made, in the order of it.
    changed: Vec<Key>,
    /// How many changes were forgotten before those.
    forgotten: u64,
}

impl Book {
    pub(super) fn new(max: usize) -> Self {
        Self {
            bans: Entries::new(),
            listed: Entries::new(),
            max,
            changes: 0,
            measures: [0; Measure::ALL.len()],
            changed: Vec::new(),
            forgotten: 0,
        }
    }

    pub(super) fn configure(&mut self, max: usize, listed: Vec<Ban>) {
        self.max = max;
        for key in std::mem::take(&mut self.listed).into_keys() {
            self.count(key.measure, false);
        }
        self.listed = listed.into_iter().map(Ban::into_entry).collect();
        for measure in self.listed.keys().map(|key| key.measure).collect::<Vec<_>>() {
            self.count(measure, true);
        }
    }

    /// Takes a ban; answers whether it changes anything.
    pub(super) fn take(
        &mut self,
        ban: Ban,
        never: &AddressSet,
        wall: SystemTime,
    ) -> Result<bool, NotTaken> {
        if let Some(why) = objection(&ban, never, wall) {
            return Err(NotTaken { target: ban.target, why });
        }
        let is_full = self.bans.len() >= self.max;
        let (key, entry) = ban.into_entry();
        match self.bans.get_mut(&key) {
            Some(there) if there.lasts() >= entry.lasts() => return Ok(false),
            Some(there) => *there = Entry { since: there.since, ..entry },
            None if is_full => return Err(NotTaken { target: key.target, why: Why::Full }),
            None => {
                self.count(key.measure, true);
                self.bans.insert(key.clone(), entry);
            }
        }
        self.note(key);
        Ok(true)
    }

    /// Lifts a target's bans, those of one measure or all, those of one source or all.
    pub(super) fn lift(
        &mut self,
        target: &Target,
        measure: Option<Measure>,
        source: Option<&str>,
    ) -> Vec<Ban> {
        let measures = Measure::ALL.into_iter().filter(|one| measure.is_none_or(|m| m == *one));
        let mut lifted = Vec::new();
        for measure in measures {
            let key = Key { target: target.clone(), measure };
            let meant = |entry: &Entry| source.is_none_or(|source| *entry.source == *source);
            if self.bans.get(&key).is_some_and(meant)
                && let Some(entry) = self.bans.remove(&key)
            {
                lifted.push(entry.of(&key));
                self.count(measure, false);
                self.note(key);
            }
        }
        lifted
    }

    pub(super) fn lift_where(&mut self, mut predicate: impl FnMut(&Ban) -> bool) -> usize {
        let mut lifted = Vec::new();
        self.bans.retain(|key, entry| {
            let goes = predicate(&entry.of(key));
            if goes {
                lifted.push(key.clone());
            }
            !goes
        });
        let count = lifted.len();
        for key in lifted {
            self.count(key.measure, false);
            self.note(key);
        }
        count
    }

    /// The bans of exactly this target, those of lists first.
    pub(super) fn of(&self, target: &Target) -> Vec<Ban> {
        let keys = Measure::ALL.map(|measure| Key { target: target.clone(), measure });
        let found = keys.iter().flat_map(|key| {
            let entries = [self.listed.get(key), self.bans.get(key)];
            entries.into_iter().flatten().map(|entry| entry.of(key))
        });
        found.collect()
    }

    pub(super) fn list(&self, after: Option<(Target, Measure)>, limit: usize) -> Vec<Ban> {
        let after = after.map(|(target, measure)| Key { target, measure });
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.bans.range((from, Bound::Unbounded));
        range.take(limit).map(|(key, entry)| entry.of(key)).collect()
    }

    /// The bans of endpoints and zones, which are few.
    pub(super) fn upstream_bans(&self) -> Vec<Ban> {
        // Endpoints and zones come last in the order of targets.
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let first = Target::Endpoint { upstream: "".into(), endpoint: nobody };
        let from = Key { target: first, measure: Measure::Alert };
        self.bans.range(from..).map(|(key, entry)| entry.of(key)).collect()
    }

    pub(super) fn stats(&self) -> BanStats {
        BanStats {
            added: self.bans.len(),
            listed: self.listed.len(),
            changes: self.changes,
            measures: self.measures,
        }
    }

    /// Whether making the whole tables anew costs little, or less than not to.
    pub(super) fn is_cheap(&self) -> bool {
        let all = self.bans.len() + self.listed.len();
        all <= FEW || self.changed.len() > all / LARGE_PART
    }

    /// All bans in the order of their targets, with a mark for [`Self::forget_changes`].
    pub(super) fn copy(&self) -> (Vec<Line>, u64) {
        let line = |(key, entry): (&Key, &Entry)| -> Line {
            (key.clone(), entry.until, Arc::clone(&entry.source))
        };
        let mut all: Vec<_> = self.bans.iter().map(line).collect();
        if !self.listed.is_empty() {
            all.extend(self.listed.iter().map(line));
            // Both parts are in order, and the sort makes use of that.
            all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        }
        (all, self.forgotten + self.changed.len() as u64)
    }

    /// The tables know what changed up to the mark.
    pub(super) fn forget_changes(&mut self, mark: u64) {
        let known = usize::try_from(mark.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        let known = known.min(self.changed.len());
        self.changed.drain(..known);
        self.forgotten += known as u64;
    }

    /// What the tables do not know: bans that are new or other than there, and those that are gone
    /// or changed, so that what the tables say of them does not count.
    pub(super) fn recent(&self) -> (Vec<Line>, BTreeSet<Key>) {
        let changed: BTreeSet<Key> = self.changed.iter().cloned().collect();
        let mut lines = Vec::new();
        for key in &changed {
            for entry in [self.bans.get(key), self.listed.get(key)].into_iter().flatten() {
                lines.push((key.clone(), entry.until, Arc::clone(&entry.source)));
            }
        }
        let gone = changed.into_iter().filter(|key| !self.bans.contains_key(key)).collect();
        (lines, gone)
    }

    fn note(&mut self, key: Key) {
        self.changes += 1;
        self.changed.push(key);
    }

    fn count(&mut self, measure: Measure, more: bool) {
        let at = Measure::ALL.iter().position(|one| *one == measure).unwrap_or_default();
        if let Some(count) = self.measures.get_mut(at) {
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
        }
    }
}

impl Entry {
    fn of(&self, key: &Key) -> Ban {
        Ban {
            target: key.target.clone(),
            measure: key.measure,
            until: self.until,
            since: self.since,
            source: Arc::clone(&self.source),
            reason: Arc::clone(&self.reason),
        }
    }

    fn lasts(&self) -> u64 {
        self.until.unwrap_or(u64::MAX)
    }
}

impl Ban {
    fn into_entry(self) -> (Key, Entry) {
        let Self { target, measure, until, since, source, reason } = self;
        (Key { target, measure }, Entry { until, since, source, reason })
    }
}

/// Why a ban cannot be, whatever else there is.
fn objection(ban: &Ban, never: &AddressSet, wall: SystemTime) -> Option<Why> {
    let of_upstream = matches!(ban.target, Target::Endpoint { .. } | Target::Zone { .. });
    if ban.measure == Measure::Alert || of_upstream && ban.measure != Measure::Isolate {
        return Some(Why::Senseless);
    }
    if ban.until.is_some_and(|until| until <= seconds(wall)) {
        return Some(Why::Over);
    }
    match &ban.target {
        // A wider one spares the protected in it.
        Target::Network(network)
            if never.contains(network.net().network())
                && never.contains(network.net().broadcast()) =>
        {
            Some(Why::Protected)
        }
        _ => None,
    }
}
