//! Elasticsearch and OpenSearch through `_bulk`.
//!
//! Documents are created under their key, so that one that was sent before is answered with 409,
//! which is as good as success. The whole answer is 200 although items failed: each is looked at.

use std::io::Write as _;

use http::{HeaderMap, header};
use serde::Deserialize;

use super::batch::{Http, HttpSink, Preset, below, clean, put, put_basic};
use crate::deliver::{DeliverError, Delivered};
use crate::http::HttpAnswer;
use crate::record::Record;
use crate::settings::ElasticSettings;

pub(super) struct Elastic;

pub(super) fn new(settings: &ElasticSettings, http: impl Fn(String) -> Http) -> HttpSink<Elastic> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &settings.api_key {
        put(&mut headers, header::AUTHORIZATION, &format!("ApiKey {}", key.reveal()));
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        put_basic(&mut headers, user, password);
    }
    // What is not looked at need not be sent.
    let path = "_bulk?filter_path=errors,items.*.status,items.*.error";
    let mut url = below(&settings.url, &format!("/{}/{path}", settings.index));
    if let Some(pipeline) = &settings.pipeline {
        url += "&pipeline=";
        url += pipeline;
    }
    HttpSink::new(http(url), headers, Elastic)
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    reason: String,
}

impl Preset for Elastic {
    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn body(&self, batch: &[Record]) -> Vec<u8> {
        let mut body = Vec::new();
        for record in batch {
            // Writing to memory does not fail.
            let (Ok(()) | Err(_)) = writeln!(body, "{{\"create\":{{\"_id\":\"{}\"}}}}", record.key);
            body.extend_from_slice(&record.body);
            body.push(b'\n');
        }
        body
    }

    fn accepted(&self, batch: &[Record], answer: &HttpAnswer) -> Result<Delivered, DeliverError> {
        let answer: Answer = serde_json::from_slice(&answer.body)
            .map_err(|error| DeliverError::again(format!("the answer is not _bulk's: {error}")))?;
        if !answer.errors {
            return Ok(Delivered::all());
        }
        if answer.items.len() != batch.len() {
            return Err(DeliverError::again("the answer has another number of items"));
        }
        let mut delivered = Delivered::default();
        for (index, Item { create: Outcome { status, error } }) in
            answer.items.into_iter().enumerate()
        {
            match status {
                200..=299 | 409 => continue,
                // Missing rights and indices can be mended; nothing may be lost until then.
                401 | 403 | 404 | 408 | 429 | 500.. => delivered.again.push(index),
                _ => delivered.refused.push(index),
            }
            let told = |fault: Fault| clean(&format!("{status} {}: {}", fault.kind, fault.reason));
            let why = error.map_or_else(|| status.to_string(), told);
            delivered.why.get_or_insert(why);
        }
        Ok(delivered)
    }

    fn is_about_records(&self, answer: &HttpAnswer) -> bool {
        // Anything else that is wrong with a record is said of its item.
        answer.status == http::StatusCode::PAYLOAD_TOO_LARGE
    }
}
