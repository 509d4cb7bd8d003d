//! An event's members. `docs/reference/access-log.md` lists them; a test keeps the two together.

use http::Version;

use super::json::{Object, string};
use super::masks::{masked, masked_piece, masked_url};
use crate::Event;
use crate::event::{Identity, WafMatch, WafSummary};

/// The room for the matches of rules, in bytes: one request can have hundreds, and a record has to
/// fit into what receivers take.
const MAX_MATCHES: usize = 8 * 1024;

/// Writes all that an event says but its time. What has nothing to say is left out.
pub fn members(line: &mut Object<'_>, event: &Event<'_>) {
    write_request(line, event);
    write_answer(line, event);
    write_findings(line, event);
}

/// Who asked, what the firewall found, and what would have been refused.
pub fn write_findings(line: &mut Object<'_>, event: &Event<'_>) {
    if let Some(identity) = event.identity {
        line.object("auth", |object| write_identity(object, identity));
    }
    line.text_if_any("credential", event.credential);
    if let Some(applied) = event.measure {
        line.object("measure", |object| {
            object.text("name", applied.measure.name());
            object.text("rule", applied.rule);
        });
    }
    if let Some(waf) = event.waf {
        line.object("waf", |object| write_waf(object, waf));
    }
    if let Some(shadow) = event.waf_shadow {
        line.object("waf_shadow", |object| write_shadow(object, shadow));
    }
    if !event.dry_run_limits.is_empty() {
        line.list("dry_run_limits", event.dry_run_limits, |out, name| string(out, name));
    }
}

fn write_identity(object: &mut Object<'_>, identity: &Identity) {
    object.text("method", identity.method);
    object.text("provider", &identity.provider);
    object.text_if_any("subject", identity.subject.as_deref());
    object.text_if_any("client", identity.client.as_deref());
}

fn write_request(line: &mut Object<'_>, event: &Event<'_>) {
    line.text("request_id", event.request_id);
    line.text_if_any("trace_id", event.trace_id);
    line.text_if_any("span_id", event.span_id);
    line.text("listener", event.listener);
    line.address("client", event.client);
    line.socket("peer", event.peer);
    line.text("scheme", event.scheme);
    if let Some(server) = event.server {
        line.socket("server", server);
    }
    line.text_if_any("country", event.country);
    if let Some(asn) = event.asn {
        line.number("asn", asn);
    }
    line.text_if_any("tls", event.tls);
    line.text_if_any("tls_cipher", event.tls_cipher);
    line.text_if_any("tls_server_name", event.tls_server_name);
    line.text_if_any("client_certificate", event.client_certificate);
    line.text("protocol", protocol(event.version));
    line.text_if_any("method", event.method.map(http::Method::as_str));
    if !event.host.is_empty() {
        line.text("host", event.host);
    }
    if !event.path.is_empty() {
        line.text("path", event.path);
    }
    if let Some(query) = event.query {
        let sanitised = event.waf.map(|waf| waf.sanitised.as_slice()).unwrap_or_default();
        line.parts("query", masked(query, sanitised));
    }
    line.text_if_any("user_agent", event.user_agent);
    if let Some(referer) = event.referer {
        line.parts("referer", masked_url(referer));
    }
}

/// What became of it.
pub fn write_answer(line: &mut Object<'_>, event: &Event<'_>) {
    line.text_if_any("route", event.route);
    line.text_if_any("upstream", event.upstream);
    if let Some(endpoint) = event.endpoint {
        line.socket("endpoint", endpoint);
        line.boolean("upstream_reused", event.upstream_reused);
    }
    line.number("status", event.status);
    if let Some(status) = event.upstream_status {
        line.number("upstream_status", status);
    }
    line.text_if_any("reason", event.reason.map(crate::Reason::code));
    line.text_if_any("evidence", event.evidence);
    line.number("attempts", event.attempts);
    if !event.retries.is_empty() {
        line.list("retries", event.retries, |out, code| string(out, code));
    }
    line.text_if_any("hedge", event.hedge);
    line.number("request_bytes", event.request_bytes);
    line.number("response_bytes", event.response_bytes);
    line.millis("duration_ms", event.duration);
    if let Some(duration) = event.upstream_duration {
        line.millis("upstream_duration_ms", duration);
    }
    if let Some(overhead) = event.overhead {
        line.millis("overhead_ms", overhead);
    }
}

fn write_waf(object: &mut Object<'_>, waf: &WafSummary) {
    object.number("score", waf.score);
    object.boolean("blocked", waf.blocked);
    object.boolean("detect_only", waf.detect_only);
    write_found(object, waf);
}

fn write_shadow(object: &mut Object<'_>, shadow: &WafSummary) {
    object.number("score", shadow.score);
    object.boolean("blocked", shadow.blocked);
    write_found(object, shadow);
}

/// What rules found, with secrets masked.
pub fn write_found(object: &mut Object<'_>, waf: &WafSummary) {
    object.text_if_any("exceeded", waf.exceeded);
    if let Some(rule) = waf.decided_by {
        object.number("decided_by", rule);
    }
    let left = write_matches(object, &waf.matches);
    if left > 0 {
        object.number("matches_left", left);
    }
}

/// Writes as many matches as have room, the first always; how many have not.
fn write_matches(object: &mut Object<'_>, matches: &[WafMatch]) -> usize {
    object.name("matches");
    object.out.push(b'[');
    let begin = object.out.len();
    for (index, found) in matches.iter().enumerate() {
        let before = object.out.len();
        if index > 0 {
            object.out.push(b',');
        }
        write_match(object.out, found);
        if index > 0 && object.out.len() - begin > MAX_MATCHES {
            object.out.truncate(before);
            object.out.push(b']');
            return matches.len() - index;
        }
    }
    object.out.push(b']');
    0
}

fn write_match(out: &mut Vec<u8>, found: &WafMatch) {
    let mut object = Object::begin(out);
    object.number("rule", found.rule);
    object.number("phase", found.phase);
    object.text("message", &found.message);
    object.text_if_any("severity", Some(found.severity).filter(|text| !text.is_empty()));
    if !found.tags.is_empty() {
        object.list("tags", &*found.tags, |out, tag| string(out, tag));
    }
    object.text("target", &found.target);
    object.text("piece", masked_piece(&found.target, &found.piece));
    if !found.logdata.is_empty() {
        object.text("logdata", masked_piece(&found.target, &found.logdata));
    }
    object.number("score", found.score);
    object.number("total", found.total);
    object.end();
}

/// The protocol's name, such as `HTTP/1.1`.
#[must_use]
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "unknown",
    }
}
