//! Whether a request whose try failed is tried again. What may be repeated is decided by
//! [`tidegate_traffic::retry`]; here is what this request, its answer so far and its upstream have
//! to say about it.

use std::time::Duration;

use http::header;
use pingora_error::{Error, ErrorSource, ErrorType, RetryType};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tidegate_traffic::random;
use tidegate_traffic::retry::{Cause, IDEMPOTENCY_KEY, RetryPermit};
use tokio::time::sleep;

use crate::attempt::{self, Ended};
use crate::context::Context;
use crate::edge::Edge;
use crate::faults::is_connect;
use crate::lanes::Upstream;

/// Further connections tried after kept ones that turned out to be closed. They cost no endpoint
/// anything, so they are not counted as attempts; more in a row are no coincidence.
const STALE_CONNECTIONS: u8 = 8;

/// The longest time between two looks whether the budget has room.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(10);

/// An answer that is not taken, as an error for Pingora to come back with.
pub(crate) const ANSWER_REFUSED: ErrorType = ErrorType::Custom("the answer is tried again");

/// Notes a try that failed with `error`, and marks the error if another try follows.
pub(crate) fn after_failure(
    edge: &Edge,
    session: &mut Session,
    ctx: &mut Context,
    reused: bool,
    error: &mut Error,
) {
    if *error.etype() == ANSWER_REFUSED {
        // Decided when the answer came.
        return;
    }
    let Some(cause) = cause(error, reused) else { return error.set_retry(false) };
    attempt::ended(ctx, Ended::Failed(cause), edge.clock().now());
    let pause = may_go_on(edge, session, ctx, cause);
    error.set_retry(pause.is_some());
    if let Some(pause) = pause {
        ctx.journey.owes_permit = needs_permit(cause).then(|| ctx.reason(error));
        go_on(ctx, cause, pause);
    }
}

/// Whether an answer is thrown away for another try.
pub(crate) async fn refuses_answer(
    edge: &Edge,
    session: &mut Session,
    ctx: &mut Context,
    answer: &ResponseHeader,
) -> bool {
    let status = answer.status.as_u16();
    let retried = ctx.route.as_ref().is_some_and(|route| route.retries.retries_status(status));
    if !retried {
        return false;
    }
    // `Retry-After` speaks for who sent it: another endpoint may be asked, the same one not, and
    // if there is no other, the client is told.
    let told_to_wait = answer.headers.contains_key(header::RETRY_AFTER);
    if told_to_wait && !has_untried(ctx) {
        return false;
    }
    let cause = Cause::Status(status);
    let Some(pause) = may_go_on(edge, session, ctx, cause) else { return false };
    // While it waits for room, the answer is there to be sent on after all.
    let Some(permit) = room(edge, ctx).await else { return false };
    ctx.journey.permit = Some(permit);
    go_on(ctx, cause, pause);
    true
}

/// Waits for room in the upstream's budget, as long as the longest pause: many tries that fail at
/// the same moment are made up for one after the other.
pub(crate) async fn room(edge: &Edge, ctx: &Context) -> Option<RetryPermit> {
    let (route, upstream) = (ctx.route.as_ref()?, ctx.upstream()?);
    let since = edge.clock().now();
    let patience = since + route.retries.longest_pause();
    let until = ctx.end().map_or(patience, |end| end.min(patience));
    loop {
        if let Some(permit) = upstream.budget.take(active(upstream), route.retries.budget) {
            return Some(permit);
        }
        if edge.clock().now() >= until {
            upstream.budget.refuse();
            return None;
        }
        sleep(LOOK_FOR_ROOM.mul_f64(random::unit(random::next()))).await;
    }
}

/// Whether another try counts against the budget. What did not reach an endpoint gives none of
/// them more to do than the request itself.
fn needs_permit(cause: Cause) -> bool {
    !cause.is_harmless() && cause != Cause::StaleConnection
}

/// Why a try failed; `None` if that was not the upstream's doing.
pub(crate) fn cause(error: &Error, reused: bool) -> Option<Cause> {
    let kind = error.etype();
    if is_connect(kind) && *error.esource() != ErrorSource::Downstream {
        return Some(Cause::ConnectFailure);
    }
    if *error.esource() != ErrorSource::Upstream {
        return None;
    }
    Some(match kind {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Cause::Timeout,
        ErrorType::H2Error if matches!(error.retry, RetryType::Decided(true)) => Cause::Refused,
        ErrorType::ReadError | ErrorType::ConnectionClosed
            if reused && matches!(error.retry, RetryType::ReusedOnly) =>
        {
            Cause::StaleConnection
        }
        ErrorType::WriteError if reused => Cause::StaleConnection,
        ErrorType::ReadError
        | ErrorType::WriteError
        | ErrorType::ConnectionClosed
        | ErrorType::H2Error => Cause::Reset,
        _ => Cause::BadResponse,
    })
}

