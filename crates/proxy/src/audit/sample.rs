//! What a scrape shows of the log.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tidegate_audit::log::{Health, Log};
use tidegate_observe::AuditSample;

use super::Auditor;

impl Auditor {
    /// The figures at this time.
    pub(crate) fn sample(&self, now: SystemTime) -> AuditSample {
        let Some(stats) = self.log.get().map(Log::stats) else { return AuditSample::default() };
        let age = now.duration_since(stats.checkpoint.at).unwrap_or_default();
        let buckets = stats.commit_latency.buckets.iter();
        AuditSample {
            healthy: stats.health == Health::Good,
            size: stats.size,
            minimum: stats.minimum,
            records: stats.records,
            bytes: stats.bytes,
            groups: stats.groups,
            refused: stats.refused,
            lost: stats.lost,
            no_space: stats.no_space,
            late: self.counts.late.load(Ordering::Relaxed),
            unrecorded: self.counts.lost.load(Ordering::Relaxed),
            requests_refused: self.counts.refused.load(Ordering::Relaxed),
            summarised: self.refusals.total(),
            pending_records: stats.pending_records,
            pending_bytes: stats.pending_bytes,
            oldest_pending: stats.pending_for.unwrap_or_default(),
            lag: stats.lag(),
            checkpoint_size: stats.checkpoint.size,
            checkpoint_age: age,
            commit_buckets: buckets.map(|(bound, count)| (bound.as_secs_f64(), *count)).collect(),
            commit_count: stats.commit_latency.count,
            commit_sum: stats.commit_latency.sum,
            anchors: self.anchors.sample(),
        }
    }
}
