//! A table of what is counted, by hashed keys: in shards, of a fixed capacity, its memory taken as
//! it fills.
//!
//! A key may be in one of sixteen places, eight in each of two sets. When they are all in use and the table cannot
//! grow, the newcomer takes the place of the one with the least weight. So whoever wants to push a
//! counter out must first fill its sets with counters that weigh more, which means as many events
//! that count against him, times the keys of the table; and a flood of new keys, each with one
//! event, only pushes out its own. Which keys share their sets is a secret of the process.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt::Debug;

use parking_lot::Mutex;
use tidegate_core::decision::Sample;

/// What is kept for a key.
pub(super) trait Slot: Debug {
    /// Whose it is.
    fn key(&self) -> u64;

    /// What would be lost with it; nothing if 0.
    fn weight(&self, now: u64) -> u64;

    /// Bytes that it holds beside its own place.
    fn held(&self) -> usize {
        0
    }
}

#[derive(Debug)]
pub(super) struct Table<S> {
    /// Sets of a full shard.
    sets: usize,
    /// Sets of a new shard; doubled some times it is `sets`.
    first_sets: usize,
    shards: Box<[Mutex<Shard<S>>]>,
}

#[derive(Debug)]
pub(super) struct Shard<S> {
    sets: usize,
    slots: Vec<Option<S>>,
    evicted: u64,
    /// The last events of the shard's keys, the newest last.
    samples: VecDeque<(u64, Sample)>,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Keys that are counted.
    pub keys: usize,
    /// Keys that can be.
    pub max_keys: usize,
    /// Bytes that are held.
    pub bytes: usize,
    /// Keys that lost a count to another one.
    pub evicted: u64,
}

/// Places of a set.
const WAYS: usize = 8;

/// Enough that threads seldom meet.
const MAX_SHARDS: usize = 64;

/// Smaller tables have fewer shards.
const MIN_KEYS_PER_SHARD: usize = 1_024;

/// How many events each shard remembers, and how many a decision tells.
const SAMPLES: usize = 16;
const TOLD: usize = 5;

impl<S: Slot> Table<S> {
    /// A table of at most `max_keys` keys.
    pub(super) fn new(max_keys: usize) -> Self {
        let shards = (max_keys / MIN_KEYS_PER_SHARD).clamp(1, MAX_SHARDS);
        let wanted = (max_keys / shards / WAYS).max(1);
        // So that doubling it comes near to what is wanted.
        let doublings = (wanted / 4).checked_ilog2().unwrap_or(0);
        let first_sets = wanted >> doublings;
        Self {
            sets: first_sets << doublings,
            first_sets,
            shards: (0..shards).map(|_| Mutex::new(Shard::default())).collect(),
        }
    }

    /// Does something with the key's shard.
    pub(super) fn with<R>(&self, key: u64, work: impl FnOnce(&mut Shard<S>) -> R) -> Option<R> {
        let index = usize::try_from(key >> 56).unwrap_or(0) % self.shards.len();
        let mut shard = self.shards.get(index)?.lock();
        if shard.slots.is_empty() {
            shard.grow(self.first_sets, 0);
        }
        Some(work(&mut shard))
    }

    /// The key's slot, made by `new` if there is none.
    pub(super) fn entry<'s>(
        &self,
        shard: &'s mut Shard<S>,
        key: u64,
        now: u64,
        new: impl FnOnce() -> S,
    ) -> Option<&'s mut S> {
        let mut place = shard.place(key, now);
        while let Place::Taken(_) = place
            && shard.sets < self.sets
        {
            shard.grow(shard.sets * 2, now);
            place = shard.place(key, now);
        }
        let (at, is_new) = match place {
            Place::Own(at) => (at, false),
            Place::Free(at) => (at, true),
            Place::Taken(at) => {
                shard.evicted += 1;
                (at, true)
            }
        };
        let slot = shard.slots.get_mut(at)?;
        if is_new {
            *slot = Some(new());
        }
        slot.as_mut()
    }

    /// Forgets the key.
    pub(super) fn remove(&self, key: u64) {
        self.with(key, |shard| {
            for slot in &mut shard.slots {
                if slot.as_ref().is_some_and(|slot| slot.key() == key) {
                    *slot = None;
                }
            }
        });
    }

    /// How full the table is at `now`.
    pub(super) fn fill(&self, now: u64) -> Fill {
        let mut fill = Fill { max_keys: self.sets * WAYS * self.shards.len(), ..Fill::default() };
        for shard in &self.shards {
            let shard = shard.lock();
            let live = shard.slots.iter().flatten().filter(|slot| slot.weight(now) > 0);
            fill.keys += live.count();
            fill.evicted += shard.evicted;
            fill.bytes += shard.slots.capacity() * size_of::<Option<S>>()
                + shard.slots.iter().flatten().map(S::held).sum::<usize>()
                + shard.samples.capacity() * (size_of::<(u64, Sample)>() + SAMPLE_TEXT);
        }
        fill
    }
}

/// What the texts of a sample take: a request's id and the name of a route.
const SAMPLE_TEXT: usize = 64;

/// Where a key is or may go.
enum Place {
    Own(usize),
    Free(usize),
    Taken(usize),
}

impl<S> Default for Shard<S> {
    fn default() -> Self {
        Self { sets: 0, slots: Vec::new(), evicted: 0, samples: VecDeque::new() }
    }
}

