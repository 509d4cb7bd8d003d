//! ECS 9 (Elastic Common Schema), as nested JSON. What the schema has no field for stands under
//! `tidegate`, as ECS asks of custom fields.

use http::Version;
use tidegate_core::event::AuthResult;
use tidegate_core::notice::{Area, NoticeKind, Severity};
use tidegate_core::record;
use tidegate_core::record::json::{Object, string};
use tidegate_core::record::masks::{masked, masked_url};
use tidegate_core::{Event, Notice, Reason};

use super::outcome::Outcome;
use super::{Node, decisive};

/// The version of the schema.
const VERSION: &str = "9.4.0";

pub(super) fn event(out: &mut Vec<u8>, node: &Node, event: &Event<'_>) {
    let mut object = Object::begin(out);
    object.time("@timestamp", event.time);
    about_us(&mut object, node);
    event_fields(&mut object, event);
    if let Some(reason) = event.reason {
        object.text("message", reason.title());
    }
    source(&mut object, event);
    destination(&mut object, event);
    object.object("network", |network| {
        network.text("protocol", "http");
        network.text("transport", "tcp");
        network.text("type", if event.client.is_ipv4() { "ipv4" } else { "ipv6" });
    });
    url(&mut object, event);
    http(&mut object, event);
    if let Some(agent) = event.user_agent {
        object.object("user_agent", |object| object.text("original", agent));
    }
    tls(&mut object, event);
    if let Some(id) = event.trace_id {
        object.object("trace", |trace| trace.text("id", id));
    }
    if let Some(id) = event.span_id {
        object.object("span", |span| span.text("id", id));
    }
    if let Some(subject) = event.identity.and_then(|identity| identity.subject.as_deref()) {
        object.object("user", |user| user.text("id", subject));
    }
    rule(&mut object, event);
    object.object("tidegate", |own| {
        own.text("listener", event.listener);
        own.text_if_any("auth_result", event.auth_result().map(AuthResult::name));
        record::event::write_answer(own, event);
        record::event::write_findings(own, event);
    });
    object.end();
}

fn about_us(object: &mut Object<'_>, node: &Node) {
    object.object("ecs", |ecs| ecs.text("version", VERSION));
    object.object("observer", |observer| {
        observer.text("hostname", &node.host);
        observer.text("type", "proxy");
        observer.text("vendor", "Tidegate");
        observer.text("product", "Tidegate");
        observer.text("version", &node.version);
    });
}

fn event_fields(object: &mut Object<'_>, event: &Event<'_>) {
    let outcome = Outcome::of(event);
    let found = decisive(event).is_some();
    let severity = event.severity();
    let auth = event.auth_result();
    object.object("event", |fields| {
        fields.text("kind", if found { "alert" } else { "event" });
        let categories = [
            // Allowed and denied are words of the network's, errors of the web's.
            Some("web"),
            Some("network"),
            found.then_some("intrusion_detection"),
            auth.map(|_result| "authentication"),
        ];
        fields.list("category", categories.into_iter().flatten(), string);
        let access = match outcome {
            Outcome::Failed | Outcome::Left => "error",
            _ if outcome.is_denied() => "denied",
            _ => "allowed",
        };
        // A logon starts a session, as ECS sees it.
        let starts = auth.map(|_result| "start");
        let types = [Some("access"), Some(access), starts];
        fields.list("type", types.into_iter().flatten(), string);
        fields.text("action", event.reason.map_or("request", Reason::code));
        let failed = event.reason.is_some() || event.status >= 400;
        fields.text("outcome", if failed { "failure" } else { "success" });
        fields.text("module", "tidegate");
        fields.text("dataset", "tidegate.request");
        fields.text("id", event.request_id);
        fields.text_if_any("code", event.reason.map(Reason::code));
        fields.text_if_any("reason", event.evidence);
        fields.number("severity", severity_number(severity));
        fields.number("duration", event.duration.as_nanos());
    });
}

/// From 1, nothing is wrong, to 99.
const fn severity_number(severity: Severity) -> u32 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn source(object: &mut Object<'_>, event: &Event<'_>) {
    object.object("source", |source| {
        source.address("ip", event.client);
        if event.client == event.peer.ip() {
            source.number("port", event.peer.port());
        }
        source.number("bytes", event.request_bytes);
        if let Some(country) = event.country {
            source.object("geo", |geo| geo.text("country_iso_code", country));
        }
        if let Some(asn) = event.asn {
            source.object("as", |system| system.number("number", asn));
        }
    });
}

