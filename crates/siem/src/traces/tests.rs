//! Spans as a collector reads them, and what becomes of them when it does not.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tidegate_core::clock::ManualClock;
use tidegate_core::trace::{Outcome, SpanId, Stage, Stages, TraceContext, TraceId, TrySpan};
use tidegate_core::{Clock, Event, Reason};

use super::*;
use crate::http::{HttpAnswer, HttpCall, HttpError};

/// Answers as it is told, then with 200, and keeps what it took.
#[derive(Default)]
struct Collector {
    answers: Mutex<VecDeque<Option<u16>>>,
    taken: Mutex<Vec<HttpCall>>,
}

#[async_trait]
impl HttpClient for Collector {
    async fn call(&self, call: HttpCall) -> Result<HttpAnswer, HttpError> {
        let answer = self.answers.lock().pop_front().unwrap_or(Some(200));
        let Some(status) = answer else { return Err(HttpError("connection refused".to_owned())) };
        if status == 200 {
            self.taken.lock().push(call);
        }
        let status = StatusCode::from_u16(status).unwrap();
        Ok(HttpAnswer { status, headers: HeaderMap::new(), body: Bytes::new() })
    }
}

impl Collector {
    fn spans(&self) -> Vec<Span> {
        let calls = self.taken.lock();
        let requests = calls.iter().map(|call| {
            assert_eq!(call.headers.get("content-type").unwrap(), "application/x-protobuf");
            ExportTraceServiceRequest::decode(&*call.body).unwrap()
        });
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|one| one.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

fn traces(collector: &Arc<Collector>, otlp: &str) -> Traces {
    let node = Node { host: "node-1".into(), version: "0.1.0".into(), pid: 7 };
    let traces = Traces::new(node, Arc::clone(collector) as Arc<dyn HttpClient>, random);
    traces.apply(Some(&settings(otlp)));
    traces
}

fn settings(otlp: &str) -> TracingSettings {
    let text = format!(r#"{{ "otlp": {{ "url": "http://127.0.0.1:4318/v1/traces"{otlp} }} }}"#);
    serde_json::from_str(&text).unwrap()
}

fn random() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn context() -> TraceContext {
    TraceContext::root(TraceId::new(1, 2), SpanId::new(3)).with_sampled(true)
}

/// A request that took 10 ms, with one stage and two tries.
fn record_one(traces: &Traces) {
    let manual = ManualClock::new();
    let clock = Clock::Manual(manual.clone());
    let received_at = clock.now();
    let mut stages = Stages::on(clock.clone());
    stages.time(Stage::WafHead, || manual.advance(Duration::from_millis(2)));
    let endpoint = SocketAddr::from(([10, 0, 1, 11], 8080));
    for (id, outcome) in [(11, Outcome::Failed("reset")), (12, Outcome::Answered(200))] {
        let (started, connected) = (clock.now(), Some(clock.now()));
        manual.advance(Duration::from_millis(4));
        let (ended, id) = (Some(clock.now()), SpanId::new(id));
        let (reused, hedge) = (false, false);
        stages.try_begins(TrySpan {
            id,
            endpoint,
            started,
            connected,
            reused,
            hedge,
            ended,
            outcome,
        });
    }
    let event = Event {
        time: UNIX_EPOCH + Duration::from_secs(1_000),
        method: Some(&Method::GET),
        path: "/pay/1",
        query: Some("token=secret"),
        status: 502,
        reason: Some(Reason::UpstreamReset),
        route: Some("pay"),
        upstream: Some("api"),
        duration: Duration::from_millis(10),
        ..Event::default()
    };
    let link = Some(TraceContext::root(TraceId::new(8, 9), SpanId::new(10)));
    let (parent, state) = (Some(SpanId::new(4)), Some("a=1"));
    let context = context();
    traces.record(&Traced {
        event: &event,
        context,
        parent,
        state,
        link,
        received_at,
        stages: &stages,
    });
}

fn said<'s>(span: &'s Span, key: &str) -> Option<&'s Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

#[track_caller]
fn check(span: &Span, key: &str, expected: &str) {
    let found = match said(span, key) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(found, expected, "{key}");
}

#[tokio::test]
async fn a_request_is_a_tree_of_spans() {
    let collector = Arc::new(Collector::default());
    let traces = traces(&collector, "");
    record_one(&traces);
    traces.finish(Duration::from_secs(10)).await;
    let spans = collector.spans();
    let [server, waf, first, second] = spans.as_slice() else { panic!("{spans:#?}") };
    assert!(spans.iter().all(|span| span.trace_id == context().trace.bytes()));
    assert_eq!(server.span_id, SpanId::new(3).bytes());
    assert_eq!(server.parent_span_id, SpanId::new(4).bytes());
    assert_eq!((server.name.as_str(), server.kind()), ("GET pay", SpanKind::Server));
    assert_eq!((server.trace_state.as_str(), server.flags), ("a=1", 0x303));
    assert_eq!(server.start_time_unix_nano, 1_000_000_000_000);
    assert_eq!(server.end_time_unix_nano, 1_000_010_000_000);
    assert_eq!(server.links.first().unwrap().trace_id, TraceId::new(8, 9).bytes());
    assert_eq!(server.status.as_ref().unwrap().code, 2);
    check(server, "http.request.method", "GET");
    check(server, "http.response.status_code", "502");
    check(server, "error.type", "upstream_reset");
    check(server, "url.path", "/pay/1");
    assert_eq!(said(server, "url.query"), None);
    assert_eq!((waf.name.as_str(), waf.kind()), ("waf head", SpanKind::Internal));
    assert_eq!(waf.end_time_unix_nano - waf.start_time_unix_nano, 2_000_000);
    for child in [waf, first, second] {
        assert_eq!(child.parent_span_id, server.span_id);
    }
    assert_eq!(
        (first.span_id.as_slice(), first.kind()),
        (&SpanId::new(11).bytes()[..], SpanKind::Client)
    );
    check(first, "error.type", "reset");
    check(second, "http.response.status_code", "200");
    check(second, "http.request.resend_count", "1");
    check(second, "network.peer.address", "10.0.1.11");
    assert_eq!(second.events.first().unwrap().name, "connected");
    assert_eq!(second.start_time_unix_nano, 1_000_006_000_000);
}

#[tokio::test]
async fn the_resource_says_who_sends() {
    let collector = Arc::new(Collector::default());
    let traces = traces(&collector, r#", "headers": { "authorization": "Bearer x" }"#);
    record_one(&traces);
    traces.finish(Duration::from_secs(10)).await;
    let calls = collector.taken.lock();
    let call = calls.first().unwrap();
    assert_eq!(call.headers.get("authorization").unwrap(), "Bearer x");
    let request = ExportTraceServiceRequest::decode(&*call.body).unwrap();
    let resource = request.resource_spans.first().unwrap().resource.as_ref().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|one| one.key.as_str()).collect();
    assert!(keys.contains(&"service.name") && keys.contains(&"service.instance.id"), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_sent_again_and_all_is_accounted_for() {
    let collector = Arc::new(Collector::default());
    collector.answers.lock().extend([None, Some(503), Some(429), Some(400)]);
    let traces = traces(&collector, "");
    record_one(&traces);
    // The fourth answer refuses it for good.
    while traces.stats().dropped_refused == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stats = traces.stats();
    assert_eq!((stats.sent, stats.dropped_refused, stats.failures), (0, 4, 4));
    assert!(stats.failing && stats.waiting == 0);
    record_one(&traces);
    while traces.stats().sent == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stats = traces.stats();
    assert_eq!((stats.sent, stats.failing, stats.queued_bytes), (4, false, 0));
}

#[tokio::test]
async fn a_queue_without_room_costs_spans_and_says_so() {
    let collector = Arc::new(Collector::default());
    let traces = traces(&collector, r#", "queue": "8KiB""#);
    for _ in 0..100 {
        record_one(&traces);
    }
    let stats = traces.stats();
    assert!(stats.queued_bytes <= 8 * 1024, "{stats:?}");
    assert!(stats.dropped_full > 0);
    traces.finish(Duration::from_secs(10)).await;
    let stats = traces.stats();
    assert_eq!(stats.sent + stats.dropped_full, 400, "{stats:?}");
    assert_eq!(collector.spans().len() as u64, stats.sent);
}

#[tokio::test(start_paused = true)]
async fn a_dead_collector_does_not_keep_the_process() {
    let collector = Arc::new(Collector::default());
    collector.answers.lock().extend(vec![None; 1_000]);
    let traces = traces(&collector, "");
    record_one(&traces);
    traces.finish(Duration::from_secs(3)).await;
    assert_eq!((traces.stats().sent, traces.stats().dropped_left), (0, 4));
}

#[tokio::test]
async fn a_reload_to_another_collector_keeps_what_waited() {
    let collector = Arc::new(Collector::default());
    let traces = traces(&collector, "");
    record_one(&traces);
    traces.apply(Some(&settings(r#", "timeout": "3s""#)));
    record_one(&traces);
    traces.apply(None);
    assert!(!traces.are_sent());
    record_one(&traces);
    traces.finish(Duration::from_secs(10)).await;
    assert_eq!(collector.spans().len(), 8, "what came while nobody was named is not recorded");
}
