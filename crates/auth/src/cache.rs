//! Tokens that were verified, by their SHA-256: bounded in bytes, and never believed longer than
//! the token or its key are. Whoever has no room waits for the clock's hand to find an old one.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::identity::Identity;
use crate::jose::Thumbprint;

/// Each has its own lock.
const SHARDS: usize = 16;
/// What an entry costs beside its identity: digest, slot, table and allocations.
const OVERHEAD: usize = 160;

/// A token that was verified.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) identity: Arc<Identity>,
    /// The key that signed it.
    pub(crate) key: Thumbprint,
    /// The last second in which it holds.
    pub(crate) until: u64,
}

/// The tokens of one issuer.
#[derive(Debug)]
pub(crate) struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Option<Slot>>,
    /// Where each token is among the slots.
    places: FxHashMap<[u8; 32], usize>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Slot {
    digest: [u8; 32],
    verified: Verified,
    bytes: usize,
    used: bool,
}

impl TokenCache {
    /// A cache of about so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let shard = || Mutex::new(Shard { capacity: bytes / SHARDS, ..Shard::default() });
        Self { shards: std::array::from_fn(|_| shard()) }
    }

    /// A token that was verified before; whether it still holds is the caller's to look at.
    pub(crate) fn find(&self, digest: &[u8; 32]) -> Option<Verified> {
        let mut shard = self.shard(digest)?.lock();
        let place = *shard.places.get(digest)?;
        let slot = shard.slots.get_mut(place)?.as_mut()?;
        slot.used = true;
        Some(slot.verified.clone())
    }

    /// Remembers a token.
    pub(crate) fn put(&self, digest: [u8; 32], verified: Verified, now: u64) {
        if let Some(shard) = self.shard(&digest) {
            shard.lock().put(digest, verified, now);
        }
    }

    /// Forgets a token.
    pub(crate) fn forget(&self, digest: &[u8; 32]) {
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

    fn shard(&self, digest: &[u8; 32]) -> Option<&Mutex<Shard>> {
        let [first, ..] = digest;
        self.shards.get(usize::from(*first) % SHARDS)
    }
}

impl Shard {
    fn put(&mut self, digest: [u8; 32], verified: Verified, now: u64) {
        if let Some(place) = self.places.get(&digest).copied() {
            self.clear(place);
        }
        let bytes = verified.identity.footprint() + OVERHEAD;
        if bytes > self.capacity {
            return;
        }
        while self.bytes + bytes > self.capacity {
            self.evict(now);
        }
        let slot = Some(Slot { digest, verified, bytes, used: false });
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
            Some(Some(slot)) if slot.used && slot.verified.until >= now => slot.used = false,
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
