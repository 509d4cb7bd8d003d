//! Any receiver of POST. `Idempotency-Key` names the first record's key and how many records there
//! are, which are numbered without a gap, so that one that comes again can be told. With a key, the
//! body is signed.

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::batch::{Http, HttpSink, Preset, put, write_json_text};
use crate::record::Record;
use crate::settings::{WebhookBody, WebhookSettings};

pub(super) struct Webhook {
    body: WebhookBody,
    is_json: bool,
    key: Option<hmac::Key>,
}

pub(super) fn new(
    settings: &WebhookSettings,
    is_json: bool,
    http: impl Fn(String) -> Http,
) -> HttpSink<Webhook> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        if let Ok(name) = HeaderName::try_from(name) {
            put(&mut headers, name, value.reveal());
        }
    }
    let key = settings.hmac_key.as_ref();
    let key = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes()));
    let webhook = Webhook { body: settings.body, is_json, key };
    HttpSink::new(http(settings.url.reveal().to_owned()), headers, webhook)
}

/// `<first key>+<count>`; where a damaged spool left a gap, several of them with commas between.
fn keys(batch: &[Record]) -> String {
    let follows = |one: &Record, next: &Record| {
        one.key.origin == next.key.origin && one.key.sequence + 1 == next.key.sequence
    };
    let runs = batch.chunk_by(follows).filter_map(|run| Some((run.first()?, run.len())));
    let runs: Vec<_> = runs.map(|(first, count)| format!("{}+{count}", first.key)).collect();
    runs.join(",")
}

impl Preset for Webhook {
    fn content_type(&self) -> &'static str {
        match (self.body, self.is_json) {
            (WebhookBody::Array, _) => "application/json",
            (WebhookBody::Ndjson, true) => "application/x-ndjson",
            (WebhookBody::Ndjson, false) => "text/plain; charset=utf-8",
        }
    }

    fn body(&self, batch: &[Record]) -> Vec<u8> {
        let (open, between, close): (&[u8], _, &[u8]) = match self.body {
            WebhookBody::Array => (b"[", b',', b"]"),
            WebhookBody::Ndjson => (b"", b'\n', b"\n"),
        };
        let mut body = open.to_vec();
        for (index, record) in batch.iter().enumerate() {
            if index > 0 {
                body.push(between);
            }
            // After a change of the format, others may still wait.
            if self.body == WebhookBody::Array && !record.body.starts_with(b"{") {
                write_json_text(&mut body, &String::from_utf8_lossy(&record.body));
            } else {
                body.extend_from_slice(&record.body);
            }
        }
        body.extend_from_slice(close);
        body
    }

    fn headers(&self, batch: &[Record], body: &[u8], headers: &mut HeaderMap) {
        put(headers, HeaderName::from_static("idempotency-key"), &keys(batch));
        if let Some(key) = &self.key {
            let signature = hmac::sign(key, body);
            let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            if let Ok(value) = HeaderValue::try_from(format!("sha256={hex}")) {
                headers.insert(HeaderName::from_static("tidegate-signature"), value);
            }
        }
    }
}