impl<S: Slot> Shard<S> {
    fn place(&self, key: u64, now: u64) -> Place {
        let (mut place, mut least) = (Place::Taken(0), u64::MAX);
        for first in sets_of(key, self.sets) {
            for (at, slot) in self.slots.iter().enumerate().skip(first * WAYS).take(WAYS) {
                match slot {
                    Some(slot) if slot.key() == key => return Place::Own(at),
                    Some(slot) => {
                        let weight = slot.weight(now);
                        if weight < least {
                            least = weight;
                            place = if weight == 0 { Place::Free(at) } else { Place::Taken(at) };
                        }
                    }
                    None if least > 0 => (place, least) = (Place::Free(at), 0),
                    None => {}
                }
            }
        }
        place
    }

    /// Moves to more sets: twice as many, so that each set's keys find room in two. Should some
    /// find none all the same, then they are the lightest.
    fn grow(&mut self, sets: usize, now: u64) {
        let mut slots = Vec::new();
        slots.resize_with(sets * WAYS, || None);
        let mut kept: Vec<S> = self.slots.drain(..).flatten().collect();
        kept.sort_by_key(|slot| Reverse(slot.weight(now)));
        for slot in kept {
            let [one, other] = sets_of(slot.key(), sets);
            let places = (one * WAYS..).take(WAYS).chain((other * WAYS..).take(WAYS));
            let is_free = |place: &usize| slots.get(*place).is_some_and(Option::is_none);
            match places.into_iter().find(is_free).and_then(|place| slots.get_mut(place)) {
                Some(free) => *free = Some(slot),
                None => self.evicted += 1,
            }
        }
        (self.slots, self.sets) = (slots, sets);
    }

    /// Remembers an event of a key.
    pub(super) fn remember(&mut self, key: u64, sample: Sample) {
        if self.samples.len() >= SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((key, sample));
    }

    /// The last events of the key that are still remembered, the newest last.
    pub(super) fn samples_of(&self, key: u64) -> Vec<Sample> {
        let own = self.samples.iter().rev().filter(|(of, _)| *of == key).take(TOLD);
        let mut samples: Vec<Sample> = own.map(|(_, sample)| sample.clone()).collect();
        samples.reverse();
        samples
    }
}

/// The two sets of a key: doubling the sets splits each of them in two.
fn sets_of(key: u64, sets: usize) -> [usize; 2] {
    let sets = u128::try_from(sets).unwrap_or(1);
    let of = |bits: u64| usize::try_from((u128::from(bits) * sets) >> 64).unwrap_or(0);
    // The highest bits choose the shard.
    [of(key.rotate_left(8)), of(key.rotate_left(32))]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    struct Count {
        key: u64,
        count: u64,
    }

    impl Slot for Count {
        fn key(&self) -> u64 {
            self.key
        }

        fn weight(&self, _: u64) -> u64 {
            self.count
        }
    }

    fn add(table: &Table<Count>, key: u64) -> u64 {
        let add = |shard: &mut Shard<Count>| {
            let slot = table.entry(shard, key, 0, || Count { key, count: 0 }).unwrap();
            slot.count += 1;
            slot.count
        };
        table.with(key, add).unwrap()
    }

    fn hash(n: u64) -> u64 {
        super::super::hash::Secret::new(7).hash(0, &n)
    }

    #[test]
    fn a_table_counts_each_key_apart_as_long_as_there_is_room() {
        let table = Table::new(100_000);
        for round in 1..=3 {
            for n in 0..30_000 {
                assert_eq!(add(&table, hash(n)), round, "{n}");
            }
        }
        let fill = table.fill(0);
        assert_eq!((fill.keys, fill.evicted), (30_000, 0));
        assert!((95_000..=100_000).contains(&fill.max_keys), "{fill:?}");
    }

    #[test]
    fn a_flood_of_new_keys_pushes_out_neither_a_counter_nor_grows() {
        let table = Table::new(10_000);
        for n in 0..1_000 {
            for _ in 0..5 {
                add(&table, hash(n));
            }
        }
        for n in 1_000..1_000_000 {
            add(&table, hash(n));
        }
        let kept = (0..1_000).filter(|n| add(&table, hash(*n)) == 6).count();
        // One may have lost a count while the table grew.
        assert!(kept >= 995, "{kept}");
        let fill = table.fill(0);
        assert!(fill.keys <= fill.max_keys && fill.max_keys <= 10_000, "{fill:?}");
        assert!(fill.bytes <= 10_000 * size_of::<Option<Count>>(), "{fill:?}");
        assert!(fill.evicted > 900_000, "{fill:?}");
    }

    #[test]
    fn what_is_forgotten_begins_anew() {
        let table = Table::new(100);
        add(&table, hash(1));
        add(&table, hash(1));
        table.remove(hash(1));
        assert_eq!(add(&table, hash(1)), 1);
    }

    proptest! {
        #[test]
        fn growing_loses_nobody(keys in prop::collection::hash_set(any::<u64>(), 0..400)) {
            let table = Table::new(4_096);
            for key in &keys {
                add(&table, *key);
            }
            let again: Vec<u64> = keys.iter().map(|key| add(&table, *key)).collect();
            let evicted = table.fill(0).evicted;
            // Keys as random as a secret hash makes them.
            prop_assert!(again.iter().all(|count| *count == 2) || evicted > 0);
        }
    }
}
