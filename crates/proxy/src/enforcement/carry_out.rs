//! From events to decisions to measures in force. The policy looks at an event when its request is
//! over; what it decides goes through a bounded queue to one task, which puts the measures in force
//! in batches, tells of them and records them.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Event;
use tidegate_core::decision::{Decision, Measure, Standing, Target};
use tidegate_core::notice::{Area, Notice, NoticeKind, Severity};
use tidegate_engine::Snapshot;
use tidegate_guard::Ban;
use tidegate_guard::bans::{NotTaken, Why, seconds, seconds_until};
use tidegate_guard::response::Decisions;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

use crate::bans::now;
use crate::edge::Edge;

/// How many decisions may wait.
const QUEUE: usize = 4_096;

/// How many are put in force together.
const BATCH: usize = 512;

/// Putting them in force has at most this share of the time.
const SHARE: u32 = 5;

/// How often what is over is forgotten.
const TICK: Duration = Duration::from_secs(1);

/// Where decisions wait for their deed.
pub(crate) struct Decided {
    queue: mpsc::Sender<Decisions>,
}

/// The other end.
pub(crate) type Waiting = mpsc::Receiver<Decisions>;

impl Decided {
    pub(crate) fn new() -> (Self, Waiting) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, waiting)
    }
}

impl Edge {
    /// Lets the response policy look at a request that is over. It waits for nobody.
    pub(crate) fn respond_to(&self, event: &Event<'_>, snapshot: &Snapshot) {
        let Some(policy) = snapshot.response() else { return };
        let decided = policy.observe(event, now(self.clock()));
        self.queue_decisions(decided);
    }

    /// Lets the response policy look at what happened beside requests; not at what it did itself.
    pub(crate) fn respond_to_notice(&self, notice: &Notice) {
        if notice.kind.area() == Area::Response {
            return;
        }
        let live = self.live();
        let Some(policy) = live.snapshot.response() else { return };
        let decided = policy.observe_notice(notice, now(self.clock()));
        self.queue_decisions(decided);
    }

    /// Gives decisions to whoever carries them out; what finds no room is counted.
    pub(crate) fn queue_decisions(&self, decisions: Option<Decisions>) {
        let Some(decisions) = decisions else { return };
        if let Err(full) = self.decided().queue.try_send(decisions) {
            let lost = full.into_inner().decided;
            self.metrics().decisions_dropped(lost.len() as u64);
            self.not_done(lost.iter());
        }
    }
}

impl Edge {
    /// Tells the policy whom no measure holds although it decided so.
    fn not_done<'d>(&self, decided: impl Iterator<Item = &'d Arc<Decision>>) {
        let live = self.live();
        let Some(policy) = live.snapshot.response() else { return };
        for decision in decided {
            policy.not_done(decision, now(self.clock()));
        }
    }
}

/// Carries out decisions until the process ends.
pub(crate) async fn carry_out(edge: Arc<Edge>, mut waiting: Waiting) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            _count = waiting.recv_many(&mut batch, BATCH) => {}
            _now = ticks.tick() => {
                let live = edge.live();
                let over = live.snapshot.response().and_then(|it| it.tick(now(edge.clock())));
                batch.extend(over);
            }
        }
        let clock = edge.clock();
        let start = clock.now();
        let Decisions { decided, notices } = joined(&mut batch);
        for notice in &notices {
            edge.announce(notice);
        }
        put_in_force(&edge, decided);
        sleep(clock.now().saturating_duration_since(start) * (SHARE - 1)).await;
    }
}

fn joined(batch: &mut Vec<Decisions>) -> Decisions {
    let mut all = Decisions::default();
    for decisions in batch.drain(..) {
        all.decided.extend(decisions.decided);
        all.notices.extend(decisions.notices);
    }
    all
}

