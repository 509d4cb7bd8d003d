//! What becomes of the spans of requests.

use super::family::{Families, as_float};

/// How the sending of spans is, at a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceSample {
    /// Spans that a collector took.
    pub sent: u64,
    /// Spans that were lost, by why.
    pub dropped: [(&'static str, u64); 3],
    /// Calls that failed.
    pub failures: u64,
    /// Whether the last call failed.
    pub failing: bool,
    /// Requests whose spans wait.
    pub waiting: usize,
    /// Bytes that wait in memory.
    pub queued_bytes: usize,
}

pub(super) fn show(sample: &TraceSample, families: &mut Families) {
    families.counter(
        "tidegate_trace_spans_sent_total",
        "Spans that a collector took.",
        sample.sent,
    );
    let (name, help) = ("tidegate_trace_spans_dropped_total", "Spans that were lost, by why.");
    families.counters(name, help, |family| {
        for (reason, count) in sample.dropped {
            family.counter(&[("reason", reason)], count);
        }
    });
    let (name, help) =
        ("tidegate_trace_export_failures_total", "Calls of the collector that failed.");
    families.counter(name, help, sample.failures);
    let gauges = [
        (
            "tidegate_trace_failing",
            "1 if the collector did not take the last spans.",
            f64::from(u8::from(sample.failing)),
        ),
        (
            "tidegate_trace_queue_requests",
            "Requests whose spans wait.",
            as_float(sample.waiting as u64),
        ),
        (
            "tidegate_trace_queue_bytes",
            "Bytes of spans that wait in memory.",
            as_float(sample.queued_bytes as u64),
        ),
    ];
    for (name, help, value) in gauges {
        families.gauge(name, help, value);
    }
}
