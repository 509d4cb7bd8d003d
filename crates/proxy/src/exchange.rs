//! The exchange with an upstream for routes that need more than Pingora's own: a time for each try
//! that leaves the client's connection alone, and hedging.
//!
//! It takes requests without a body, or with one that fits the replay buffer, and goes through the
//! same phases of [`Gateway`](crate::gateway::Gateway) in the same order, so that peers, retries,
//! header filters and the firewall do not know the difference. Everything else stays Pingora's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Method, Version, header};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};
use pingora_timeout::timeout;
use tidegate_core::reading::Upgrade;
use tidegate_traffic::retry::MAX_REPLAY;

use crate::attempt;
use crate::audit;
use crate::body;
use crate::context::Context;
use crate::gateway::Gateway;
use crate::hedge::{self, Second};
use crate::held::HeldBody;
use crate::response;
use crate::upstream_head;

/// How long an answer may take that came before the body was taken.
const EARLY: Duration = Duration::from_secs(1);
/// How much of a body is written at once.
const PIECE: usize = 64 * 1024;

/// Whether the request is exchanged here.
pub(crate) fn takes(session: &mut Session, ctx: &Context) -> bool {
    let (Some(route), Some(arrival)) = (&ctx.route, &ctx.arrival) else { return false };
    let hedged = route.hedge.as_ref().is_some_and(|hedge| hedge.takes(&arrival.method));
    let held = ctx.holds_answer();
    if !(held || ctx.body.is_some() || hedged || route.retries.per_try_timeout.is_some()) {
        return false;
    }
    let most = if held { MAX_REPLAY } else { route.retries.max_body };
    let length = body::content_length(session.req_header());
    let fits = length.is_some_and(|length| length <= most)
        || held && session.is_body_done() && !session.retry_buffer_truncated();
    arrival.target.upgrade != Upgrade::WebSocket
        && (fits || ctx.body.is_some() || session.is_body_empty())
}

/// Carries the request to an endpoint and the answer back.
///
/// # Errors
/// As Pingora's own exchange: what ended the last try, or the client.
pub(crate) async fn run(gateway: &Gateway, session: &mut Session, ctx: &mut Context) -> Result<()> {
    let body = request_body(gateway, session, ctx).await?;
    loop {
        match attempt(gateway, session, ctx, body.clone()).await {
            Ok((leg, head)) => return answer(gateway, session, ctx, leg, head).await,
            Err(error) if error.retry() => {}
            Err(error) => return Err(error),
        }
    }
}

