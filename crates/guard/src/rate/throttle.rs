//! Tighter buckets for those whom a measure throttles: one bucket a target, whatever it asks for.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use tidegate_core::units::Rate;

use super::buckets::{Buckets, Gcra, nanos};

/// How many targets are counted apart; beyond it new ones share buckets, as those of limits do.
const MAX_KEYS: usize = 100_000;

/// The buckets of the throttled. They outlive a reload.
#[derive(Debug)]
pub struct Throttle {
    buckets: Buckets,
    hasher: RandomState,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { buckets: Buckets::new(MAX_KEYS), hasher: RandomState::new() }
    }
}

impl Throttle {
    /// Takes a token from the key's bucket, which refills at `rate` and holds `burst`.
    ///
    /// # Errors
    ///
    /// When the next token is there, if there is none now.
    pub fn take(
        &self,
        key: impl Hash,
        (rate, burst): (Rate, u32),
        now: Instant,
    ) -> Result<(), Duration> {
        let interval = nanos(rate.interval());
        let gcra = Gcra { interval, tolerance: interval.saturating_mul(u64::from(burst)) };
        let taken = self.buckets.take(self.hasher.hash_one(key), gcra, now);
        taken.wait.map_or(Ok(()), |wait| Err(Duration::from_nanos(wait)))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::clock::{Clock, ManualClock};

    use super::*;

    #[test]
    fn each_target_has_its_own_bucket() {
        let manual = ManualClock::new();
        let (throttle, clock) = (Throttle::default(), Clock::Manual(manual.clone()));
        let take = |key: &str| throttle.take(key, ("1/s".parse().unwrap(), 2), clock.now());
        assert!(take("a").is_ok() && take("a").is_ok() && take("b").is_ok());
        assert_eq!(take("a"), Err(Duration::from_secs(1)));
        manual.advance(Duration::from_secs(1));
        assert!(take("a").is_ok() && take("a").is_err());
    }
}
