//! The cheaper of two random endpoints, by how long they take: peak EWMA, as Finagle has it.
//!
//! An endpoint costs what it took lately, times the requests that would be on it with this one.
//! What it took is a moving average that decays with time, not with the number of samples, and
//! that jumps to any peak at once: an endpoint that turns slow is avoided after one response, and
//! asked again as the peak decays. Time is an argument.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::sampler::Sampler;
use super::{Algorithm, Balancer, Choice};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "peak_ewma",
    summary: "The quicker of two random endpoints, by recent latency, requests in flight and \
        weight. Avoids slow endpoints soonest.",
    build: |candidates| Box::new(PeakEwma { sampler: Sampler::new(candidates.weights) }),
};

/// The time in which a peak decays to 1/e.
const WINDOW_MILLIS: f32 = 10_000.0;
/// What an endpoint costs per request in flight that has never answered: more than any that has.
const PENALTY_MICROS: f32 = 1e12;
/// Smaller differences are none: an average decays until the next sample, so that those with few
/// requests, which are the light ones, would always be a little cheaper.
const MARGIN: f32 = 1.1;
/// Failures count as at least this, and as the window at most.
const FAILURE_MICROS: f32 = 10_000.0;

/// What an endpoint takes to answer, as samples tell: a lock-free moving average.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Where `at` counts from: the first sample's time.
    born: OnceLock<Instant>,
    /// The average in microseconds, as the bits of an `f32`, above the milliseconds since `born`
    /// of the last sample. Zero without a sample.
    state: AtomicU64,
}

impl Cost {
    pub(crate) const fn new() -> Self {
        Self { born: OnceLock::new(), state: AtomicU64::new(0) }
    }

    /// Takes the time from sending a request to the head of its response. A failure counts as
    /// twice the average or more, so that an endpoint that fails quickly does not attract load.
    pub(crate) fn record(&self, latency: Duration, failed: bool, now: Instant) {
        let at = self.millis(now);
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (micros, last) = unpack(state);
            let mut sample = (latency.as_secs_f32() * 1e6).max(1.0);
            if failed {
                sample = sample.max((micros * 2.0).clamp(FAILURE_MICROS, WINDOW_MILLIS * 1e3));
            }
            let keep = decay(at.wrapping_sub(last));
            let next = if sample > micros { sample } else { micros * keep + sample * (1.0 - keep) };
            let next = pack(next, if is_later(at, last) { at } else { last });
            if next == state {
                return;
            }
            match self.state.compare_exchange_weak(
                state,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(found) => state = found,
            }
        }
    }

    /// The average now in microseconds, decayed since the last sample; `None` without a sample.
    pub(crate) fn micros(&self, now: Instant) -> Option<f32> {
        let (micros, last) = unpack(self.state.load(Ordering::Relaxed));
        (micros > 0.0).then(|| micros * decay(self.millis(now).wrapping_sub(last)))
    }

    /// Milliseconds since `born`, which wrap after 49 days.
    fn millis(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(*self.born.get_or_init(|| now)).as_millis();
        u32::try_from(since & u128::from(u32::MAX)).unwrap_or_default()
    }
}

fn pack(micros: f32, at: u32) -> u64 {
    u64::from(micros.to_bits()) << 32 | u64::from(at)
}

fn unpack(state: u64) -> (f32, u32) {
    let high = u32::try_from(state >> 32).unwrap_or_default();
    let low = u32::try_from(state & u64::from(u32::MAX)).unwrap_or_default();
    (f32::from_bits(high), low)
}

/// What is left of an average after so many milliseconds; all of it if they are negative, since
/// threads may tell about their samples in another order than they took them.
fn decay(millis: u32) -> f32 {
    match i32::try_from(millis) {
        Ok(0) | Err(_) => 1.0,
        Ok(millis) => (-(millis as f32) / WINDOW_MILLIS).exp(),
    }
}

fn is_later(at: u32, last: u32) -> bool {
    i32::try_from(at.wrapping_sub(last)).is_ok()
}

