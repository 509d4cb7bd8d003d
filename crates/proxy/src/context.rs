//! What is known about one request while it passes through: filled stage by stage, turned into
//! one event at the end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Version};
use pingora_error::{Error, ErrorSource};
use pingora_proxy::Session;
use tidegate_auth::{Authenticated, Caller, Permitted, token_hash};
use tidegate_core::event::{AuthResult, Identity, WafSummary};
use tidegate_core::reading::Target;
use tidegate_core::{Denial, Event, Reason, Request};
use tidegate_engine::snapshot::{Route, Timeouts};
use tidegate_engine::{Admitted, RequestFacts};
use tidegate_guard::InForce;
use tidegate_observe::InFlight;
use tidegate_traffic::Lease;
use tidegate_traffic::retry::{Cause, RetryPermit};
use tidegate_traffic::sticky::Bound;

use crate::attempt::{self, Ended};
use crate::audit::{self, Trail};
use crate::connection::{Broken, Connection};
use crate::edge::{Edge, Live};
use crate::faults;
use crate::held::HeldBody;
use crate::lanes::{Lane, Upstream};
use crate::request_id::RequestId;
use crate::response::HeldResponse;
use crate::trace::Trace;

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
    /// The measure that holds for the request, if one does.
    pub(crate) measure: Option<InForce>,
    /// How long the tarpit held the request, which no deadline counts.
    pub(crate) tarpit: Duration,
    /// Where the request goes in place of its lane's upstream, if it is isolated.
    pub(crate) quarantine: Option<Arc<Upstream>>,
    /// Which of the lane's upstreams, once that is chosen.
    pub(crate) side: Option<usize>,
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
    /// A whole body that was read and inspected, and is more than Pingora keeps.
    pub(crate) body: Option<Bytes>,
    /// A response whose beginning is collected for the firewall.
    pub(crate) held_response: Option<HeldResponse>,
    /// The refusal that ended the exchange, for the answer.
    pub(crate) denial: Option<Box<Denial>>,
    /// What the audit log knows of the request.
    pub(crate) trail: Trail,
    /// The trace that it belongs to.
    pub(crate) trace: Trace,
    /// Whether the event was recorded; if not, it is when this is dropped.
    pub(crate) recorded: bool,
    /// Time spent waiting for the client's body or in the tarpit, before anything was sent upstream.
    pub(crate) body_wait: Duration,
}

/// What the head of a request says.
pub(crate) struct Arrival {
    pub(crate) edge: Arc<Edge>,
    pub(crate) live: Arc<Live>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) received_at: Instant,
    pub(crate) time: SystemTime,
    pub(crate) request_id: RequestId,
    pub(crate) client: IpAddr,
    /// Whether the connection's other end is a trusted proxy.
    pub(crate) peer_is_trusted: bool,
    pub(crate) method: Method,
    pub(crate) version: Version,
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
    /// When the first try began.
    pub(crate) started: Option<Instant>,
    /// When the present try began, until its endpoint is told what became of it.
    pub(crate) try_started: Option<Instant>,
    /// Tries so far, those on stale connections included.
    pub(crate) attempts: u32,
    /// Retries so far that count against `retries.attempts`.
    pub(crate) made: u8,
    /// Stale connections so far.
    pub(crate) stale: u8,
    /// Why each try but the last failed.
    pub(crate) retried: Vec<Cause>,
    /// The leave for the present try, if it is a retry.
    pub(crate) permit: Option<RetryPermit>,
    /// Set if the next try needs leave from the budget, with why the request fails without.
    pub(crate) owes_permit: Option<Reason>,
    /// When the client should come back, if the upstream says so.
    pub(crate) retry_after: Option<Duration>,
    /// Until the next try.
    pub(crate) pause: Duration,
    /// The endpoint that the client's cookie names.
    pub(crate) bound: Option<Bound>,
    /// The cookie that keeps the client on its side of a split.
    pub(crate) split_cookie: Option<HeaderValue>,
    /// The balancing key.
    pub(crate) key: u64,
    /// Whether a second request was sent, and won.
    pub(crate) hedged: Option<bool>,
    /// Whether the exchange is ours and not Pingora's.
    pub(crate) exchanged: bool,
    /// Until the upstream's response header.
    pub(crate) waited: Option<Duration>,
    pub(crate) reused: bool,
    /// Counts the request as running at the upstream until it is dropped.
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) status: Option<u16>,
}

/// Why a request did not get an ordinary answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) evidence: Option<String>,
}

