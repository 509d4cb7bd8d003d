//! One request: HTTP Activity, or Authentication.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::event::AuthResult;
use tidegate_core::notice::Severity;
use tidegate_core::record::event::{protocol, write_found};
use tidegate_core::record::json::{Object, string};
use tidegate_core::record::masks::{masked, masked_piece, masked_url};
use tidegate_core::{Event, Reason};

use super::super::outcome::Outcome;
use super::super::{Node, decisive};
use super::{AUTHENTICATION, HTTP_ACTIVITY, head, metadata};

/// Appends one request's record.
pub(in super::super) fn event(out: &mut Vec<u8>, node: &Node, event: &Event<'_>) {
    let mut object = Object::begin(out);
    match event.auth_result() {
        Some(result @ (AuthResult::Failed | AuthResult::Missing | AuthResult::Unavailable)) => {
            authentication(&mut object, node, event, result);
        }
        _ => http_activity(&mut object, node, event),
    }
    object.end();
}

fn http_activity(object: &mut Object<'_>, node: &Node, event: &Event<'_>) {
    let outcome = Outcome::of(event);
    head(object, (HTTP_ACTIVITY, activity(event)), event.severity(), outcome);
    let profiles = ["host", "security_control", "load_balancer", "trace"];
    metadata(object, node, &profiles, |metadata| named(metadata, event));
    about(object, event);
    ended(object, event);
    object.object("http_response", |response| {
        response.number("code", event.status);
        response.number("body_length", event.response_bytes);
    });
    object.object("traffic", |traffic| {
        traffic.number("bytes_in", event.request_bytes);
        traffic.number("bytes_out", event.response_bytes);
    });
    object.object("connection_info", |connection| {
        // Inbound, TCP.
        connection.number("direction_id", 1);
        connection.number("protocol_num", 6);
    });
    if let Some(version) = event.tls {
        object.object("tls", |tls| {
            tls.text("version", version);
            tls.text_if_any("cipher", event.tls_cipher);
            tls.text_if_any("sni", event.tls_server_name);
        });
    }
    if let Some(upstream) = event.upstream {
        object.object("load_balancer", |balancer| {
            balancer.text("name", upstream);
            if let Some(status) = event.upstream_status {
                balancer.number("code", status);
            }
            if let Some(endpoint) = event.endpoint {
                balancer.object("dst_endpoint", |to| {
                    to.address("ip", endpoint.ip());
                    to.number("port", endpoint.port());
                });
            }
        });
    }
    actor(object, event);
    firewall_rule(object, event);
    trace(object, event);
    unmapped(object, event);
}

fn authentication(object: &mut Object<'_>, node: &Node, event: &Event<'_>, result: AuthResult) {
    // A logon.
    head(object, (AUTHENTICATION, 1), event.severity(), Outcome::of(event));
    metadata(object, node, &["host", "security_control"], |metadata| named(metadata, event));
    about(object, event);
    ended(object, event);
    // Over the network.
    object.number("logon_type_id", 3);
    object.boolean("is_remote", true);
    object.object("service", |service| service.text("name", event.route.unwrap_or("tidegate")));
    let shown = (result != AuthResult::Missing).then_some(event.credential).flatten();
    object.object("user", |user| {
        let subject = event.identity.and_then(|identity| identity.subject.as_deref());
        match subject {
            Some(subject) => user.text("uid", subject),
            None => user.text("name", "unknown"),
        }
        user.number("type_id", u32::from(subject.is_some()));
        user.text_if_any("credential_uid", shown);
    });
    let method = event.identity.map_or("", |identity| identity.method);
    let (protocol, name) = match method {
        "jwt" | "introspection" => (6, None),
        "" => (0, None),
        other => (99, Some(other)),
    };
    object.number("auth_protocol_id", protocol);
    object.text_if_any("auth_protocol", name);
    unmapped(object, event);
}

/// What names the record.
fn named(metadata: &mut Object<'_>, event: &Event<'_>) {
    metadata.text("uid", event.request_id);
    metadata.text_if_any("correlation_uid", event.trace_id);
    metadata.text("log_name", "request");
    metadata.text_if_any("event_code", event.reason.map(Reason::code));
}

/// Where it came from and what was asked.
fn about(object: &mut Object<'_>, event: &Event<'_>) {
    object.object("src_endpoint", |from| {
        from.address("ip", event.client);
        if event.client == event.peer.ip() {
            from.number("port", event.peer.port());
        } else {
            let via = std::iter::once(event.peer.ip());
            from.list("intermediate_ips", via, |out, ip| string(out, &ip.to_string()));
        }
        if let Some(country) = event.country {
            from.object("location", |location| location.text("country", country));
        }
        if let Some(asn) = event.asn {
            from.object("autonomous_system", |system| system.number("number", asn));
        }
    });
    object.object("dst_endpoint", |to| {
        if let Some(server) = event.server {
            to.address("ip", server.ip());
            to.number("port", server.port());
        }
        to.text("interface_name", event.listener);
    });
    if event.path.is_empty() {
        return;
    }
    object.object("http_request", |request| {
        request.text("uid", event.request_id);
        request.text_if_any("http_method", method(event));
        request.text("version", protocol(event.version));
        request.object("url", |url| {
            url.text("scheme", event.scheme);
            if !event.host.is_empty() {
                url.text("hostname", event.host);
            }
            url.text("path", event.path);
            if let Some(query) = event.query {
                let sanitised = event.waf.map(|waf| waf.sanitised.as_slice()).unwrap_or_default();
                url.parts("query_string", masked(query, sanitised));
            }
        });
        request.text_if_any("user_agent", event.user_agent);
        if let Some(referer) = event.referer {
            request.parts("referrer", masked_url(referer));
        }
        request.number("body_length", event.request_bytes);
    });
}

