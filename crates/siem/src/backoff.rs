//! The pause before something that failed is tried again.

use std::time::Duration;

/// Doubles with each failure up to a limit. Half of the pause is random, so that many nodes do not
/// come back to a receiver at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
    seed: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, failures: 0, seed }
    }

    /// The pause after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(self.random())
    }

    /// Forgets the failures.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// From 0 to 1: SplitMix64, which is plenty for a pause.
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let first = Duration::from_millis(100);
        let mut pauses = Vec::new();
        for seed in 0..50 {
            let mut backoff = Backoff::new(first, Duration::from_secs(1), seed);
            for whole in [100, 200, 400, 800, 1000, 1000] {
                let pause = backoff.failed().as_millis();
                assert!((whole / 2..=whole).contains(&pause), "{pause} of {whole}");
            }
            backoff.succeeded();
            pauses.push(backoff.failed());
            assert!(pauses.last() <= Some(&first));
        }
        pauses.dedup();
        assert!(pauses.len() > 40, "{pauses:?}");
    }
}
