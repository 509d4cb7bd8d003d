//! The table of token buckets: GCRA (the generic cell rate algorithm, ITU-T I.371 annex A.1) with
//! one time stamp per key, in shards, with bounded memory.
//!
//! A bucket is stored as the moment at which it will be full again (GCRA's theoretical arrival
//! time): taking a token moves that moment later by one interval, and may not move it further
//! than `burst` intervals ahead of now. So a bucket whose moment has passed says nothing that a
//! new bucket would not say, and only such buckets are ever evicted: eviction never refills.
//! When a shard is full of buckets in use, new keys share its overflow bucket; a key that gets a
//! bucket of its own later starts with what the overflow bucket has left. Hence, whatever the
//! pressure, no key gets more than `burst` plus `rate` times the elapsed time.
//!
//! Memory follows the buckets in use: full ones are forgotten before a shard grows, and when the
//! table is swept.
//!
//! Keys arrive hashed with a secret of the process, so that nobody can aim at one shard.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// What a bucket allows, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gcra {
    /// What one token costs.
    pub(super) interval: u64,
    /// How far ahead of now a bucket may be drawn: `burst` intervals.
    pub(super) tolerance: u64,
}

/// The outcome of asking for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Nanoseconds until a token is there; `None` if one was taken now.
    pub(super) wait: Option<u64>,
    /// Nanoseconds until the bucket is full.
    pub(super) until_full: u64,
}

impl Gcra {
    /// Takes a token from the bucket that is full at `full_at`, if it has one. A bucket drawn
    /// further than the tolerance (the limit was tightened by a reload) counts as just empty.
    fn take(self, full_at: &mut u64, now: u64) -> Taken {
        let start = (*full_at).clamp(now, now.saturating_add(self.tolerance));
        let drawn = start.saturating_add(self.interval) - now;
        if drawn <= self.tolerance {
            *full_at = now.saturating_add(drawn);
            Taken { wait: None, until_full: drawn }
        } else {
            *full_at = start;
            Taken { wait: Some(drawn - self.tolerance), until_full: start - now }
        }
    }
}

/// A table of buckets, empty until the first request: most of ten thousand routes' limits never
/// see one.
#[derive(Debug)]
pub(super) struct Buckets {
    max_keys: usize,
    table: OnceLock<Table>,
}

#[derive(Debug)]
struct Table {
    /// Zero of the table's time, so that it fits 64 bits for 584 years.
    origin: Instant,
    keys_per_shard: usize,
    shards: Box<[Mutex<Shard>]>,
}

/// Enough that threads seldom meet, few enough that a shard is no burden.
const MAX_SHARDS: usize = 64;

/// A limit with fewer keys has fewer shards: keys do not spread evenly over tiny ones.
const MIN_KEYS_PER_SHARD: usize = 1_024;

impl Buckets {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { max_keys, table: OnceLock::new() }
    }

    pub(super) fn take(&self, key: u64, gcra: Gcra, now: Instant) -> Taken {
        let table = self.table.get_or_init(|| Table::new(self.max_keys, now));
        let now = nanos(now.saturating_duration_since(table.origin));
        // The map inside a shard uses the lowest and the highest bits.
        let index = usize::from((key >> 32).to_le_bytes()[0]) % table.shards.len();
        match table.shards.get(index) {
            Some(shard) => shard.lock().take(key, gcra, now, table.keys_per_shard),
            None => Taken { wait: Some(gcra.interval), until_full: gcra.tolerance },
        }
    }

    /// Forgets full buckets, gives memory back, and says how full the table is.
    pub(super) fn sweep(&self, now: Instant) -> TableStats {
        let mut stats = TableStats { max_keys: self.max_keys, ..TableStats::default() };
        let Some(table) = self.table.get() else { return stats };
        let now = nanos(now.saturating_duration_since(table.origin));
        for shard in &table.shards {
            let mut shard = shard.lock();
            shard.sweep(now);
            stats.keys_in_use += shard.entries.len();
            stats.room += shard.entries.capacity();
            stats.evictions += shard.evictions;
            stats.overflows += shard.overflows;
        }
        stats
    }
}