/// How it ended.
fn ended(object: &mut Object<'_>, event: &Event<'_>) {
    let failed = event.reason.is_some() || event.status >= 400;
    object.number("time", millis(event.time));
    object.number("duration", event.duration.as_millis());
    object.number("status_id", 1 + u32::from(failed));
    object.digits("status_code", event.status);
    if let Some(reason) = event.reason {
        object.text("message", reason.title());
        object.text("status_detail", event.evidence.unwrap_or(reason.code()));
    }
    object.boolean("is_alert", event.severity() >= Severity::High);
}

/// Who asked, if they showed it.
fn actor(object: &mut Object<'_>, event: &Event<'_>) {
    let Some(identity) = event.identity else { return };
    if identity.subject.is_none() && identity.client.is_none() {
        return;
    }
    object.object("actor", |actor| {
        if let Some(subject) = &identity.subject {
            actor.object("user", |user| {
                user.text("uid", subject);
                user.text_if_any("credential_uid", event.credential);
            });
        }
        actor.text_if_any("app_uid", identity.client.as_deref());
        actor.object("idp", |idp| idp.text("name", &identity.provider));
    });
}

/// The rule that mattered: of the firewall, or of the response policy.
fn firewall_rule(object: &mut Object<'_>, event: &Event<'_>) {
    if let Some(found) = decisive(event) {
        object.object("firewall_rule", |rule| {
            rule.digits("uid", found.rule);
            rule.text("name", &found.message);
            rule.text("type", "waf");
            rule.text("match_location", &found.target);
            let piece = masked_piece(&found.target, &found.piece);
            rule.list("match_details", [piece], string);
        });
    } else if let Some(applied) = event.measure {
        object.object("firewall_rule", |rule| {
            rule.text("name", applied.rule);
            rule.text("type", "response");
            rule.text("desc", applied.measure.name());
        });
    }
}

fn trace(object: &mut Object<'_>, event: &Event<'_>) {
    let Some(id) = event.trace_id else { return };
    object.object("trace", |trace| {
        trace.text("uid", id);
        if let Some(span) = event.span_id {
            trace.object("span", |object| {
                object.text("uid", span);
                object.number("start_time", millis(event.time));
                object.number("end_time", millis(event.time + event.duration));
            });
        }
    });
}

/// What the schema has no place for.
fn unmapped(object: &mut Object<'_>, event: &Event<'_>) {
    object.object("unmapped", |object| {
        object.text_if_any("route", event.route);
        if method(event).is_none() {
            object.text_if_any("method", event.method.map(http::Method::as_str));
        }
        object.text_if_any("auth_result", event.auth_result().map(AuthResult::name));
        object.text_if_any("auth_method", event.identity.map(|identity| identity.method));
        object.text_if_any("client_certificate", event.client_certificate);
        object.number("attempts", event.attempts);
        if !event.retries.is_empty() {
            object.list("retries", event.retries, |out, code| string(out, code));
        }
        object.text_if_any("hedge", event.hedge);
        if let Some(overhead) = event.overhead {
            object.millis("overhead_ms", overhead);
        }
        for (name, waf) in [("waf", event.waf), ("waf_shadow", event.waf_shadow)] {
            let Some(waf) = waf else { continue };
            object.object(name, |object| {
                object.number("score", waf.score);
                object.boolean("blocked", waf.blocked);
                object.boolean("detect_only", waf.detect_only);
                write_found(object, waf);
            });
        }
        if !event.dry_run_limits.is_empty() {
            object.list("dry_run_limits", event.dry_run_limits, |out, name| string(out, name));
        }
    });
}

/// The method, if it is one of those that the schema knows.
fn method<'e>(event: &Event<'e>) -> Option<&'e str> {
    const KNOWN: [&str; 9] =
        ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    event.method.map(http::Method::as_str).filter(|method| KNOWN.contains(method))
}

/// `activity_id`: the method's number.
fn activity(event: &Event<'_>) -> u32 {
    match event.method.map(http::Method::as_str) {
        None => 0,
        Some("CONNECT") => 1,
        Some("DELETE") => 2,
        Some("GET") => 3,
        Some("HEAD") => 4,
        Some("OPTIONS") => 5,
        Some("POST") => 6,
        Some("PUT") => 7,
        Some("TRACE") => 8,
        Some("PATCH") => 9,
        Some(_) => 99,
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()
}