/// Puts measures in force that are to be, and tells of all decisions what became of them.
pub(crate) fn put_in_force(edge: &Edge, decided: Vec<Arc<Decision>>) {
    let live = edge.live();
    let bans = live.snapshot.bans();
    let (now, panic) = (now(edge.clock()), bans.is_suspended());
    let wished = |decision: &Decision| {
        decision.standing == Standing::Enforced && decision.measure != Measure::Alert
    };
    let was_wished: Vec<bool> = decided.iter().map(|decision| wished(decision)).collect();
    let mut decided: Vec<_> = decided
        .into_iter()
        .map(|decision| match decision.standing {
            Standing::Enforced if panic => with_standing(&decision, Standing::Panic),
            // The policy has asked; an alert has not.
            Standing::Enforced
                if wished(&decision)
                    && is_of_upstream(&decision)
                    && !live.snapshot.can_isolate(&decision.target) =>
            {
                with_standing(&decision, Standing::Capped)
            }
            _ => decision,
        })
        .collect();
    let wanted = decided.iter().filter(|decision| wished(decision));
    let wanted: Vec<Ban> = wanted.map(|decision| ban(decision)).collect();
    // Where much changed at once the tables are made anew here.
    let (_, refused) = tokio::task::block_in_place(|| bans.add(wanted, now));
    for NotTaken { target, why } in refused {
        let standing = match why {
            Why::Protected => Standing::Protected,
            Why::Full | Why::Over | Why::Senseless => Standing::Capped,
        };
        tracing::warn!(%target, %why, "a measure is not put in force");
        for decision in decided.iter_mut().filter(|one| wished(one) && one.target == target) {
            *decision = with_standing(decision, standing);
        }
    }
    let failed = decided.iter().zip(was_wished).filter(|(decision, was)| *was && !wished(decision));
    edge.not_done(failed.map(|(decision, _)| decision));
    for decision in decided {
        tell(edge, decision);
    }
}

fn with_standing(decision: &Decision, standing: Standing) -> Arc<Decision> {
    Arc::new(Decision { standing, ..decision.clone() })
}

fn is_of_upstream(decision: &Decision) -> bool {
    matches!(decision.target, Target::Endpoint { .. } | Target::Zone { .. })
}

fn ban(decision: &Decision) -> Ban {
    let of_upstream = is_of_upstream(decision);
    Ban {
        target: decision.target.clone(),
        measure: if of_upstream { Measure::Isolate } else { decision.measure },
        until: decision.until.map(seconds_until),
        since: seconds(decision.time),
        source: Arc::clone(&decision.rule),
        reason: format!("offence {}, {} events", decision.offence, decision.evidence.count).into(),
    }
}

/// Log, metric, sinks and record of one decision.
fn tell(edge: &Edge, decision: Arc<Decision>) {
    edge.metrics().decided(&decision);
    edge.audit_decision(&decision);
    edge.announce(&notice(decision));
}

fn notice(decision: Arc<Decision>) -> Notice {
    let Decision { rule, measure, target, standing, .. } = &*decision;
    let summary = format!("{rule}: {} {target} ({})", measure.name(), standing.name());
    let mut notice = Notice::new(decision.time, NoticeKind::Decided, summary);
    notice.severity = match (standing, measure) {
        (Standing::Enforced, Measure::Block | Measure::Isolate) => Severity::High,
        (Standing::Enforced, _) => Severity::Medium,
        (_, Measure::Block | Measure::Isolate) => Severity::Medium,
        _ => Severity::Low,
    };
    match target {
        Target::Network(network) => {
            let net = network.net();
            notice.client = (net.prefix_len() == net.max_prefix_len()).then(|| net.addr());
        }
        Target::Endpoint { upstream, endpoint } => {
            notice.upstream = Some((**upstream).into());
            notice.endpoint = Some(*endpoint);
        }
        Target::Zone { upstream, .. } => notice.upstream = Some((**upstream).into()),
        Target::Subject(_) | Target::Client(_) | Target::Token(_) | Target::Route(_) => {}
    }
    notice.by = Some((**rule).into());
    notice.details = vec![
        ("rule", (**rule).into()),
        ("measure", measure.name().into()),
        ("target", target.to_string().into()),
        ("standing", standing.name().into()),
        ("offence", decision.offence.to_string().into()),
        ("count", decision.evidence.count.to_string().into()),
    ];
    notice.decision = Some(decision);
    notice
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tidegate_core::decision::Evidence;

    use super::*;

    #[test]
    fn a_decision_is_told_with_rule_measure_target_and_standing() {
        let decision = Decision {
            time: SystemTime::UNIX_EPOCH,
            rule: "probing".into(),
            measure: Measure::Block,
            target: Target::Network("192.0.2.7".parse().unwrap()),
            until: None,
            standing: Standing::Enforced,
            offence: 2,
            evidence: Evidence { count: 31, ..Evidence::default() },
        };
        let ban = ban(&decision);
        assert_eq!((&*ban.source, &*ban.reason), ("probing", "offence 2, 31 events"));
        let told = notice(Arc::new(decision));
        assert_eq!(&*told.summary, "probing: block 192.0.2.7 (enforced)");
        assert_eq!((told.severity, told.client), (Severity::High, "192.0.2.7".parse().ok()));
    }
}
