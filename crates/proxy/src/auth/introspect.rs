//! Calls to introspection endpoints (RFC 7662): one per token at a time, whoever waits for it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tidegate_auth::introspection::AnswerError;
use tidegate_auth::{Question, form};

use super::running::{Key, RunningCalls};
use crate::edge::Edge;
use crate::outbound::{Call, CallError, Outbound, Trust};

/// More is no answer about one token.
const MAX_ANSWER: usize = 64 * 1024;

/// The calls that run.
#[derive(Default)]
pub(crate) struct Questions(RunningCalls<()>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("status {0}")]
    Status(StatusCode),
}

impl Questions {
    /// Asks about a token, or waits for the call that runs.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        trust: Trust,
        outbound: &Arc<Outbound>,
        edge: &Arc<Edge>,
    ) {
        let key = Key {
            endpoint: Arc::clone(question.introspector.name()),
            instance: question.introspector.instance(),
            trust: trust.group,
            digest: question.digest,
        };
        let (question, edge, outbound) = (question.clone(), edge.clone(), outbound.clone());
        let call = async move {
            let answered = Box::pin(inquire(&question, trust, &outbound, &edge)).await;
            let endpoint = &**question.introspector.name();
            let answered = answered.as_ref().map(|_learnt| ());
            edge.provider_answered("introspection", endpoint, answered);
            Some(())
        };
        // What was learned is found where it is kept.
        let (Some(()) | None) = self.0.share(key, call).await;
    }
}

async fn inquire(
    question: &Question,
    trust: Trust,
    outbound: &Outbound,
    edge: &Edge,
) -> Result<(), QuestionError> {
    let settings = question.introspector.settings();
    let mut headers = HeaderMap::new();
    let basic = form::basic(&settings.client_id, settings.client_secret.reveal());
    headers.insert(header::AUTHORIZATION, basic);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, media_type);
    let body = format!("token={}&token_type_hint=access_token", form::encoded(&question.token));
    let call = Call {
        method: Method::POST,
        url: &settings.url,
        headers,
        body: body.into(),
        trust,
        timeout: settings.timeout.0,
        max_body: MAX_ANSWER,
    };
    let answer = outbound.call(&call).await?;
    if answer.status != StatusCode::OK {
        return Err(QuestionError::Status(answer.status));
    }
    let now = super::seconds(edge.clock().wall());
    question.introspector.learn(question.digest, &answer.body, now)?;
    Ok(())
}