#[derive(Debug)]
struct PeakEwma {
    sampler: Sampler,
}

impl Balancer for PeakEwma {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.sampler.draw_cheaper(choice, MARGIN, |endpoint, in_flight| {
            match endpoint.latency(choice.now) {
                Some(micros) => micros * (in_flight + 1.0),
                // The first request finds out; until it did, all others go where more is known.
                None => PENALTY_MICROS * in_flight,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::algorithms::Balance;
    use crate::algorithms::testing::{build, choice, endpoints, tally};
    use crate::endpoint::Lease;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[track_caller]
    fn check(cost: &Cost, now: Instant, expected: f32) {
        let found = cost.micros(now).unwrap() / 1e3;
        assert!((found - expected).abs() < expected / 100.0, "{found} ms instead of {expected}");
    }

    #[test]
    fn the_average_jumps_to_peaks_and_decays_with_time() {
        let (cost, start) = (Cost::new(), tidegate_core::Clock::System.now());
        assert_eq!(cost.micros(start), None);
        cost.record(millis(10), false, start);
        check(&cost, start, 10.0);
        cost.record(millis(100), false, start + millis(1));
        check(&cost, start + millis(1), 100.0);
        // One window later a 37th of the peak is left, and the new sample makes up the rest.
        cost.record(millis(10), false, start + millis(10_001));
        check(&cost, start + millis(10_001), 100.0 * 0.3679 + 10.0 * 0.6321);
        check(&cost, start + millis(20_001), (100.0 * 0.3679 + 10.0 * 0.6321) * 0.3679);
        cost.record(millis(1), false, start);
        check(&cost, start + millis(20_001), (100.0 * 0.3679 + 10.0 * 0.6321) * 0.3679);
    }

    #[test]
    fn quick_failures_do_not_look_quick() {
        let (cost, start) = (Cost::new(), tidegate_core::Clock::System.now());
        cost.record(millis(40), false, start);
        cost.record(millis(1), true, start);
        check(&cost, start, 80.0);
        for _ in 0..20 {
            cost.record(millis(1), true, start);
        }
        check(&cost, start, 10_000.0);
    }

    #[test]
    fn shares_of_equals_follow_the_weights() {
        let endpoints = endpoints(&[1, 2, 5]);
        let now = tidegate_core::Clock::System.now();
        for endpoint in &endpoints {
            endpoint.record_latency(millis(10), false, now);
        }
        let counts = tally(&*build(ALGORITHM, &endpoints, &Balance::PeakEwma), &endpoints, 80_000);
        for (count, wanted) in counts.iter().zip([10_000_u32, 20_000, 50_000]) {
            assert!(count.abs_diff(wanted) < wanted / 50, "{counts:?}");
        }
    }

    #[test]
    fn slow_endpoints_are_avoided() {
        let endpoints = endpoints(&[1; 4]);
        let now = tidegate_core::Clock::System.now();
        for (endpoint, latency) in endpoints.iter().zip([10, 10, 10, 500]) {
            endpoint.record_latency(millis(latency), false, now);
        }
        let counts = tally(&*build(ALGORITHM, &endpoints, &Balance::PeakEwma), &endpoints, 40_000);
        assert!(counts[3] < 100 && counts[0] > 12_000, "{counts:?}");
    }

    #[test]
    fn an_endpoint_without_samples_gets_one_request() {
        let endpoints = endpoints(&[1; 2]);
        let now = tidegate_core::Clock::System.now();
        endpoints[0].record_latency(millis(10), false, now);
        let balancer = build(ALGORITHM, &endpoints, &Balance::PeakEwma);
        let (turns, shared) = (AtomicU64::new(0), Arc::default());
        let leases: Vec<Lease> = (0..20)
            .map(|round| {
                let choice = choice(&endpoints, &turns, 0, crate::random::mix(round));
                Lease::new(&endpoints[balancer.pick(&choice).unwrap()], &shared)
            })
            .collect();
        assert_eq!(leases.len(), 20);
        assert_eq!(endpoints[1].in_flight(), 1);
    }
}
