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

/// Calls that run at a time at one endpoint; further ones are not made, and nobody passes by it. Each
/// endpoint has its own, so that one that hangs takes nothing from the others.
const MAX_CALLS: usize = 512;
/// More is no answer about one token.
const MAX_ANSWER: usize = 64 * 1024;

/// The calls that run, by endpoint and then by the token's SHA-256.
#[derive(Default)]
pub(crate) struct Questions {
    running: Arc<Mutex<HashMap<Arc<str>, Calls>>>,
}

/// The calls at one endpoint.
type Calls = HashMap<[u8; 32], watch::Receiver<()>>;

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
        match self.part(question.introspector.name(), question.digest) {
            Part::Nothing => {}
            Part::Wait(mut done) => drop(done.changed().await),
            Part::Call(done) => {
                let (running, outbound) = (Arc::clone(&self.running), Arc::clone(outbound));
                let (question, edge) = (question.clone(), Arc::clone(edge));
                // A task of its own: the first who asked may leave, the others still wait.
                let call = tokio::spawn(async move {
                    let answered = Box::pin(inquire(&question, trust, &outbound, &edge)).await;
                    end(&running, question.introspector.name(), &question.digest);
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

    fn part(&self, endpoint: &Arc<str>, digest: [u8; 32]) -> Part {
        let mut running = self.running.lock();
        let calls = running.entry(Arc::clone(endpoint)).or_default();
        if let Some(done) = calls.get(&digest) {
            return Part::Wait(done.clone());
        }
        if calls.len() >= MAX_CALLS {
            return Part::Nothing;
        }
        let (done, waits) = watch::channel(());
        calls.insert(digest, waits);
        Part::Call(done)
    }
}

/// A call is over; an endpoint without calls is forgotten, since a reload may have removed it.
fn end(running: &Mutex<HashMap<Arc<str>, Calls>>, endpoint: &Arc<str>, digest: &[u8; 32]) {
    let mut running = running.lock();
    let Some(calls) = running.get_mut(endpoint) else { return };
    calls.remove(digest);
    if calls.is_empty() {
        running.remove(endpoint);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_hangs_takes_no_calls_from_another() {
        let questions = Questions::default();
        let (hangs, answers): (Arc<str>, Arc<str>) = ("hangs".into(), "answers".into());
        let token = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        let calls: Vec<_> = (0..MAX_CALLS).map(|n| questions.part(&hangs, token(n))).collect();
        assert!(calls.iter().all(|part| matches!(part, Part::Call(_))));
        assert!(matches!(questions.part(&hangs, token(MAX_CALLS)), Part::Nothing));
        assert!(matches!(questions.part(&hangs, token(0)), Part::Wait(_)));
        assert!(matches!(questions.part(&answers, token(0)), Part::Call(_)));
        end(&questions.running, &hangs, &token(0));
        assert!(matches!(questions.part(&hangs, token(MAX_CALLS)), Part::Call(_)));
        for number in 0..=MAX_CALLS {
            end(&questions.running, &hangs, &token(number));
        }
        assert_eq!(questions.running.lock().len(), 1, "only the other endpoint is left");
    }
}
