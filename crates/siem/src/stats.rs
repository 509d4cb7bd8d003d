//! What a sink counts. `taken + recovered = sent + dropped + waiting`, at any time but for what is
//! just being moved.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a record was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It could not be read from the spool any more.
    Damaged,
    /// The queue had no room.
    QueueFull,
    /// The receiver does not accept it.
    Refused,
    /// The sink was taken out of the configuration before it was sent.
    Removed,
    /// The queue had no room, since the spool had none.
    SpoolFull,
    /// The process ended before it was sent.
    Stopped,
}

impl Dropped {
    /// Every reason, alphabetically; `reason as usize` indexes it.
    pub const ALL: [Self; 6] = [
        Self::Damaged,
        Self::QueueFull,
        Self::Refused,
        Self::Removed,
        Self::SpoolFull,
        Self::Stopped,
    ];

    /// The stable name, as metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Removed => "removed",
            Self::SpoolFull => "spool_full",
            Self::Stopped => "stopped",
        }
    }
}

/// What a sink counts, while it runs.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) taken: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) spooled: AtomicU64,
    pub(crate) failures: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// Records in the spool that are this process's own.
    pub(crate) on_disk: AtomicU64,
    /// When the oldest of the records that are just being sent happened, in microseconds; 0 if
    /// none is.
    sending_since: AtomicU64,
    pub(crate) spool_is_full: AtomicBool,
    pub(crate) failing: AtomicBool,
}

/// How a sink is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkSample {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind, such as `syslog`.
    pub kind: &'static str,
    /// Records that its filter and sampling let pass.
    pub taken: u64,
    /// Records that were found in its spool, left by an earlier process.
    pub recovered: u64,
    /// Records that its receiver took.
    pub sent: u64,
    /// Records that were written to its spool.
    pub spooled: u64,
    /// Attempts to send that failed.
    pub failures: u64,
    /// Records that were lost, by reason.
    pub dropped: [u64; Dropped::ALL.len()],
    /// Records that wait, in memory and on the disk.
    pub waiting: u64,
    /// Memory that the queue uses, in bytes.
    pub queue_bytes: u64,
    /// What the spool takes on the disk, in bytes; `None` without a spool.
    pub spool_bytes: Option<u64>,
    /// The age of the oldest record that waits.
    pub lag: Duration,
    /// Whether the last attempt failed.
    pub failing: bool,
}

impl SinkSample {
    /// What stays when its pipe has ended: counters, and nothing that describes the present. What
    /// is left in a spool waits for another process.
    pub(crate) fn at_rest(self) -> Self {
        Self {
            waiting: 0,
            queue_bytes: 0,
            spool_bytes: None,
            lag: Duration::ZERO,
            failing: false,
            ..self
        }
    }

    /// Adds what another pipe of the same sink counts.
    pub(crate) fn add(&mut self, other: &Self) {
        let counters = [
            (&mut self.taken, other.taken),
            (&mut self.recovered, other.recovered),
            (&mut self.sent, other.sent),
            (&mut self.spooled, other.spooled),
            (&mut self.failures, other.failures),
            (&mut self.waiting, other.waiting),
            (&mut self.queue_bytes, other.queue_bytes),
        ];
        let lost = self.dropped.iter_mut().zip(other.dropped);
        for (own, others) in counters.into_iter().chain(lost) {
            *own += others;
        }
        self.spool_bytes = match (self.spool_bytes, other.spool_bytes) {
            (Some(own), Some(others)) => Some(own + others),
            (own, others) => own.or(others),
        };
        self.lag = self.lag.max(other.lag);
        self.failing |= other.failing;
    }
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, why: Dropped, count: usize) {
        if let Some(counter) = self.dropped.get(why as usize) {
            Self::add(counter, count);
        }
    }

    /// Records of ours are no longer in the spool.
    pub(crate) fn left_disk(&self, count: usize) {
        let take = |waiting: u64| Some(waiting.saturating_sub(count as u64));
        let (Ok(_) | Err(_)) =
            self.on_disk.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
    }

    pub(crate) fn sending(&self, oldest: Option<SystemTime>) {
        let micros = oldest.map_or(0, |time| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1)
        });
        self.sending_since.store(micros, Ordering::Relaxed);
    }

    /// The time of the oldest record that is just being sent.
    pub(crate) fn sending_since(&self) -> Option<SystemTime> {
        let micros = self.sending_since.load(Ordering::Relaxed);
        (micros > 0).then(|| UNIX_EPOCH + Duration::from_micros(micros))
    }

    /// The counters; what waits is filled in by whoever knows.
    pub(crate) fn sample(&self) -> SinkSample {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SinkSample {
            taken: read(&self.taken),
            recovered: read(&self.recovered),
            sent: read(&self.sent),
            spooled: read(&self.spooled),
            failures: read(&self.failures),
            dropped: std::array::from_fn(|index| self.dropped.get(index).map_or(0, read)),
            waiting: read(&self.on_disk),
            failing: self.failing.load(Ordering::Relaxed),
            ..SinkSample::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_indexes_the_list_of_all() {
        for (index, why) in Dropped::ALL.iter().enumerate() {
            assert_eq!(*why as usize, index);
        }
        assert!(Dropped::ALL.is_sorted_by_key(|why| why.name()));
    }
}
