//! Sinks over HTTP, against receivers of ours that take nothing that the real ones would not: each
//! checks every member of every body.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::{Value, json};
use tidegate_testkit::origin::Received;
use tidegate_testkit::{Origin, Reply};

use super::{Inbox, REQUESTS, assert_complete, gateway, origin, settle, under_load};

/// Sends under a receiver that works, that is gone, and that is back.
#[track_caller]
fn check(kind: &str, receiver: impl Fn(&Received, &Inbox) -> Reply + Send + Sync + 'static) {
    let (inbox, receiver) = (Inbox::default(), Arc::new(receiver));
    let script = || {
        let (inbox, receiver) = (inbox.clone(), Arc::clone(&receiver));
        move |request: &Received| receiver(request, &inbox)
    };
    let running = Origin::script(script());
    let (address, upstream) = (running.address(), origin());
    let gateway =
        gateway(&upstream, kind).set("receiver", address).env("TOKEN", "s3cret-token").start();
    let mut again = None;
    under_load(&gateway, |reach| {
        reach(300);
        drop(running);
        reach(600);
        again = Some(Origin::on(address, script()));
    });
    settle(&gateway, REQUESTS);
    assert_complete(&gateway, &inbox.all(), REQUESTS);
    assert!(!gateway.stderr().contains("s3cret-token"));
    drop(again);
}

/// The members of an object, which has no others.
#[track_caller]
fn members<'v>(value: &'v Value, allowed: &[&str]) -> &'v serde_json::Map<String, Value> {
    let object = value.as_object().expect("an object");
    for name in object.keys() {
        assert!(allowed.contains(&name.as_str()), "{name} in {value}");
    }
    object
}

#[track_caller]
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    let text = value[name].as_str();
    assert!(text.is_some(), "{name} is no text in {value}");
    text.unwrap_or_default()
}

