//! What happens beside requests: the classes that fit.

use tidegate_core::decision::{Decision, Sample};
use tidegate_core::notice::{Area, NoticeKind, Severity};
use tidegate_core::record::json::{Object, string};
use tidegate_core::{Notice, Reason};

use super::super::Node;
use super::super::outcome::Outcome;
use super::request::millis;
use super::{
    API_ACTIVITY, APPLICATION_ERROR, APPLICATION_LIFECYCLE, Class, DETECTION_FINDING,
    NETWORK_ACTIVITY, head, metadata,
};

/// Appends one notice's record.
pub(in super::super) fn notice(out: &mut Vec<u8>, node: &Node, notice: &Notice) {
    let mut object = Object::begin(out);
    let (class, activity) = class(notice.kind);
    let outcome = Outcome::of_notice(notice);
    head(&mut object, (class, activity), notice.severity, outcome);
    metadata(&mut object, node, &["host", "security_control"], |metadata| {
        metadata.text("log_name", "notice");
        metadata.text("event_code", notice.kind.code());
    });
    object.number("time", millis(notice.time));
    object.text("message", &notice.summary);
    if class.uid == DETECTION_FINDING.uid {
        finding(&mut object, notice);
    } else {
        let failed = outcome == Outcome::Failed || outcome.is_denied();
        object.number("status_id", 1 + u32::from(failed));
        object.boolean("is_alert", notice.severity >= Severity::High);
    }
    match class.uid {
        4001 => {
            from(&mut object, node, notice);
            if let Some(count) = detail(notice, "count").and_then(|text| text.parse::<u64>().ok()) {
                object.number("count", count);
            }
        }
        6002 => application(&mut object, node, notice),
        6003 => call(&mut object, node, notice),
        _ => {}
    }
    unmapped(&mut object, notice);
    object.end();
}

/// The class and its activity.
fn class(kind: NoticeKind) -> (Class, u32) {
    match kind {
        NoticeKind::ProcessStarted => (APPLICATION_LIFECYCLE, 3),
        NoticeKind::ProcessStopped => (APPLICATION_LIFECYCLE, 4),
        NoticeKind::EndpointUp | NoticeKind::UpstreamUp | NoticeKind::ZoneReturned => {
            (APPLICATION_LIFECYCLE, 6)
        }
        NoticeKind::EndpointDown
        | NoticeKind::EndpointEjected
        | NoticeKind::UpstreamDown
        | NoticeKind::ZoneIsolated => (APPLICATION_LIFECYCLE, 7),
        NoticeKind::EndpointsChanged => (APPLICATION_LIFECYCLE, 8),
        NoticeKind::AdminCall
        | NoticeKind::CertificateChanged
        | NoticeKind::ConfigApplied
        | NoticeKind::ConfigRefused => (API_ACTIVITY, 3),
        NoticeKind::ConnectionRefused => (NETWORK_ACTIVITY, 5),
        NoticeKind::TlsFailed => (NETWORK_ACTIVITY, 4),
        NoticeKind::BanAdded
        | NoticeKind::Decided
        | NoticeKind::EnforcementCapped
        | NoticeKind::PanicOn => (DETECTION_FINDING, 1),
        NoticeKind::BanLifted | NoticeKind::EnforcementResumed | NoticeKind::PanicOff => {
            (DETECTION_FINDING, 3)
        }
        // A fault, or that it is over; kinds that come later land here until they have a class.
        _ => match kind.severity() {
            Severity::Informational => (APPLICATION_ERROR, 99),
            _ => (APPLICATION_ERROR, 1),
        },
    }
}

fn detail<'n>(notice: &'n Notice, name: &str) -> Option<&'n str> {
    notice.details.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
}

/// Where it came from: the client, or this machine.
fn from(object: &mut Object<'_>, node: &Node, notice: &Notice) {
    object.object("src_endpoint", |from| match notice.client {
        Some(client) => from.address("ip", client),
        None => from.text("hostname", &node.host),
    });
    object.object("dst_endpoint", |to| match &notice.listener {
        Some(listener) => to.text("interface_name", listener),
        None => to.text("hostname", &node.host),
    });
}

