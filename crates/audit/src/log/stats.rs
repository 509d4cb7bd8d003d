//! What a log counts of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::options::Published;

/// Upper bounds of the latency's buckets, in microseconds.
const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
];

/// What a log says of itself. Counters start with the process.
#[derive(Clone, Debug)]
pub struct Stats {
    /// How it is.
    pub health: Health,
    /// Records that are synced, since the beginning of the log.
    pub size: u64,
    /// Records that were synced, since it was opened.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that were not taken: too long, no room, stopped.
    pub refused: u64,
    /// Records that were taken and then had no room on the disk, or met a failure.
    pub lost: u64,
    /// Syncs of the write-ahead log, one for each group.
    pub groups: u64,
    /// Records that wait for their sync.
    pub pending_records: u64,
    /// Bytes in memory, as `max_pending` counts them.
    pub pending_bytes: u64,
    /// How long the oldest of those that wait does so.
    pub pending_for: Option<Duration>,
    /// From append to sync.
    pub commit_latency: Latency,
    /// How often the disk was full.
    pub no_space: u64,
    /// The last checkpoint.
    pub checkpoint: Published,
    /// Records with a lower index were removed.
    pub minimum: u64,
}

/// How a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Records are taken.
    Good,
    /// Records are refused until there is room again.
    NoSpace,
    /// It stopped, for this reason.
    Failed(Arc<str>),
    /// It was closed.
    Closed,
}

/// A histogram of durations.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Upper bounds, each with how many lasted at most so long.
    pub buckets: Vec<(Duration, u64)>,
    /// How many there were.
    pub count: u64,
    /// All together.
    pub sum: Duration,
}

impl Stats {
    /// Records that no checkpoint covers yet.
    #[must_use]
    pub const fn lag(&self) -> u64 {
        self.size.saturating_sub(self.checkpoint.size)
    }
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) size: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) no_space: AtomicU64,
    pub(crate) minimum: AtomicU64,
    latency: [AtomicU64; BOUNDS.len() + 1],
    latency_micros: AtomicU64,
}

impl Counters {
    /// Notes how long a record waited for its sync.
    pub(crate) fn committed_after(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.latency.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.latency_micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn latency(&self) -> Latency {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (place, within) in self.latency.iter().enumerate() {
            count += within.load(Relaxed);
            if let Some(bound) = BOUNDS.get(place) {
                buckets.push((Duration::from_micros(*bound), count));
            }
        }
        Latency { buckets, count, sum: Duration::from_micros(self.latency_micros.load(Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_that_lasted_no_longer() {
        let counters = Counters::default();
        for micros in [1, 100, 101, 9_999, 60_000_000] {
            counters.committed_after(Duration::from_micros(micros));
        }
        let latency = counters.latency();
        assert_eq!(latency.buckets[0], (Duration::from_micros(100), 2));
        assert_eq!(latency.buckets[1].1, 3);
        assert_eq!(latency.buckets[6], (Duration::from_millis(10), 4));
        assert_eq!((latency.count, latency.sum), (5, Duration::from_micros(60_010_201)));
    }
}