/// The whole body, as it may have been read already.
async fn request_body(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<Option<Bytes>> {
    if session.is_body_empty() {
        return Ok(None);
    }
    if let Some(body) = &ctx.body {
        return Ok(Some(body.clone()));
    }
    if !session.is_body_done() {
        let limit = usize::try_from(MAX_REPLAY).unwrap_or(usize::MAX);
        let room = HeldBody::new(gateway.edge().held_bytes());
        let read = body::read_whole(session, ctx, limit, room).await;
        read.map_err(|denial| crate::gateway::refused_midway(ctx, &denial).into_down())?;
    }
    Ok(Some(session.get_retry_buffer().unwrap_or_default()))
}

/// One try: its response head, with the connection that it came on.
async fn attempt(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Context,
    body: Option<Bytes>,
) -> Result<(Leg, ResponseHeader)> {
    let peer = gateway.upstream_peer(session, ctx).await?;
    let connector = gateway.connector();
    let connect = Box::pin(connector.get_http_session(&*peer));
    let (client, reused) = match while_client_stays(session, connect).await? {
        Ok(connected) => connected,
        Err(mut error) => {
            error.as_up();
            return Err(gateway.fail_to_connect(session, &peer, ctx, error).into_up());
        }
    };
    let digest = client.digest().cloned();
    gateway.connected_to_upstream(session, reused, &peer, -1, digest.as_ref(), ctx).await?;
    let (is_spent, traceparent) = (false, None);
    let leg = Leg { client, peer: peer.clone(), reused, is_spent, traceparent };
    match carry(gateway, session, ctx, leg, body).await {
        Ok(answered) => Ok(answered),
        Err(error) => {
            let reused = ctx.journey.reused;
            Err(gateway.error_while_proxy(&peer, session, error, ctx, reused))
        }
    }
}

/// Sends the request on a connection that stands, and waits for the head of an answer that is
/// taken.
async fn carry(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Context,
    leg: Leg,
    mut body: Option<Bytes>,
) -> Result<(Leg, ResponseHeader)> {
    let mut head = session.req_header().clone();
    upstream_head::strip_hop_by_hop(&mut head).map_err(Error::into_down)?;
    gateway.upstream_request_filter(session, &mut head, ctx).await?;
    let scheme = if leg.peer.tls() { Scheme::HTTPS } else { Scheme::HTTP };
    let h2 = matches!(leg.client, HttpSession::H2(_)).then_some(scheme);
    upstream_head::suit_upstream(&mut head, h2)?;
    if let Some(body) = &body
        && !head.headers.contains_key(header::CONTENT_LENGTH)
    {
        // It came in chunks, and its length is known by now.
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    if body.is_some() {
        gateway.request_body_filter(session, &mut body, true, ctx).await?;
    }
    let request = Outgoing {
        head,
        body,
        connector: gateway.connector().clone(),
        within: patience(ctx),
        between: ctx.timeouts().map_or(Duration::MAX, |timeouts| timeouts.between_bytes),
    };
    let plan = hedge::plan(gateway, session, ctx);
    let race = Box::pin(hedge::race(leg, &request, plan));
    let (result, second) = while_client_stays(session, race).await?;
    if let Some(second) = second {
        take_second(gateway, ctx, second);
    }
    let leg = result?;
    ctx.journey.reused = leg.reused;
    let Some(mut answer) = leg.client.response_header().cloned() else {
        return Error::e_explain(ErrorType::InternalError, "a head that was read is gone");
    };
    gateway.upstream_response_filter(session, &mut answer, ctx).await?;
    Ok((leg, answer))
}

/// Keeps what became of a hedge: who won is the endpoint of this try.
fn take_second(gateway: &Gateway, ctx: &mut Context, second: Second) {
    let now = gateway.edge().clock().now();
    ctx.journey.hedged = Some(second.won);
    if second.won {
        attempt::ended(ctx, second.loser, now);
        ctx.trace.hedged(&second, now);
        attempt::set_off(&mut ctx.journey, second.lease, second.started);
    } else {
        ctx.trace.hedged(&second, now);
        let took = now.saturating_duration_since(second.started);
        if let (Some(upstream), Some(arrival)) = (ctx.upstream(), &ctx.arrival) {
            attempt::tell((&arrival.edge, upstream), &second.lease, second.loser, took, now);
        }
        let tried = &mut ctx.journey.tried;
        tried.insert(tried.len().saturating_sub(1), second.lease.address());
    }
}

/// How long a try may wait for its head.
fn patience(ctx: &Context) -> Duration {
    let Some(route) = &ctx.route else { return Duration::MAX };
    let first_byte = route.timeouts.first_byte;
    route.retries.per_try_timeout.map_or(first_byte, |per_try| per_try.min(first_byte))
}

/// Does `work`, unless the client leaves meanwhile or its request's time is over.
async fn while_client_stays<T>(session: &mut Session, work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        gone = session.read_body_or_idle(true) => match gone {
            Err(error) => Err(error.into_down()),
            Ok(_more) => Error::e_explain(ErrorType::ReadError, "more than the request")
                .map_err(Error::into_down),
        },
    }
}

/// A request on its way, the same for each endpoint.
pub(crate) struct Outgoing {
    head: RequestHeader,
    body: Option<Bytes>,
    pub(crate) connector: Arc<Connector>,
    /// Until the response head, from the request sent.
    within: Duration,
    /// For each further read or write.
    between: Duration,
}

/// A connection to one endpoint.
pub(crate) struct Leg {
    pub(crate) client: HttpSession,
    pub(crate) peer: Box<HttpPeer>,
    pub(crate) reused: bool,
    /// Whether no further request may go over it.
    pub(crate) is_spent: bool,
    /// Says another span than the request's head.
    pub(crate) traceparent: Option<HeaderValue>,
}

impl Leg {
    /// Sends the request and waits for the head of the final answer.
    pub(crate) async fn ask(mut self, request: &Outgoing) -> Result<Self> {
        self.client.set_write_timeout(Some(request.between));
        self.client.set_read_timeout(Some(request.between));
        if let Err(error) = self.send(request).await {
            let sent_body = request.body.is_some();
            if sent_body && timeout(EARLY, self.read_head()).await.is_ok_and(|read| read.is_ok()) {
                // It answered without waiting for the body, and closed its side.
                self.is_spent = true;
                return Ok(self);
            }
            return Err(error.into_up());
        }
        match timeout(request.within, self.read_head()).await {
            Ok(read) => read.map_err(Error::into_up)?,
            Err(_elapsed) => {
                let late = Error::explain(ErrorType::ReadTimedout, "no response head in time");
                return Err(late.into_up());
            }
        }
        Ok(self)
    }

    async fn send(&mut self, request: &Outgoing) -> Result<()> {
        let mut head = Box::new(request.head.clone());
        if let Some(value) = &self.traceparent
            && head.headers.contains_key("traceparent")
        {
            head.insert_header("traceparent", value)?;
        }
        let Some(body) = &request.body else {
            return match &mut self.client {
                HttpSession::H2(h2) => h2.write_request_header(head, true),
                client => {
                    client.write_request_header(head).await?;
                    client.finish_request_body().await
                }
            };
        };
        self.client.write_request_header(head).await?;
        let mut body = body.clone();
        loop {
            // The time for a write is for a piece, not for the whole.
            let piece = body.split_to(body.len().min(PIECE));
            let end = body.is_empty();
            self.client.write_request_body(piece, end).await?;
            if end {
                return self.client.finish_request_body().await;
            }
        }
    }

    /// Reads past interim answers (RFC 9110 §15.2).
    async fn read_head(&mut self) -> Result<()> {
        loop {
            self.client.read_response_header().await?;
            let status = self.client.response_header().map(|head| head.status);
            if !status.is_some_and(|status| status.is_informational() && status != 101) {
                return Ok(());
            }
        }
    }

    /// The next task of the answer's body.
    async fn next(&mut self) -> Result<HttpTask> {
        match self.client.read_response_body().await.map_err(Error::into_up)? {
            Some(bytes) => {
                let end = self.is_done()?;
                Ok(HttpTask::Body(Some(bytes), end))
            }
            None => match &mut self.client {
                HttpSession::H2(h2) => match h2.read_trailers().await.map_err(Error::into_up)? {
                    Some(trailers) => Ok(HttpTask::Trailer(Some(Box::new(trailers)))),
                    None => Ok(HttpTask::Done),
                },
                _ => Ok(HttpTask::Done),
            },
        }
    }

    fn is_done(&mut self) -> Result<bool> {
        match &mut self.client {
            HttpSession::H2(h2) => h2.check_response_end_or_error().map_err(Error::into_up),
            client => Ok(client.response_done()),
        }
    }
}

/// Sends the answer on to the client.
async fn answer(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Context,
    mut leg: Leg,
    mut head: ResponseHeader,
) -> Result<()> {
    let mut end = leg.is_done()?;
    frame(session, &mut head, end)?;
    gateway.response_filter(session, &mut head, ctx).await?;
    let mut tasks = vec![HttpTask::Header(Box::new(head), end)];
    if end {
        // No body came to wait for.
        pass_rest(gateway, session, ctx, &mut tasks)?;
    }
    loop {
        if end || !(response::waits(ctx) || ctx.trail.waits(&tasks)) {
            audit::settle(gateway.edge(), &tasks, end, ctx).await?;
            session.write_response_tasks(std::mem::take(&mut tasks)).await?;
        }
        if end {
            break;
        }
        let mut task = while_client_stays(session, leg.next()).await??;
        end = task.is_end();
        match &mut task {
            HttpTask::Body(bytes, end) => {
                pass_body(gateway, session, ctx, bytes, *end)?;
                if !*end && bytes.as_ref().is_none_or(Bytes::is_empty) {
                    // An empty chunk would be the last one.
                    continue;
                }
            }
            _ => pass_rest(gateway, session, ctx, &mut tasks)?,
        }
        tasks.push(task);
    }
    session.as_mut().finish_body().await?;
    let Leg { client, peer, is_spent, .. } = leg;
    if !is_spent {
        gateway.connector().release_http_session(client, &*peer, peer.idle_timeout()).await;
    }
    Ok(())
}

fn pass_body(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Context,
    bytes: &mut Option<Bytes>,
    end: bool,
) -> Result<()> {
    gateway.upstream_response_body_filter(session, bytes, end, ctx)?;
    gateway.response_body_filter(session, bytes, end, ctx)?;
    Ok(())
}

/// Ends the body without a further piece; what was held back of it goes before the end.
fn pass_rest(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Context,
    tasks: &mut Vec<HttpTask>,
) -> Result<()> {
    let mut rest = None;
    pass_body(gateway, session, ctx, &mut rest, true)?;
    if rest.as_ref().is_some_and(|rest| !rest.is_empty()) {
        tasks.push(HttpTask::Body(rest, false));
    }
    Ok(())
}

/// A body without a length goes in chunks (RFC 9112 §7.1).
fn frame(session: &Session, head: &mut ResponseHeader, end: bool) -> Result<()> {
    let bodiless =
        session.req_header().method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304);
    let framed = head.headers.contains_key(header::CONTENT_LENGTH)
        || head.headers.contains_key(header::TRANSFER_ENCODING);
    head.set_version(Version::HTTP_11);
    if !(bodiless || framed || end) {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}
