//! Outlier detection: endpoints that fail or lag where others do not are taken out for a while,
//! longer each time. The rules and their defaults are Envoy's; comparing latency is ours.
//!
//! Requests only count, without locks: [`Record`] is a part of an endpoint's state. What is decided
//! from the counts is decided here, with the time as an argument; what follows from it (who may be
//! ejected at all, and the balancer without it) is the pool's.

mod settings;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::settings::{
    FailurePercentageSettings, LatencySettings, OutlierSettings, SuccessRateSettings,
};

/// What became of a try, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The try was given up by nobody's fault.
    Canceled,
    /// No connection, a reset, or no answer in time.
    None,
    /// The head of a response with this status.
    Status(u16),
}

impl Answer {
    /// Whether the endpoint failed.
    #[must_use]
    pub const fn failed(self) -> bool {
        matches!(self, Self::None | Self::Status(500..))
    }

    const fn is_gateway_failure(self) -> bool {
        matches!(self, Self::None | Self::Status(502..=504))
    }
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many 5xx in a row.
    Consecutive5xx,
    /// Too many gateway failures in a row.
    ConsecutiveGatewayFailures,
    /// It fails too often.
    FailurePercentage,
    /// It takes longer than the others.
    Latency,
    /// It succeeds less often than the others.
    SuccessRate,
}

impl Cause {
    /// As logs, metrics and the admin API name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailures => "consecutive_gateway_failures",
            Self::FailurePercentage => "failure_percentage",
            Self::Latency => "latency",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// What one endpoint did lately.
#[derive(Debug, Default)]
pub(crate) struct Record {
    fails_5xx: AtomicU32,
    fails_gateway: AtomicU32,
    /// Requests of this interval, above those of them that failed: 32 bits each.
    counts: AtomicU64,
    /// The sum of their latencies, in microseconds.
    micros: AtomicU64,
    ejection: Mutex<Ejection>,
}

/// An endpoint's ejections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejection {
    /// How often it was out lately; each quiet interval takes one off.
    pub count: u32,
    /// Until when it is out; `None` if it is not.
    pub until: Option<Instant>,
    /// Why it was out last.
    pub cause: Option<Cause>,
}

/// The counts of one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    requests: u32,
    failures: u32,
    mean_micros: f64,
}