/// How long to wait before another try; `None` if there is none.
fn may_go_on(edge: &Edge, session: &mut Session, ctx: &Context, cause: Cause) -> Option<Duration> {
    let retries = &ctx.route.as_ref()?.retries;
    let head = session.req_header();
    let repeatable = retries.repeatable(&head.method, head.headers.contains_key(IDEMPOTENCY_KEY));
    let kept = ctx.body.is_some() || !session.retry_buffer_truncated();
    let replayable = kept && ctx.request_bytes <= retries.max_body;
    let fresh = session.response_written().is_none();
    // Without a time for one try, it is the request's own time that is over.
    let in_time = cause != Cause::Timeout || retries.per_try_timeout.is_some();
    if !(fresh && in_time && replayable && retries.allows(cause, repeatable)) {
        return None;
    }
    let journey = &ctx.journey;
    if cause == Cause::StaleConnection {
        return (journey.stale < STALE_CONNECTIONS).then_some(Duration::ZERO);
    }
    let pause = retries.delay(journey.made, cause, random::next());
    let late = ctx.end().is_some_and(|end| edge.clock().now() + pause >= end);
    (journey.made < retries.attempts && !late).then_some(pause)
}

/// Notes that another try follows, and why.
fn go_on(ctx: &mut Context, cause: Cause, pause: Duration) {
    if let Some(upstream) = ctx.upstream() {
        attempt::count_retried(ctx, upstream, cause);
    }
    let journey = &mut ctx.journey;
    if cause == Cause::StaleConnection {
        journey.stale += 1;
        // The endpoint did nothing wrong, and affinity may want it again.
        journey.tried.pop();
    } else {
        journey.made += 1;
    }
    journey.pause = pause;
    journey.retried.push(cause);
}

/// Requests that run on the upstream.
pub(crate) fn active(upstream: &Upstream) -> u32 {
    u32::try_from(upstream.metrics.running()).unwrap_or(0)
}

fn has_untried(ctx: &Context) -> bool {
    let Some(upstream) = ctx.upstream() else { return false };
    let endpoints = upstream.pool.endpoints();
    endpoints
        .iter()
        .any(|endpoint| endpoint.is_available() && !ctx.journey.tried.contains(&endpoint.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ErrorType, retry: RetryType, reused: bool, expected: Option<Cause>) {
        let mut error = Error::new(kind);
        error.retry = retry;
        error.as_up();
        assert_eq!(cause(&error, reused), expected);
    }

    #[test]
    fn errors_have_one_cause_each() {
        use ErrorType::{ConnectRefused, ConnectionClosed, H2Error, InvalidHTTPHeader};
        use RetryType::{Decided, ReusedOnly};
        check(ConnectRefused, Decided(false), false, Some(Cause::ConnectFailure));
        check(ErrorType::InvalidCert, Decided(false), false, Some(Cause::ConnectFailure));
        check(ErrorType::ReadTimedout, Decided(false), true, Some(Cause::Timeout));
        check(ConnectionClosed, ReusedOnly, false, Some(Cause::Reset));
        check(ConnectionClosed, ReusedOnly, true, Some(Cause::StaleConnection));
        check(ConnectionClosed, Decided(false), true, Some(Cause::Reset));
        check(ErrorType::WriteError, Decided(false), true, Some(Cause::StaleConnection));
        check(H2Error, Decided(true), true, Some(Cause::Refused));
        check(H2Error, Decided(false), true, Some(Cause::Reset));
        check(InvalidHTTPHeader, Decided(false), true, Some(Cause::BadResponse));
    }

    #[test]
    fn every_cause_is_counted() {
        assert_eq!(Cause::CODES, tidegate_observe::RETRY_REASONS);
    }

    #[test]
    fn what_the_client_did_is_no_cause() {
        let mut error = Error::new(ErrorType::ReadError);
        error.as_down();
        assert_eq!(cause(&error, true), None);
        assert_eq!(cause(&Error::new(ErrorType::InternalError), true), None);
    }
}
