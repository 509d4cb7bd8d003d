//! How the sinks are: what they took, sent and lost, and how far behind they are.

use std::time::Duration;

use super::family::{Families, as_float};

/// How one sink is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkState {
    /// Its name in the configuration.
    pub name: String,
    /// Records that its filter and sampling let pass.
    pub taken: u64,
    /// Records that an earlier process left in its spool.
    pub recovered: u64,
    /// Records that its receiver took.
    pub sent: u64,
    /// Records that were written to its spool.
    pub spooled: u64,
    /// Attempts to send that failed.
    pub failures: u64,
    /// Records that were lost, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Records that wait, in memory and on the disk.
    pub waiting: u64,
    /// Memory that its queue uses, in bytes.
    pub queue_bytes: u64,
    /// What its spool takes on the disk, in bytes; `None` without a spool.
    pub spool_bytes: Option<u64>,
    /// The age of the oldest record that waits.
    pub lag: Duration,
    /// Whether the last attempt failed.
    pub failing: bool,
}

/// A counter or gauge of a sink.
type Value = fn(&SinkState) -> u64;

const COUNTERS: [(&str, &str, Value); 5] = [
    ("tidegate_sink_taken_total", "Records that the sink's filter let pass.", |s| s.taken),
    (
        "tidegate_sink_recovered_total",
        "Records of an earlier process that were found in the sink's spool and sent or dropped.",
        |s| s.recovered,
    ),
    ("tidegate_sink_sent_total", "Records that the receiver took.", |s| s.sent),
    ("tidegate_sink_spooled_total", "Records that were written to the sink's spool.", |s| {
        s.spooled
    }),
    ("tidegate_sink_failures_total", "Attempts to send that failed.", |s| s.failures),
];

const GAUGES: [(&str, &str, Value); 3] = [
    ("tidegate_sink_waiting", "Records that wait, in memory and in the spool.", |s| s.waiting),
    ("tidegate_sink_queue_bytes", "Memory that the sink's queue uses.", |s| s.queue_bytes),
    ("tidegate_sink_failing", "Whether the last attempt to send failed.", |s| s.failing.into()),
];

/// Shows the sinks.
pub(super) fn show(sinks: &[SinkState], families: &mut Families) {
    for (name, help, value) in COUNTERS {
        families.counters(name, help, |family| {
            for sink in sinks {
                family.counter(&[("sink", &sink.name)], value(sink));
            }
        });
    }
    for (name, help, value) in GAUGES {
        families.gauges(name, help, |family| {
            for sink in sinks {
                family.gauge(&[("sink", &sink.name)], as_float(value(sink)));
            }
        });
    }
    families.counters("tidegate_sink_dropped_total", "Records that were lost, by reason.", |f| {
        for sink in sinks {
            for (reason, count) in &sink.dropped {
                f.counter(&[("sink", &sink.name), ("reason", reason)], *count);
            }
        }
    });
    let help = "What the sink's spool takes on the disk.";
    families.gauges("tidegate_sink_spool_bytes", help, |family| {
        for sink in sinks {
            if let Some(bytes) = sink.spool_bytes {
                family.gauge(&[("sink", &sink.name)], as_float(bytes));
            }
        }
    });
    let help = "The age of the oldest record that waits.";
    families.gauges("tidegate_sink_lag_seconds", help, |family| {
        for sink in sinks {
            family.gauge(&[("sink", &sink.name)], sink.lag.as_secs_f64());
        }
    });
}
