//! OpenTelemetry's logs over HTTP with protobuf (OTLP 1).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use std::time::UNIX_EPOCH;
use tidegate_core::notice::Severity;

use super::batch::{Http, HttpSink, Preset, put};
use crate::deliver::{DeliverError, Delivered};
use crate::formats::Node;
use crate::http::HttpAnswer;
use crate::otlp;
use crate::record::Record;
use crate::settings::OtlpSettings;

const PROTOBUF: &str = "application/x-protobuf";

pub(super) struct Otlp {
    resource: Resource,
    version: String,
}

pub(super) fn new(
    settings: &OtlpSettings,
    node: &Node,
    http: impl Fn(String) -> Http,
) -> HttpSink<Otlp> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        if let Ok(name) = HeaderName::try_from(name) {
            put(&mut headers, name, value.reveal());
        }
    }
    let resource = Resource {
        attributes: vec![
            text("service.name", "tidegate"),
            text("service.version", &node.version),
            text("host.name", &node.host),
        ],
        ..Resource::default()
    };
    let otlp = Otlp { resource, version: node.version.to_string() };
    HttpSink::new(http(settings.url.clone()), headers, otlp)
}

impl Preset for Otlp {
    fn content_type(&self) -> &'static str {
        PROTOBUF
    }

    fn body(&self, batch: &[Record]) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: "tidegate".to_owned(),
            version: self.version.clone(),
            ..InstrumentationScope::default()
        };
        let logs = ScopeLogs {
            scope: Some(scope),
            log_records: batch.iter().map(log_record).collect(),
            ..ScopeLogs::default()
        };
        let resource = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![logs],
            ..ResourceLogs::default()
        };
        ExportLogsServiceRequest { resource_logs: vec![resource] }.encode_to_vec()
    }

    fn accepted(&self, batch: &[Record], answer: &HttpAnswer) -> Result<Delivered, DeliverError> {
        let media_type = answer.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if media_type.is_none_or(|media_type| !media_type.starts_with(PROTOBUF.as_bytes())) {
            // Whoever took it says no more: what was taken is not sent again.
            return Ok(Delivered::all());
        }
        let answer = ExportLogsServiceResponse::decode(answer.body.clone())
            .map_err(|error| DeliverError::again(format!("the answer is not OTLP's: {error}")))?;
        let Some(partial) = answer.partial_success else { return Ok(Delivered::all()) };
        // Which ones it does not say, and the specification forbids to send them again.
        let refused = usize::try_from(partial.rejected_log_records).unwrap_or(0).min(batch.len());
        if refused == batch.len() {
            return Err(DeliverError::give_up(partial.error_message));
        }
        let why = (refused > 0).then_some(partial.error_message);
        Ok(Delivered { refused: (0..refused).collect(), why, ..Delivered::default() })
    }

    fn may_repeat(&self, status: StatusCode) -> bool {
        otlp::may_repeat(status)
    }
}

fn log_record(record: &Record) -> LogRecord {
    let nanos = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    // The numbers of the data model: INFO, INFO2, WARN, ERROR, FATAL.
    let number = match record.severity {
        Severity::Informational => 9,
        Severity::Low => 10,
        Severity::Medium => 13,
        Severity::High => 17,
        Severity::Critical => 21,
    };
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: number,
        severity_text: record.severity.name().to_owned(),
        body: Some(value(&String::from_utf8_lossy(&record.body))),
        attributes: vec![
            text("tidegate.key", &record.key.to_string()),
            text("tidegate.kind", record.kind),
        ],
        ..LogRecord::default()
    }
}

fn text(key: &str, text: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value(text)), ..KeyValue::default() }
}

fn value(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;
    use crate::deliver::Then;
    use crate::record::{Key, REQUEST};

    fn answered(rejected: i64) -> Result<Delivered, DeliverError> {
        let record = Record {
            key: Key { origin: 1, sequence: 1 },
            time: UNIX_EPOCH,
            severity: Severity::Low,
            kind: REQUEST,
            body: bytes::Bytes::new(),
        };
        let partial = ExportLogsPartialSuccess {
            rejected_log_records: rejected,
            error_message: "too old".to_owned(),
        };
        let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
        let answer = HttpAnswer {
            status: StatusCode::OK,
            headers: [(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF))]
                .into_iter()
                .collect(),
            body: answer.encode_to_vec().into(),
        };
        let otlp = Otlp { resource: Resource::default(), version: String::new() };
        otlp.accepted(&[record.clone(), record], &answer)
    }

    #[test]
    fn what_a_collector_rejects_is_not_sent_again() {
        assert_eq!(answered(0), Ok(Delivered::all()));
        let one = answered(1).unwrap();
        assert_eq!((one.refused, one.again, one.why), (vec![0], vec![], Some("too old".into())));
        assert_eq!(answered(2).unwrap_err().then, Then::GiveUp);
        assert_eq!(answered(99).unwrap_err().then, Then::GiveUp);
    }
}
