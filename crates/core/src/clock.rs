//! Time as an argument. Stateful code takes a [`Clock`] or an [`Instant`], so that a simulation
//! moves time by hand. This is the one place that reads the machine's clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Where the time comes from: the machine, or a test that moves it.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's monotonic and wall clocks.
    #[default]
    System,
    /// A clock that only [`ManualClock::advance`] moves.
    Manual(ManualClock),
}

impl Clock {
    /// The monotonic time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clocks' one home")]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Manual(clock) => clock.start + clock.elapsed(),
        }
    }

    /// The wall clock now, for time stamps that leave the process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clocks' one home")]
    pub fn wall(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Manual(clock) => clock.epoch + clock.elapsed(),
        }
    }
}

/// A clock for simulations; clones move together.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Instant,
    epoch: SystemTime,
    elapsed_nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands still, its wall time at the Unix epoch.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clocks' one home")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            epoch: SystemTime::UNIX_EPOCH,
            elapsed_nanos: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Moves the time forward, saturating after 584 years.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos.load(Ordering::Relaxed))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let manual = ManualClock::new();
        let clock = Clock::Manual(manual.clone());
        let before = clock.now();
        assert_eq!(clock.now(), before);
        manual.advance(Duration::from_millis(1500));
        assert_eq!(clock.now() - before, Duration::from_millis(1500));
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
    }
}
