//! Request bodies: how large they may be, and the part that the WAF sees before the upstream does.
//!
//! A body that has to fit is read before anything goes upstream, so that a refused request never
//! reaches it. Where longer bodies may pass, the upstream gets the head, and no byte of the body
//! until the part to be inspected is here and may pass; the rest streams.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header;
use http::request::Parts;
use pingora_error::Error;
use pingora_proxy::Session;
use tidegate_core::reading::Upgrade;
use tidegate_core::trace::Stage;
use tidegate_core::{Denial, Reason};
use tidegate_engine::Admitted;
use tokio::time::timeout;

use crate::context::{Context, Held};
use crate::edge::Edge;
use crate::faults;
use crate::held::{HeldBody, NoRoom};

/// How long a body may take before its pace counts.
const GRACE: Duration = Duration::from_secs(10);

/// Refuses a body that says that it is larger than the route takes.
pub(crate) fn refuse_too_large(head: &Parts, max_body: u64) -> Result<(), Box<Denial>> {
    match content_length(head) {
        Some(length) if length > max_body => Err(too_large(max_body).into()),
        _ => Ok(()),
    }
}

/// Reads and inspects a body that has to fit; prepares to hold back the first part of another.
pub(crate) async fn inspect(
    session: &mut Session,
    ctx: &mut Context,
    edge: &Edge,
) -> Result<(), Box<Denial>> {
    let Some((admitted, limit)) =
        ctx.admitted.as_mut().and_then(|admitted| admitted.body_cap().map(|cap| (admitted, cap)))
    else {
        return Ok(());
    };
    if session.is_body_empty() {
        let stages = &mut ctx.trace.stages;
        return stages.time(Stage::WafBody, || decide(admitted, session.req_header(), b"", true));
    }
    let mut body = HeldBody::new(edge.held_bytes());
    let length = content_length(session.req_header());
    let fits = length.filter(|length| *length <= limit as u64);
    let upgrades =
        ctx.arrival.as_ref().is_some_and(|arrival| arrival.target.upgrade == Upgrade::WebSocket);
    if upgrades || fits.is_none() && !admitted.route().waf.refuses_long_bodies() {
        ctx.held = Some(Held { body, limit });
        return Ok(());
    }
    let length = usize::try_from(fits.unwrap_or_default()).unwrap_or(limit);
    if let Err(NoRoom) = body.reserve(length) {
        if admitted.enforces() {
            return Err(no_room().into());
        }
        return decide(admitted, session.req_header(), b"", false);
    }
    let started = edge.clock().now();
    let read = read_whole(session, ctx, limit, body).await;
    ctx.body_wait = edge.clock().now().saturating_duration_since(started);
    ctx.trace.stages.passed(Stage::Body, Some(started));
    let (body, complete) = read?;
    let Some(admitted) = &mut ctx.admitted else { return Ok(()) };
    let (stages, head) = (&mut ctx.trace.stages, session.req_header());
    stages.time(Stage::WafBody, || decide(admitted, head, body.as_ref(), complete))?;
    if session.retry_buffer_truncated() {
        // More than Pingora can send again: the exchange is ours.
        ctx.body = Some(body.into_bytes());
    }
    Ok(())
}

