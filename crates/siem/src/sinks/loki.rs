//! Grafana Loki: one stream with fixed labels; what differs from record to record is structured
//! metadata, since each value of a label is a stream of its own.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, header};

use super::batch::{Http, HttpSink, Preset, below, put, put_basic, write_json_text};
use crate::http::HttpAnswer;
use crate::record::Record;
use crate::settings::LokiSettings;

pub(super) struct Loki {
    /// The labels as JSON.
    labels: Vec<u8>,
}

pub(super) fn new(
    settings: &LokiSettings,
    host: &str,
    http: impl Fn(String) -> Http,
) -> HttpSink<Loki> {
    let mut headers = HeaderMap::new();
    if let Some(token) = &settings.token {
        put(&mut headers, header::AUTHORIZATION, &format!("Bearer {}", token.reveal()));
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        put_basic(&mut headers, user, password);
    }
    if let Some(tenant) = &settings.tenant {
        put(&mut headers, HeaderName::from_static("x-scope-orgid"), tenant);
    }
    // Each node has a stream of its own: in one, the backlog of one would be too old for the others.
    let mut labels = settings.labels.clone();
    labels.entry("host".to_owned()).or_insert_with(|| host.to_owned());
    let labels = serde_json::to_vec(&labels).unwrap_or_default();
    HttpSink::new(http(below(&settings.url, "/loki/api/v1/push")), headers, Loki { labels })
}

impl Preset for Loki {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn body(&self, batch: &[Record]) -> Vec<u8> {
        // Loki may be configured to refuse what is older than what it has.
        let mut sorted: Vec<&Record> = batch.iter().collect();
        sorted.sort_by_key(|record| record.time);
        let mut body = b"{\"streams\":[{\"stream\":".to_vec();
        body.extend_from_slice(&self.labels);
        body.extend_from_slice(b",\"values\":[");
        for (index, record) in sorted.into_iter().enumerate() {
            let nanos = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            body.extend_from_slice(if index == 0 { b"[\"" } else { b",[\"" });
            body.extend_from_slice(nanos.to_string().as_bytes());
            body.extend_from_slice(b"\",");
            write_json_text(&mut body, &String::from_utf8_lossy(&record.body));
            let (key, severity) = (record.key, record.severity.name());
            let metadata = format!(
                ",{{\"tidegate_key\":\"{key}\",\"severity\":\"{severity}\",\"kind\":\"{}\"}}]",
                record.kind
            );
            body.extend_from_slice(metadata.as_bytes());
        }
        body.extend_from_slice(b"]}]}");
        body
    }

    fn is_about_records(&self, answer: &HttpAnswer) -> bool {
        // That is a setting of Loki's, and no record will ever do without.
        !String::from_utf8_lossy(&answer.body).contains("structured metadata")
    }
}
