//! Sinks in the running process: started with it, told what happens, ended with it. What they are
//! and how they deliver stands in `siem`.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Event;
use tidegate_core::notice::Notice;
use tidegate_observe::{BuildInfo, SinkState};
use tidegate_siem::{Dropped, Node, SinkSample, Sinks, Surroundings};

use crate::edge::Edge;
use crate::outbound::Outbound;

/// What waits when the process ends has so long to be sent.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Edge {
    /// Starts the sinks of the configuration in force, and announces what they have to tell.
    pub(crate) fn start_sinks(self: &Arc<Self>, outbound: &Arc<Outbound>, build: BuildInfo) {
        let surroundings = Surroundings {
            node: node(build),
            client: Arc::clone(outbound) as _,
            clock: self.clock().clone(),
            seed: tidegate_traffic::random::next(),
        };
        let live = self.live();
        let (sinks, mut told) = Sinks::start(live.snapshot.sinks(), surroundings);
        if !self.set_sinks(sinks) {
            return;
        }
        let edge = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(notice) = told.recv().await {
                let Some(edge) = edge.upgrade() else { return };
                edge.announce(&notice);
            }
        });
    }

    /// Tells the sinks what became of a request.
    pub(crate) fn tell_event(&self, event: &Event<'_>) {
        if let Some(sinks) = self.sinks() {
            sinks.event(event);
        }
    }

    /// Tells the sinks a notice.
    pub(crate) fn tell_notice(&self, notice: &Notice) {
        if let Some(sinks) = self.sinks() {
            sinks.notice(notice);
        }
    }

    /// Has sinks that write files open them anew.
    pub(crate) fn reopen_sinks(&self) {
        if let Some(sinks) = self.sinks() {
            sinks.reopen();
        }
    }

    /// Sends what waits, and ends all sinks.
    pub(crate) async fn finish_sinks(&self) {
        if let Some(sinks) = self.sinks() {
            sinks.finish(LAST_WORDS).await;
        }
    }

    /// How the sinks are, for the metrics.
    pub(crate) fn sink_states(&self) -> Vec<SinkState> {
        let samples = self.sinks().map(Sinks::samples).unwrap_or_default();
        samples.into_iter().map(state).collect()
    }
}

fn state(sample: SinkSample) -> SinkState {
    let reasons = Dropped::ALL.iter().map(|why| why.name());
    SinkState {
        name: sample.name,
        taken: sample.taken,
        recovered: sample.recovered,
        sent: sample.sent,
        spooled: sample.spooled,
        failures: sample.failures,
        dropped: reasons.zip(sample.dropped).collect(),
        waiting: sample.waiting,
        queue_bytes: sample.queue_bytes,
        spool_bytes: sample.spool_bytes,
        lag: sample.lag,
        failing: sample.failing,
    }
}

/// Who tells.
pub(crate) fn node(build: BuildInfo) -> Node {
    let system = rustix::system::uname();
    let host = system.nodename().to_str().ok().filter(|host| !host.is_empty());
    Node {
        host: host.unwrap_or("localhost").into(),
        version: build.version.into(),
        pid: std::process::id(),
    }
}