fn destination(object: &mut Object<'_>, event: &Event<'_>) {
    object.object("destination", |to| {
        if let Some(server) = event.server {
            to.address("ip", server.ip());
            to.number("port", server.port());
        }
        to.number("bytes", event.response_bytes);
    });
}

fn url(object: &mut Object<'_>, event: &Event<'_>) {
    object.object("url", |url| {
        url.text("scheme", event.scheme);
        if !event.host.is_empty() {
            url.text("domain", event.host);
        }
        if !event.path.is_empty() {
            url.text("path", event.path);
        }
        if let Some(query) = event.query {
            let sanitised = event.waf.map(|waf| waf.sanitised.as_slice()).unwrap_or_default();
            url.parts("query", masked(query, sanitised));
        }
    });
}

fn http(object: &mut Object<'_>, event: &Event<'_>) {
    object.object("http", |http| {
        let version = match event.version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        };
        http.text("version", version);
        http.object("request", |request| {
            request.text("id", event.request_id);
            request.text_if_any("method", event.method.map(http::Method::as_str));
            if let Some(referer) = event.referer {
                request.parts("referrer", masked_url(referer));
            }
            request.object("body", |body| body.number("bytes", event.request_bytes));
        });
        http.object("response", |response| {
            response.number("status_code", event.status);
            response.object("body", |body| body.number("bytes", event.response_bytes));
        });
    });
}

fn tls(object: &mut Object<'_>, event: &Event<'_>) {
    let Some(version) = event.tls else { return };
    object.object("tls", |tls| {
        tls.boolean("established", true);
        tls.text("version_protocol", "tls");
        tls.text("version", version.strip_prefix("TLSv").unwrap_or(version));
        tls.text_if_any("cipher", event.tls_cipher);
        if event.tls_server_name.is_some() || event.client_certificate.is_some() {
            tls.object("client", |client| {
                client.text_if_any("server_name", event.tls_server_name);
                if let Some(hash) = event.client_certificate {
                    client.object("hash", |hashes| hashes.text("sha256", hash));
                }
            });
        }
    });
}

/// The rule that mattered: of the firewall, or of the response policy.
fn rule(object: &mut Object<'_>, event: &Event<'_>) {
    if let Some(found) = decisive(event) {
        object.object("rule", |rule| {
            rule.digits("id", found.rule);
            rule.text("name", &found.message);
            rule.text("category", "waf");
        });
    } else if let Some(applied) = event.measure {
        object.object("rule", |rule| {
            rule.text("name", applied.rule);
            rule.text("category", "response");
        });
    }
}

pub(super) fn notice(out: &mut Vec<u8>, node: &Node, notice: &Notice) {
    let outcome = Outcome::of_notice(notice);
    let mut object = Object::begin(out);
    object.time("@timestamp", notice.time);
    about_us(&mut object, node);
    object.object("event", |fields| {
        let alert = notice.kind.area() == Area::Response || notice.severity >= Severity::High;
        fields.text("kind", if alert { "alert" } else { "event" });
        let (category, kind) = category(notice.kind);
        fields.list("category", [category], string);
        fields.list("type", [kind], string);
        fields.text("action", notice.kind.code());
        let failed = outcome == Outcome::Failed || outcome.is_denied();
        fields.text("outcome", if failed { "failure" } else { "success" });
        fields.text("module", "tidegate");
        fields.text("dataset", "tidegate.notice");
        fields.number("severity", severity_number(notice.severity));
    });
    object.text("message", &notice.summary);
    if let Some(client) = notice.client {
        object.object("source", |source| source.address("ip", client));
    }
    if let Some(endpoint) = notice.endpoint {
        object.object("destination", |to| {
            to.address("ip", endpoint.ip());
            to.number("port", endpoint.port());
        });
    }
    if let Some(decision) = &notice.decision {
        object.object("rule", |rule| {
            rule.text("name", &decision.rule);
            rule.text("category", "response");
        });
    }
    object.object("tidegate", |own| record::notice::members(own, notice));
    object.end();
}

/// `event.category` and `event.type`.
fn category(kind: NoticeKind) -> (&'static str, &'static str) {
    match (kind, kind.area()) {
        (NoticeKind::ProcessStarted, _) => ("process", "start"),
        (NoticeKind::ProcessStopped, _) => ("process", "end"),
        (_, Area::Process) => ("process", "info"),
        (_, Area::Configuration | Area::Administration) => ("configuration", "change"),
        (_, Area::Connection) => ("network", "denied"),
        (_, Area::Response) => ("intrusion_detection", "info"),
        (_, Area::Identity) => ("iam", "info"),
        (_, Area::Upstream | Area::Delivery) => ("host", "info"),
    }
}