/// How full a limit's table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Keys whose bucket is not full now; only these need their place.
    pub keys_in_use: usize,
    /// Keys that memory is held for.
    pub room: usize,
    /// Keys that can have a bucket.
    pub max_keys: usize,
    /// Buckets given to another key since the start, all of them full when they went.
    pub evictions: u64,
    /// Requests that were counted by a shared bucket, since no place was free.
    pub overflows: u64,
}

impl Table {
    fn new(max_keys: usize, origin: Instant) -> Self {
        let shards = (max_keys / MIN_KEYS_PER_SHARD).clamp(1, MAX_SHARDS);
        Self {
            origin,
            keys_per_shard: (max_keys / shards).max(1),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    /// Where a key's entry is.
    index: FxHashMap<u64, usize>,
    entries: Vec<Entry>,
    /// Where the search for an entry to evict goes on.
    hand: usize,
    /// The latest time seen. Threads read the clock before they take the lock; within a shard
    /// time does not run backwards, or else an evicted bucket might not have been full.
    latest: u64,
    /// The bucket that keys without an entry share.
    overflow: u64,
    evictions: u64,
    overflows: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    full_at: u64,
}

/// How many entries a search for one to evict looks at; two cache lines twice.
const SEARCHED: usize = 16;

/// Smaller shards are not worth sweeping.
const MIN_SWEPT: usize = 64;

impl Shard {
    fn take(&mut self, key: u64, gcra: Gcra, now: u64, max_keys: usize) -> Taken {
        self.latest = self.latest.max(now);
        let now = self.latest;
        let place = self.index.get(&key).copied().or_else(|| self.admit(key, now, max_keys));
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some(entry) => gcra.take(&mut entry.full_at, now),
            None => {
                self.overflows += 1;
                gcra.take(&mut self.overflow, now)
            }
        }
    }

    /// Makes an entry for a new key, in a free place or in that of a full bucket.
    fn admit(&mut self, key: u64, now: u64, max_keys: usize) -> Option<usize> {
        let entry = Entry { key, full_at: self.overflow };
        let place = if self.entries.len() < max_keys {
            self.make_room(now);
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let place = self.full_bucket(now)?;
            let evicted = std::mem::replace(self.entries.get_mut(place)?, entry);
            self.index.remove(&evicted.key);
            self.evictions += 1;
            place
        };
        self.index.insert(key, place);
        Some(place)
    }

    /// Before the entries would move to more memory, forgets the full ones; that pays only if
    /// many go, and so the memory is doubled unless half of it is free.
    fn make_room(&mut self, now: u64) {
        let room = self.entries.capacity();
        if self.entries.len() == room && room >= MIN_SWEPT {
            self.sweep(now);
            if self.entries.len() > room / 2 {
                self.entries.reserve_exact((2 * room).saturating_sub(self.entries.len()));
            }
        }
    }

    /// Forgets full buckets, and gives memory back if little of it is used.
    fn sweep(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        let (now, before) = (self.latest, self.entries.len());
        self.entries.retain(|entry| entry.full_at > now);
        if self.entries.len() == before {
            return;
        }
        self.index.clear();
        if self.entries.capacity() > MIN_SWEPT.max(4 * self.entries.len()) {
            self.entries.shrink_to(2 * self.entries.len());
            self.index.shrink_to(2 * self.entries.len());
        }
        self.index.extend(self.entries.iter().enumerate().map(|(at, entry)| (entry.key, at)));
    }

    /// Finds a bucket that is full, looking at a few from where the last search ended.
    fn full_bucket(&mut self, now: u64) -> Option<usize> {
        for _ in 0..SEARCHED.min(self.entries.len()) {
            let place = self.hand % self.entries.len();
            self.hand = place + 1;
            if self.entries.get(place).is_some_and(|entry| entry.full_at <= now) {
                return Some(place);
            }
        }
        None
    }
}

/// A duration in nanoseconds, at most what 64 bits hold.
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}