/// Reads the body, at most a chunk beyond `limit`; false if more would follow. Pingora keeps what
/// fits its replay buffer.
pub(crate) async fn read_whole(
    session: &mut Session,
    ctx: &Context,
    limit: usize,
    mut body: HeldBody,
) -> Result<(HeldBody, bool), Box<Denial>> {
    let expected = session.req_header_mut().remove_header(&header::EXPECT).is_some();
    if expected && session.write_continue_response().await.is_err() {
        return Err(Denial::new(Reason::ClientClosed).into());
    }
    session.enable_retry_buffering();
    let Some(arrival) = &ctx.arrival else { return Err(Denial::new(Reason::Internal).into()) };
    let limits = &arrival.live.snapshot.settings().limits;
    let clock = arrival.edge.clock();
    let started = clock.now();
    loop {
        let late = latest(started, limits.body_min_rate.0, body.len());
        let left = late.map(|late| late.saturating_duration_since(clock.now()));
        let wait = left.map_or(limits.body_timeout.0, |left| left.min(limits.body_timeout.0));
        let chunk = timeout(wait, session.read_request_body())
            .await
            .map_err(|_elapsed| Denial::new(Reason::RequestTimeout))?;
        match chunk.map_err(|error| unreadable(error, ctx))? {
            None => return Ok((body, true)),
            Some(chunk) => body.push(&chunk).map_err(|NoRoom| no_room())?,
        }
        if body.len() > limit {
            return Ok((body, false));
        }
    }
}

/// When a body must have brought more than `received`, at `rate` bytes per second. HTTP/1's stream
/// keeps the same pace itself; over HTTP/2 nobody else does.
fn latest(started: Instant, rate: u64, received: usize) -> Option<Instant> {
    let seconds = (received as u64).checked_div(rate)?;
    Some(started + GRACE + Duration::from_secs(seconds))
}

/// Passes a piece of the body on to the upstream, or holds it back until it is inspected.
///
/// # Errors
/// The body is too large, or the WAF refuses it.
pub(crate) fn pass(
    piece: &mut Option<Bytes>,
    end: bool,
    head: &Parts,
    ctx: &mut Context,
) -> Result<(), Box<Denial>> {
    let Some(admitted) = &mut ctx.admitted else { return Ok(()) };
    ctx.request_bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
    let max_body = admitted.route().max_body;
    if ctx.request_bytes > max_body {
        return Err(too_large(max_body).into());
    }
    let Some(held) = &mut ctx.held else { return Ok(()) };
    let full = held.body.push(piece.as_deref().unwrap_or_default()).is_err();
    if full && admitted.enforces() {
        return Err(no_room().into());
    }
    if held.body.len() < held.limit && !end && !full {
        // Empty, not absent: absent would be the end of the body.
        *piece = Some(Bytes::new());
        return Ok(());
    }
    let complete = end && !full && held.body.len() <= held.limit;
    let stages = &mut ctx.trace.stages;
    stages.time(Stage::WafBody, || decide(admitted, head, held.body.as_ref(), complete))?;
    let Some(held) = ctx.held.take() else { return Ok(()) };
    let held = held.body.into_bytes();
    *piece = Some(match piece.take().filter(|_| full) {
        Some(unheld) => [held, unheld].concat().into(),
        None => held,
    });
    Ok(())
}

fn decide(
    admitted: &mut Admitted,
    head: &Parts,
    body: &[u8],
    complete: bool,
) -> Result<(), Box<Denial>> {
    let content_type = head.headers.get(header::CONTENT_TYPE);
    // Bytes outside of ASCII must not hide the type from the firewall.
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    admitted.inspect_body(content_type.as_deref(), body, complete)
}

fn too_large(max_body: u64) -> Denial {
    Denial::new(Reason::BodyTooLarge).with_evidence(format!("more than {max_body} bytes"))
}

fn no_room() -> Denial {
    Denial::new(Reason::Overloaded).with_evidence("limits.held_bodies is reached")
}

fn unreadable(mut error: Box<Error>, ctx: &Context) -> Denial {
    error.as_down();
    Denial::new(ctx.reason(&error)).with_evidence(faults::told(&error))
}

pub(crate) fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tidegate_core::Clock;

    use super::*;

    #[test]
    fn a_body_has_to_keep_a_pace() {
        let started = Clock::System.now();
        assert_eq!(latest(started, 512, 0), Some(started + GRACE));
        assert_eq!(latest(started, 512, 5_120), Some(started + GRACE * 2));
        assert_eq!(latest(started, 0, 1), None);
    }
}
