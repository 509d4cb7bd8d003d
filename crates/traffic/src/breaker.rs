//! A circuit breaker for a whole pool: while most requests fail, it refuses them at once, so that
//! callers do not wait for what is broken, and what is broken can recover. After a pause it is half
//! open: a few probes pass, and their outcome decides.
//!
//! Everything is counted in atomics; time is an argument, in milliseconds since some beginning.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::{Percent, Span};

/// Refuses requests while most of them fail, and probes when that is over.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BreakerSettings {
    /// The share of failed tries that opens it: 5xx, or no answer. Default: 50%. A reload applies
    /// it.
    pub failures: Percent,
    /// Tries in a window, without which it stays closed. Default: 20. A reload applies it.
    pub min_requests: u32,
    /// How long failures are counted together. Default: 10s. A reload applies it.
    pub window: Span,
    /// How long it refuses everything. Default: 5s. A reload applies it.
    pub open: Span,
    /// Requests that may pass at the same time when it is half open. Default: 1. A reload applies
    /// it.
    pub probes: u32,
    /// Probes that must succeed to close it. Default: 3. A reload applies it.
    pub successes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: Percent::new(50),
            min_requests: 20,
            window: Span::seconds(10),
            open: Span::seconds(5),
            probes: 1,
            successes: 3,
        }
    }
}

impl BreakerSettings {
    /// What cannot be used, with paths relative to `breaker`.
    pub(crate) fn check(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        for (name, span) in [("window", self.window), ("open", self.open)] {
            if span.0.is_zero() {
                errors.push(SettingsError::new([name], format!("{name} must be longer than 0")));
            }
        }
        let counts = [
            ("min_requests", self.min_requests),
            ("probes", self.probes),
            ("successes", self.successes),
        ];
        for (name, count) in counts {
            if count == 0 {
                errors.push(SettingsError::new([name], format!("{name} must be above 0")));
            }
        }
        if self.failures.basis_points() == 0 {
            errors.push(SettingsError::new(["failures"], "0% would never let anything pass"));
        }
        errors
    }
}

/// The breaker of one pool.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// 0 if it is closed; otherwise until when it refuses, after which it is half open.
    until: AtomicU64,
    window_end: AtomicU64,
    /// Tries of this window, above those of them that failed: 32 bits each.
    counts: AtomicU64,
    probing: AtomicU32,
    successes: AtomicU32,
}

/// Whether a try may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It is closed.
    Free,
    /// Half open, and this is one of the probes: [`Breaker::probed`] or [`Breaker::give_up`] has
    /// to follow.
    Probe,
    /// Refused; it may change after so long.
    Refused(Duration),
}

/// What state a pool's breaker is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All tries pass.
    Closed,
    /// Probes pass.
    HalfOpen,
    /// None pass.
    Open,
}

