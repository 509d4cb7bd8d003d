//! The spans of one request, in the words of OpenTelemetry's semantic conventions for HTTP.
//!
//! Queries are left out, since they may hold secrets; the access log has them, masked.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, Version};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event as SpanEvent, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use tidegate_core::Event;
use tidegate_core::trace::{Outcome, SpanId, StageSpan, Stages, TraceContext, TrySpan};

/// OTLP: the next bit says something about the parent (`SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`).
const KNOWS_PARENT: u32 = 0x100;
/// OTLP: the parent is in another process (`SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`).
const REMOTE_PARENT: u32 = 0x200;

/// A request that is over, with what its trace knows beside the event.
#[derive(Debug)]
pub struct Traced<'a> {
    /// The event that it ended in.
    pub event: &'a Event<'a>,
    /// Our own span.
    pub context: TraceContext,
    /// The sender's span, if the trace is a trusted sender's.
    pub parent: Option<SpanId>,
    /// The `tracestate` that came with it.
    pub state: Option<&'a str>,
    /// The trace that a sender named who is not trusted.
    pub link: Option<TraceContext>,
    /// When the event's `time` was, by the clock of the stages.
    pub received_at: Instant,
    /// What was measured.
    pub stages: &'a Stages,
}

impl Traced<'_> {
    /// The server's span, then a span for each stage and each try. `random` makes their ids.
    pub(super) fn spans(&self, mut random: impl FnMut() -> u64) -> Vec<Span> {
        let (stages, tries) = (self.stages.stages(), self.stages.tries());
        let mut spans = Vec::with_capacity(1 + stages.len() + tries.len());
        spans.push(self.server());
        let stage = |stage: &StageSpan| self.stage(stage, SpanId::new(random()));
        spans.extend(stages.iter().map(stage));
        let numbered = tries.iter().enumerate();
        spans.extend(numbered.map(|(number, one)| self.attempt(number, one)));
        spans
    }

    fn server(&self) -> Span {
        let event = self.event;
        let method = event.method.map_or("HTTP", known_method);
        let remote =
            if self.parent.is_some() { KNOWS_PARENT | REMOTE_PARENT } else { KNOWS_PARENT };
        let failed = event.status >= 500;
        let link = |link: &TraceContext| Link {
            trace_id: link.trace.bytes().into(),
            span_id: link.span.bytes().into(),
            flags: link.flags() | KNOWS_PARENT | REMOTE_PARENT,
            attributes: vec![text("tidegate.link", "untrusted_sender")],
            ..Link::default()
        };
        Span {
            parent_span_id: self.parent.map(|id| id.bytes().into()).unwrap_or_default(),
            flags: self.context.flags() | remote,
            trace_state: self.state.unwrap_or_default().to_owned(),
            name: named(method, event.route),
            kind: SpanKind::Server.into(),
            attributes: self.server_attributes(method),
            links: self.link.iter().map(link).collect(),
            status: failed.then(|| error(event.reason.map_or("", |reason| reason.title()))),
            ..self.span(self.context.span, self.received_at, self.received_at + event.duration)
        }
    }

    fn server_attributes(&self, method: &str) -> Vec<KeyValue> {
        let event = self.event;
        let mut list = Vec::with_capacity(24);
        if let Some(original) = event.method {
            list.push(text("http.request.method", method));
            if method == OTHER {
                list.push(text("http.request.method_original", original.as_str()));
            }
        }
        list.push(text("url.scheme", event.scheme));
        list.push(text("url.path", event.path));
        if !event.host.is_empty() {
            list.push(text("server.address", event.host));
        }
        list.push(text("network.protocol.name", "http"));
        list.push(text("network.protocol.version", version(event.version)));
        list.push(address("client.address", event.client));
        list.push(address("network.peer.address", event.peer.ip()));
        list.push(number("network.peer.port", event.peer.port()));
        list.push(number("http.response.status_code", event.status));
        list.push(number("http.request.body.size", event.request_bytes));
        list.push(number("http.response.body.size", event.response_bytes));
        list.push(text("tidegate.request_id", event.request_id));
        list.push(text("tidegate.listener", event.listener));
        let failure = (event.status >= 500).then(|| status_text(event.status));
        let kind = event.reason.map(|reason| reason.code().to_owned());
        let optional = [
            ("user_agent.original", event.user_agent),
            ("tls.protocol.version", event.tls),
            ("tidegate.route", event.route),
            ("tidegate.upstream", event.upstream),
            ("tidegate.hedge", event.hedge),
            ("tidegate.reason", event.reason.map(|reason| reason.code())),
            ("error.type", failure.as_ref().map(|status| kind.as_ref().unwrap_or(status).as_str())),
        ];
        list.extend(optional.into_iter().filter_map(|(name, value)| Some(text(name, value?))));
        if let Some(waf) = event.waf {
            list.push(number("tidegate.waf.score", waf.score));
            list.push(boolean("tidegate.waf.blocked", waf.blocked));
        }
        if self.stages.dropped() > 0 {
            list.push(number("tidegate.dropped_spans", self.stages.dropped()));
        }
        list
    }

    fn stage(&self, stage: &StageSpan, id: SpanId) -> Span {
        Span {
            name: stage.stage.name().to_owned(),
            kind: SpanKind::Internal.into(),
            ..self.child(id, stage.started, stage.ended)
        }
    }

    fn attempt(&self, number_of: usize, one: &TrySpan) -> Span {
        let event = self.event;
        let method = event.method.map_or("HTTP", known_method);
        let end = self.received_at + event.duration;
        let (ip, port) = (one.endpoint.ip(), one.endpoint.port());
        let mut attributes = vec![
            text("http.request.method", method),
            text("server.address", event.upstream.unwrap_or_default()),
            number("server.port", port),
            address("network.peer.address", ip),
            number("network.peer.port", port),
            boolean("tidegate.connection.reused", one.reused),
        ];
        if number_of > 0 {
            attributes.push(number("http.request.resend_count", number_of as u64));
        }
        if one.hedge {
            attributes.push(boolean("tidegate.hedge", true));
        }
        let mut status = None;
        match one.outcome {
            Outcome::Answered(code) => {
                attributes.push(number("http.response.status_code", code));
                if code >= 400 {
                    attributes.push(text("error.type", &status_text(code)));
                    status = Some(error(""));
                }
            }
            Outcome::Failed(cause) => {
                attributes.push(text("error.type", cause));
                status = Some(error("no response"));
            }
            Outcome::Canceled => attributes.push(boolean("tidegate.canceled", true)),
            Outcome::Open => {}
        }
        let connected = |at| SpanEvent {
            time_unix_nano: self.wall(at),
            name: "connected".to_owned(),
            ..SpanEvent::default()
        };
        Span {
            name: named(method, event.upstream),
            kind: SpanKind::Client.into(),
            attributes,
            events: one.connected.map(connected).into_iter().collect(),
            status,
            ..self.child(one.id, one.started, one.ended.unwrap_or(end))
        }
    }

    fn child(&self, id: SpanId, started: Instant, ended: Instant) -> Span {
        Span {
            parent_span_id: self.context.span.bytes().into(),
            flags: self.context.flags() | KNOWS_PARENT,
            ..self.span(id, started, ended)
        }
    }

    fn span(&self, id: SpanId, started: Instant, ended: Instant) -> Span {
        Span {
            trace_id: self.context.trace.bytes().into(),
            span_id: id.bytes().into(),
            start_time_unix_nano: self.wall(started),
            end_time_unix_nano: self.wall(ended.max(started)),
            ..Span::default()
        }
    }

    /// Nanoseconds since 1970.
    fn wall(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.received_at);
        let before = self.received_at.saturating_duration_since(at);
        nanos(self.event.time, after).saturating_sub(as_nanos(before))
    }
}

fn nanos(time: SystemTime, after: Duration) -> u64 {
    as_nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default() + after)
}

fn as_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const OTHER: &str = "_OTHER";

/// Methods that no client can multiply (RFC 9110, RFC 5789).
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("CONNECT" | "DELETE" | "GET" | "HEAD" | "OPTIONS" | "PATCH" | "POST" | "PUT"
        | "TRACE") => known,
        _ => OTHER,
    }
}

/// A span's name has few values: the method, and what the configuration calls the target.
fn named(method: &str, target: Option<&str>) -> String {
    let method = if method == OTHER { "HTTP" } else { method };
    target.map_or_else(|| method.to_owned(), |target| format!("{method} {target}"))
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn status_text(status: u16) -> String {
    itoa::Buffer::new().format(status).to_owned()
}

fn error(message: &str) -> Status {
    Status { message: message.to_owned(), code: StatusCode::Error.into() }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn address(key: &str, value: IpAddr) -> KeyValue {
    attribute(key, Value::StringValue(value.to_string()))
}

fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

pub(super) fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
