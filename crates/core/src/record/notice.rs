//! A notice's members. `docs/reference/events.md` lists them; a test keeps the two together.

use super::json::Object;
use crate::decision::{Decision, Sample};
use crate::notice::Notice;

/// Writes all that a notice says but its time. What has nothing to say is left out.
pub fn members(line: &mut Object<'_>, notice: &Notice) {
    line.text("notice", notice.kind.code());
    line.text("area", notice.kind.area().name());
    line.text("severity", notice.severity.name());
    line.text("summary", &notice.summary);
    if let Some(client) = notice.client {
        line.address("client", client);
    }
    line.text_if_any("listener", notice.listener.as_deref());
    line.text_if_any("upstream", notice.upstream.as_deref());
    if let Some(endpoint) = notice.endpoint {
        line.socket("endpoint", endpoint);
    }
    line.text_if_any("by", notice.by.as_deref());
    if !notice.details.is_empty() {
        line.object("details", |object| {
            for (name, value) in &notice.details {
                object.text(name, value);
            }
        });
    }
    if let Some(decision) = &notice.decision {
        line.object("decision", |object| write_decision(object, decision));
    }
}

fn write_decision(object: &mut Object<'_>, decision: &Decision) {
    object.time("time", decision.time);
    object.text("rule", &decision.rule);
    object.text("measure", decision.measure.name());
    object.text("target_kind", decision.target.kind());
    object.text("target", &decision.target.to_string());
    if let Some(until) = decision.until {
        object.time("until", until);
    }
    object.text("standing", decision.standing.name());
    object.number("offence", decision.offence);
    object.number("count", decision.evidence.count);
    if let Some(since) = decision.evidence.since {
        object.time("since", since);
    }
    if !decision.evidence.samples.is_empty() {
        object.list("samples", &decision.evidence.samples, write_sample);
    }
}

fn write_sample(out: &mut Vec<u8>, sample: &Sample) {
    let mut object = Object::begin(out);
    object.time("time", sample.time);
    object.text("request_id", &sample.request_id);
    object.address("client", sample.client);
    object.text_if_any("route", sample.route.as_deref());
    object.number("status", sample.status);
    object.text_if_any("reason", sample.reason.map(crate::Reason::code));
    object.end();
}
