//! Splunk's HTTP Event Collector: events one behind the other, each in its envelope.

use std::io::Write as _;
use std::time::UNIX_EPOCH;

use http::{HeaderMap, header};
use serde::Deserialize;

use super::batch::{Http, HttpSink, Preset, below, put, write_json_text};
use crate::deliver::{DeliverError, Delivered};
use crate::http::HttpAnswer;
use crate::record::Record;
use crate::settings::SplunkHecSettings;

pub(super) struct SplunkHec {
    /// The members of the envelope that are the same for each event, with a comma behind each.
    fixed: Vec<u8>,
}

/// What the collector answers.
#[derive(Deserialize)]
struct Answer {
    code: u32,
}

/// The codes that say that an event is not acceptable: invalid data format, the event field is
/// required, it cannot be blank, error in handling indexed fields. Others, such as an incorrect
/// index or a disabled token, are for an administrator to mend.
const ABOUT_EVENTS: [u32; 4] = [6, 12, 13, 15];

pub(super) fn new(
    settings: &SplunkHecSettings,
    (is_json, host): (bool, &str),
    http: impl Fn(String) -> Http,
) -> HttpSink<SplunkHec> {
    let mut fixed = Vec::new();
    let sourcetype = settings.sourcetype.as_deref().or(is_json.then_some("_json"));
    let members = [
        ("host", Some(host)),
        ("source", Some(&*settings.source)),
        ("sourcetype", sourcetype),
        ("index", settings.index.as_deref()),
    ];
    for (name, value) in members {
        let Some(value) = value else { continue };
        write_json_text(&mut fixed, name);
        fixed.push(b':');
        write_json_text(&mut fixed, value);
        fixed.push(b',');
    }
    let mut headers = HeaderMap::new();
    put(&mut headers, header::AUTHORIZATION, &format!("Splunk {}", settings.token.reveal()));
    let url = below(&settings.url, "/services/collector/event");
    HttpSink::new(http(url), headers, SplunkHec { fixed })
}

impl Preset for SplunkHec {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn body(&self, batch: &[Record]) -> Vec<u8> {
        let mut body = Vec::new();
        for record in batch {
            let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let (seconds, millis) = (time.as_secs(), time.subsec_millis());
            // Writing to memory does not fail.
            let (Ok(()) | Err(_)) = write!(body, "{{\"time\":{seconds}.{millis:03},");
            body.extend_from_slice(&self.fixed);
            let (Ok(()) | Err(_)) = write!(
                body,
                "\"fields\":{{\"tidegate_key\":\"{}\",\"severity\":\"{}\",\"kind\":\"{}\"}},\"event\":",
                record.key,
                record.severity.name(),
                record.kind
            );
            // By itself: after a change of the format, others may still wait.
            if record.body.starts_with(b"{") {
                body.extend_from_slice(&record.body);
            } else {
                write_json_text(&mut body, &String::from_utf8_lossy(&record.body));
            }
            body.extend_from_slice(b"}\n");
        }
        body
    }

    fn accepted(&self, _batch: &[Record], answer: &HttpAnswer) -> Result<Delivered, DeliverError> {
        match serde_json::from_slice::<Answer>(&answer.body) {
            Ok(Answer { code: 0 }) => Ok(Delivered::all()),
            Ok(Answer { code }) => Err(DeliverError::again(format!("the collector says {code}"))),
            Err(_other) => Err(DeliverError::again("the answer is not the collector's")),
        }
    }

    fn is_about_records(&self, answer: &HttpAnswer) -> bool {
        let code = serde_json::from_slice::<Answer>(&answer.body).map(|answer| answer.code);
        answer.status == http::StatusCode::PAYLOAD_TOO_LARGE
            || code.is_ok_and(|code| ABOUT_EVENTS.contains(&code))
    }
}
