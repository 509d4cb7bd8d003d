//! Spans as bytes: encoded where a request ends, put together where a batch is sent.
//!
//! A record is the spans of one request, each as the member `spans` of OTLP's `ScopeSpans`; a
//! batch is what belongs around them. So a request's thread encodes only what is its own, and the
//! task that sends copies bytes.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, message};

use super::spans::{number, text};
use crate::formats::Node;

/// `ScopeSpans.spans`.
const SPANS: u32 = 2;
/// `ScopeSpans.scope`, `ResourceSpans.resource`, `ExportTraceServiceRequest.resource_spans`.
const FIRST: u32 = 1;
/// `ResourceSpans.scope_spans`.
const SCOPE_SPANS: u32 = 2;

/// The spans of one request.
pub(super) fn record(spans: &[Span]) -> Vec<u8> {
    let room = spans.iter().map(|span| message::encoded_len(SPANS, span)).sum();
    let mut out = Vec::with_capacity(room);
    for span in spans {
        message::encode(SPANS, span, &mut out);
    }
    out
}

/// How many spans a record has.
pub(super) fn count(mut record: &[u8]) -> u64 {
    let mut spans = 0;
    while !record.is_empty() {
        let key = prost::encoding::decode_varint(&mut record);
        let Ok(length) = key.and_then(|_key| prost::encoding::decode_varint(&mut record)) else {
            return spans;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        record = record.get(length..).unwrap_or_default();
        spans += 1;
    }
    spans
}

/// What is the same in each batch.
#[derive(Debug)]
pub(super) struct Envelope {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Envelope {
    /// Who sends spans.
    pub(super) fn new(service: &str, node: &Node) -> Self {
        let attributes = vec![
            text("service.name", service),
            text("service.version", &node.version),
            text("service.instance.id", &format!("{}-{}", node.host, node.pid)),
            text("host.name", &node.host),
            number("process.pid", node.pid),
        ];
        let resource = Resource { attributes, ..Resource::default() };
        let scope = InstrumentationScope {
            name: "tidegate".to_owned(),
            version: node.version.to_string(),
            ..InstrumentationScope::default()
        };
        let mut envelope = Self { resource: Vec::new(), scope: Vec::new() };
        message::encode(FIRST, &resource, &mut envelope.resource);
        message::encode(FIRST, &scope, &mut envelope.scope);
        envelope
    }

    /// The body of one call: an `ExportTraceServiceRequest`.
    pub(super) fn body<'r>(&self, records: impl Iterator<Item = &'r [u8]> + Clone) -> Vec<u8> {
        let spans: usize = records.clone().map(<[u8]>::len).sum();
        let in_scope = self.scope.len() + spans;
        let in_resource = self.resource.len() + framed_len(SCOPE_SPANS, in_scope);
        let mut body = Vec::with_capacity(framed_len(FIRST, in_resource));
        begin(FIRST, in_resource, &mut body);
        body.extend_from_slice(&self.resource);
        begin(SCOPE_SPANS, in_scope, &mut body);
        body.extend_from_slice(&self.scope);
        for record in records {
            body.extend_from_slice(record);
        }
        body
    }
}

fn begin(tag: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn framed_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

/// How many spans a collector's answer says it did not take, and why.
pub(super) fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    let partial = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let spans = u64::try_from(partial.rejected_spans).unwrap_or(0);
    (spans > 0).then_some((spans, partial.error_message))
}
