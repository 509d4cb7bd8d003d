//! The places in the tarpit: a request that is held has one, and there are only so many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the requests that are held. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tarpit {
    held: Arc<AtomicU32>,
}

/// A request that is held, until this is dropped.
#[derive(Debug)]
pub struct Place {
    held: Arc<AtomicU32>,
}

impl Tarpit {
    /// A place, if fewer than `most` are taken.
    #[must_use]
    pub fn enter(&self, most: u32) -> Option<Place> {
        let place = Place { held: Arc::clone(&self.held) };
        // The place counts itself out again when it is dropped, also here.
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(place)
    }

    /// How many are held now.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_places_and_they_come_free() {
        let tarpit = Tarpit::default();
        let (first, second) = (tarpit.enter(2), tarpit.enter(2));
        assert!(first.is_some() && second.is_some() && tarpit.enter(2).is_none());
        assert_eq!(tarpit.held(), 2);
        drop(first);
        assert!(tarpit.enter(2).is_some());
        drop(second);
        assert_eq!(tarpit.held(), 0);
    }
}
