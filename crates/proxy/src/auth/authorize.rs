//! Calls to policy services. No answer is no leave.

use bytes::Bytes;
use http::Method;
use tidegate_auth::{Authenticated, Authorizer, Word};
use tidegate_core::Request;

use crate::outbound::{Call, Outbound, Trust};

/// More is no decision.
const MAX_ANSWER: usize = 64 * 1024;

/// What a policy service says about a request; `None` if it does not say.
#[expect(clippy::cognitive_complexity, reason = "each log macro counts as seven branches")]
pub(super) async fn authorize(
    outbound: &Outbound,
    trust: Trust,
    authorizer: &Authorizer,
    request: &Request<'_>,
    who: &Authenticated,
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
    match outbound.call(&call).await {
        Ok(answer) => {
            let word = authorizer.word(answer.status, &answer.headers, &answer.body);
            if word.is_none() {
                let status = answer.status.as_u16();
                tracing::warn!(service, status, "a policy service does not decide");
            }
            word
        }
        Err(error) => {
            tracing::warn!(service, %error, "a policy service does not answer");
            None
        }
    }
}
