//! One request through Pingora's phases: read it strictly, let the pipeline decide, carry it to an
//! endpoint and back, and end it in one event. What is decided here is only how.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tidegate_core::forwarded::client_addr;
use tidegate_core::reading::{
    Refusal, RequestLine, Target, Upgrade, read_http1_head, read_http2_head,
};
use tidegate_core::trace::{Stage, Stages};
use tidegate_core::{Denial, Reason, Request};
use tidegate_engine::pipeline::Refused;
use tidegate_engine::snapshot::Action;
use tidegate_engine::{Admission, Admitted, RequestFacts, admit_in_stages};
use tidegate_traffic::random;

use crate::attempt::{self, Ended};
use crate::audit;
use crate::auth;
use crate::body;
use crate::connection::Connection;
use crate::context::{Arrival, Context, Findings};
use crate::edge::{Edge, Live};
use crate::enforcement::hold::{blocked, hold};
use crate::exchange;
use crate::faults;
use crate::refused;
use crate::request_id::RequestId;
use crate::respond;
use crate::response;
use crate::retry;
use crate::trace::Trace;
use crate::upstream_head;

/// The proxy's behaviour.
pub(crate) struct Gateway {
    edge: Arc<Edge>,
    /// Connects the exchanges that are not Pingora's.
    connector: Arc<Connector>,
}

/// What became of a request that was not refused.
enum Next {
    /// It goes to its upstream.
    Proxy,
    /// It has its answer.
    Answered,
}

impl Gateway {
    pub(crate) fn new(edge: Arc<Edge>, connector: Arc<Connector>) -> Self {
        Self { edge, connector }
    }

    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// From the head to the decision.
    async fn receive(&self, session: &mut Session, ctx: &mut Context) -> Result<Next, Box<Denial>> {
        if let Err(denial) = self.arrive(session, ctx) {
            return Err(unserved(session, ctx, denial));
        }
        let Some(arrival) = &ctx.arrival else { return Err(Denial::new(Reason::Internal).into()) };
        let request = arrival.request(session.req_header());
        if let Some(document) = auth::resource(arrival) {
            return answer_with(session, ctx, document).await;
        }
        let line = refused::line_of_absolute(session);
        let line = line.as_deref().and_then(RequestLine::of);
        let facts = RequestFacts { line, ..arrival.facts() };
        let admitted = match decide(arrival, &request, &facts, &mut ctx.trace.stages).await {
            Ok(admitted) => *admitted,
            Err(refused) => {
                let denial = note(*refused, ctx);
                let arrival = ctx.arrival.as_ref().ok_or_else(|| denial.clone())?;
                ctx.body_wait += hold(arrival, ctx.measure.as_ref()).await?.waited;
                return Err(denial.into());
            }
        };
        let route = admitted.route().clone();
        let matched_len = admitted.matched_len();
        ctx.measure = admitted.measure().cloned();
        ctx.admitted = Some(admitted);
        ctx.route = Some(route.clone());
        ctx.lane = arrival.live.lanes.of(&route).cloned();
        let holding = ctx.trace.stages.now();
        let held = hold(arrival, ctx.measure.as_ref()).await?;
        ctx.trace.waited(Stage::Held, holding);
        ctx.body_wait += held.waited;
        ctx.tarpit = held.waited;
        if let Action::Proxy { to, .. } = &route.action {
            ctx.quarantine = held.quarantine;
            let chosen = to.choose(&request, random::next(), arrival.time);
            ctx.side = Some(chosen.side);
            ctx.journey.split_cookie = chosen.set_cookie;
        }
        if let Action::Redirect(redirect) = &route.action {
            let location = redirect.location(&request, matched_len);
            let (status, id) = (redirect.status(), arrival.request_id.clone());
            audit::redirect(&self.edge, session, ctx, status).await?;
            ctx.passed();
            let redirected = respond::redirect(session, status, location, &id).await;
            redirected.map_err(|_gone| Denial::new(Reason::ClientClosed))?;
            return Ok(Next::Answered);
        }
        body::refuse_too_large(session.req_header(), route.max_body)?;
        body::inspect(session, ctx, &self.edge).await?;
        let recording = ctx.trace.stages.now();
        audit::begin(&self.edge, session, ctx).await?;
        ctx.trace.waited(Stage::Audit, recording);
        ctx.passed();
        Ok(Next::Proxy)
    }

