//! The keys of one issuer as they are now, and when they may be fetched again. A reload keeps it
//! where the keys come from the same place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::jose::KeySet;

/// Keys that come and go. Times are seconds since 1970.
#[derive(Debug)]
pub struct KeyStore {
    keys: ArcSwapOption<KeySet>,
    /// When they were known to be the issuer's.
    fetched_at: AtomicU64,
    /// When somebody asked for them because of a key that is not there.
    asked_at: AtomicU64,
    max_stale: AtomicU64,
}

impl KeyStore {
    /// A store without keys, which are used for so many seconds after they were fetched.
    #[must_use]
    pub fn new(max_stale: u64) -> Self {
        Self {
            keys: ArcSwapOption::empty(),
            fetched_at: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            max_stale: AtomicU64::new(max_stale),
        }
    }

    /// Keys that never grow old: they are part of the configuration.
    #[must_use]
    pub fn fixed(keys: KeySet) -> Self {
        let store = Self::new(u64::MAX);
        store.replace(Arc::new(keys), 0);
        store
    }

    /// Replaces the keys, which were the issuer's at `now`.
    pub fn replace(&self, keys: Arc<KeySet>, now: u64) {
        self.keys.store(Some(keys));
        self.confirm(now);
    }

    /// Forgets the keys: who brought them is trusted no longer.
    pub fn clear(&self) {
        self.keys.store(None);
        self.fetched_at.store(0, Ordering::Release);
    }

    /// Notes that the keys were still the issuer's at `now`.
    pub fn confirm(&self, now: u64) {
        self.fetched_at.store(now, Ordering::Release);
    }

    /// The keys, unless they are too old.
    #[must_use]
    pub fn keys(&self, now: u64) -> Option<Arc<KeySet>> {
        let keys = self.keys.load_full()?;
        let age = now.saturating_sub(self.fetched_at.load(Ordering::Acquire));
        (age <= self.max_stale.load(Ordering::Relaxed)).then_some(keys)
    }

    /// When the keys were fetched last; 0 for never.
    #[must_use]
    pub fn fetched_at(&self) -> u64 {
        self.fetched_at.load(Ordering::Acquire)
    }

    /// Whether the last time that somebody asked for a fetch is `cool_down` seconds ago. Fetches
    /// that nobody asked for do not count: an issuer may change its keys right after one.
    #[must_use]
    pub fn has_cooled(&self, now: u64, cool_down: u64) -> bool {
        let last = self.asked_at.load(Ordering::Relaxed);
        last == 0 || now >= last.saturating_add(cool_down) || now < last
    }

    /// Asks for a fetch because of a key that is not there. Of those who ask at once, one is let
    /// through; nobody is within `cool_down` seconds of the last time.
    #[must_use]
    pub fn may_ask(&self, now: u64, cool_down: u64) -> bool {
        let last = self.asked_at.load(Ordering::Relaxed);
        let mine = |ask: &AtomicU64| {
            ask.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        self.has_cooled(now, cool_down) && mine(&self.asked_at)
    }
}
