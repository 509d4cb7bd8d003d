//! What a pool needs beside its requests: once a second its ejections, slow starts and zones are
//! looked at, and what changed is told.

use std::sync::Arc;
use std::time::Duration;

use tidegate_observe::UpstreamMetrics;
use tidegate_traffic::Pool;
use tidegate_traffic::pool::Event;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::edge::Edge;
use crate::happened;

/// How often.
const PACE: Duration = Duration::from_secs(1);

/// Tends `pool` until the task is aborted.
pub(crate) async fn tend_pool(pool: Arc<Pool>, edge: Arc<Edge>) {
    let mut serving = Serving::default();
    loop {
        let (tended, now) = (pool.clone(), edge.clock().now());
        // A pool of ten thousand endpoints takes some milliseconds that requests must not wait for.
        let events = spawn_blocking(move || tended.tend(now)).await.unwrap_or_default();
        for event in events {
            let live = edge.live();
            let metrics = live.lanes.upstream(pool.name()).map(|upstream| &*upstream.metrics);
            tell(&edge, &pool, metrics, &event);
        }
        let serves = pool.endpoints().iter().any(|endpoint| endpoint.is_available());
        if serving.turns(serves) {
            edge.announce(&happened::upstream_serves(&edge, &pool, serves));
        }
        sleep(PACE).await;
    }
}

/// Tells operators what happened to a pool.
pub(crate) fn tell(edge: &Edge, pool: &Pool, metrics: Option<&UpstreamMetrics>, event: &Event) {
    if let (Event::Ejected { cause, .. }, Some(metrics)) = (event, metrics) {
        metrics.ejected(cause.as_str());
    }
    if let Some(notice) = happened::of_event(edge, pool, event) {
        edge.announce(&notice);
    }
}

/// Whether an upstream counts as serving. It is down when two looks in a row find it so: while
/// endpoints are replaced, one moment may have none.
#[derive(Debug, Default)]
struct Serving {
    down: bool,
    looks: u8,
}

impl Serving {
    /// Takes what a look found; whether that changes what counts.
    fn turns(&mut self, serves: bool) -> bool {
        if serves != self.down {
            self.looks = 0;
            return false;
        }
        self.looks += 1;
        let turns = serves || self.looks >= 2;
        if turns {
            self.down = !serves;
            self.looks = 0;
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use tidegate_traffic::outlier::Cause;

    use super::*;

    #[test]
    fn an_upstream_is_down_after_two_looks_and_up_after_one() {
        let mut serving = Serving::default();
        let looks = [true, false, true, false, false, false, true, true, false, false];
        let turns: Vec<_> = looks.into_iter().map(|serves| serving.turns(serves)).collect();
        let turned: Vec<_> =
            turns.iter().enumerate().filter_map(|(n, turned)| turned.then_some(n)).collect();
        assert_eq!(turned, [4, 6, 9]);
    }

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
