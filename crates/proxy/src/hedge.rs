//! A second endpoint for a request whose first one is slow: the first good answer wins.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Result;
use pingora_proxy::Session;
use tidegate_core::Clock;
use tidegate_core::trace::SpanId;
use tidegate_engine::snapshot::Route;
use tidegate_traffic::retry::{Cause, RetryPermit};
use tidegate_traffic::{Lease, Pick, random};
use tokio::time::sleep;

use crate::attempt::Ended;
use crate::context::Context;
use crate::exchange::{Leg, Outgoing};
use crate::gateway::Gateway;
use crate::lanes::Upstream;
use crate::retry::active;

/// What a hedge needs to know when its time comes.
pub(crate) struct Plan {
    after: Duration,
    upstream: Arc<Upstream>,
    route: Arc<Route>,
    pick_key: u64,
    tried: Vec<std::net::SocketAddr>,
    clock: Clock,
    /// The second request's own span.
    trace: Option<(SpanId, HeaderValue)>,
}

/// A hedge that was sent.
pub(crate) struct Second {
    pub(crate) lease: Lease,
    pub(crate) started: Instant,
    /// Whether its answer is the one that the client gets.
    pub(crate) won: bool,
    /// What became of the endpoint that did not win.
    pub(crate) loser: Ended,
    /// Its span, if requests are traced.
    pub(crate) span: Option<SpanId>,
    /// When its connection stood, and whether that had been used before.
    pub(crate) connected: Option<(Instant, bool)>,
    _permit: RetryPermit,
}

/// Plans a hedge for the present try, if the route wants one.
pub(crate) fn plan(gateway: &Gateway, session: &Session, ctx: &Context) -> Option<Plan> {
    let (route, upstream) = (ctx.route.clone()?, ctx.upstream()?.clone());
    let clock = gateway.edge().clock().clone();
    let hedge = route.hedge.as_ref()?;
    if !hedge.takes(&session.req_header().method) || ctx.journey.hedged.is_some() {
        return None;
    }
    Some(Plan {
        after: hedge.delay(clock.now()),
        pick_key: ctx.journey.key,
        tried: ctx.journey.tried.clone(),
        upstream,
        route,
        clock,
        trace: ctx.trace.another(),
    })
}

impl Plan {
    /// Another endpoint than those tried, if there is one and the budget has room.
    fn open(&self) -> Option<(Lease, RetryPermit, Box<HttpPeer>)> {
        let Self { upstream, route, .. } = self;
        let pick = Pick {
            key: self.pick_key,
            now: self.clock.now(),
            prefer: None,
            random: random::next(),
            tried: &self.tried,
        };
        let lease = upstream.pool.pick(&pick).ok()?;
        if self.tried.contains(&lease.address()) {
            return None;
        }
        let Some(permit) = upstream.budget.take(active(upstream), route.retries.budget) else {
            upstream.budget.refuse();
            return None;
        };
        let peer = Box::new(upstream.dialer.peer(&lease, &route.timeouts));
        Some((lease, permit, peer))
    }

    /// Whether an answer ends the race.
    fn is_good(&self, result: &Result<Leg>) -> bool {
        let status = |leg: &Leg| leg.client.response_header().map(|head| head.status.as_u16());
        let status = result.as_ref().ok().and_then(status);
        status.is_some_and(|status| status < 500 && !self.route.retries.retries_status(status))
    }
}

/// Asks the first endpoint, and another one if the first takes longer than planned. Whatever did
/// not win is dropped, which closes its connection or resets its stream.
pub(crate) async fn race(
    leg: Leg,
    request: &Outgoing,
    plan: Option<Plan>,
) -> (Result<Leg>, Option<Second>) {
    let mut first = pin!(leg.ask(request));
    let Some(plan) = plan else { return (first.await, None) };
    tokio::select! {
        biased;
        answered = &mut first => return (answered, None),
        () = sleep(plan.after) => {}
    }
    let Some((lease, permit, peer)) = plan.open() else { return (first.await, None) };
    let started = plan.clock.now();
    let connected = OnceLock::new();
    let (span, traceparent) = plan.trace.clone().unzip();
    let mut second = pin!(async {
        let (client, reused) = Box::pin(request.connector.get_http_session(&*peer)).await?;
        connected.get_or_init(|| (plan.clock.now(), reused));
        Leg { client, peer: peer.clone(), reused, is_spent: false, traceparent }.ask(request).await
    });
    let sent = |won, loser| {
        let connected = connected.get().copied();
        Second { lease, started, won, loser, span, connected, _permit: permit }
    };
    tokio::select! {
        biased;
        answered = &mut first => {
            if plan.is_good(&answered) {
                return (answered, Some(sent(false, Ended::Canceled)));
            }
            let other = second.await;
            let won = plan.is_good(&other);
            let loser = ended(if won { &answered } else { &other });
            (if won { other } else { answered }, Some(sent(won, loser)))
        }
        answered = &mut second => {
            if plan.is_good(&answered) {
                return (answered, Some(sent(true, Ended::Canceled)));
            }
            let loser = ended(&answered);
            (first.await, Some(sent(false, loser)))
        }
    }
}

fn ended(result: &Result<Leg>) -> Ended {
    match result {
        Ok(leg) => match leg.client.response_header() {
            Some(head) => Ended::Answered(head.status.as_u16()),
            None => Ended::Canceled,
        },
        Err(error) => Ended::Failed(crate::retry::cause(error, false).unwrap_or(Cause::Reset)),
    }
}