    /// Reads the head strictly, and finds out who asks.
    fn arrive(&self, session: &mut Session, ctx: &mut Context) -> Result<(), Box<Denial>> {
        let Some(connection) = Connection::of(session.digest()).cloned() else {
            return Err(Denial::new(Reason::Internal).with_evidence("no connection").into());
        };
        connection.begin_request();
        let live = self.edge.live();
        set_limits(session, &live);
        let target = read_target(session, &live);
        let head = session.req_header();
        let peer = connection.peer.ip();
        let snapshot = &live.snapshot;
        let trusts = |address: IpAddr| snapshot.trusted_proxies().contains(address);
        let peer_is_trusted = trusts(peer);
        let client =
            client_addr(&head.headers, snapshot.settings().forwarded_header, peer, &trusts);
        let given = head.headers.get("x-request-id").filter(|_id| peer_is_trusted);
        let (target, refusal) = match target {
            Ok(target) => (target, None),
            Err(refusal) => (nowhere(), Some(refusal)),
        };
        let ignored_upgrade = target.upgrade == Upgrade::Ignored;
        ctx.trace = Trace::begin(&self.edge, snapshot, &head.headers, peer);
        ctx.arrival = Some(Arrival {
            edge: Arc::clone(&self.edge),
            method: head.method.clone(),
            version: head.version,
            received_at: self.edge.clock().now(),
            time: self.edge.clock().wall(),
            request_id: RequestId::given(given),
            _in_flight: self.edge.metrics().request_started(),
            live,
            connection,
            client,
            peer_is_trusted,
            target,
        });
        if ignored_upgrade {
            // Pingora takes any Upgrade field for a change of protocol.
            session.req_header_mut().remove_header(&header::UPGRADE);
            session.req_header_mut().remove_header("http2-settings");
        }
        if self.closes(ctx) {
            session.set_keepalive(None);
        }
        let Some(refusal) = refusal else { return Ok(()) };
        // Who sent this may mean another end of it than we do.
        session.set_keepalive(None);
        Err(Box::new(refusal.into()))
    }

    /// Whether the connection ends with the present response.
    fn closes(&self, ctx: &Context) -> bool {
        let last = |arrival: &Arrival| arrival.connection.is_at_last_request();
        self.edge.is_draining() || ctx.arrival.as_ref().is_some_and(last)
    }

    async fn refuse(&self, session: &mut Session, ctx: &mut Context, denial: &Denial) {
        let unrecorded = audit::refused(&self.edge, ctx, denial).await;
        let denial = unrecorded.as_ref().unwrap_or(denial);
        ctx.failure.get_or_insert_with(|| denial.into());
        let request_id = match &ctx.arrival {
            Some(arrival) => arrival.request_id.clone(),
            None => RequestId::new(),
        };
        let told = denial.reason != Reason::ClientClosed
            && respond::deny(session, denial, &request_id).await.is_ok();
        if !told {
            session.set_keepalive(None);
        }
    }
}

/// Why a head is not served that could not be taken as a request. Whoever is banned costs no look of
/// the firewall.
fn unserved(session: &Session, ctx: &mut Context, denial: Box<Denial>) -> Box<Denial> {
    if let Some(denial) = banned(ctx) {
        return denial;
    }
    refused::look(session, ctx);
    denial
}

/// Answers with a document of our own, unless the client is banned.
async fn answer_with(
    session: &mut Session,
    ctx: &mut Context,
    document: String,
) -> Result<Next, Box<Denial>> {
    if let Some(denial) = banned(ctx) {
        return Err(denial);
    }
    let Some(arrival) = &ctx.arrival else { return Err(Denial::new(Reason::Internal).into()) };
    let told = respond::document(session, document, &arrival.request_id).await;
    told.map_err(|_gone| Denial::new(Reason::ClientClosed))?;
    Ok(Next::Answered)
}

