//! What is known about one request while it passes through: filled stage by stage, turned into
//! one event at the end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::request::Parts;
use pingora_error::{Error, ErrorSource};
use pingora_proxy::Session;
use tidegate_core::event::WafSummary;
use tidegate_core::reading::Target;
use tidegate_core::{Denial, Event, Reason, Request};
use tidegate_engine::Admitted;
use tidegate_engine::snapshot::{Route, Timeouts};
use tidegate_observe::InFlight;
use tidegate_traffic::Lease;

use crate::connection::{Broken, Connection};
use crate::edge::Live;
use crate::faults;
use crate::lanes::Lane;
use crate::request_id::RequestId;

/// One request on its way. Pingora makes it before the head is known, so everything starts empty.
#[derive(Default)]
pub(crate) struct Context {
    /// Everything that is known once the head is read.
    pub(crate) arrival: Option<Arrival>,
    /// Present once the pipeline let the request in.
    pub(crate) admitted: Option<Admitted>,
    /// Present once a route was found, also if the request is refused.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) lane: Option<Arc<Lane>>,
    /// Where the request is going, if its route has an upstream.
    pub(crate) journey: Journey,
    /// Why the request was refused or failed.
    pub(crate) failure: Option<Failure>,
    /// What the pipeline found in a request that it refused.
    pub(crate) refused: Option<Findings>,
    /// Body bytes received in the present attempt.
    pub(crate) request_bytes: u64,
    /// A body that is held back until it is inspected.
    pub(crate) held: Option<Held>,
    /// Time spent waiting for the client's body, before anything was sent upstream.
    pub(crate) body_wait: Duration,
}

/// What the head of a request says.
pub(crate) struct Arrival {
    pub(crate) live: Arc<Live>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) received_at: Instant,
    pub(crate) time: SystemTime,
    pub(crate) request_id: RequestId,
    pub(crate) client: IpAddr,
    /// Whether the connection's other end is a trusted proxy.
    pub(crate) peer_is_trusted: bool,
    pub(crate) target: Target<'static>,
    /// Counts the request as running until it is dropped.
    pub(crate) _in_flight: InFlight,
}

/// The attempts on an upstream.
#[derive(Default)]
pub(crate) struct Journey {
    pub(crate) lease: Option<Lease>,
    /// The endpoints that were tried, the present one last.
    pub(crate) tried: Vec<SocketAddr>,
    pub(crate) started: Option<Instant>,
    /// Until the upstream's response header.
    pub(crate) waited: Option<Duration>,
    pub(crate) reused: bool,
    pub(crate) status: Option<u16>,
}

/// Why a request did not get an ordinary answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) evidence: Option<String>,
}

/// What the pipeline found in a request that it refused.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) waf: Option<WafSummary>,
    pub(crate) dry_run_limits: Vec<Box<str>>,
}

/// A body that passes in pieces while its first part is collected for the WAF.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) limit: usize,
}

impl From<&Denial> for Failure {
    fn from(denial: &Denial) -> Self {
        Self { reason: denial.reason, evidence: denial.evidence.clone() }
    }
}

impl Arrival {
    /// The request as the pipeline sees it.
    pub(crate) fn request<'a>(&'a self, head: &'a Parts) -> Request<'a> {
        Request {
            head,
            host: &self.target.host,
            path: &self.target.path,
            client: self.client,
            secure: self.connection.tls.is_some(),
            received_at: self.received_at,
        }
    }
}

impl Context {
    pub(crate) fn timeouts(&self) -> Option<Timeouts> {
        self.route.as_ref().map(|route| route.timeouts)
    }

    /// What an error means, with what the connection knows about it.
    pub(crate) fn reason(&self, error: &Error) -> Reason {
        let broken = self.arrival.as_ref().and_then(|arrival| arrival.connection.broken());
        match broken.filter(|_| error.esource() == &ErrorSource::Downstream) {
            Some(Broken::Malformed) => Reason::MalformedRequest,
            Some(Broken::TooSlow) => Reason::RequestTimeout,
            Some(Broken::Overdue) if self.journey.waited.is_none() => Reason::UpstreamTimeout,
            Some(Broken::Overdue) => Reason::TotalTimeout,
            None => faults::reason(error),
        }
    }