impl BreakerState {
    /// As metrics and the admin API name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl Breaker {
    pub(crate) fn state(&self, now: u64) -> BreakerState {
        match self.until.load(Ordering::Relaxed) {
            0 => BreakerState::Closed,
            until if now < until => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    pub(crate) fn admit(&self, settings: &BreakerSettings, now: u64) -> Pass {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return Pass::Free;
        }
        if now < until {
            return Pass::Refused(Duration::from_millis(until - now));
        }
        let more = |probing: u32| (probing < settings.probes).then_some(probing + 1);
        match self.probing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_before) => Pass::Probe,
            Err(_enough) => Pass::Refused(settings.open.0),
        }
    }

    /// A probe was given up.
    pub(crate) fn give_up(&self) {
        self.probing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes the outcome of a probe; says whether it changed the state.
    pub(crate) fn probed(
        &self,
        failed: bool,
        settings: &BreakerSettings,
        now: u64,
    ) -> Option<BreakerState> {
        self.give_up();
        if now < self.until.load(Ordering::Relaxed) {
            // Another probe failed meanwhile.
            return None;
        }
        if failed {
            self.open(settings, now);
            return Some(BreakerState::Open);
        }
        let good = self.successes.fetch_add(1, Ordering::Relaxed) + 1;
        if good < settings.successes {
            return None;
        }
        self.counts.store(0, Ordering::Relaxed);
        let closed = self.until.swap(0, Ordering::Relaxed) != 0;
        closed.then_some(BreakerState::Closed)
    }

    /// Takes the outcome of a try that passed freely; says whether it opened the breaker.
    pub(crate) fn observe(
        &self,
        failed: bool,
        settings: &BreakerSettings,
        now: u64,
    ) -> Option<BreakerState> {
        let end = self.window_end.load(Ordering::Relaxed);
        if now >= end {
            let next = now.saturating_add(millis(settings.window.0));
            let begun =
                self.window_end.compare_exchange(end, next, Ordering::Relaxed, Ordering::Relaxed);
            if begun.is_ok() {
                self.counts.store(0, Ordering::Relaxed);
            }
        }
        let one = 1 << 32 | u64::from(failed);
        let counts = self.counts.fetch_add(one, Ordering::Relaxed).wrapping_add(one);
        let (tries, failures) = (counts >> 32, counts & u64::from(u32::MAX));
        let limit = tries * u64::from(settings.failures.basis_points());
        let opens =
            failed && tries >= u64::from(settings.min_requests) && failures * 10_000 >= limit;
        if !opens || self.until.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.open(settings, now);
        Some(BreakerState::Open)
    }

    fn open(&self, settings: &BreakerSettings, now: u64) {
        self.successes.store(0, Ordering::Relaxed);
        let until = now.saturating_add(millis(settings.open.0)).max(1);
        self.until.store(until, Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at: u64) -> (Breaker, BreakerSettings) {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        let turned: Vec<_> =
            (0..20).filter_map(|nth| breaker.observe(nth % 2 == 1, &settings, at)).collect();
        assert_eq!(turned, [BreakerState::Open], "at the twentieth");
        (breaker, settings)
    }

    #[test]
    fn open_it_refuses() {
        let (breaker, settings) = opened(100);
        assert_eq!(breaker.observe(true, &settings, 100), None, "it is open already");
        assert_eq!(breaker.admit(&settings, 1_100), Pass::Refused(Duration::from_secs(4)));
        assert_eq!(breaker.state(5_099), BreakerState::Open);
    }

    #[test]
    fn half_open_it_probes_until_one_fails() {
        let (breaker, settings) = opened(100);
        assert_eq!(breaker.admit(&settings, 5_100), Pass::Probe);
        assert_eq!(breaker.admit(&settings, 5_100), Pass::Refused(Duration::from_secs(5)));
        breaker.give_up();
        assert_eq!(breaker.admit(&settings, 5_200), Pass::Probe);
        assert_eq!(breaker.probed(true, &settings, 5_300), Some(BreakerState::Open));
        assert_eq!(breaker.state(5_300), BreakerState::Open);
    }

    #[test]
    fn a_probe_that_comes_late_does_not_close_what_another_one_opened() {
        let (breaker, settings) = opened(100);
        let settings = BreakerSettings { probes: 2, successes: 1, ..settings };
        assert_eq!(breaker.admit(&settings, 5_100), Pass::Probe);
        assert_eq!(breaker.admit(&settings, 5_100), Pass::Probe);
        assert_eq!(breaker.probed(true, &settings, 5_200), Some(BreakerState::Open));
        assert_eq!(breaker.probed(false, &settings, 5_300), None);
        assert_eq!(breaker.state(5_300), BreakerState::Open);
        assert_eq!(breaker.admit(&settings, 10_200), Pass::Probe, "none is left over");
    }

    #[test]
    fn successful_probes_close_it() {
        let (breaker, settings) = opened(100);
        for expected in [None, None, Some(BreakerState::Closed)] {
            assert_eq!(breaker.state(11_000), BreakerState::HalfOpen);
            assert_eq!(breaker.admit(&settings, 11_000), Pass::Probe);
            assert_eq!(breaker.probed(false, &settings, 11_000), expected);
        }
        assert_eq!(breaker.admit(&settings, 11_000), Pass::Free);
        assert_eq!(breaker.observe(true, &settings, 11_000), None, "it counts anew");
    }

    #[test]
    fn failures_of_old_windows_do_not_count() {
        let (breaker, settings) = (Breaker::default(), BreakerSettings::default());
        for _ in 0..19 {
            assert_eq!(breaker.observe(true, &settings, 100), None);
        }
        assert_eq!(breaker.observe(true, &settings, 10_100), None);
    }
}
