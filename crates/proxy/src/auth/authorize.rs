//! Calls to policy services. No answer is no leave.

use bytes::Bytes;
use http::Method;
use tidegate_auth::{Authenticated, Authorizer, Word};
use tidegate_core::Request;

use crate::edge::Edge;
use crate::outbound::{Call, Outbound, Trust};

/// More is no decision.
const MAX_ANSWER: usize = 64 * 1024;

/// What a policy service says about a request; `None` if it does not say.
pub(super) async fn authorize(
    (outbound, trust): (&Outbound, Trust),
    authorizer: &Authorizer,
    (request, who): (&Request<'_>, &Authenticated),
    edge: &Edge,
) -> Option<Word> {
    let inquiry = authorizer.inquiry(request, Some(who.identity()));
    let method = if inquiry.body.is_some() { Method::POST } else { Method::GET };
    let call = Call {
        method,
        url: &authorizer.settings().url,
        headers: inquiry.headers,
        body: inquiry.body.map(Bytes::from).unwrap_or_default(),
        trust,
        timeout: authorizer.settings().timeout.0,
        max_body: MAX_ANSWER,
    };
    let service = &**authorizer.name();
    let (word, failure) = match outbound.call(&call).await {
        Ok(answer) => {
            let word = authorizer.word(answer.status, &answer.headers, &answer.body);
            let failure = word.is_none().then(|| format!("status {}, no decision", answer.status));
            (word, failure)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    edge.provider_answered("authorizer", service, failure.map_or(Ok(()), Err));
    word
}
