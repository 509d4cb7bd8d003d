//! What is done about requests that a measure neither refuses nor lets pass: the tarpit holds them,
//! the quarantine takes them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::Denial;
use tidegate_core::decision::Measure;
use tidegate_core::event::Applied;
use tidegate_engine::Snapshot;
use tidegate_guard::InForce;
use tokio::time::sleep;

use crate::context::{Arrival, Context};
use crate::lanes::Upstream;

/// When somebody may come back who found the tarpit full.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What came of a measure.
#[derive(Default)]
pub(crate) struct Held {
    /// How long the request was held.
    pub(crate) waited: Duration,
    /// Where the request goes in place of its route's upstream.
    pub(crate) quarantine: Option<Arc<Upstream>>,
}

/// Does what a measure demands before anything else is done about the request: waits, or finds the
/// quarantine. While a request waits it has its task and a place, and no thread.
///
/// # Errors
/// As many are held as may be.
pub(crate) async fn hold(
    arrival: &Arrival,
    measure: Option<&InForce>,
) -> Result<Held, Box<Denial>> {
    let Some(found) = measure else { return Ok(Held::default()) };
    let enforcement = arrival.live.snapshot.enforcement();
    match found.measure {
        Measure::Isolate => {
            let quarantine = enforcement.quarantine();
            let quarantine = quarantine.and_then(|name| arrival.live.lanes.upstream(name));
            Ok(Held { quarantine: quarantine.cloned(), ..Held::default() })
        }
        Measure::Tarpit => {
            let Some((place, delay)) = enforcement.enter_tarpit() else {
                return Err(found.slow_down(RETRY_AFTER).into());
            };
            let clock = arrival.edge.clock();
            let since = clock.now();
            // A process that ends holds nobody up, nor do they hold it up.
            tokio::select! {
                () = sleep(delay) => {}
                () = arrival.edge.drains() => {}
            }
            drop(place);
            let waited = clock.now().saturating_duration_since(since);
            Ok(Held { waited, ..Held::default() })
        }
        Measure::Alert | Measure::Throttle | Measure::Block => Ok(Held::default()),
    }
}

/// The ban that refuses a client before anything else is looked at.
pub(crate) fn blocked(snapshot: &Snapshot, client: IpAddr, now: Instant) -> Option<InForce> {
    let found = snapshot.bans().look_up(client, now);
    found.filter(|found| found.measure == Measure::Block)
}

impl Context {
    /// What of the measures was done about the request.
    pub(crate) fn applied(&self) -> Option<Applied<'_>> {
        self.measure.as_ref().map(applied)
    }
}

/// What is told of a measure that met a request.
pub(crate) fn applied(found: &InForce) -> Applied<'_> {
    Applied { measure: found.measure, rule: &found.source }
}