impl Record {
    /// Counts an answer; says whether the endpoint ought to be ejected for it.
    pub(crate) fn observe(
        &self,
        answer: Answer,
        took: Duration,
        settings: &OutlierSettings,
    ) -> Option<Cause> {
        if answer == Answer::Canceled {
            return None;
        }
        let failed = answer.failed();
        self.counts.fetch_add(1 << 32 | u64::from(failed), Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        let in_a_row_5xx = in_a_row(&self.fails_5xx, failed);
        let in_a_row_gateway = in_a_row(&self.fails_gateway, answer.is_gateway_failure());
        // Once per so many, so that one that cannot be ejected does not try at each request.
        let reaches =
            |count: u32, limit: u32| count > 0 && limit > 0 && count.is_multiple_of(limit);
        if reaches(in_a_row_gateway, settings.consecutive_gateway_failures) {
            Some(Cause::ConsecutiveGatewayFailures)
        } else if reaches(in_a_row_5xx, settings.consecutive_5xx) {
            Some(Cause::Consecutive5xx)
        } else {
            None
        }
    }

    /// Its ejections so far.
    pub(crate) fn ejection(&self) -> Ejection {
        *self.ejection.lock()
    }

    /// Takes it out, for longer the more often it was out lately; returns until when.
    pub(crate) fn eject(&self, cause: Cause, now: Instant, settings: &OutlierSettings) -> Instant {
        let mut ejection = self.ejection.lock();
        ejection.count = ejection.count.saturating_add(1);
        let time = settings.ejection_time.0.saturating_mul(ejection.count);
        let until = now + time.min(settings.max_ejection_time.0);
        ejection.until = Some(until);
        ejection.cause = Some(cause);
        until
    }

    /// Lets it in again, with a clean slate.
    pub(crate) fn readmit(&self) {
        self.ejection.lock().until = None;
        self.fails_5xx.store(0, Ordering::Relaxed);
        self.fails_gateway.store(0, Ordering::Relaxed);
        self.take();
    }

    /// A quiet interval is over.
    pub(crate) fn forgive(&self, now: Instant) {
        let mut ejection = self.ejection.lock();
        if ejection.until.is_none_or(|until| until <= now) {
            ejection.count = ejection.count.saturating_sub(1);
        }
    }

    /// Ends the interval.
    fn take(&self) -> Interval {
        let counts = self.counts.swap(0, Ordering::Relaxed);
        let micros = self.micros.swap(0, Ordering::Relaxed);
        let requests = u32::try_from(counts >> 32).unwrap_or(u32::MAX);
        let failures = u32::try_from(counts & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let mean_micros = micros as f64 / f64::from(requests.max(1));
        Interval { requests, failures, mean_micros }
    }
}

fn in_a_row(count: &AtomicU32, failed: bool) -> u32 {
    if failed {
        return count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    }
    // Reading is cheaper than writing, and a success after a success has nothing to write.
    if count.load(Ordering::Relaxed) != 0 {
        count.store(0, Ordering::Relaxed);
    }
    0
}

/// Ends the interval of all records and compares them; returns which ought to be ejected, worst
/// first.
pub(crate) fn compare(records: &[&Record], settings: &OutlierSettings) -> Vec<(usize, Cause)> {
    let intervals: Vec<Interval> = records.iter().map(|record| record.take()).collect();
    let mut found = Vec::new();
    if let Some(rule) = settings.failure_percentage {
        let limit = rule.threshold.fraction();
        let failing = |found: &Interval| failure_rate(found) >= limit;
        let counted = counted(&intervals, rule.min_endpoints, rule.min_requests);
        let mut worst: Vec<_> = counted.into_iter().filter(|(_, found)| failing(found)).collect();
        worst.sort_by(|(_, a), (_, b)| failure_rate(b).total_cmp(&failure_rate(a)));
        found.extend(worst.into_iter().map(|(at, _)| (at, Cause::FailurePercentage)));
    }
    if let Some(rule) = settings.success_rate {
        let counted = counted(&intervals, rule.min_endpoints, rule.min_requests);
        let rates = || counted.iter().map(|(_, found)| 1.0 - failure_rate(found));
        let count = counted.len().max(1) as f64;
        let mean = rates().sum::<f64>() / count;
        let variance = rates().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
        let limit = mean - rule.deviations * variance.sqrt();
        let mut worst: Vec<_> = counted.iter().zip(rates()).filter(|(_, r)| *r < limit).collect();
        worst.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        found.extend(worst.into_iter().map(|((at, _), _)| (*at, Cause::SuccessRate)));
    }
    if let Some(rule) = settings.latency {
        let mut counted = counted(&intervals, rule.min_endpoints, rule.min_requests);
        counted.sort_by(|(_, a), (_, b)| b.mean_micros.total_cmp(&a.mean_micros));
        let median = counted.get(counted.len() / 2).map_or(0.0, |(_, found)| found.mean_micros);
        let limit = (median * rule.factor).max(rule.at_least.0.as_secs_f64() * 1e6);
        let slow = counted.into_iter().filter(|(_, found)| found.mean_micros > limit);
        found.extend(slow.map(|(at, _)| (at, Cause::Latency)));
    }
    let mut seen = rustc_hash::FxHashSet::default();
    found.retain(|(at, _)| seen.insert(*at));
    found
}

/// The intervals with enough requests, if there are enough of them.
fn counted(
    intervals: &[Interval],
    min_endpoints: u32,
    min_requests: u32,
) -> Vec<(usize, Interval)> {
    let enough = |(_, found): &(usize, Interval)| found.requests >= min_requests.max(1);
    let counted: Vec<_> = intervals.iter().copied().enumerate().filter(enough).collect();
    if counted.len() < min_endpoints as usize { Vec::new() } else { counted }
}

fn failure_rate(interval: &Interval) -> f64 {
    f64::from(interval.failures) / f64::from(interval.requests.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(10);

    fn observe(record: &Record, answers: &[Answer]) -> Vec<Option<Cause>> {
        let settings = OutlierSettings::default();
        answers.iter().map(|answer| record.observe(*answer, TOOK, &settings)).collect()
    }

    #[test]
    fn failures_in_a_row_eject() {
        let record = Record::default();
        let bad = Answer::Status(500);
        assert_eq!(observe(&record, &[bad; 4]), [None; 4]);
        assert_eq!(observe(&record, &[Answer::Status(200), bad, bad, bad, bad]), [None; 5]);
        assert_eq!(observe(&record, &[Answer::Canceled]), [None]);
        assert_eq!(observe(&record, &[bad]), [Some(Cause::Consecutive5xx)]);
        let gateway = [Answer::None, Answer::Status(503), Answer::None, Answer::Status(504)];
        let record = Record::default();
        assert_eq!(observe(&record, &gateway), [None; 4]);
        let last = observe(&record, &[Answer::Status(502)]);
        assert_eq!(last, [Some(Cause::ConsecutiveGatewayFailures)]);
        assert_eq!(observe(&record, &[Answer::Status(501)]), [None], "not a gateway failure");
    }

    #[test]
    fn ejections_grow_and_are_forgiven() {
        let (record, settings) = (Record::default(), OutlierSettings::default());
        let now = tidegate_core::Clock::System.now();
        let seconds = |times: usize| {
            let mut last = Duration::ZERO;
            for _ in 0..times {
                last = record.eject(Cause::SuccessRate, now, &settings) - now;
                record.readmit();
            }
            last.as_secs()
        };
        assert_eq!((seconds(1), seconds(1), seconds(1)), (30, 60, 90));
        assert_eq!(seconds(20), 300);
        for _ in 0..22 {
            record.forgive(now);
        }
        assert_eq!(
            record.eject(Cause::SuccessRate, now, &settings) - now,
            2 * settings.ejection_time.0
        );
        record.forgive(now);
        assert_eq!(record.ejection().count, 2, "not while it is out");
    }

    /// Endpoints with so many requests, failures and milliseconds each.
    #[track_caller]
    fn check(settings: &str, endpoints: &[(u32, u32, u64)], expected: &[(usize, Cause)]) {
        let settings: OutlierSettings = serde_json::from_str(settings).unwrap();
        let records: Vec<Record> = endpoints
            .iter()
            .map(|(requests, failures, millis)| {
                let record = Record::default();
                for nth in 0..*requests {
                    let answer = Answer::Status(if nth < *failures { 500 } else { 200 });
                    record.observe(answer, Duration::from_millis(*millis), &settings);
                }
                record
            })
            .collect();
        let records: Vec<&Record> = records.iter().collect();
        assert_eq!(compare(&records, &settings), expected);
        assert_eq!(compare(&records, &settings), [], "the next interval is empty");
    }

    #[test]
    fn rates_are_compared() {
        let good = (200, 2, 10);
        check("{}", &[good, good, good, good, (200, 40, 10)], &[(4, Cause::SuccessRate)]);
        check("{}", &[good, good, good, good, (99, 40, 10)], &[]);
        check("{}", &[good, good, good, (200, 40, 10)], &[]);
        check(
            "{}",
            &[good, (60, 52, 10), good, (60, 60, 10), good],
            &[(3, Cause::FailurePercentage), (1, Cause::FailurePercentage)],
        );
        check(r#"{"success_rate":null}"#, &[good, good, good, good, (200, 40, 10)], &[]);
        let all: Vec<_> = (0..5).map(|at| (at, Cause::FailurePercentage)).collect();
        check("{}", &[(200, 200, 10); 5], &all);
    }

    #[test]
    fn latencies_are_compared() {
        let latency = r#"{"latency":{}}"#;
        check(latency, &[(50, 0, 20), (50, 0, 20), (50, 0, 150)], &[(2, Cause::Latency)]);
        check(latency, &[(50, 0, 20), (50, 0, 20), (50, 0, 90)], &[]);
        check(latency, &[(50, 0, 100), (50, 0, 100), (50, 0, 450)], &[]);
        check(latency, &[(50, 0, 20), (50, 0, 20), (9, 0, 900)], &[]);
        check("{}", &[(50, 0, 20), (50, 0, 20), (50, 0, 900)], &[]);
    }
}
