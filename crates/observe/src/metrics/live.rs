//! Named series that live as long as somebody holds their handle.
//!
//! A snapshot holds the handles of its routes and upstreams. The next snapshot asks for them by
//! name while the old one still lives, and so goes on counting in the same series; what no
//! snapshot names any more is dropped, and vanishes from the next scrape.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

/// The label value that stands for everything beyond the cap. No id looks like it.
pub(super) const OTHER: &str = "(other)";

/// A bounded set of series by name.
#[derive(Debug)]
pub(super) struct Live<T> {
    cap: usize,
    members: Mutex<BTreeMap<Box<str>, Weak<T>>>,
    other: OnceLock<Arc<T>>,
    /// How often a name found no room.
    misses: AtomicU32,
}

/// When the set is full, it looks for dead members at one miss in so many: ten thousand routes
/// must not each walk over two thousand names.
const MISSES_PER_SEARCH: u32 = 64;

impl<T> Live<T> {
    /// A set of at most `cap` names.
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, members: Mutex::default(), other: OnceLock::new(), misses: AtomicU32::new(0) }
    }

    /// The series of this name, made if nobody holds it; the shared one beyond the cap.
    pub(super) fn handle(&self, name: &str, make: impl Fn(&str) -> T) -> Arc<T> {
        let mut members = self.members.lock();
        if let Some(known) = members.get(name).and_then(Weak::upgrade) {
            return known;
        }
        if members.len() >= self.cap
            && self.misses.fetch_add(1, Ordering::Relaxed).is_multiple_of(MISSES_PER_SEARCH)
        {
            members.retain(|_, member| member.strong_count() > 0);
        }
        if members.len() >= self.cap {
            return Arc::clone(self.other.get_or_init(|| Arc::new(make(OTHER))));
        }
        let made = Arc::new(make(name));
        members.insert(name.into(), Arc::downgrade(&made));
        made
    }

    /// All series that somebody holds, by name; forgets the others.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        let mut members = self.members.lock();
        members.retain(|_, member| member.strong_count() > 0);
        members.values().filter_map(Weak::upgrade).chain(self.other.get().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(live: &Live<String>) -> Vec<String> {
        live.all().iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_series_lives_while_it_is_held() {
        let live = Live::new(10);
        let first = live.handle("a", str::to_owned);
        let again = live.handle("a", str::to_owned);
        assert!(Arc::ptr_eq(&first, &again));
        drop(first);
        assert_eq!(names(&live), ["a"]);
        drop(again);
        assert!(names(&live).is_empty());
    }

    #[test]
    fn dead_members_make_room_without_a_scrape() {
        let live = Live::new(100);
        for round in 0..50 {
            let name = |n| format!("{round}-{n}");
            let held: Vec<_> = (0..100).map(|n| live.handle(&name(n), str::to_owned)).collect();
            let own = held.iter().filter(|member| member.as_str() != OTHER).count();
            assert!(own >= 100 - MISSES_PER_SEARCH as usize, "{own} in round {round}");
        }
    }

    #[test]
    fn names_beyond_the_cap_share_one_series() {
        let live = Live::new(2);
        let a = live.handle("a", str::to_owned);
        let _b = live.handle("b", str::to_owned);
        let c = live.handle("c", str::to_owned);
        let d = live.handle("d", str::to_owned);
        assert!(Arc::ptr_eq(&c, &d));
        assert_eq!(names(&live), ["a", "b", OTHER]);
        drop(a);
        assert_eq!(names(&live), ["b", OTHER], "which also makes room");
        let _e = live.handle("e", str::to_owned);
        assert_eq!(names(&live), ["b", "e", OTHER]);
    }
}
