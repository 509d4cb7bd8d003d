//! Request bodies: how large they may be, and the part that the WAF sees before the upstream does.
//!
//! A body that has to fit is read before anything goes upstream, so that a refused request never
//! reaches it. Where longer bodies may pass, the first part is held back while the rest streams.

use bytes::Bytes;
use http::header;
use http::request::Parts;
use pingora_error::Error;
use pingora_proxy::Session;
use tidegate_core::{Clock, Denial, Reason};
use tidegate_engine::Admitted;
use tokio::time::timeout;

use crate::context::{Context, Held};

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
    clock: &Clock,
) -> Result<(), Box<Denial>> {
    let Some((admitted, limit)) =
        ctx.admitted.as_mut().and_then(|admitted| admitted.body_cap().map(|cap| (admitted, cap)))
    else {
        return Ok(());
    };
    if session.is_body_empty() {
        return decide(admitted, session.req_header(), b"", true);
    }
    let fits = content_length(session.req_header()).is_some_and(|length| length <= limit as u64);
    if !fits && !admitted.route().waf.refuses_long_bodies() {
        ctx.held = Some(Held { bytes: Vec::new(), limit });
        return Ok(());
    }
    let started = clock.now();
    let body = read_whole(session, ctx, limit).await;
    ctx.body_wait = clock.now().saturating_duration_since(started);
    let (bytes, complete) = body?;
    let Some(admitted) = &mut ctx.admitted else { return Ok(()) };
    decide(admitted, session.req_header(), &bytes, complete)
}

/// Reads the body into Pingora's replay buffer and returns a copy, at most a chunk longer than
/// `limit`; false if more would follow.
pub(crate) async fn read_whole(
    session: &mut Session,
    ctx: &Context,
    limit: usize,
) -> Result<(Vec<u8>, bool), Box<Denial>> {
    let expected = session.req_header_mut().remove_header(&header::EXPECT).is_some();
    if expected && session.write_continue_response().await.is_err() {
        return Err(Denial::new(Reason::ClientClosed).into());
    }
    session.enable_retry_buffering();
    let wait = ctx
        .arrival
        .as_ref()
        .map(|arrival| arrival.live.snapshot.settings().limits.body_timeout.0)
        .unwrap_or_default();
    let mut body = Vec::new();
    loop {
        let chunk = timeout(wait, session.read_request_body())
            .await
            .map_err(|_elapsed| Denial::new(Reason::RequestTimeout))?;
        match chunk.map_err(|error| unreadable(error, ctx))? {
            None => return Ok((body, true)),
            Some(chunk) => body.extend_from_slice(&chunk),
        }
        if body.len() > limit || session.retry_buffer_truncated() {
            return Ok((body, false));
        }
    }
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
    held.bytes.extend_from_slice(piece.as_deref().unwrap_or_default());
    if held.bytes.len() < held.limit && !end {
        // Empty, not absent: absent would be the end of the body.
        *piece = Some(Bytes::new());
        return Ok(());
    }
    let complete = end && held.bytes.len() <= held.limit;
    decide(admitted, head, &held.bytes, complete)?;
    *piece = ctx.held.take().map(|held| held.bytes.into());
    Ok(())
}

fn decide(
    admitted: &mut Admitted,
    head: &Parts,
    body: &[u8],
    complete: bool,
) -> Result<(), Box<Denial>> {
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    admitted.inspect_body(content_type, body, complete)
}

fn too_large(max_body: u64) -> Denial {
    Denial::new(Reason::BodyTooLarge).with_evidence(format!("more than {max_body} bytes"))
}

fn unreadable(mut error: Box<Error>, ctx: &Context) -> Denial {
    error.as_down();
    Denial::new(ctx.reason(&error)).with_evidence(error.to_string())
}

pub(crate) fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
