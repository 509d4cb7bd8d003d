//! A sliding histogram of latencies that many threads fill and read without a lock.
//!
//! Two windows of [`WINDOW`] take turns: one is filled, the other still counts. A bucket is a
//! sixth of an octave, so that a quantile is off by at most 12 %.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a window is filled.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a quantile is believed before it is counted anew.
const BELIEVED: Duration = Duration::from_millis(100);
/// Fewer answers than this say nothing about a tail.
const ENOUGH: u64 = 50;
/// Buckets per doubling, and octaves from [`SHORTEST`] micros up: to about a minute.
const PER_OCTAVE: u32 = 6;
const OCTAVES: u32 = 20;
const SHORTEST: f64 = 64.0;
const BUCKETS: usize = (PER_OCTAVE * OCTAVES) as usize;

/// Latencies of the last one to two windows.
#[derive(Debug)]
pub struct Latencies {
    start: Instant,
    windows: [Window; 2],
    /// The quantile as of last, in micros; 0 if it was not known.
    known: AtomicU64,
    /// Milliseconds after `start` at which it was counted, and for which percentile.
    counted: AtomicU64,
}

#[derive(Debug)]
struct Window {
    /// Which window since the start this is.
    number: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

impl Latencies {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let window = |number| Window {
            number: AtomicU64::new(number),
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        };
        Self {
            start: now,
            windows: [window(0), window(1)],
            known: AtomicU64::new(0),
            counted: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes one latency.
    pub fn record(&self, latency: Duration, now: Instant) {
        let number = self.number(now);
        let Some(window) = self.window(number) else { return };
        let held = window.number.load(Ordering::Acquire);
        if held < number {
            // Who wins the exchange clears; what others count meanwhile may be lost.
            let turned =
                window.number.compare_exchange(held, number, Ordering::AcqRel, Ordering::Relaxed);
            if turned.is_ok() {
                window.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
            }
        }
        if let Some(bucket) = window.buckets.get(place(latency)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The latency that `percentile` percent of the answers stay below; `None` if too few were
    /// seen. It is counted every tenth of a second and remembered in between.
    #[must_use]
    pub fn quantile(&self, percentile: u8, now: Instant) -> Option<Duration> {
        let tick = now.saturating_duration_since(self.start).as_millis() / BELIEVED.as_millis();
        let key = u64::try_from(tick).unwrap_or(u64::MAX) << 8 | u64::from(percentile);
        if self.counted.load(Ordering::Acquire) != key {
            let micros = self.count(percentile, self.number(now));
            self.known.store(micros.unwrap_or(0), Ordering::Relaxed);
            self.counted.store(key, Ordering::Release);
        }
        match self.known.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    fn count(&self, percentile: u8, number: u64) -> Option<u64> {
        let live = |window: &&Window| window.number.load(Ordering::Acquire).abs_diff(number) <= 1;
        let live: Vec<&Window> = self.windows.iter().filter(live).collect();
        let at = |place: usize| -> u64 {
            let bucket = |window: &&Window| window.buckets.get(place).map(load).unwrap_or_default();
            live.iter().map(bucket).sum()
        };
        let total: u64 = (0..BUCKETS).map(at).sum();
        if total < ENOUGH {
            return None;
        }
        let wanted = (total * u64::from(percentile)).div_ceil(100);
        let mut seen = 0;
        (0..BUCKETS)
            .find(|place| {
                seen += at(*place);
                seen >= wanted
            })
            .map(upper_bound)
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / WINDOW.as_secs()
    }

    fn window(&self, number: u64) -> Option<&Window> {
        self.windows.get(usize::from(number % 2 == 1))
    }
}

fn load(bucket: &AtomicU32) -> u64 {
    bucket.load(Ordering::Relaxed).into()
}

/// The bucket of a latency.
fn place(latency: Duration) -> usize {
    let octave = (latency.as_secs_f64() * 1e6 / SHORTEST).max(1.0).log2();
    to_index(octave * f64::from(PER_OCTAVE)).min(BUCKETS - 1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates, and the place is not negative"
)]
fn to_index(place: f64) -> usize {
    place as usize
}

/// The upper bound of a bucket, in micros.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "there are 120 buckets, of at most 68 seconds"
)]
fn upper_bound(place: usize) -> u64 {
    (SHORTEST * ((place + 1) as f64 / f64::from(PER_OCTAVE)).exp2()) as u64
}

#[cfg(test)]
mod tests {
    use tidegate_core::Clock;

    use super::*;

    /// Whether `found` is within a bucket of `expected`.
    fn near(found: Option<Duration>, expected: Duration) -> bool {
        let found = found.unwrap_or_default().as_secs_f64();
        (0.88..1.13).contains(&(found / expected.as_secs_f64()))
    }

    #[test]
    fn a_quantile_is_right_to_a_bucket() {
        let now = Clock::System.now();
        for micros in [70, 333, 1_000, 25_000, 1_000_000, 30_000_000] {
            let latencies = Latencies::new(now);
            for number in 1..=100 {
                latencies.record(Duration::from_micros(micros * number / 95), now);
            }
            let expected = Duration::from_micros(micros);
            let found = latencies.quantile(95, now);
            assert!(near(found, expected), "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn what_is_long_past_does_not_count() {
        let start = Clock::System.now();
        let latencies = Latencies::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let fill = |millis, when| {
            for _ in 0..200 {
                latencies.record(Duration::from_millis(millis), when);
            }
        };
        fill(100, at(1));
        assert!(near(latencies.quantile(90, at(2)), Duration::from_millis(100)));
        fill(10, at(11));
        assert!(near(latencies.quantile(90, at(12)), Duration::from_millis(100)), "still counts");
        fill(10, at(21));
        assert!(near(latencies.quantile(90, at(22)), Duration::from_millis(10)));
        assert_eq!(latencies.quantile(90, at(90)), None, "nothing was seen for a minute");
    }

    #[test]
    fn few_answers_say_nothing_and_extremes_are_cut() {
        let now = Clock::System.now();
        let latencies = Latencies::new(now);
        latencies.record(Duration::ZERO, now);
        latencies.record(Duration::from_secs(1 << 40), now);
        assert_eq!(latencies.quantile(95, now), None);
    }
}
