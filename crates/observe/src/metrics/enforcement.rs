//! What the response policy decided, and what was done about requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_core::decision::{Decision, Measure};
use tidegate_core::event::Applied;

use super::family::{Count, Families, as_float};

/// More rules with their measures and standings are not told apart.
const MAX_SERIES: usize = 2_000;

/// Rule, measure and standing.
type Decided = (Arc<str>, &'static str, &'static str);

/// Counts of decisions and of requests that a measure touched.
#[derive(Debug, Default)]
pub(super) struct Enforcement {
    decided: Mutex<BTreeMap<Decided, u64>>,
    dropped: Count,
    crowdsec: [Count; 2],
    requests: [Count; Measure::ALL.len()],
    sample: Mutex<EnforcementSample>,
}

/// How things stand, for one look at the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnforcementSample {
    /// Measures in force, in the order of [`Measure::ALL`].
    pub measures: [usize; Measure::ALL.len()],
    /// Requests that the tarpit holds.
    pub held: u32,
    /// Whether the panic switch is on.
    pub panic: bool,
    /// How the response policy stands.
    pub response: ResponseSample,
}

/// How the response policy stands, for one look at the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseSample {
    /// Clients of the last quarter of an hour.
    pub clients: u64,
    /// Those of them that a measure hits.
    pub hit: u64,
    /// Whether the cap is reached, so that decisions are only told.
    pub capped: bool,
    /// Bytes that counting holds.
    pub bytes: usize,
}

impl Enforcement {
    pub(super) fn decided(&self, decision: &Decision) {
        let (measure, standing) = (decision.measure.name(), decision.standing.name());
        let mut decided = self.decided.lock();
        let key = (Arc::clone(&decision.rule), measure, standing);
        let known = decided.contains_key(&key) || decided.len() < MAX_SERIES;
        let key = if known { key } else { ("(other)".into(), measure, standing) };
        *decided.entry(key).or_default() += 1;
    }

    pub(super) fn dropped(&self, count: u64) {
        self.dropped.add(count);
    }

    pub(super) fn crowdsec_asked(&self, answered: bool) {
        let [success, failure] = &self.crowdsec;
        if answered { success } else { failure }.add(1);
    }

    pub(super) fn touched(&self, applied: Applied<'_>) {
        if let Some(count) = self.requests.get(applied.measure as usize) {
            count.add(1);
        }
    }

    pub(super) fn set(&self, sample: EnforcementSample) {
        *self.sample.lock() = sample;
    }

    pub(super) fn show(&self, families: &mut Families) {
        let (name, help) = (
            "tidegate_decisions_total",
            "Decisions of the response policy, by rule, measure and what became of them.",
        );
        families.counters(name, help, |family| {
            for ((rule, measure, standing), count) in &*self.decided.lock() {
                let labels = [("rule", &**rule), ("measure", measure), ("standing", standing)];
                family.counter(&labels, *count);
            }
        });
        families.counter(
            "tidegate_decisions_dropped_total",
            "Decisions that were not carried out, since too many waited.",
            self.dropped.value(),
        );
        let (name, help) =
            ("tidegate_crowdsec_pulls_total", "Questions for CrowdSec's decisions, by result.");
        families.counters(name, help, |family| {
            for (result, count) in ["success", "failure"].into_iter().zip(&self.crowdsec) {
                family.counter_if_any(&[("result", result)], count.value());
            }
        });
        let sample = *self.sample.lock();
        let holding =
            Measure::ALL.iter().zip(sample.measures).filter(|(m, _)| **m != Measure::Alert);
        families.gauges("tidegate_measures", "Measures in force, by what is done.", |family| {
            for (measure, count) in holding {
                family.gauge(&[("measure", measure.name())], as_float(count as u64));
            }
        });
        let (name, help) = (
            "tidegate_measured_requests_total",
            "Requests that a measure touched, by what was done.",
        );
        families.counters(name, help, |family| {
            let holding = Measure::ALL.iter().zip(&self.requests);
            for (measure, count) in holding.filter(|(measure, _)| **measure != Measure::Alert) {
                family.counter(&[("measure", measure.name())], count.value());
            }
        });
        let held = as_float(u64::from(sample.held));
        families.gauge("tidegate_tarpit_held", "Requests that the tarpit holds.", held);
        let panic = if sample.panic { 1.0 } else { 0.0 };
        families.gauge("tidegate_panic", "Whether the panic switch is on.", panic);
        sample.response.show(families);
    }
}

impl ResponseSample {
    fn show(self, families: &mut Families) {
        families.gauge(
            "tidegate_response_clients",
            "Clients of the last quarter of an hour, as the response policy knows them.",
            as_float(self.clients),
        );
        families.gauge(
            "tidegate_response_clients_hit",
            "Those of them that a measure of the response policy hits.",
            as_float(self.hit),
        );
        families.gauge(
            "tidegate_response_capped",
            "Whether the cap on clients that are hit is reached.",
            if self.capped { 1.0 } else { 0.0 },
        );
        families.gauge(
            "tidegate_response_memory_bytes",
            "Bytes that the response policy holds for counting.",
            as_float(self.bytes as u64),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_indexes_the_list_of_all() {
        for (index, measure) in Measure::ALL.iter().enumerate() {
            assert_eq!(*measure as usize, index);
        }
    }
}