/// What started, stopped, went down or came back.
fn application(object: &mut Object<'_>, node: &Node, notice: &Notice) {
    object.object("app", |app| match &notice.upstream {
        Some(upstream) => {
            app.text("name", upstream);
            if let Some(endpoint) = notice.endpoint {
                app.name("uid");
                string(app.out, &endpoint.to_string());
            }
        }
        None => {
            app.text("name", "Tidegate");
            app.text("version", &node.version);
        }
    });
}

/// What was asked for, and by whom.
fn call(object: &mut Object<'_>, node: &Node, notice: &Notice) {
    let operation = detail(notice, "operation").unwrap_or(notice.kind.code());
    object.object("api", |api| api.text("operation", operation));
    object.object("actor", |actor| {
        actor.text("invoked_by", notice.by.as_deref().unwrap_or("tidegate"));
    });
    from(object, node, notice);
}

/// A decision of the response policy, or what changes how it acts.
fn finding(object: &mut Object<'_>, notice: &Notice) {
    let closes = class(notice.kind).1 == 3;
    object.number("status_id", if closes { 4 } else { 1 });
    object.boolean("is_alert", notice.severity >= Severity::Medium);
    let decision = notice.decision.as_deref();
    object.object("finding_info", |info| {
        info.text("uid", &uid(notice));
        info.text("title", &notice.summary);
        info.list("types", [notice.kind.code()], string);
        if let Some(decision) = decision {
            info.object("analytic", |analytic| {
                analytic.text("name", &decision.rule);
                // Behavioural.
                analytic.number("type_id", 2);
            });
            info.number("created_time", millis(decision.time));
            info.number("related_events_count", decision.evidence.count);
            if let Some(since) = decision.evidence.since {
                info.number("first_seen_time", millis(since));
            }
        }
    });
    let samples = decision.map(|decision| &*decision.evidence.samples).unwrap_or_default();
    if !samples.is_empty() {
        object.list("evidences", samples, evidence);
    } else if let Some(client) = notice.client {
        object.list("evidences", [client], |out, client| {
            let mut evidence = Object::begin(out);
            evidence.object("src_endpoint", |from| from.address("ip", client));
            evidence.end();
        });
    }
}

/// The same for every record about the same finding.
fn uid(notice: &Notice) -> String {
    match notice.decision.as_deref() {
        Some(Decision { rule, target, offence, .. }) => format!("{rule}/{target}/{offence}"),
        None => match detail(notice, "target") {
            Some(target) => format!("ban/{target}"),
            None => notice.kind.area().name().to_owned(),
        },
    }
}

fn evidence(out: &mut Vec<u8>, sample: &Sample) {
    let mut evidence = Object::begin(out);
    evidence.text("uid", &sample.request_id);
    evidence.object("src_endpoint", |from| from.address("ip", sample.client));
    evidence.object("http_response", |response| response.number("code", sample.status));
    evidence.object("data", |data| {
        data.number("time", millis(sample.time));
        data.text_if_any("route", sample.route.as_deref());
        data.text_if_any("reason", sample.reason.map(Reason::code));
    });
    evidence.end();
}

/// What the schema has no place for.
fn unmapped(object: &mut Object<'_>, notice: &Notice) {
    object.object("unmapped", |object| {
        object.text("area", notice.kind.area().name());
        if notice.kind.area() != Area::Administration {
            object.text_if_any("by", notice.by.as_deref());
        }
        object.text_if_any("listener", notice.listener.as_deref());
        object.text_if_any("upstream", notice.upstream.as_deref());
        if let Some(endpoint) = notice.endpoint {
            object.socket("endpoint", endpoint);
        }
        if !notice.details.is_empty() {
            object.object("details", |object| {
                for (name, value) in &notice.details {
                    object.text(name, value);
                }
            });
        }
        if let Some(decision) = notice.decision.as_deref() {
            object.text("measure", decision.measure.name());
            object.text("standing", decision.standing.name());
            object.text("target_kind", decision.target.kind());
            object.text("target", &decision.target.to_string());
            object.number("offence", decision.offence);
            if let Some(until) = decision.until {
                object.number("until", millis(until));
            }
        }
    });
}
