//! Leaky buckets: each event adds one, time takes away. A bucket is stored as the moment at which
//! it will be empty, so that it needs no looking after.

use super::table::Slot;

/// What a rule allows, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaky {
    /// How long one event takes to leak.
    pub(super) interval: u64,
    /// How long a full bucket takes.
    pub(super) full: u64,
}

/// One key's bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    key: u64,
    empty_at: u64,
    since: u64,
    count: u64,
}

/// How much was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    /// How many events counted.
    pub(super) count: u64,
    /// When the first of them was.
    pub(super) since: u64,
}

impl Bucket {
    pub(super) fn new(key: u64, now: u64) -> Self {
        Self { key, empty_at: now, since: now, count: 0 }
    }

    /// Adds an event; a bucket that runs over is empty after that.
    pub(super) fn add(&mut self, leaky: Leaky, now: u64) -> Option<TooMany> {
        if self.empty_at <= now {
            *self = Self::new(self.key, now);
        }
        self.count += 1;
        self.empty_at = self.empty_at.saturating_add(leaky.interval);
        if self.empty_at - now <= leaky.full {
            return None;
        }
        let too_many = TooMany { count: self.count, since: self.since };
        *self = Self::new(self.key, now);
        Some(too_many)
    }
}

impl Slot for Bucket {
    fn key(&self) -> u64 {
        self.key
    }

    fn weight(&self, now: u64) -> u64 {
        self.empty_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_event_after_a_full_bucket_is_too_many() {
        let leaky = Leaky { interval: SECOND, full: 3 * SECOND };
        let mut bucket = Bucket::new(1, 0);
        let added: Vec<_> = (0..4).map(|_| bucket.add(leaky, SECOND)).collect();
        let over = Some(TooMany { count: 4, since: SECOND });
        assert_eq!(added, [None, None, None, over]);
        assert_eq!(bucket.add(leaky, SECOND), None);
    }

    #[test]
    fn at_the_speed_of_the_leak_nothing_runs_over() {
        let leaky = Leaky { interval: SECOND, full: 2 * SECOND };
        let mut bucket = Bucket::new(1, 0);
        assert!((0..1_000).all(|second| bucket.add(leaky, second * SECOND).is_none()));
    }

    proptest! {
        /// Whatever comes when, it runs over exactly if a bucket that is counted by hand does.
        #[test]
        fn it_is_a_bucket(
            gaps in prop::collection::vec(0_u64..40, 1..200),
            capacity in 1_u64..10,
        ) {
            let leaky = Leaky { interval: 10, full: 10 * capacity };
            let (mut bucket, mut now, mut level) = (Bucket::new(1, 0), 0, 0_u64);
            for gap in gaps {
                now += gap;
                level = level.saturating_sub(gap) + 10;
                let over = level > 10 * capacity;
                prop_assert_eq!(bucket.add(leaky, now).is_some(), over);
                if over {
                    level = 0;
                }
            }
        }
    }
}
