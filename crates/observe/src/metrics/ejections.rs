//! How often outlier detection took endpoints of an upstream out, and why.

use std::sync::Arc;

use super::UpstreamMetrics;
use super::family::{Count, Families};

/// The causes of ejections, as `tidegate_traffic::outlier::Cause` has them.
pub const EJECTION_CAUSES: [&str; 5] = [
    "consecutive_5xx",
    "consecutive_gateway_failures",
    "failure_percentage",
    "latency",
    "success_rate",
];

/// The ejections of one upstream.
#[derive(Debug, Default)]
pub(super) struct Ejections([Count; EJECTION_CAUSES.len()]);

impl Ejections {
    pub(super) fn count(&self, cause: &str) {
        let known = EJECTION_CAUSES.iter().position(|known| *known == cause);
        if let Some(count) = known.and_then(|at| self.0.get(at)) {
            count.add(1);
        }
    }
}

/// Shows the ejections of all upstreams.
pub(super) fn show(upstreams: &[Arc<UpstreamMetrics>], families: &mut Families) {
    families.counters(
        "tidegate_upstream_ejections_total",
        "Endpoints that outlier detection took out, by why.",
        |family| {
            for upstream in upstreams {
                for (cause, count) in EJECTION_CAUSES.iter().zip(&upstream.ejections.0) {
                    let labels = [("upstream", &*upstream.name), ("cause", *cause)];
                    family.counter_if_any(&labels, count.value());
                }
            }
        },
    );
}
