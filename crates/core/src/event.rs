//! The one event that each request ends in. Access log, metrics and every sink derive from it, so
//! that they cannot disagree.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Version};

use crate::decision::Measure;
use crate::notice::Severity;
use crate::{Fault, Reason};

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
    /// The address that the connection came in on, if the system says so.
    pub server: Option<SocketAddr>,
    /// TLS protocol version such as `TLSv1.3`, if encrypted.
    pub tls: Option<&'a str>,
    /// The cipher suite, by the name that IANA has for it.
    pub tls_cipher: Option<&'a str>,
    /// The name that the client asked for in its handshake (RFC 6066 §3).
    pub tls_server_name: Option<&'a str>,
    /// SHA-256 of the client's certificate in hexadecimal, if it showed one.
    pub client_certificate: Option<&'a str>,
    /// The protocol version of the client's request.
    pub version: Version,
    /// The method; `None` if the head could not be read.
    pub method: Option<&'a Method>,
    /// The canonical host; empty if the head could not be read.
    pub host: &'a str,
    /// The path as received, without the query.
    pub path: &'a str,
    /// The path as it was understood, decoded and without dot segments: what routes and rules match.
    /// Empty if the head could not be read.
    pub canonical_path: &'a str,
    /// The query as received.
    pub query: Option<&'a str>,
    /// `User-Agent`, if it is readable.
    pub user_agent: Option<&'a str>,
    /// `Referer`, if it is readable.
    pub referer: Option<&'a str>,
    /// All of the request's fields, for whoever decides by them: logs and sinks do not write them.
    pub headers: Option<&'a HeaderMap>,
    /// The country of the client's address, by its two letters (ISO 3166-1), if that is known.
    pub country: Option<&'a str>,
    /// The number of the network that the client's address belongs to, if that is known.
    pub asn: Option<u32>,
    /// W3C trace id: the request's own, or the one that was made for it.
    pub trace_id: Option<&'a str>,
    /// The id of our own span in that trace.
    pub span_id: Option<&'a str>,
    /// Whether the trace is recorded.
    pub sampled: bool,
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
    /// Who asked, if the route lets only known ones pass and they showed it; also if the request
    /// was refused afterwards.
    pub identity: Option<&'a Identity>,
    /// The credential that was shown, held good or not: SHA-256 of it in hexadecimal. Short ones,
    /// that could be guessed from it, have none.
    pub credential: Option<&'a str>,
    /// What of the response policy was done about the request, if something was.
    pub measure: Option<Applied<'a>>,
}

/// What of the response policy was done about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    /// What was done.
    pub measure: Measure,
    /// The rule that decided it, or who else: `admin`, a list's name.
    pub rule: &'a str,
}

/// What came of the proof of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthResult {
    /// Who asked is known, and they may.
    Passed,
    /// Who asked is known, and they may not.
    Forbidden,
    /// What was shown does not hold.
    Failed,
    /// Nothing was shown.
    Missing,
    /// It could not be checked.
    Unavailable,
}

impl AuthResult {
    /// The stable name: in logs and sinks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
        }
    }
}

/// An event about nothing, for those who fill in what they know.
impl Default for Event<'_> {
    fn default() -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            time: SystemTime::UNIX_EPOCH,
            request_id: "",
            listener: "",
            client: nobody,
            peer: SocketAddr::new(nobody, 0),
            scheme: "http",
            server: None,
            tls: None,
            tls_cipher: None,
            tls_server_name: None,
            client_certificate: None,
            version: Version::HTTP_11,
            method: None,
            host: "",
            path: "",
            canonical_path: "",
            query: None,
            user_agent: None,
            referer: None,
            headers: None,
            country: None,
            asn: None,
            trace_id: None,
            span_id: None,
            sampled: false,
            route: None,
            upstream: None,
            endpoint: None,
            status: 0,
            upstream_status: None,
            reason: None,
            evidence: None,
            attempts: 0,
            retries: &[],
            hedge: None,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            upstream_duration: None,
            overhead: None,
            upstream_reused: false,
            waf: None,
            waf_shadow: None,
            dry_run_limits: &[],
            identity: None,
            credential: None,
            measure: None,
        }
    }
}

impl Event<'_> {
    /// What came of the proof of an identity, if the route asks for one and it came to that.
    #[must_use]
    pub fn auth_result(&self) -> Option<AuthResult> {
        match self.reason {
            Some(Reason::Unauthenticated) => Some(AuthResult::Missing),
            Some(Reason::InvalidToken | Reason::InvalidAuthRequest) => Some(AuthResult::Failed),
            Some(Reason::AuthUnavailable) => Some(AuthResult::Unavailable),
            Some(Reason::InsufficientScope | Reason::AccessDenied) => Some(AuthResult::Forbidden),
            _ => self.identity.map(|_known| AuthResult::Passed),
        }
    }

    /// Whether it is about security: a refusal by policy or for what was sent, a finding, a failed
    /// proof of an identity. Ordinary answers and faults of upstreams are not.
    #[must_use]
    pub fn is_about_security(&self) -> bool {
        self.is_about_what_was_sent()
            || self.measure.is_some()
            || self.waf.is_some_and(|waf| !waf.matches.is_empty())
            || self.auth_result().is_some_and(|result| result != AuthResult::Passed)
    }

    /// Whether its end is the response policy's own doing, or a ban's: such an event says nothing
    /// new about who asked. What was only held back has an answer that does.
    #[must_use]
    pub fn is_own_enforcement(&self) -> bool {
        match self.measure.map(|applied| applied.measure) {
            Some(Measure::Block) => true,
            // What went to the quarantine; the firewall and the limits look at the isolated, too.
            Some(Measure::Isolate) => self.attempts > 0 || !self.is_about_what_was_sent(),
            // Who left the tarpit may have done so because of it.
            Some(_) if self.reason == Some(Reason::ClientClosed) => self.upstream_status.is_none(),
            _ => matches!(self.reason, Some(Reason::Banned | Reason::Throttled)),
        }
    }

    /// Whether the request was refused by policy or for what was sent.
    fn is_about_what_was_sent(&self) -> bool {
        self.reason.is_some_and(|reason| {
            matches!(reason.fault(), Fault::Client | Fault::Policy)
                && !matches!(reason, Reason::ClientClosed | Reason::NoRoute)
        })
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let found = self.waf.is_some_and(|waf| !waf.matches.is_empty());
        match self.reason {
            Some(Reason::WafBlocked) => Severity::High,
            Some(reason) => reason.severity(),
            None if found => Severity::Medium,
            None if self.status >= 500 => Severity::Low,
            None => Severity::Informational,
        }
    }
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