/// What the pipeline found in a request that it refused.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) waf: Option<WafSummary>,
    pub(crate) waf_shadow: Option<WafSummary>,
    pub(crate) dry_run_limits: Vec<Box<str>>,
    /// Who asked, if that was found out before.
    pub(crate) who: Option<Authenticated>,
}

/// A body that passes in pieces while its first part is collected for the WAF.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) body: HeldBody,
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

impl Arrival {
    /// What the firewall may know beyond the request.
    pub(crate) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            client_port: self.connection.peer.port(),
            server: self.connection.local,
            id: self.request_id.as_str(),
            now: Some(self.time),
            line: None,
        }
    }

    /// What the connection says about who asks.
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller { time: self.time, certificate: self.connection.certificate.as_ref() }
    }
}

impl Context {
    /// Notes that the request goes on, for the report of scopes.
    pub(crate) fn passed(&self) {
        if let (Some(arrival), Some(admitted)) = (&self.arrival, &self.admitted) {
            arrival.edge.auth().report().passed(arrival, admitted);
        }
    }

    /// Whether the answer may have to wait, head and body, before any of it is written.
    pub(crate) fn holds_answer(&self) -> bool {
        self.trail.holds_answer() || self.admitted.as_ref().is_some_and(Admitted::holds_responses)
    }

    pub(crate) fn timeouts(&self) -> Option<Timeouts> {
        self.route.as_ref().map(|route| route.timeouts)
    }

    /// Where the request goes, if its route has an upstream.
    pub(crate) fn upstream(&self) -> Option<&Arc<Upstream>> {
        let lane = self.lane.as_ref()?;
        self.quarantine.as_ref().or_else(|| lane.upstream(self.side))
    }

    /// When the request's total time is over.
    pub(crate) fn end(&self) -> Option<Instant> {
        let total = self.timeouts()?.total?;
        self.arrival.as_ref().map(|arrival| arrival.received_at + total + self.tarpit)
    }

