//! One access log line from one event. `docs/reference/access-log.md` lists the fields; a test
//! keeps the two together.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Version;
use jiff::Timestamp;
use jiff::tz::Offset;
use tidegate_core::Event;
use tidegate_core::event::WafSummary;

use super::json::{Object, string};
use super::secrets::{masked, masked_piece, masked_url};

/// Appends the event as one line. Fields that have nothing to say are left out.
pub(super) fn write(out: &mut Vec<u8>, times: &mut TimeText, event: &Event<'_>) {
    let mut line = Object::begin(out);
    line.name("time");
    times.write(line.out, event.time);
    write_request(&mut line, event);
    write_answer(&mut line, event);
    if let Some(identity) = event.identity {
        line.name("auth");
        let mut object = Object::begin(line.out);
        object.text("method", identity.method);
        object.text("provider", &identity.provider);
        object.text_if_any("subject", identity.subject.as_deref());
        object.text_if_any("client", identity.client.as_deref());
        object.end();
    }
    if let Some(waf) = event.waf {
        line.name("waf");
        write_waf(line.out, waf);
    }
    if let Some(shadow) = event.waf_shadow {
        line.name("waf_shadow");
        write_shadow(line.out, shadow);
    }
    if !event.dry_run_limits.is_empty() {
        line.name("dry_run_limits");
        list(line.out, event.dry_run_limits, |out, name| string(out, name));
    }
    line.end();
    out.push(b'\n');
}

fn write_request(line: &mut Object<'_>, event: &Event<'_>) {
    line.text("request_id", event.request_id);
    line.text_if_any("trace_id", event.trace_id);
    line.text("listener", event.listener);
    line.address("client", event.client);
    line.socket("peer", event.peer);
    line.text("scheme", event.scheme);
    line.text_if_any("tls", event.tls);
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

fn write_answer(line: &mut Object<'_>, event: &Event<'_>) {
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
    line.text_if_any("reason", event.reason.map(tidegate_core::Reason::code));
    line.text_if_any("evidence", event.evidence);
    line.number("attempts", event.attempts);
    if !event.retries.is_empty() {
        line.name("retries");
        list(line.out, event.retries, |out, code| string(out, code));
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

fn write_waf(out: &mut Vec<u8>, waf: &WafSummary) {
    let mut object = Object::begin(out);
    object.number("score", waf.score);
    object.boolean("blocked", waf.blocked);
    object.boolean("detect_only", waf.detect_only);
    write_found(&mut object, waf);
    object.end();
}

fn write_shadow(out: &mut Vec<u8>, shadow: &WafSummary) {
    let mut object = Object::begin(out);
    object.number("score", shadow.score);
    object.boolean("blocked", shadow.blocked);
    write_found(&mut object, shadow);
    object.end();
}

fn write_found(object: &mut Object<'_>, waf: &WafSummary) {
    object.text_if_any("exceeded", waf.exceeded);
    if let Some(rule) = waf.decided_by {
        object.number("decided_by", rule);
    }
    object.name("matches");
    list(object.out, &waf.matches, |out, found| {
        let mut object = Object::begin(out);
        object.number("rule", found.rule);
        object.number("phase", found.phase);
        object.text("message", &found.message);
        object.text_if_any("severity", Some(found.severity).filter(|text| !text.is_empty()));
        if !found.tags.is_empty() {
            object.name("tags");
            list(object.out, &found.tags, |out, tag| string(out, tag));
        }
        object.text("target", &found.target);
        object.text("piece", masked_piece(&found.target, &found.piece));
        if !found.logdata.is_empty() {
            object.text("logdata", masked_piece(&found.target, &found.logdata));
        }
        object.number("score", found.score);
        object.number("total", found.total);
        object.end();
    });
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "unknown",
    }
}

/// Writes times as RFC 3339 in UTC with milliseconds; remembers the text of the last second,
/// which the next line most likely shares.
#[derive(Debug, Default)]
pub(super) struct TimeText {
    second: Option<u64>,
    /// Up to the seconds, such as `2026-11-23T07:00:00`.
    text: String,
}

impl TimeText {
    fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            let second = i64::try_from(since.as_secs()).unwrap_or(0);
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            self.text = Offset::UTC.to_datetime(time).to_string();
            self.second = Some(since.as_secs());
        }
        let millis = since.subsec_millis();
        let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or(0);
        out.push(b'"');
        out.extend_from_slice(self.text.as_bytes());
        out.extend([b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z', b'"']);
    }
}

#[cfg(test)]
mod tests;
