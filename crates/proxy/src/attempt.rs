//! One try of a request on an endpoint: which endpoint, and what became of it.

use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tidegate_core::Reason;
use tidegate_core::reading::Upgrade;
use tidegate_core::trace::Stage;
use tidegate_traffic::outlier::Answer;
use tidegate_traffic::retry::Cause;
use tidegate_traffic::{Lease, NoPick, Pick, random};
use tokio::time::sleep;

use crate::context::{Context, Journey};
use crate::edge::Edge;
use crate::lanes::Upstream;
use crate::protocols;
use crate::retry;
use crate::tend;

/// A pool without healthy endpoints, as an error for Pingora to pass on.
const NO_ENDPOINT: ErrorType = ErrorType::Custom("no healthy endpoint");

/// No room for a retry, as an error for Pingora to pass on.
const NO_BUDGET: ErrorType = ErrorType::Custom("the retry budget is exhausted");

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a response head of this status.
    Answered(u16),
    /// By nobody's fault: the client left, or another endpoint was quicker.
    Canceled,
    /// Without a response.
    Failed(Cause),
}

impl Ended {
    /// What the end of a request says about a try that nothing else was said about. `whole` says
    /// whether the endpoint had the whole request, so that it was its turn.
    pub(crate) fn for_reason(reason: Option<Reason>, whole: bool) -> Self {
        match reason {
            Some(Reason::UpstreamTimeout | Reason::TotalTimeout) if whole => {
                Self::Failed(Cause::Timeout)
            }
            _ => Self::Canceled,
        }
    }
}

/// Chooses the endpoint of the next try, after the pause that a retry owes.
pub(crate) async fn begin(
    edge: &Edge,
    session: &Session,
    ctx: &mut Context,
) -> Result<Box<HttpPeer>> {
    // The endpoint of a failed try is free again, also while we pause.
    ctx.journey.lease = None;
    let pause = std::mem::take(&mut ctx.journey.pause);
    let choosing = ctx.trace.stages.now();
    if pause > Duration::ZERO {
        sleep(pause).await;
    }
    if let Some(reason) = ctx.journey.owes_permit.take() {
        ctx.journey.permit = retry::room(edge, ctx).await;
        if ctx.journey.permit.is_none() {
            ctx.fail(reason, Some("the retry budget is exhausted".to_owned()));
            return Error::e_explain(NO_BUDGET, reason.code());
        }
    }
    let now = edge.clock().now();
    let (Some(arrival), Some(upstream), Some(timeouts)) =
        (&ctx.arrival, ctx.upstream().cloned(), ctx.timeouts())
    else {
        return Error::e_explain(ErrorType::InternalError, "a request without an upstream");
    };
    let pool = &upstream.pool;
    let request = arrival.request(session.req_header());
    let key = pool.key(&request);
    // A client's cookie is read once: it says the same at each try.
    if let Some(sticky) = pool.sticky().filter(|_| ctx.journey.attempts == 0) {
        ctx.journey.bound = sticky.read(request.headers(), arrival.time);
    }
    let prefer = ctx.journey.bound.as_ref().map(|bound| bound.address);
    let pick = Pick { key, now, prefer, random: random::next(), tried: &ctx.journey.tried };
    let lease = match pool.pick(&pick) {
        Ok(lease) => lease,
        Err(why) => {
            let (reason, evidence) = refusal(why);
            if let NoPick::BreakerOpen(left) = why {
                ctx.journey.retry_after = Some(left);
            }
            ctx.fail(reason, evidence.map(str::to_owned));
            return Error::e_explain(NO_ENDPOINT, pool.name().to_owned());
        }
    };
    if let Some(end) = ctx.end().filter(|_| ctx.journey.started.is_none()) {
        protocols::end_stream_at(end);
    }
    let peer = match arrival.target.upgrade {
        Upgrade::WebSocket => upstream.dialer.upgrade_peer(&lease, &timeouts),
        Upgrade::Absent | Upgrade::Ignored => upstream.dialer.peer(&lease, &timeouts),
    };
    ctx.request_bytes = 0;
    if let Some(held) = &mut ctx.held {
        // What was held back comes again out of the replay buffer.
        held.body.clear();
    }
    ctx.trace.stages.passed(Stage::Endpoint, choosing);
    ctx.trace.try_begins(lease.address(), now);
    ctx.journey.key = key;
    another_try(&mut ctx.journey, &upstream, now);
    set_off(&mut ctx.journey, lease, now);
    Ok(Box::new(peer))
}

/// Counts a try that begins, and forgets what the one before came to.
fn another_try(journey: &mut Journey, upstream: &Upstream, now: Instant) {
    journey.started.get_or_insert(now);
    journey.in_flight.get_or_insert_with(|| upstream.metrics.request_started());
    journey.attempts += 1;
    journey.status = None;
    journey.waited = None;
}

/// What it means for the request that no endpoint was picked.
const fn refusal(why: NoPick) -> (Reason, Option<&'static str>) {
    match why {
        NoPick::BreakerOpen(_) => (Reason::UpstreamOverloaded, Some("the breaker is open")),
        NoPick::Full => (Reason::UpstreamOverloaded, Some("the limits are reached")),
        NoPick::NoEndpoint => (Reason::NoHealthyUpstream, None),
    }
}

/// The request goes to this endpoint from `now` on.
pub(crate) fn set_off(journey: &mut Journey, lease: Lease, now: Instant) {
    journey.tried.push(lease.address());
    journey.lease = Some(lease);
    journey.try_started = Some(now);
}

/// Tells the endpoint of the present try what became of it, once.
pub(crate) fn ended(ctx: &mut Context, how: Ended, now: Instant) {
    let Some(started) = ctx.journey.try_started.take() else { return };
    let took = now.saturating_duration_since(started);
    ctx.trace.try_ended(how, now);
    if let (Some(lease), Some(upstream), Some(arrival)) =
        (&ctx.journey.lease, ctx.upstream(), &ctx.arrival)
    {
        tell((&arrival.edge, upstream), lease, how, took, now);
    }
    // Of who was given up it is known that it would have taken longer.
    let lasted =
        matches!(how, Ended::Answered(_) | Ended::Canceled | Ended::Failed(Cause::Timeout));
    if let Some(hedge) =
        ctx.route.as_ref().and_then(|route| route.hedge.as_ref()).filter(|_| lasted)
    {
        hedge.record(took, now);
    }
}

/// Tells an upstream what became of a try on one of its endpoints.
pub(crate) fn tell(
    (edge, upstream): (&Edge, &Upstream),
    lease: &Lease,
    how: Ended,
    took: Duration,
    now: Instant,
) {
    let answer = match how {
        Ended::Answered(status) => Answer::Status(status),
        // The time until somebody else answered says that this one is no quicker.
        Ended::Canceled => Answer::Canceled,
        // Nobody's fault: most likely it was closed while it was idle.
        Ended::Failed(Cause::StaleConnection) => return,
        Ended::Failed(_) => Answer::None,
    };
    if let Some(event) = upstream.pool.report(lease, answer, took, now) {
        tend::tell(edge, &upstream.pool, Some(&upstream.metrics), &event);
    }
}

/// Counts a try that is followed by another one. The last try of a request is counted with its
/// event.
pub(crate) fn count_retried(ctx: &Context, upstream: &Upstream, cause: Cause) {
    let Some(lease) = &ctx.journey.lease else { return };
    if let Some(endpoint) = upstream.metrics.endpoint(lease.address()) {
        match cause {
            Cause::Status(_) => endpoint.attempt_answered_badly(),
            _ => endpoint.attempt_failed(),
        }
    }
}
