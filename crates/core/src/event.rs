//! The one event that each request ends in. Access log, metrics and every sink derive from it, so
//! that they cannot disagree.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, Version};

use crate::Reason;

/// What happened to one request. It borrows from the request, so that making one allocates
/// nothing.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// When the request's head was complete, by the wall clock.
    pub time: SystemTime,
    /// The request's id, as sent upstream in `X-Request-ID`.
    pub request_id: &'a str,
    /// The listener's address as configured.
    pub listener: &'a str,
    /// Who asked: the peer, or what a trusted peer says.
    pub client: IpAddr,
    /// The connection's other end.
    pub peer: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// TLS protocol version such as `TLSv1.3`, if encrypted.
    pub tls: Option<&'a str>,
    /// The protocol version of the client's request.
    pub version: Version,
    /// The method; `None` if the head could not be read.
    pub method: Option<&'a Method>,
    /// The canonical host; empty if the head could not be read.
    pub host: &'a str,
    /// The path as received, without the query.
    pub path: &'a str,
    /// The query as received.
    pub query: Option<&'a str>,
    /// `User-Agent`, if it is readable.
    pub user_agent: Option<&'a str>,
    /// `Referer`, if it is readable.
    pub referer: Option<&'a str>,
    /// W3C trace id, if the request carries a valid `traceparent`.
    pub trace_id: Option<&'a str>,
    /// The route's id, once one was found.
    pub route: Option<&'a str>,
    /// The upstream's name, if the route has one.
    pub upstream: Option<&'a str>,
    /// The endpoint that answered or failed last.
    pub endpoint: Option<SocketAddr>,
    /// The status that was sent, or 499 if the client left before.
    pub status: u16,
    /// The status that the upstream sent, if it did.
    pub upstream_status: Option<u16>,
    /// Why it was refused or failed; `None` for an ordinary answer.
    pub reason: Option<Reason>,
    /// What a stage found, for the log only.
    pub evidence: Option<&'a str>,
    /// Attempts on upstream endpoints; 0 if it was never tried.
    pub attempts: u32,
    /// Why each of them but the last failed, in their order: codes of retry causes.
    pub retries: &'a [&'a str],
    /// Whether a slow try was hedged, and the second request `won` or `lost`.
    pub hedge: Option<&'static str>,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// From the head's arrival to the last byte sent.
    pub duration: Duration,
    /// Of that, spent waiting for the upstream: connecting and until its response header.
    pub upstream_duration: Option<Duration>,
    /// Our own part: reading, deciding and writing the head's answer, without waiting for the
    /// client's body, the upstream or the client to read. `None` if it was not measured.
    pub overhead: Option<Duration>,
    /// Whether the connection to the upstream was reused.
    pub upstream_reused: bool,
    /// What the WAF found, if it looked.
    pub waf: Option<&'a WafSummary>,
    /// What the WAF's shadow found, if the route has one; what it says of refusing never happens.
    pub waf_shadow: Option<&'a WafSummary>,
    /// Limits that would have refused the request, were they not in dry-run.
    pub dry_run_limits: &'a [&'a str],
    /// Who asked, if the route lets only known ones pass.
    pub identity: Option<&'a Identity>,
}

/// Who asked, as logs and sinks report it.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// By which way it was shown, such as `jwt`.
    pub method: &'static str,
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    /// The subject, or a pseudonym of it; as the configuration says.
    pub subject: Option<Box<str>>,
    /// The client that acted.
    pub client: Option<Box<str>>,
}

/// What the WAF found in one request, as logs and sinks report it.
#[derive(Clone, Debug, Default)]
pub struct WafSummary {
    /// The anomaly score.
    pub score: u32,
    /// Whether the request was (or in detect mode would have been) refused.
    pub blocked: bool,
    /// Whether the route only detects.
    pub detect_only: bool,
    /// Of what the request had more than is inspected, `work` or `values`, if it had.
    pub exceeded: Option<&'static str>,
    /// The rule that decided to refuse or to redirect, if one did; the built-in rules' score
    /// decides without one.
    pub decided_by: Option<u32>,
    /// The names of arguments that rules ask not to be told (`sanitiseArg`).
    pub sanitised: Vec<Box<str>>,
    /// The matches, in the order of the rules, bounded by the engine.
    pub matches: Vec<WafMatch>,
}

/// One rule that matched.
#[derive(Clone, Debug, Default)]
pub struct WafMatch {
    /// The rule's number.
    pub rule: u32,
    /// The rule's message.
    pub message: Box<str>,
    /// What was matched, such as `query:id` or `header:user-agent`.
    pub target: Box<str>,
    /// The matched piece, shortened and redacted.
    pub piece: Box<str>,
    /// What the rule added to the score.
    pub score: u32,
    /// The score with that.
    pub total: u32,
    /// The rule's tags.
    pub tags: Arc<[Box<str>]>,
    /// SecLang's word for how bad it is, such as `CRITICAL`; empty if the rule says none.
    pub severity: &'static str,
    /// What the rule says of the match (SecLang's `logdata`), shortened and redacted.
    pub logdata: Box<str>,
    /// SecLang's phase, 1 to 5; 2 for rules that have none.
    pub phase: u8,
}
