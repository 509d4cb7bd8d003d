//! The audit log. It counts itself; whoever serves a scrape hands its figures over.

use std::time::Duration;

use prometheus::proto::{Bucket, Histogram, Metric};

use super::family::{Families, Family, as_float};

/// What the audit log says of itself, to be shown by the next scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditSample {
    /// Whether it takes records.
    pub healthy: bool,
    /// Records that are on the disk.
    pub size: u64,
    /// The lowest index that is kept.
    pub minimum: u64,
    /// Records that came onto the disk since the start.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Syncs, each for a group of records.
    pub groups: u64,
    /// Records that the log did not take.
    pub refused: u64,
    /// Records that it took and could not keep.
    pub lost: u64,
    /// How often the disk was full.
    pub no_space: u64,
    /// Records that were not on the disk when their request could wait no longer.
    pub late: u64,
    /// Records that are not in the log, whoever is to blame.
    pub unrecorded: u64,
    /// Requests that were refused since they could not be recorded.
    pub requests_refused: u64,
    /// Refusals that were counted instead of recorded.
    pub summarised: u64,
    /// Records that wait for the disk.
    pub pending_records: u64,
    /// Bytes that wait in memory.
    pub pending_bytes: u64,
    /// How long the oldest record waits.
    pub oldest_pending: Duration,
    /// Records that no checkpoint covers.
    pub lag: u64,
    /// Records that the last checkpoint covers.
    pub checkpoint_size: u64,
    /// How old it is.
    pub checkpoint_age: Duration,
    /// Upper bounds in seconds, each with how many commits took no longer.
    pub commit_buckets: Vec<(f64, u64)>,
    /// How many commits there were.
    pub commit_count: u64,
    /// How long they took together.
    pub commit_sum: Duration,
    /// The anchors.
    pub anchors: Vec<AuditAnchor>,
}

/// How far an anchor is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditAnchor {
    /// What it is: `file`, `http` or `witness`, and where.
    pub anchor: String,
    /// Checkpoints that it took.
    pub sent: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// The size of the last checkpoint that it took.
    pub size: u64,
    /// When it took it, in seconds since 1970; 0 if never.
    pub at: u64,
}

type Figure = (&'static str, &'static str, fn(&AuditSample) -> u64);

const COUNTERS: [Figure; 9] = [
    ("tidegate_audit_records_total", "Audit records on the disk.", |audit| audit.records),
    ("tidegate_audit_bytes_total", "Bytes of audit records on the disk.", |audit| audit.bytes),
    ("tidegate_audit_syncs_total", "Syncs of the audit log, each for a group.", |audit| {
        audit.groups
    }),
    ("tidegate_audit_refused_total", "Records that the log did not take.", |audit| audit.refused),
    ("tidegate_audit_no_space_total", "How often the audit log's disk was full.", |audit| {
        audit.no_space
    }),
    ("tidegate_audit_late_total", "Records that a request could wait for no longer.", |audit| {
        audit.late
    }),
    ("tidegate_audit_lost_total", "Records that are not in the log.", |audit| {
        audit.unrecorded + audit.lost
    }),
    ("tidegate_audit_requests_refused_total", "Requests that could not be recorded.", |audit| {
        audit.requests_refused
    }),
    ("tidegate_audit_summarised_total", "Refusals counted instead of recorded.", |audit| {
        audit.summarised
    }),
];

const GAUGES: [Figure; 6] = [
    ("tidegate_audit_size", "Records in the audit log.", |audit| audit.size),
    ("tidegate_audit_minimum_index", "The lowest index that was not pruned.", |audit| {
        audit.minimum
    }),
    ("tidegate_audit_pending_records", "Records that wait for the disk.", |audit| {
        audit.pending_records
    }),
    ("tidegate_audit_pending_bytes", "Audit bytes that wait in memory.", |audit| {
        audit.pending_bytes
    }),
    ("tidegate_audit_checkpoint_lag", "Records that no checkpoint covers yet.", |audit| audit.lag),
    ("tidegate_audit_checkpoint_size", "Records under the last checkpoint.", |audit| {
        audit.checkpoint_size
    }),
];

type AnchorFigure = (&'static str, &'static str, fn(&AuditAnchor) -> u64);

const OF_ANCHORS: [AnchorFigure; 2] = [
    ("tidegate_audit_anchor_sent_total", "Checkpoints that an anchor took.", |anchor| anchor.sent),
    ("tidegate_audit_anchor_failures_total", "Attempts on an anchor that failed.", |anchor| {
        anchor.failures
    }),
];

/// Shows the figures.
pub(super) fn show(audit: &AuditSample, families: &mut Families) {
    for (name, help, figure) in COUNTERS {
        families.counter(name, help, figure(audit));
    }
    for (name, help, figure) in GAUGES {
        families.gauge(name, help, as_float(figure(audit)));
    }
    families.gauge(
        "tidegate_audit_healthy",
        "1 if the audit log takes records.",
        if audit.healthy { 1.0 } else { 0.0 },
    );
    families.gauge(
        "tidegate_audit_oldest_pending_seconds",
        "How long the oldest record waits for the disk.",
        audit.oldest_pending.as_secs_f64(),
    );
    families.gauge(
        "tidegate_audit_checkpoint_age_seconds",
        "How old the last checkpoint is.",
        audit.checkpoint_age.as_secs_f64(),
    );
    families.histograms(
        "tidegate_audit_commit_seconds",
        "From a record given to the log until it is on the disk.",
        |family| commits(audit, family),
    );
    show_anchors(&audit.anchors, families);
}

fn show_anchors(anchors: &[AuditAnchor], families: &mut Families) {
    for (name, help, figure) in OF_ANCHORS {
        families.counters(name, help, |family| {
            for anchor in anchors {
                family.counter(&[("anchor", &anchor.anchor)], figure(anchor));
            }
        });
    }
    families.gauges(
        "tidegate_audit_anchor_timestamp_seconds",
        "When an anchor last took a checkpoint.",
        |family| {
            for anchor in anchors.iter().filter(|anchor| anchor.at > 0) {
                family.gauge(&[("anchor", &anchor.anchor)], as_float(anchor.at));
            }
        },
    );
    families.gauges(
        "tidegate_audit_anchor_size",
        "Records under the last checkpoint that an anchor took.",
        |family| {
            for anchor in anchors {
                family.gauge(&[("anchor", &anchor.anchor)], as_float(anchor.size));
            }
        },
    );
}

fn commits(audit: &AuditSample, family: &mut Family) {
    let bucket = |(bound, count): &(f64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(*count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(audit.commit_buckets.iter().map(bucket).collect());
    histogram.set_sample_count(audit.commit_count);
    histogram.set_sample_sum(audit.commit_sum.as_secs_f64());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family.push(metric);
}
