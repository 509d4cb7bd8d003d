//! What the response policy decided and with which evidence, and bans that others added or lifted.

use serde_json::{Value, json};
use tidegate_audit::record::timestamp;
use tidegate_audit::redact::clean;
use tidegate_audit::{Kind, Record};
use tidegate_core::decision::{Decision, Party, Sample, Target};
use tidegate_guard::Ban;
use tidegate_guard::bans::target::Written;

use super::Auditor;
use crate::edge::Edge;

impl Edge {
    /// Records a decision with what led to it.
    pub(crate) fn audit_decision(&self, decision: &Decision) {
        let Some(auditor) = self.audit() else { return };
        let evidence = &decision.evidence;
        let samples: Vec<Value> = evidence.samples.iter().map(sample).collect();
        let record = auditor
            .record(decision.time, Kind::Decision, decision.measure.name())
            .with("rule", clean(&decision.rule))
            .with("standing", decision.standing.name())
            .with("offence", decision.offence)
            .with("until", decision.until.map(timestamp))
            .with("count", evidence.count)
            .with("since", evidence.since.map(timestamp))
            .with("samples", samples);
        auditor.note(&auditor.about(record, &decision.target));
    }

    /// Records that somebody `added` or `lifted` a ban.
    pub(crate) fn audit_ban(&self, what: &str, ban: &Ban, by: &str) {
        let Some(auditor) = self.audit() else { return };
        let record = auditor
            .record(self.clock().wall(), Kind::Ban, what)
            .with("measure", ban.measure.name())
            .with("by", clean(by))
            .with("source", clean(&ban.source))
            .with("reason", clean(&ban.reason))
            .with("until", ban.until);
        auditor.note(&auditor.about(record, &ban.target));
    }

    /// Records that bans were taken over from elsewhere.
    pub(crate) fn audit_import(&self, by: &str, added: usize, lifted: usize) {
        let Some(auditor) = self.audit() else { return };
        let record = auditor.record(self.clock().wall(), Kind::Ban, "imported");
        auditor.note(&record.with("by", by).with("added", added).with("lifted", lifted));
    }

    /// Records that the panic switch was turned.
    pub(crate) fn audit_panic(&self, on: bool, by: &str) {
        let Some(auditor) = self.audit() else { return };
        let event = if on { "panic_on" } else { "panic_off" };
        let record = auditor.record(self.clock().wall(), Kind::Decision, event);
        auditor.note(&record.with("by", clean(by)));
    }
}

impl Auditor {
    /// Names the target; a subject by its pseudonym, if there is a key for it.
    fn about(&self, mut record: Record, target: &Target) -> Record {
        match target {
            Target::Network(network) => {
                let net = network.net();
                record.client =
                    (net.prefix_len() == net.max_prefix_len()).then(|| network.to_string());
            }
            Target::Route(route) => record.route = Some(route.to_string()),
            _ => {}
        }
        let mut written = Written::from(target);
        if let Target::Subject(Party { id, .. }) = target {
            record.subject = self.redactor.load().pseudonym(id);
            written.subject = None;
        }
        let named = serde_json::to_value(&written).unwrap_or_default();
        record.with("kind", target.kind()).with("target", named)
    }
}

fn sample(sample: &Sample) -> Value {
    json!({
        "time": timestamp(sample.time),
        "request_id": sample.request_id,
        "client": sample.client,
        "route": sample.route,
        "status": sample.status,
        "reason": sample.reason.map(tidegate_core::Reason::code),
    })
}