#[test]
fn splunk_gets_every_event_in_its_envelope() {
    let kind = "splunk_hec: { url: 'http://<receiver>', token: '${env:TOKEN}', index: waf }";
    check(kind, |request, inbox| {
        assert_eq!((&*request.method, &*request.target), ("POST", "/services/collector/event"));
        assert_eq!(request.header("authorization"), Some("Splunk s3cret-token"));
        for event in serde_json::Deserializer::from_slice(&request.body).into_iter::<Value>() {
            let event = event.expect("JSON, one behind the other");
            let allowed = ["time", "host", "source", "sourcetype", "index", "fields", "event"];
            members(&event, &allowed);
            assert!(event["time"].as_f64().is_some_and(|time| time > 1.7e9), "{event}");
            assert_eq!((text(&event, "index"), text(&event, "sourcetype")), ("waf", "_json"));
            let fields = members(&event["fields"], &["tidegate_key", "severity", "kind"]);
            assert!(fields.values().all(Value::is_string), "indexed fields are flat");
            inbox.add(text(&event["fields"], "tidegate_key"), &event["event"].to_string());
        }
        Reply::ok(r#"{"text":"Success","code":0}"#).with("Content-Type", "application/json")
    });
}

#[test]
fn elastic_gets_every_document_once_although_items_fail() {
    let (known, asked) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    let kind = "elastic: { url: 'http://<receiver>/es', index: logs-waf, api_key: '${env:TOKEN}' }";
    check(kind, move |request, inbox| {
        let path = request.target.split('?').next();
        assert_eq!(path, Some("/es/logs-waf/_bulk"));
        assert_eq!(request.header("authorization"), Some("ApiKey s3cret-token"));
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        let body = std::str::from_utf8(&request.body).expect("UTF-8");
        assert!(body.ends_with('\n'), "the last line has its end");
        let lines: Vec<&str> = body.lines().collect();
        assert!(lines.len().is_multiple_of(2));
        let mut items = Vec::new();
        for pair in lines.chunks(2) {
            let action: Value = serde_json::from_str(pair[0]).expect("an action");
            members(&action, &["create"]);
            members(&action["create"], &["_id"]);
            let id = text(&action["create"], "_id").to_owned();
            // Each eleventh item finds the cluster busy.
            let busy = asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(11);
            let is_new = !busy && known.lock().insert(id.clone());
            if is_new {
                inbox.add(&id, pair[1]);
            }
            let status = if busy {
                429
            } else if is_new {
                201
            } else {
                409
            };
            items.push(json!({ "create": { "_id": id, "status": status } }));
        }
        let errors = items.iter().any(|item| item["create"]["status"] != 201);
        Reply::ok(json!({ "took": 1, "errors": errors, "items": items }).to_string())
    });
}

#[test]
fn loki_gets_every_line_in_the_order_of_time() {
    let kind = "loki: { url: 'http://<receiver>', tenant: soc, token: '${env:TOKEN}', \
                labels: { service_name: edge, env: test, host: edge-1 } }";
    check(kind, |request, inbox| {
        assert_eq!(request.target, "/loki/api/v1/push");
        assert_eq!(request.header("x-scope-orgid"), Some("soc"));
        assert_eq!(request.header("authorization"), Some("Bearer s3cret-token"));
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        members(&body, &["streams"]);
        for stream in body["streams"].as_array().expect("streams") {
            members(stream, &["stream", "values"]);
            assert_eq!(
                stream["stream"],
                json!({ "service_name": "edge", "env": "test", "host": "edge-1" })
            );
            let mut last = 0;
            for entry in stream["values"].as_array().expect("values") {
                let [time, line, metadata] = entry.as_array().expect("an entry").as_slice() else {
                    panic!("{entry}");
                };
                let time: u64 = time.as_str().and_then(|t| t.parse().ok()).expect("nanoseconds");
                assert!(time >= last && time > 1_700_000_000_000_000_000, "{time} after {last}");
                last = time;
                let fields = members(metadata, &["tidegate_key", "severity", "kind"]);
                assert!(fields.values().all(Value::is_string));
                inbox.add(text(metadata, "tidegate_key"), line.as_str().expect("a line"));
            }
        }
        Reply::status(204, "")
    });
}

#[test]
fn a_collector_gets_every_log_record() {
    let kind = "otlp: { url: 'http://<receiver>/v1/logs', headers: { X-Api-Key: '${env:TOKEN}' } }";
    check(kind, |request, inbox| {
        assert_eq!(request.target, "/v1/logs");
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("x-api-key"), Some("s3cret-token"));
        let body = ExportLogsServiceRequest::decode(&*request.body).expect("protobuf");
        for resource in &body.resource_logs {
            let attributes = &resource.resource.as_ref().expect("a resource").attributes;
            assert_eq!(attribute(attributes, "service.name"), "tidegate");
            assert!(!attribute(attributes, "host.name").is_empty());
            for scope in &resource.scope_logs {
                assert_eq!(scope.scope.as_ref().expect("a scope").name, "tidegate");
                for record in &scope.log_records {
                    assert!(record.time_unix_nano > 1_700_000_000_000_000_000);
                    assert!((1..=24).contains(&record.severity_number));
                    let line = string(record.body.as_ref());
                    inbox.add(&attribute(&record.attributes, "tidegate.key"), &line);
                }
            }
        }
        Reply::ok(ExportLogsServiceResponse::default().encode_to_vec())
            .with("Content-Type", "application/x-protobuf")
    });
}

pub(super) fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    assert!(found.is_some(), "no {name}");
    string(found.and_then(|found| found.value.as_ref()))
}

pub(super) fn string(value: Option<&AnyValue>) -> String {
    let found = value.and_then(|value| value.value.as_ref());
    assert!(matches!(found, Some(Any::StringValue(_))), "no text: {found:?}");
    let Some(Any::StringValue(text)) = found else { return String::new() };
    text.clone()
}

#[test]
fn a_webhook_gets_signed_batches_that_can_be_told() {
    let kind = "webhook: { url: 'http://<receiver>/in', body: array, hmac_key: '${env:TOKEN}' }";
    check(kind, |request, inbox| {
        assert_eq!(request.header("content-type"), Some("application/json"));
        let signature = request.header("tidegate-signature").expect("a signature");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"s3cret-token");
        let own = aws_lc_rs::hmac::sign(&key, &request.body);
        let own: String = own.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, format!("sha256={own}"));
        let batch: Vec<Value> = serde_json::from_slice(&request.body).expect("an array");
        let key = request.header("idempotency-key").expect("a key");
        let (first, count) = key.split_once('+').expect("first and count");
        assert_eq!(count.parse(), Ok(batch.len()));
        let (origin, first) = first.split_once('-').expect("origin and number");
        let first: usize = first.parse().expect("a number");
        for (index, record) in batch.iter().enumerate() {
            inbox.add(&format!("{origin}-{}", first + index), &record.to_string());
        }
        Reply::status(202, "")
    });
}
