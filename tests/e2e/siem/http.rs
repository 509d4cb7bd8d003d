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
use tidegate_testkit::gateway::Builder;
use tidegate_testkit::origin::Received;
use tidegate_testkit::tls::Leaf;
use tidegate_testkit::{Ca, Nginx, Origin, Reply, needs, wait};

use super::{
    Inbox, REQUESTS, SECRET, assert_complete, count, gateway, identity, origin, send, settle,
    under_load,
};

/// How a receiver is spoken to.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Http,
    /// TLS that nginx ends, which wants a certificate of ours.
    Https,
}

/// Sends under a receiver that works, that is gone, and that is back.
#[track_caller]
fn check(
    over: Over,
    kind: &str,
    receiver: impl Fn(&Received, &Inbox) -> Reply + Send + Sync + 'static,
) {
    let (inbox, receiver) = (Inbox::default(), Arc::new(receiver));
    let script = || {
        let (inbox, receiver) = (inbox.clone(), Arc::clone(&receiver));
        move |request: &Received| receiver(request, &inbox)
    };
    let running = Origin::script(script());
    let upstream = origin();
    let gateway = gateway(&upstream, kind).env("TOKEN", SECRET).env("TIDEGATE_LOG", "trace");
    let gateway = match over {
        Over::Http => {
            let address = running.address();
            let gateway = gateway.set("receiver", format!("http://{address}")).set("tls", "");
            let (gateway, mut again) = (gateway.start(), None);
            under_load(&gateway, |reach| {
                reach(300);
                drop(running);
                reach(600);
                again = Some(Origin::on(address, script()));
            });
            settle(&gateway, REQUESTS);
            gateway
        }
        Over::Https => {
            let (ca, us) = (Ca::new("receivers"), Ca::new("ours"));
            let mut front = front(&ca, &us, &running);
            let gateway = trusting(gateway, &ca, &us.client("edge"), &front).start();
            under_load(&gateway, |reach| {
                reach(300);
                front.kill();
                reach(600);
                front.restart();
            });
            settle(&gateway, REQUESTS);
            gateway
        }
    };
    assert_complete(&gateway, &inbox.all(), REQUESTS);
    assert!(gateway.stderr().contains("DEBUG"), "everything is logged");
    assert!(!gateway.stderr().contains(SECRET), "a secret is logged");
}

/// nginx that speaks TLS before a receiver, to those whom `clients` vouches for.
fn front(ca: &Ca, clients: &Ca, receiver: &Origin) -> Nginx {
    let leaf = ca.server(&["localhost"]);
    let server = format!(
        "ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_client_certificate clients.pem;
         ssl_verify_client on; client_max_body_size 0;
         location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; }}",
        receiver.address()
    );
    let files =
        [("cert.pem", &*leaf.cert), ("key.pem", &*leaf.key), ("clients.pem", clients.pem())];
    Nginx::listening("ssl", &server, &files)
}

/// The settings `receiver` and `tls`, and the files that they name.
fn trusting(gateway: Builder, ca: &Ca, us: &Leaf, front: &Nginx) -> Builder {
    let url = format!("https://localhost:{}", front.address().port());
    let gateway = gateway.set("receiver", url);
    let gateway = gateway.set("tls", ", tls: { ca: ca.pem, cert: us.pem, key: us.key }");
    identity(gateway, ca, us)
}

/// A sink and a receiver that do not trust each other: `trusted` is whom the sink trusts, `ca` who
/// vouches for the receiver, and `clients` whom that trusts.
#[track_caller]
fn refused((trusted, ca, clients): (&Ca, &Ca, &Ca), us: &Leaf, why: &str) {
    let (upstream, receiver) = (origin(), Origin::start(Reply::status(204, "")));
    let front = front(ca, clients, &receiver);
    let kind = "splunk_hec: { url: '<receiver>', token: '${env:TOKEN}'<tls> }";
    let gateway = gateway(&upstream, kind).env("TOKEN", SECRET);
    let gateway = trusting(gateway, trusted, us, &front).start();
    send(&gateway, 4);
    wait::until("it fails", || count(&gateway, "failures_total") > 1.0);
    let told = gateway.stderr();
    let line = told.lines().find(|line| line.contains("sink_failing"));
    assert!(line.is_some_and(|line| line.contains(why)), "{told}");
    assert_eq!((count(&gateway, "sent_total"), receiver.received().len()), (0.0, 0));
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
    splunk(Over::Http);
}

