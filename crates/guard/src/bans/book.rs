//! The book of bans: what was added and what lists say, with what changed since the tables were
//! made. It is behind a lock that requests never take.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::AddressSet;

use super::view::End;
use super::{Ban, BanStats, Now, Why, seconds};

/// Up to so many bans the whole tables are made anew with each change, which takes well below a
/// millisecond.
const FEW: usize = 2_048;

/// Changes beside a table are worth making it anew when they are this part of it.
const LARGE_PART: usize = 8;

/// What one source decided about one target. Another source may decide the same; neither prolongs
/// or lifts what is the other's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) target: Target,
    pub(super) measure: Measure,
    pub(super) source: Arc<str>,
}

/// What there is to say about it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// When it ends, whatever becomes of the wall clock.
    end: End,
    /// What that clock was to show then.
    until: Option<u64>,
    since: u64,
    reason: Arc<str>,
}

type Entries = BTreeMap<Key, Entry>;

/// A ban as the tables know it.
pub(super) type Line = (Key, End);

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

    pub(super) fn configure(&mut self, max: usize, listed: Vec<Ban>, now: Now) {
        self.max = max;
        for key in std::mem::take(&mut self.listed).into_keys() {
            self.count(key.measure, false);
        }
        self.listed = listed.into_iter().map(|ban| ban.into_entry(now)).collect();
        for measure in self.listed.keys().map(|key| key.measure).collect::<Vec<_>>() {
            self.count(measure, true);
        }
    }

    /// Takes a ban; answers whether it changes anything.
    pub(super) fn take(&mut self, ban: &Ban, never: &AddressSet, now: Now) -> Result<bool, Why> {
        if let Some(why) = objection(ban, never, now.wall) {
            return Err(why);
        }
        let is_full = self.bans.len() >= self.max;
        let (key, entry) = ban.clone().into_entry(now);
        match self.bans.get_mut(&key) {
            Some(there) if there.end >= entry.end => return Ok(false),
            Some(there) => *there = Entry { since: there.since, ..entry },
            None if is_full => return Err(Why::Full),
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
        let is_meant = |key: &Key| {
            measure.is_none_or(|measure| measure == key.measure)
                && source.is_none_or(|source| *source == *key.source)
        };
        let of_target = about(&self.bans, target).map(|(key, _)| key);
        let meant: Vec<_> = of_target.filter(|key| is_meant(key)).cloned().collect();
        meant.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Lifts one ban, and answers it.
    pub(super) fn remove(&mut self, key: Key) -> Option<Ban> {
        let ban = self.bans.remove(&key)?.of(&key);
        self.count(key.measure, false);
        self.note(key);
        Some(ban)
    }

    /// Lifts all bans that are over. Answers how many there were.
    pub(super) fn sweep(&mut self, now: Instant) -> usize {
        self.retain(|_, entry| entry.end.is_after(now)).len()
    }

    /// Lifts the bans of a source that it does not keep. Answers them.
    pub(super) fn retain_of(
        &mut self,
        source: &str,
        mut keep: impl FnMut(&Target, Measure) -> bool,
    ) -> Vec<Ban> {
        self.retain(|key, _| *key.source != *source || keep(&key.target, key.measure))
    }

    fn retain(&mut self, mut keep: impl FnMut(&Key, &Entry) -> bool) -> Vec<Ban> {
        let mut lifted = Vec::new();
        self.bans.retain(|key, entry| {
            let stays = keep(key, entry);
            if !stays {
                lifted.push((key.clone(), entry.of(key)));
            }
            stays
        });
        let gone = lifted.into_iter().map(|(key, ban)| {
            self.count(key.measure, false);
            self.note(key);
            ban
        });
        gone.collect()
    }

    /// The bans of exactly this target, those of lists first.
    pub(super) fn of(&self, target: &Target) -> Vec<Ban> {
        let both = about(&self.listed, target).chain(about(&self.bans, target));
        both.map(|(key, entry)| entry.of(key)).collect()
    }

    pub(super) fn list(&self, after: Option<Key>, limit: usize) -> Vec<Ban> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.bans.range((from, Bound::Unbounded));
        range.take(limit).map(|(key, entry)| entry.of(key)).collect()
    }

    /// The bans of endpoints and zones that hold at `now`, which are few.
    pub(super) fn upstream_bans(&self, now: Instant) -> Vec<Ban> {
        // Endpoints and zones come last in the order of targets.
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let first = Target::Endpoint { upstream: "".into(), endpoint: nobody };
        let found = self.bans.range(Key::first_of(first)..);
        let in_force = found.filter(|(_, entry)| entry.end.is_after(now));
        in_force.map(|(key, entry)| entry.of(key)).collect()
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

    /// All bans, with a mark for [`Self::forget_changes`].
    pub(super) fn copy(&self) -> (Vec<Line>, u64) {
        let line = |(key, entry): (&Key, &Entry)| (key.clone(), entry.end);
        let mut all: Vec<_> = self.bans.iter().map(line).collect();
        all.extend(self.listed.iter().map(line));
        (all, self.forgotten + self.changed.len() as u64)
    }

    /// Whether the tables know of changes behind the mark.
    pub(super) const fn is_beyond(&self, mark: u64) -> bool {
        self.forgotten > mark
    }

    /// The tables know what changed up to the mark.
    pub(super) fn forget_changes(&mut self, mark: u64) {
        let known = usize::try_from(mark.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        let known = known.min(self.changed.len());
        self.changed.drain(..known);
        self.forgotten += known as u64;
    }

    /// What holds of all that changed since the tables were made, and what that was.
    pub(super) fn recent(&self) -> (Vec<Line>, BTreeSet<Key>) {
        let changed: BTreeSet<Key> = self.changed.iter().cloned().collect();
        let mut lines = Vec::new();
        for key in &changed {
            for entry in [self.bans.get(key), self.listed.get(key)].into_iter().flatten() {
                lines.push((key.clone(), entry.end));
            }
        }
        (lines, changed)
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

/// The bans of exactly this target.
fn about<'e>(entries: &'e Entries, target: &Target) -> impl Iterator<Item = (&'e Key, &'e Entry)> {
    let from = entries.range(Key::first_of(target.clone())..);
    from.take_while(move |(key, _)| key.target == *target)
}

impl Key {
    /// Before all others of the target.
    fn first_of(target: Target) -> Self {
        Self { target, measure: Measure::Alert, source: Arc::default() }
    }
}

impl Entry {
    fn of(&self, key: &Key) -> Ban {
        Ban {
            target: key.target.clone(),
            measure: key.measure,
            until: self.until,
            since: self.since,
            source: Arc::clone(&key.source),
            reason: Arc::clone(&self.reason),
        }
    }
}

impl Ban {
    fn into_entry(self, now: Now) -> (Key, Entry) {
        let Self { target, measure, until, since, source, reason } = self;
        let end = End::new(until, now);
        (Key { target, measure, source }, Entry { end, until, since, reason })
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
