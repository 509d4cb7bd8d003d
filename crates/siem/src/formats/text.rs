//! Records of names and values in one line: what CEF and LEEF share. Both say the same of an
//! event, under their own names and with their own escapes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::event::AuthResult;
use tidegate_core::notice::Severity;
use tidegate_core::record::event::protocol;
use tidegate_core::record::json::{CUT, cut, ip, socket};
use tidegate_core::record::masks::{masked, masked_piece, masked_url};
use tidegate_core::{Event, Notice, Reason};

use super::outcome::Outcome;
use super::{Node, decisive};

/// Which of the two, and so how names and values look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Cef,
    Leef,
}

/// A field's names: in CEF, with the label of a custom one, and in LEEF.
#[derive(Clone, Copy, Debug)]
struct Name {
    cef: &'static str,
    label: &'static str,
    leef: &'static str,
}

const fn known(cef: &'static str, leef: &'static str) -> Name {
    Name { cef, label: "", leef }
}

/// A field that CEF has no name for, but numbered ones with a label.
const fn custom(cef: &'static str, leef: &'static str) -> Name {
    Name { cef, label: leef, leef }
}

/// Longer values are cut, in bytes: what CEF allows for `request`, `msg` and the like.
const MAX_VALUE: usize = 1023;

/// Writes names and values.
pub(super) struct Pairs<'a> {
    out: &'a mut Vec<u8>,
    dialect: Dialect,
    first: bool,
}

