//! What was found out about tokens, by a hash of them: bounded in bytes, each with its end. A new one
//! takes the place of one that a clock's hand finds unused (CLOCK, Corbató 1968).

use std::hash::Hash;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Each has its own lock.
const SHARDS: usize = 16;
/// What an entry costs beside its identity: slot, table, and room that both have to spare.
const OVERHEAD: usize = 256;

/// The tokens of one provider.
#[derive(Debug)]
pub(crate) struct TokenCache<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
}

#[derive(Debug)]
struct Shard<K, V> {
    slots: Vec<Option<Slot<K, V>>>,
    /// Where each token is among the slots.
    places: FxHashMap<K, usize>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    digest: K,
    value: V,
    /// The last second in which it holds.
    until: u64,
    bytes: usize,
    used: bool,
}

impl<K: AsRef<[u8]> + Copy + Eq + Hash, V: Clone> TokenCache<K, V> {
    /// A cache of about so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Shard::new(bytes / SHARDS))) }
    }

    /// What is known about a token, and the last second in which that holds.
    pub(crate) fn find(&self, digest: &K) -> Option<(V, u64)> {
        let mut shard = self.shard(digest)?.lock();
        let place = *shard.places.get(digest)?;
        let slot = shard.slots.get_mut(place)?.as_mut()?;
        slot.used = true;
        Some((slot.value.clone(), slot.until))
    }

    /// Remembers a token's value, of so many bytes, until a second.
    pub(crate) fn put(&self, digest: K, (value, bytes): (V, usize), until: u64, now: u64) {
        if let Some(shard) = self.shard(&digest) {
            let bytes = bytes + OVERHEAD;
            shard.lock().put(Slot { digest, value, until, bytes, used: false }, now);
        }
    }

    /// Forgets a token.
    pub(crate) fn forget(&self, digest: &K) {
        if let Some(shard) = self.shard(digest) {
            let mut shard = shard.lock();
            if let Some(place) = shard.places.get(digest).copied() {
                shard.clear(place);
            }
        }
    }

    /// How many tokens are in it, and about how many bytes they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            (shard.places.len(), shard.bytes)
        });
        sizes.fold((0, 0), |(count, bytes), (more, further)| (count + more, bytes + further))
    }

    fn shard(&self, digest: &K) -> Option<&Mutex<Shard<K, V>>> {
        let first = digest.as_ref().first()?;
        self.shards.get(usize::from(*first) % SHARDS)
    }
}

impl<K: Copy + Eq + Hash, V> Shard<K, V> {
    fn new(capacity: usize) -> Self {
        let (slots, free, places) = (Vec::new(), Vec::new(), FxHashMap::default());
        Self { slots, places, free, hand: 0, bytes: 0, capacity }
    }

    fn put(&mut self, slot: Slot<K, V>, now: u64) {
        let (digest, bytes) = (slot.digest, slot.bytes);
        if let Some(place) = self.places.get(&digest).copied() {
            self.clear(place);
        }
        if bytes > self.capacity {
            return;
        }
        while self.bytes + bytes > self.capacity {
            self.evict(now);
        }
        let slot = Some(slot);
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(empty) = self.slots.get_mut(place) {
                    *empty = slot;
                }
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.places.insert(digest, place);
        self.bytes += bytes;
    }

    /// Moves the hand on; a token that was used since the hand was there last gets another round.
    fn evict(&mut self, now: u64) {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        let place = self.hand;
        match self.slots.get_mut(place) {
            Some(Some(slot)) if slot.used && slot.until >= now => slot.used = false,
            Some(Some(_)) => self.clear(place),
            _ => {}
        }
    }

    fn clear(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place).and_then(Option::take) {
            self.places.remove(&slot.digest);
            self.bytes -= slot.bytes;
            self.free.push(place);
        }
    }
}