#[test]
fn splunk_over_tls() {
    needs!("nginx");
    splunk(Over::Https);
}

fn splunk(over: Over) {
    let kind = "splunk_hec: { url: '<receiver>', token: '${env:TOKEN}', index: waf<tls> }";
    check(over, kind, |request, inbox| {
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
    elastic(Over::Http);
}

#[test]
fn elastic_over_tls() {
    needs!("nginx");
    elastic(Over::Https);
}

fn elastic(over: Over) {
    let (known, asked) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    let kind = "elastic: { url: '<receiver>/es', index: logs-waf, api_key: '${env:TOKEN}'<tls> }";
    check(over, kind, move |request, inbox| {
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
    loki(Over::Http);
}

#[test]
fn loki_over_tls() {
    needs!("nginx");
    loki(Over::Https);
}

fn loki(over: Over) {
    let kind = "loki: { url: '<receiver>', tenant: soc, token: '${env:TOKEN}', \
                labels: { service_name: edge, env: test, host: edge-1 }<tls> }";
    check(over, kind, |request, inbox| {
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
                let entry = entry.as_array().expect("an entry");
                assert_eq!(entry.len(), 3, "{entry:?}");
                let (time, line, metadata) = (&entry[0], &entry[1], &entry[2]);
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
    collector(Over::Http);
}

#[test]
fn collector_over_tls() {
    needs!("nginx");
    collector(Over::Https);
}

fn collector(over: Over) {
    let kind = "otlp: { url: '<receiver>/v1/logs', headers: { X-Api-Key: '${env:TOKEN}' }<tls> }";
    check(over, kind, |request, inbox| {
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
    webhook(Over::Http);
}

#[test]
fn webhook_over_tls() {
    needs!("nginx");
    webhook(Over::Https);
}

fn webhook(over: Over) {
    let kind = "webhook: { url: '<receiver>/in', body: array, hmac_key: '${env:TOKEN}'<tls> }";
    check(over, kind, |request, inbox| {
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

#[test]
fn a_receiver_that_a_stranger_vouches_for_gets_nothing() {
    needs!("nginx");
    let (us, receivers, other) = (Ca::new("ours"), Ca::new("receivers"), Ca::new("other"));
    refused((&receivers, &other, &us), &us.client("edge"), "certificate");
}

#[test]
fn a_receiver_that_does_not_know_us_gets_nothing() {
    needs!("nginx");
    let (us, receivers, other) = (Ca::new("ours"), Ca::new("receivers"), Ca::new("other"));
    refused((&receivers, &receivers, &other), &us.client("edge"), "400");
}

#[test]
fn a_name_is_tried_at_each_of_its_addresses() {
    let Ok(free) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("skipped: there is no IPv6 here");
        return;
    };
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let inbox = Inbox::default();
    let script = || {
        let inbox = inbox.clone();
        move |request: &Received| {
            for line in String::from_utf8_lossy(&request.body).lines() {
                let record: Value = serde_json::from_str(line).expect("JSON");
                inbox.add(record["request_id"].as_str().unwrap_or("notice"), line);
            }
            Reply::status(204, "")
        }
    };
    let on = |host: &str| Origin::on(format!("{host}:{port}").parse().expect("one"), script());
    let (first, upstream) = (on("[::1]"), origin());
    let kind = "webhook: { url: 'http://localhost:<port>/' }";
    let gateway = gateway(&upstream, kind).set("port", port).start();
    send(&gateway, 40);
    settle(&gateway, 40);
    assert!(!first.received().is_empty());
    drop(first);
    let second = on("127.0.0.1");
    send(&gateway, 40);
    settle(&gateway, 80);
    assert!(!second.received().is_empty());
    let ids: BTreeSet<_> = inbox.all().into_iter().map(|(id, _)| id).collect();
    let logged: BTreeSet<_> = gateway
        .access_log()
        .iter()
        .map(|line| line["request_id"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(logged.difference(&ids).count(), 0);
}