impl<'a> Pairs<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, dialect: Dialect) -> Self {
        Self { out, dialect, first: true }
    }

    fn name(&mut self, name: Name) {
        match self.dialect {
            Dialect::Leef => self.key(name.leef),
            Dialect::Cef => {
                if !name.label.is_empty() {
                    self.key(name.cef);
                    self.out.truncate(self.out.len() - 1);
                    self.out.extend_from_slice(b"Label=");
                    self.out.extend_from_slice(name.label.as_bytes());
                }
                self.key(name.cef);
            }
        }
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(if self.dialect == Dialect::Cef { b' ' } else { b'\t' });
        }
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    fn parts<'b>(&mut self, name: Name, parts: impl Iterator<Item = &'b str>) {
        self.name(name);
        let mut room = MAX_VALUE;
        for part in parts {
            let fits = cut(part, room);
            escaped(self.out, self.dialect, fits);
            room -= fits.len();
            if fits.len() < part.len() {
                self.out.extend_from_slice(CUT.as_bytes());
                break;
            }
        }
    }

    fn text(&mut self, name: Name, value: &str) {
        self.parts(name, std::iter::once(value));
    }

    fn text_if_any(&mut self, name: Name, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.text(name, value);
        }
    }

    fn number(&mut self, name: Name, value: impl itoa::Integer) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Writes a value: CEF escapes `\`, `=` and line ends; LEEF has no escapes, so that its separator
/// and line ends become spaces. Other control characters become spaces in both.
fn escaped(out: &mut Vec<u8>, dialect: Dialect, text: &str) {
    for byte in text.bytes() {
        match (byte, dialect) {
            (b'\\' | b'=', Dialect::Cef) => out.extend([b'\\', byte]),
            (b'\n', Dialect::Cef) => out.extend_from_slice(b"\\n"),
            (b'\r', Dialect::Cef) => out.extend_from_slice(b"\\r"),
            (0..0x20 | 0x7f, _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
}

/// Writes a field of the header: `|` and, in CEF, `\` are escaped; line ends are not allowed.
pub(super) fn header(out: &mut Vec<u8>, text: &str) {
    for byte in cut(text, 512).bytes() {
        match byte {
            b'\\' | b'|' => out.extend([b'\\', byte]),
            0..0x20 | 0x7f => out.push(b' '),
            _ => out.push(byte),
        }
    }
}

/// From 0 to 10.
pub(super) const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

/// Writes all that an event says.
pub(super) fn event(pairs: &mut Pairs<'_>, node: &Node, event: &Event<'_>) {
    whence(pairs, node, event.time, event.severity());
    pairs.text(known("externalId", "requestId"), event.request_id);
    pairs.text(known("cat", "cat"), "request");
    pairs.text(known("act", "action"), Outcome::of(event).name());
    let failed = event.reason.is_some() || event.status >= 400;
    pairs.text(known("outcome", "outcome"), if failed { "failure" } else { "success" });
    addresses(pairs, event);
    pairs.text_if_any(known("requestMethod", "method"), event.method.map(http::Method::as_str));
    if !event.path.is_empty() {
        let sanitised = event.waf.map(|waf| waf.sanitised.as_slice()).unwrap_or_default();
        let query = event.query.into_iter();
        let query = query.flat_map(|query| std::iter::once("?").chain(masked(query, sanitised)));
        let url = [event.scheme, "://", event.host, event.path];
        pairs.parts(known("request", "url"), url.into_iter().chain(query));
    }
    pairs.text_if_any(known("requestClientApplication", "userAgent"), event.user_agent);
    if let Some(referer) = event.referer {
        pairs.parts(known("requestContext", "referer"), masked_url(referer));
    }
    pairs.text(known("app", "protocol"), protocol(event.version));
    pairs.number(known("in", "srcBytes"), event.request_bytes);
    pairs.number(known("out", "dstBytes"), event.response_bytes);
    pairs.text_if_any(known("reason", "reason"), event.reason.map(Reason::code));
    pairs.text_if_any(known("msg", "msg"), event.evidence);
    who(pairs, event);
    decided(pairs, event);
}

fn whence(pairs: &mut Pairs<'_>, node: &Node, time: SystemTime, how_bad: Severity) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    pairs.number(known("rt", "devTime"), since.as_millis());
    pairs.text(known("dvchost", "devHost"), &node.host);
    if pairs.dialect == Dialect::Leef {
        pairs.number(known("", "sev"), severity(how_bad));
    }
}

fn addresses(pairs: &mut Pairs<'_>, event: &Event<'_>) {
    pairs.name(known("src", "src"));
    ip(pairs.out, event.client);
    if event.client == event.peer.ip() {
        pairs.number(known("spt", "srcPort"), event.peer.port());
    }
    if let Some(server) = event.server {
        pairs.name(known("dst", "dst"));
        ip(pairs.out, server.ip());
        pairs.number(known("dpt", "dstPort"), server.port());
    }
    pairs.text(known("proto", "proto"), "TCP");
}

fn who(pairs: &mut Pairs<'_>, event: &Event<'_>) {
    let identity = event.identity;
    let subject = identity.and_then(|identity| identity.subject.as_deref());
    pairs.text_if_any(known("suser", "usrName"), subject);
    pairs.text_if_any(custom("cs1", "route"), event.route);
    pairs.text_if_any(custom("cs2", "upstream"), event.upstream);
    if let Some(endpoint) = event.endpoint {
        pairs.name(custom("cs3", "endpoint"));
        socket(pairs.out, endpoint);
    }
    pairs.text_if_any(custom("cs4", "authResult"), event.auth_result().map(AuthResult::name));
    let client = identity.and_then(|identity| identity.client.as_deref());
    pairs.text_if_any(known("sourceServiceName", "client"), client);
    pairs.text_if_any(known("tidegateCredential", "credential"), event.credential);
    pairs.text_if_any(known("tidegateTraceId", "traceId"), event.trace_id);
    pairs.text_if_any(known("tidegateTls", "tls"), event.tls);
    pairs.text_if_any(known("tidegateServerName", "serverName"), event.tls_server_name);
    pairs.text_if_any(known("tidegateCertificate", "certificate"), event.client_certificate);
    pairs.text_if_any(known("tidegateCountry", "country"), event.country);
    if let Some(asn) = event.asn {
        pairs.number(known("tidegateAsn", "asn"), asn);
    }
}

fn decided(pairs: &mut Pairs<'_>, event: &Event<'_>) {
    pairs.number(custom("cn1", "status"), event.status);
    pairs.number(custom("cn2", "durationMillis"), event.duration.as_millis());
    if let Some(waf) = event.waf {
        pairs.number(custom("cn3", "wafScore"), waf.score);
    }
    if let Some(found) = decisive(event) {
        pairs.number(known("tidegateWafRule", "wafRule"), found.rule);
        pairs.text(custom("cs5", "wafMessage"), &found.message);
        let piece = masked_piece(&found.target, &found.piece);
        pairs.parts(custom("cs6", "wafMatch"), [&*found.target, " ", piece].into_iter());
    }
    if let Some(applied) = event.measure {
        pairs.text(known("tidegateMeasure", "measure"), applied.measure.name());
        pairs.text(known("tidegateMeasureRule", "measureRule"), applied.rule);
    }
    if !event.dry_run_limits.is_empty() {
        let names = event.dry_run_limits.iter().flat_map(|name| [*name, " "]);
        let last = event.dry_run_limits.len() * 2 - 1;
        pairs.parts(known("tidegateDryRunLimits", "dryRunLimits"), names.take(last));
    }
}

/// Writes all that a notice says.
pub(super) fn notice(pairs: &mut Pairs<'_>, node: &Node, notice: &Notice) {
    whence(pairs, node, notice.time, notice.severity);
    pairs.text(known("cat", "cat"), notice.kind.area().name());
    pairs.text(known("act", "action"), Outcome::of_notice(notice).name());
    pairs.text(known("msg", "msg"), &notice.summary);
    if let Some(client) = notice.client {
        pairs.name(known("src", "src"));
        ip(pairs.out, client);
    }
    pairs.text_if_any(known("suser", "usrName"), notice.by.as_deref());
    pairs.text_if_any(custom("cs1", "listener"), notice.listener.as_deref());
    pairs.text_if_any(custom("cs2", "upstream"), notice.upstream.as_deref());
    if let Some(endpoint) = notice.endpoint {
        pairs.name(custom("cs3", "endpoint"));
        socket(pairs.out, endpoint);
    }
    if !notice.details.is_empty() {
        let parts = notice.details.iter().flat_map(|(name, value)| [*name, ": ", &**value, "; "]);
        let last = notice.details.len() * 4 - 1;
        pairs.parts(custom("cs4", "details"), parts.take(last));
    }
    let Some(decision) = notice.decision.as_deref() else { return };
    pairs.text(known("tidegateMeasure", "measure"), decision.measure.name());
    pairs.text(known("tidegateMeasureRule", "measureRule"), &decision.rule);
    pairs.text(known("tidegateStanding", "standing"), decision.standing.name());
    pairs.text(custom("cs5", "target"), &decision.target.to_string());
    pairs.number(known("cnt", "count"), decision.evidence.count);
    pairs.number(custom("cn1", "offence"), decision.offence);
    if let Some(until) = decision.until {
        let since = until.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        pairs.number(known("end", "until"), since.as_millis());
    }
}
