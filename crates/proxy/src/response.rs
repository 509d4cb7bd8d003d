//! Responses as the firewall sees them: the head before the client does, and of the types that are
//! inspected the beginning of the body, while head and body wait. Everything else streams
//! untouched.
//!
//! Where the exchange is ours, nothing was written when the verdict comes, so a refusal is an
//! ordinary answer, over HTTP/1 and HTTP/2 alike. Pingora's exchange has written the head by then:
//! no byte of the body follows it, and the message is broken off. That is what remains for requests
//! whose own body streams. A firewall that only detects holds nothing back: it keeps a copy.

use bytes::Bytes;
use http::{Method, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tidegate_core::{Denial, Reason};

use crate::context::Context;
use crate::held::HeldBody;

/// The beginning of a body that is collected for the firewall.
#[derive(Debug)]
pub(crate) struct HeldResponse {
    body: HeldBody,
    limit: usize,
    /// Whether it is held back, and not only copied.
    back: bool,
}

/// Inspects the head of a final response, and prepares to hold back its body.
///
/// # Errors
/// The firewall refuses it; nothing was written yet.
pub(crate) fn inspect_head(
    method: &Method,
    response: &ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    if response.status.is_informational() && response.status != 101 {
        return Ok(());
    }
    let (Some(admitted), Some(arrival)) = (&mut ctx.admitted, &ctx.arrival) else { return Ok(()) };
    let room = arrival.edge.held_bytes();
    let verdict = admitted.inspect_response_head(response).and_then(|limit| match limit {
        Some(_) if is_bodiless(method, response) => {
            admitted.inspect_response_body(b"", true).map(|()| None)
        }
        limit => Ok(limit),
    });
    match verdict {
        Ok(limit) => {
            let back = admitted.holds_responses();
            let held = limit.map(|limit| HeldResponse { body: HeldBody::new(room), limit, back });
            ctx.held_response = held;
            Ok(())
        }
        Err(denial) => Err(refused(ctx, *denial)),
    }
}

/// Passes a piece of the body on to the client, or holds it back until it is inspected.
///
/// # Errors
/// The firewall refuses the response.
pub(crate) fn pass(piece: &mut Option<Bytes>, end: bool, ctx: &mut Context) -> Result<()> {
    let Some(held) = &mut ctx.held_response else { return Ok(()) };
    let no_room = held.body.push(piece.as_deref().unwrap_or_default()).is_err();
    if no_room && held.back {
        return Err(refused(ctx, Denial::new(Reason::Overloaded)));
    }
    let more = held.body.len() < held.limit && !end && !no_room;
    if more && held.back {
        // Empty, not absent: absent would be the end of the body.
        *piece = Some(Bytes::new());
    }
    if more {
        return Ok(());
    }
    let (Some(held), Some(admitted)) = (ctx.held_response.take(), &mut ctx.admitted) else {
        return Ok(());
    };
    let complete = end && !no_room && held.body.len() <= held.limit;
    if let Err(denial) = admitted.inspect_response_body(held.body.as_ref(), complete) {
        return Err(refused(ctx, *denial));
    }
    if held.back {
        *piece = Some(held.body.into_bytes());
    }
    Ok(())
}

/// Whether nothing of the response may be written yet.
pub(crate) fn waits(ctx: &Context) -> bool {
    ctx.held_response.as_ref().is_some_and(|held| held.back)
}

/// RFC 9110 §6.4.1: no body follows, whatever the fields say.
fn is_bodiless(method: &Method, response: &ResponseHeader) -> bool {
    let empty = response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    *method == Method::HEAD || matches!(response.status.as_u16(), 101 | 204 | 304) || empty
}

/// Keeps the refusal for the answer, as an error that ends the exchange.
fn refused(ctx: &mut Context, denial: Denial) -> Box<Error> {
    ctx.failure.get_or_insert_with(|| (&denial).into());
    let error = Error::explain(ErrorType::Custom("response refused"), denial.reason.code());
    ctx.denial = Some(Box::new(denial));
    error
}