    /// What an error means, with what the connection knows about it.
    pub(crate) fn reason(&self, error: &Error) -> Reason {
        let broken = self.arrival.as_ref().and_then(|arrival| arrival.connection.broken());
        match broken.filter(|_| error.esource() == &ErrorSource::Downstream) {
            Some(Broken::Malformed) => Reason::MalformedRequest,
            Some(Broken::NotReading) => Reason::ClientClosed,
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

    /// Records the event that the request ends in.
    pub(crate) fn record(&mut self, session: &Session) {
        let head = session.req_header();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let reason = self.failure.as_ref().map(|failure| failure.reason);
        let status = status(session, reason);
        self.emit(|event| Event {
            path: head.uri.path(),
            query: head.uri.query(),
            user_agent: text(http::header::USER_AGENT),
            referer: text(http::header::REFERER),
            headers: Some(&head.headers),
            status,
            request_bytes: session.body_bytes_read() as u64,
            response_bytes: session.body_bytes_sent() as u64,
            ..event
        });
    }

    /// Completes what this knows with what the session knows, and records it, once.
    fn emit<'a>(&'a mut self, complete: impl FnOnce(Event<'a>) -> Event<'a>) {
        self.recorded = true;
        if let Some(admitted) = &mut self.admitted {
            admitted.finish();
        }
        self.trace.answered(&self.journey);
        let Some(arrival) = &self.arrival else { return };
        let edge = &arrival.edge;
        let found = self.admitted.as_ref().and_then(Admitted::waf_summary);
        let shadow = self.admitted.as_ref().and_then(Admitted::waf_shadow_summary);
        let refused = self.refused.as_ref();
        let dry_run_limits: Vec<&str> = match refused {
            Some(found) => found.dry_run_limits.iter().map(AsRef::as_ref).collect(),
            None => self.admitted.iter().flat_map(Admitted::dry_run_limits).collect(),
        };
        let retries: Vec<&str> = self.journey.retried.iter().map(|cause| cause.code()).collect();
        let identity = self.identity(arrival);
        let mut event = self.event(arrival, edge.clock().now());
        self.trace.tell(&mut event);
        let event = complete(event);
        let event = Event {
            retries: &retries,
            waf: found.as_ref().or(refused.and_then(|found| found.waf.as_ref())),
            waf_shadow: shadow.as_ref().or(refused.and_then(|found| found.waf_shadow.as_ref())),
            dry_run_limits: &dry_run_limits,
            identity: identity.as_ref(),
            measure: self.applied(),
            ..event
        };
        // The policy of now: a request may have lasted for hours.
        let live = edge.live();
        let policy = live.snapshot.response();
        let credential = credential(&event, policy.is_some_and(|it| it.needs_credential()));
        let place = arrival.live.snapshot.place(event.client);
        let event = Event {
            credential: credential.as_deref(),
            country: place.country,
            asn: place.asn,
            ..event
        };
        let lane = self.lane.as_ref();
        let metrics = edge.metrics();
        let route = lane.map_or_else(|| metrics.unrouted(), |lane| &lane.metrics);
        let upstream = self.upstream();
        metrics.record(&event, route, upstream.map(|upstream| &*upstream.metrics));
        edge.access_log().log(&event);
        edge.tell_event(&event);
        audit::end(edge, &event, &self.trail);
        self.trace.record(edge, &event, arrival.received_at);
        edge.respond_to(&event, &live.snapshot);
    }

    /// Who asked, if they showed it, whether they may pass or not.
    pub(crate) fn who(&self) -> Option<&tidegate_auth::Identity> {
        let admitted = self.admitted.as_ref().and_then(Admitted::permitted);
        let refused = self.refused.as_ref().and_then(|refused| refused.who.as_ref());
        admitted.map(Permitted::identity).or(refused.map(Authenticated::identity))
    }

    /// Who asked, as it may be told.
    fn identity(&self, arrival: &Arrival) -> Option<Identity> {
        let who = self.who()?;
        let auth = arrival.live.snapshot.auth();
        Some(Identity {
            method: who.method.name(),
            provider: Arc::clone(&who.provider),
            subject: who.subject.as_deref().and_then(|subject| auth.shown_subject(subject)),
            client: who.client.clone(),
        })
    }

    /// The event as far as it is known without the session.
    fn event<'a>(&'a self, arrival: &'a Arrival, now: Instant) -> Event<'a> {
        let upstream = self.upstream();
        let duration = now.saturating_duration_since(arrival.received_at);
        let before = self
            .journey
            .started
            .map_or(duration, |started| started.saturating_duration_since(arrival.received_at));
        Event {
            time: arrival.time,
            request_id: arrival.request_id.as_str(),
            client: arrival.client,
            version: arrival.version,
            method: Some(&arrival.method),
            host: &arrival.target.host,
            path: &arrival.target.path,
            canonical_path: &arrival.target.path,
            route: self.route.as_ref().map(|route| &*route.id),
            upstream: upstream.map(|upstream| upstream.pool.name()),
            endpoint: self.journey.tried.last().copied(),
            status: Reason::ClientClosed.status().as_u16(),
            upstream_status: self.journey.status,
            reason: self.failure.as_ref().map(|failure| failure.reason),
            evidence: self.failure.as_ref().and_then(|failure| failure.evidence.as_deref()),
            attempts: self.journey.attempts,
            hedge: self.journey.hedged.map(|won| if won { "won" } else { "lost" }),
            request_bytes: self.request_bytes,
            duration,
            upstream_duration: self.journey.waited,
            overhead: Some(before.saturating_sub(self.body_wait)),
            upstream_reused: self.journey.reused,
            ..arrival.connection.event()
        }
    }

    /// Why a request that is dropped in mid-flight ended.
    fn reason_of_drop(&self) -> Reason {
        let (Some(arrival), Some(end)) = (&self.arrival, self.end()) else {
            return Reason::ClientClosed;
        };
        let overdue = arrival.edge.clock().now() >= end;
        if overdue { Reason::TotalTimeout } else { Reason::ClientClosed }
    }
}

/// A request that nobody finishes, because its time is over or its connection is gone, ends in an
/// event all the same.
impl Drop for Context {
    fn drop(&mut self) {
        if self.recorded || self.arrival.is_none() {
            return;
        }
        let reason = self.reason_of_drop();
        if let Some(arrival) = &self.arrival {
            let now = arrival.edge.clock().now();
            // Without a session nobody knows whether the body came whole; without one it did.
            let whole = arrival.method.is_safe();
            attempt::ended(self, Ended::for_reason(Some(reason), whole), now);
        }
        self.fail(reason, None);
        self.emit(|event| Event { status: reason.status().as_u16(), ..event });
    }
}

/// The hash of the credential that was shown: where a rule asks for it, and where it is what a
/// refusal is about. Ordinary requests do without.
fn credential(event: &Event<'_>, asked: bool) -> Option<String> {
    let refused = matches!(event.auth_result(), Some(AuthResult::Failed | AuthResult::Forbidden));
    let headers = event.headers.filter(|_| asked || refused)?;
    token_hash(headers)
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
