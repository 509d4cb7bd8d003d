//! What sinks over HTTP have in common: a batch becomes one POST, and the answer says what becomes
//! of it. What differs between receivers is a [`Preset`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tidegate_core::Secret;

use crate::deliver::{Deliver, DeliverError, Delivered, Then};
use crate::http::{HttpAnswer, HttpCall, HttpClient};
use crate::record::Record;
use crate::tls::TlsMaterial;

/// Larger answers are of no use.
const MAX_ANSWER: usize = 8 << 20;

/// So much of an answer is told in the log.
const TOLD: usize = 200;

/// Where batches go.
pub(super) struct Http {
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) url: Arc<str>,
    pub(super) tls: Arc<TlsMaterial>,
    pub(super) timeout: Duration,
}

/// How one receiver wants its batches.
pub(super) trait Preset: Send + Sync + 'static {
    /// The media type of the body.
    fn content_type(&self) -> &'static str;

    /// The body.
    fn body(&self, batch: &[Record]) -> Vec<u8>;

    /// Fields for this batch.
    fn headers(&self, _batch: &[Record], _body: &[u8], _headers: &mut HeaderMap) {}

    /// What an answer of 2xx says of the records.
    ///
    /// # Errors
    /// It is no such answer.
    fn accepted(&self, _batch: &[Record], _answer: &HttpAnswer) -> Result<Delivered, DeliverError> {
        Ok(Delivered::all())
    }

    /// Whether an answer of 400, 413 or 422 is about what is in the batch, and not about how we are
    /// configured.
    fn is_about_records(&self, _answer: &HttpAnswer) -> bool {
        true
    }

    /// Whether the same may be sent again after such an answer.
    fn may_repeat(&self, _status: StatusCode) -> bool {
        true
    }
}

/// Sends batches by POST.
pub(super) struct HttpSink<P> {
    http: Http,
    fixed: HeaderMap,
    preset: P,
}

impl<P: Preset> HttpSink<P> {
    pub(super) fn new(http: Http, fixed: HeaderMap, preset: P) -> Self {
        Self { http, fixed, preset }
    }
}

#[async_trait]
impl<P: Preset> Deliver for HttpSink<P> {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let body = self.preset.body(batch);
        let mut headers = self.fixed.clone();
        let content_type = HeaderValue::from_static(self.preset.content_type());
        headers.insert(header::CONTENT_TYPE, content_type);
        self.preset.headers(batch, &body, &mut headers);
        let call = HttpCall {
            method: Method::POST,
            url: Arc::clone(&self.http.url),
            headers,
            body: Bytes::from(body),
            tls: Some(Arc::clone(&self.http.tls)),
            timeout: self.http.timeout,
            max_answer: MAX_ANSWER,
        };
        let answer = self.http.client.call(call).await;
        let answer = answer.map_err(|error| DeliverError::again(error.to_string()))?;
        if answer.status.is_success() {
            return self.preset.accepted(batch, &answer);
        }
        let message = told(&answer);
        // Halves of what is too large are other requests.
        let may_be_halved = answer.status == StatusCode::PAYLOAD_TOO_LARGE && batch.len() > 1;
        if !self.preset.may_repeat(answer.status) && !may_be_halved {
            return Err(DeliverError::give_up(message));
        }
        let about_records = matches!(
            answer.status,
            StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY
        );
        if about_records && self.preset.is_about_records(&answer) {
            return Err(DeliverError::split(message));
        }
        // A wrong token or path is mended in the configuration; until then nothing may be lost.
        Err(DeliverError { message, then: Then::Again(retry_after(&answer)) })
    }
}

/// The status and the beginning of the body.
fn told(answer: &HttpAnswer) -> String {
    let text = clean(&String::from_utf8_lossy(&answer.body));
    format!("{} {text}", answer.status.as_u16()).trim_end().to_owned()
}

/// The beginning of what a receiver says, fit for a log.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(TOLD).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// When the receiver wants to be asked again, if it says so in seconds.
fn retry_after(answer: &HttpAnswer) -> Option<Duration> {
    let value = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Adds a field whose value may be secret.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Settings with a value that is none are refused before.
    if let Ok(mut value) = HeaderValue::try_from(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

/// Shows who we are by HTTP Basic.
pub(super) fn put_basic(headers: &mut HeaderMap, user: &str, password: &Secret) {
    let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
    put(headers, header::AUTHORIZATION, &format!("Basic {pair}"));
}

/// A URL with a path behind it.
pub(super) fn below(url: &str, path: &str) -> String {
    format!("{}{path}", url.trim_end_matches('/'))
}

/// Appends a text as a string of JSON.
pub(super) fn write_json_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail, and neither does a text.
    let (Ok(()) | Err(_)) = serde_json::to_writer(out, text);
}
