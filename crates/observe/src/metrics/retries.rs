//! What is counted of an upstream's retries and hedges.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tidegate_core::Event;

use super::family::{Count, Families};
use super::{UpstreamMetrics, running};

/// The causes of retries, as `tidegate_traffic::retry::Cause` has them.
pub const RETRY_REASONS: [&str; 7] = [
    "bad_response",
    "connect_failure",
    "per_try_timeout",
    "refused",
    "reset",
    "stale_connection",
    "status",
];

/// The retries of one upstream.
#[derive(Debug, Default)]
pub(super) struct RetryCounts {
    by_reason: [Count; RETRY_REASONS.len()],
    running: AtomicI64,
    exhausted: AtomicU64,
    hedges_won: Count,
    hedges_lost: Count,
}

impl RetryCounts {
    pub(super) fn record(&self, event: &Event<'_>) {
        for reason in event.retries {
            let known = RETRY_REASONS.iter().position(|known| known == reason);
            if let Some(count) = known.and_then(|at| self.by_reason.get(at)) {
                count.add(1);
            }
        }
        match event.hedge {
            Some("won") => self.hedges_won.add(1),
            Some(_) => self.hedges_lost.add(1),
            None => {}
        }
    }

    pub(super) fn set(&self, running: u32, exhausted: u64) {
        self.running.store(running.into(), Ordering::Relaxed);
        self.exhausted.store(exhausted, Ordering::Relaxed);
    }
}

/// Shows the retries of all upstreams.
pub(super) fn show(upstreams: &[Arc<UpstreamMetrics>], families: &mut Families) {
    families.counters(
        "tidegate_upstream_retries_total",
        "Further tries of a request, by why the one before failed.",
        |family| {
            for upstream in upstreams {
                for (reason, count) in RETRY_REASONS.iter().zip(&upstream.retries.by_reason) {
                    let labels = [("upstream", &*upstream.name), ("reason", *reason)];
                    family.counter_if_any(&labels, count.value());
                }
            }
        },
    );
    families.gauges(
        "tidegate_upstream_retries_in_flight",
        "Retries and hedges that run on an upstream now; the budget bounds them.",
        |family| {
            for upstream in upstreams {
                family.gauge(&[("upstream", &upstream.name)], running(&upstream.retries.running));
            }
        },
    );
    families.counters(
        "tidegate_upstream_retry_budget_exhausted_total",
        "Retries and hedges that were not made because as many ran as the budget allows.",
        |family| {
            for upstream in upstreams {
                let count = upstream.retries.exhausted.load(Ordering::Relaxed);
                family.counter(&[("upstream", &upstream.name)], count);
            }
        },
    );
    families.counters(
        "tidegate_upstream_hedges_total",
        "Second requests because the first was slow, by whether their answer was quicker.",
        |family| {
            for upstream in upstreams {
                let hedges = [
                    ("lost", &upstream.retries.hedges_lost),
                    ("won", &upstream.retries.hedges_won),
                ];
                for (outcome, count) in hedges {
                    let labels = [("upstream", &*upstream.name), ("outcome", outcome)];
                    family.counter_if_any(&labels, count.value());
                }
            }
        },
    );
}