    pub(crate) fn fail(&mut self, reason: Reason, evidence: Option<String>) {
        // The first cause explains the rest.
        self.failure.get_or_insert(Failure { reason, evidence });
    }

    /// The event that the request ends in; `None` if it never arrived.
    pub(crate) fn with_event<T>(
        &self,
        session: &Session,
        now: Instant,
        report: impl FnOnce(&Event<'_>) -> T,
    ) -> Option<T> {
        let arrival = self.arrival.as_ref()?;
        let head = session.req_header();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let found = self.admitted.as_ref().and_then(Admitted::waf_summary);
        let refused = self.refused.as_ref();
        let waf = found.as_ref().or(refused.and_then(|found| found.waf.as_ref()));
        let dry_run_limits: Vec<&str> = match refused {
            Some(found) => found.dry_run_limits.iter().map(AsRef::as_ref).collect(),
            None => self.admitted.iter().flat_map(Admitted::dry_run_limits).collect(),
        };
        let upstream = self.lane.as_ref().and_then(|lane| lane.upstream.as_ref());
        let reason = self.failure.as_ref().map(|failure| failure.reason);
        let duration = now.saturating_duration_since(arrival.received_at);
        let before = self
            .journey
            .started
            .map_or(duration, |started| started.saturating_duration_since(arrival.received_at));
        let event = Event {
            time: arrival.time,
            request_id: arrival.request_id.as_str(),
            listener: &arrival.connection.listener,
            client: arrival.client,
            peer: arrival.connection.peer,
            scheme: if arrival.connection.tls.is_some() { "https" } else { "http" },
            tls: arrival.connection.tls,
            version: head.version,
            method: Some(&head.method),
            host: &arrival.target.host,
            path: head.uri.path(),
            query: head.uri.query(),
            user_agent: text(http::header::USER_AGENT),
            referer: text(http::header::REFERER),
            trace_id: text_of_trace(head),
            route: self.route.as_ref().map(|route| &*route.id),
            upstream: upstream.map(|upstream| upstream.pool.name()),
            endpoint: self.journey.tried.last().copied(),
            status: status(session, reason),
            upstream_status: self.journey.status,
            reason,
            evidence: self.failure.as_ref().and_then(|failure| failure.evidence.as_deref()),
            attempts: u32::try_from(self.journey.tried.len()).unwrap_or(u32::MAX),
            request_bytes: session.body_bytes_read() as u64,
            response_bytes: session.body_bytes_sent() as u64,
            duration,
            upstream_duration: self.journey.waited,
            overhead: Some(before.saturating_sub(self.body_wait)),
            upstream_reused: self.journey.reused,
            waf,
            dry_run_limits: &dry_run_limits,
        };
        Some(report(&event))
    }
}

/// The status that was sent; if none was, the client left or we had nobody to tell.
fn status(session: &Session, reason: Option<Reason>) -> u16 {
    match (session.response_written(), reason) {
        (_, Some(Reason::ClientClosed)) => Reason::ClientClosed.status().as_u16(),
        (Some(response), _) => response.status.as_u16(),
        (None, Some(reason)) => reason.status().as_u16(),
        (None, None) => Reason::ClientClosed.status().as_u16(),
    }
}

/// The trace id of a valid `traceparent` (W3C Trace Context, section 3.2).
fn text_of_trace(head: &Parts) -> Option<&str> {
    let value = head.headers.get("traceparent")?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let valid = version.len() == 2
        && version != "ff"
        && trace.len() == 32
        && hex(version)
        && hex(trace)
        && trace.bytes().any(|b| b != b'0')
        && parts.next().is_some_and(|parent| parent.len() == 16 && hex(parent));
    valid.then_some(trace)
}