/// The refusal of whoever is blocked.
fn banned(ctx: &mut Context) -> Option<Box<Denial>> {
    let arrival = ctx.arrival.as_ref()?;
    ctx.measure = blocked(&arrival.live.snapshot, arrival.client, arrival.received_at);
    ctx.measure.as_ref().map(|found| found.denial().into())
}

/// What the pipeline decides, once what it has to wait for is here.
async fn decide(
    arrival: &Arrival,
    request: &Request<'_>,
    facts: &RequestFacts<'_>,
    stages: &mut Stages,
) -> Result<Box<Admitted>, Box<Refused>> {
    let snapshot = &arrival.live.snapshot;
    let decided = admit_in_stages(snapshot, request, facts, &arrival.caller(), stages);
    let waits = matches!(decided, Ok(Admission::Waiting(_)));
    let since = stages.now().filter(|_| waits);
    let settled = auth::settle(decided, request, arrival).await;
    stages.passed(Stage::Auth, since);
    settled
}

/// Keeps what the pipeline found out before it refused.
fn note(refused: Refused, ctx: &mut Context) -> Denial {
    let Refused { denial, route, waf, waf_shadow, dry_run_limits, who, measure } = refused;
    if let (Some(arrival), Some(route)) = (&ctx.arrival, &route) {
        ctx.lane = arrival.live.lanes.of(route).cloned();
    }
    ctx.route = route;
    ctx.measure = measure;
    ctx.refused = Some(Findings { waf, waf_shadow, dry_run_limits, who });
    denial
}

/// Puts the present limits on reading from and writing to the client.
fn set_limits(session: &mut Session, live: &Live) {
    let limits = &live.snapshot.settings().limits;
    session.set_read_timeout(Some(limits.body_timeout.0));
    session.set_write_timeout(Some(limits.send_timeout.0));
    session.set_total_drain_timeout(Some(limits.body_timeout.0));
    session.set_min_send_rate(Some(limits.body_min_rate.as_usize()));
}

/// Stands for a target that cannot be read.
fn nowhere() -> Target<'static> {
    Target { host: "".into(), path: "".into(), upgrade: Upgrade::Absent }
}

