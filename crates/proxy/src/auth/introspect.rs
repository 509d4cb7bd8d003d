//! Calls to introspection endpoints (RFC 7662): one per token at a time, whoever waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use parking_lot::Mutex;
use tidegate_auth::Question;
use tidegate_auth::introspection::AnswerError;
use tokio::sync::watch;

use crate::edge::Edge;
use crate::outbound::{Call, CallError, Outbound, Trust};

/// Calls that run at a time, over all endpoints; further ones are not made, and nobody passes.
const MAX_CALLS: usize = 1_024;
/// More is no answer about one token.
const MAX_ANSWER: usize = 64 * 1024;

/// The calls that run, by endpoint and the token's SHA-256.
#[derive(Default)]
pub(crate) struct Questions {
    running: Arc<Mutex<HashMap<Key, watch::Receiver<()>>>>,
}

type Key = (Arc<str>, [u8; 32]);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("our own name or secret is no field value")]
    Secret,
}

/// What a waiter does.
enum Part {
    /// It makes the call; who waits is told when the sender is dropped.
    Call(watch::Sender<()>),
    /// It waits for the one who does.
    Wait(watch::Receiver<()>),
    /// Too many run.
    Nothing,
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
        let key: Key = (Arc::clone(question.introspector.name()), question.digest);
        match self.part(&key) {
            Part::Nothing => {}
            Part::Wait(mut done) => drop(done.changed().await),
            Part::Call(done) => {
                let (running, outbound) = (Arc::clone(&self.running), Arc::clone(outbound));
                let (question, edge) = (question.clone(), Arc::clone(edge));
                // A task of its own: the first who asked may leave, the others still wait.
                let call = tokio::spawn(async move {
                    let answered = Box::pin(inquire(&question, trust, &outbound, &edge)).await;
                    running.lock().remove(&key);
                    if let Err(error) = answered {
                        let endpoint = &**question.introspector.name();
                        tracing::warn!(endpoint, %error, "no answer about a token");
                    }
                    drop(done);
                });
                drop(call.await);
            }
        }
    }

    fn part(&self, key: &Key) -> Part {
        let mut running = self.running.lock();
        if let Some(done) = running.get(key) {
            return Part::Wait(done.clone());
        }
        if running.len() >= MAX_CALLS {
            return Part::Nothing;
        }
        let (done, waits) = watch::channel(());
        running.insert(key.clone(), waits);
        Part::Call(done)
    }
}

async fn inquire(
    question: &Question,
    trust: Trust,
    outbound: &Outbound,
    edge: &Edge,
) -> Result<(), QuestionError> {
    let settings = question.introspector.settings();
    let secret = format!("{}:{}", form(&settings.client_id), form(settings.client_secret.reveal()));
    let mut headers = HeaderMap::new();
    let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(secret)));
    let mut basic = basic.map_err(|_invalid| QuestionError::Secret)?;
    basic.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, basic);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, media_type);
    let body = format!("token={}&token_type_hint=access_token", form(&question.token));
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

/// A value in a form (RFC 6749 §2.3.1 and appendix B).
fn form(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
