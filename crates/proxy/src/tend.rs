//! What a pool needs beside its requests: once a second its ejections, slow starts and zones are
//! looked at, and what changed is logged and shown.

use std::sync::Arc;
use std::time::Duration;

use tidegate_observe::UpstreamMetrics;
use tidegate_traffic::Pool;
use tidegate_traffic::pool::Event;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::edge::Edge;

/// How often.
const PACE: Duration = Duration::from_secs(1);

/// Tends `pool` until the task is aborted.
pub(crate) async fn tend_pool(pool: Arc<Pool>, edge: Arc<Edge>) {
    loop {
        let (tended, now) = (pool.clone(), edge.clock().now());
        // A pool of ten thousand endpoints takes some milliseconds that requests must not wait for.
        let events = spawn_blocking(move || tended.tend(now)).await.unwrap_or_default();
        for event in events {
            let live = edge.live();
            let metrics = live.lanes.upstream(pool.name()).map(|upstream| &*upstream.metrics);
            tell(&pool, metrics, &event);
        }
        sleep(PACE).await;
    }
}

/// Tells operators what happened to a pool, by log and metrics.
pub(crate) fn tell(pool: &Pool, metrics: Option<&UpstreamMetrics>, event: &Event) {
    if let (Event::Ejected { cause, .. }, Some(metrics)) = (event, metrics) {
        metrics.ejected(cause.as_str());
    }
    log(pool, event);
}

#[expect(clippy::cognitive_complexity, reason = "each log macro counts as seven branches")]
fn log(pool: &Pool, event: &Event) {
    let upstream = pool.name();
    match event {
        Event::Breaker(state) => {
            tracing::warn!(upstream, state = state.as_str(), "the breaker turned");
        }
        Event::Ejected { endpoint, cause, .. } => {
            let count = pool.endpoints().iter().filter(|endpoint| endpoint.is_ejected()).count();
            let cause = cause.as_str();
            tracing::warn!(upstream, %endpoint, cause, ejected = count, "endpoint ejected");
        }
        Event::Readmitted { endpoint } => {
            tracing::info!(upstream, %endpoint, "the endpoint's ejection is over");
        }
        Event::Suspected { endpoint, cause } => {
            let cause = cause.as_str();
            tracing::warn!(upstream, %endpoint, cause, "endpoint not ejected: not enforced");
        }
        Event::ZoneIsolated { zone } => {
            tracing::warn!(upstream, %zone, "zone isolated: too few of its endpoints can serve");
        }
        Event::ZoneReturned { zone } => {
            tracing::info!(upstream, %zone, "zone returned");
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_traffic::outlier::Cause;

    #[test]
    fn every_cause_of_an_ejection_is_counted() {
        let causes = [
            Cause::Consecutive5xx,
            Cause::ConsecutiveGatewayFailures,
            Cause::FailurePercentage,
            Cause::Latency,
            Cause::SuccessRate,
        ];
        assert_eq!(causes.map(Cause::as_str), tidegate_observe::EJECTION_CAUSES);
    }
}