fn read_target(session: &Session, live: &Live) -> Result<Target<'static>, Refusal> {
    let head = session.req_header();
    match session.as_http1() {
        Some(http1) => {
            let raw = http1.get_headers_raw_bytes();
            read_http1_head(&raw, head, &live.rules).map(Target::into_owned)
        }
        None => read_http2_head(head, &live.rules).map(Target::into_owned),
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    fn init_downstream_modules(&self, _modules: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        match self.receive(session, ctx).await {
            Ok(Next::Proxy) => Ok(false),
            Ok(Next::Answered) => Ok(true),
            Err(denial) => {
                self.refuse(session, ctx, &denial).await;
                Ok(true)
            }
        }
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<bool> {
        ctx.journey.exchanged = exchange::takes(session, ctx);
        if ctx.journey.exchanged {
            Box::pin(exchange::run(self, session, ctx)).await?;
        }
        Ok(!ctx.journey.exchanged)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let peer = attempt::begin(&self.edge, session, ctx).await?;
        let now = self.edge.clock().now();
        if session.is_body_empty() {
            await_first_byte(ctx, now);
        } else {
            set_deadline(ctx, now, None);
        }
        Ok(peer)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        ctx.journey.reused = reused;
        ctx.trace.connected(reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        upstream_head::write_request(session.req_header(), upstream, ctx)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        bytes: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        if !session.was_upgraded() {
            body::pass(bytes, end, session.req_header(), ctx)
                .map_err(|denial| refused_midway(ctx, &denial))?;
            if end {
                await_first_byte(ctx, self.edge.clock().now());
            }
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let now = self.edge.clock().now();
        if response.status == 101 && !session.is_upgrade_req() {
            let unasked = Error::explain(ErrorType::InvalidHTTPHeader, "101 that nobody asked for");
            return Err(unasked.into_up());
        }
        if response.status.is_informational() && response.status != 101 {
            return Ok(());
        }
        if response.status != 101 && retry::refuses_answer(&self.edge, session, ctx, response).await
        {
            attempt::ended(ctx, Ended::Answered(response.status.as_u16()), now);
            let mut refused = Error::new(retry::ANSWER_REFUSED);
            refused.set_retry(true);
            return Err(refused.into_up());
        }
        attempt::ended(ctx, Ended::Answered(response.status.as_u16()), now);
        ctx.journey.status = Some(response.status.as_u16());
        ctx.journey.waited =
            ctx.journey.started.map(|started| now.saturating_duration_since(started));
        if response.status == 101 {
            // Both sides may be silent for as long as they like.
            clear_deadline(ctx);
        } else {
            await_next_bytes(ctx, now);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        response::inspect_head(&session.req_header().method, response, ctx)?;
        if self.closes(ctx) {
            session.set_keepalive(None);
        }
        if session.req_header().version == Version::HTTP_10 {
            upstream_head::suit_http10(session, response);
        }
        upstream_head::write_response(response, ctx)?;
        audit::answered(&self.edge, response, ctx).await
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        _bytes: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if end {
            clear_deadline(ctx);
        } else {
            await_next_bytes(ctx, self.edge.clock().now());
        }
        Ok(None)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        bytes: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if !session.was_upgraded() {
            response::pass(bytes, end, ctx)?;
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.as_up();
        retry::after_failure(&self.edge, session, ctx, false, &mut error);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        retry::after_failure(&self.edge, session, ctx, reused, &mut error);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let reason = ctx.reason(error);
        ctx.fail(reason, Some(faults::told(error)));
        let reason = ctx.failure.as_ref().map_or(reason, |failure| failure.reason);
        session.set_keepalive(None);
        if session.response_written().is_none() && reason != Reason::ClientClosed {
            let retry_after = ctx.journey.retry_after;
            let denial = ctx.denial.take().map_or_else(|| Denial::new(reason), |denial| *denial);
            let denial = Denial { retry_after: denial.retry_after.or(retry_after), ..denial };
            self.refuse(session, ctx, &denial).await;
        }
        FailToProxy { error_code: reason.status().as_u16(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        clear_deadline(ctx);
        let reason = error.map(|error| ctx.reason(error));
        let whole = session.is_body_done();
        attempt::ended(ctx, Ended::for_reason(reason, whole), self.edge.clock().now());
        if let Some(error) = error {
            // A client that leaves halfway through a response did not wait for its end.
            let reason = ctx.reason(error);
            ctx.fail(reason, Some(faults::told(error)));
        }
        ctx.record(session);
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        // The event says it all.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// A refusal while the body passes: the upstream has the head already.
pub(crate) fn refused_midway(ctx: &mut Context, denial: &Denial) -> Box<Error> {
    ctx.failure.get_or_insert_with(|| denial.into());
    ctx.denial = Some(Box::new(denial.clone()));
    Error::explain(ErrorType::Custom("refused while the body passed"), denial.reason.code())
}

/// From now on the upstream owes its first byte.
fn await_first_byte(ctx: &Context, now: Instant) {
    // Our own exchange has a timer for it that leaves the client's connection alone.
    let ours = ctx.journey.exchanged;
    let wait = ctx.timeouts().map(|timeouts| timeouts.first_byte).filter(|_| !ours);
    set_deadline(ctx, now, wait);
}

/// From now on the upstream owes its next bytes.
fn await_next_bytes(ctx: &Context, now: Instant) {
    let wait = ctx.timeouts().map(|timeouts| timeouts.between_bytes);
    set_deadline(ctx, now, wait);
}

/// Sets the deadline to the earlier of `wait` from now and the request's total time.
fn set_deadline(ctx: &Context, now: Instant, wait: Option<Duration>) {
    let Some(arrival) = &ctx.arrival else { return };
    let ends = [wait.map(|wait| now + wait), ctx.end()];
    let end = ends.into_iter().flatten().min();
    arrival.connection.set_deadline(end.map(tokio::time::Instant::from_std));
}

fn clear_deadline(ctx: &Context) {
    if let Some(arrival) = &ctx.arrival {
        arrival.connection.set_deadline(None);
    }
}
