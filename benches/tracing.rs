//! What a trace costs a request: nothing is asked, a place in a trace, and all of its spans.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tidegate_core::trace::{Outcome, SpanId, Stage, Stages, TraceContext, TraceId, TrySpan};
use tidegate_core::{Clock, Event};
use tidegate_siem::traces::settings::TracingSettings;
use tidegate_siem::{HttpAnswer, HttpCall, HttpClient, HttpError, Node, Traced, Traces};
use tidegate_traffic::random;

const STAGES: [Stage; 8] = [
    Stage::Route,
    Stage::Bans,
    Stage::Addresses,
    Stage::RateLimits,
    Stage::WafHead,
    Stage::Auth,
    Stage::Endpoint,
    Stage::Response,
];

/// Takes everything at once.
struct Collector;

#[async_trait]
impl HttpClient for Collector {
    async fn call(&self, _call: HttpCall) -> Result<HttpAnswer, HttpError> {
        let (status, headers, body) = (StatusCode::OK, HeaderMap::new(), Bytes::new());
        Ok(HttpAnswer { status, headers, body })
    }
}

fn places(criterion: &mut Criterion) {
    let empty = HeaderMap::new();
    criterion.bench_function("trace/no_traceparent", |bencher| {
        bencher.iter(|| TraceContext::received(black_box(&empty)));
    });
    let mut headers = HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent", HeaderValue::from_static(parent));
    criterion.bench_function("trace/read_traceparent", |bencher| {
        bencher.iter(|| TraceContext::received(black_box(&headers)));
    });
    criterion.bench_function("trace/new_trace_and_its_traceparent", |bencher| {
        bencher.iter(|| {
            let trace = TraceId::new(random::next(), random::next());
            let context = TraceContext::root(trace, SpanId::new(random::next()));
            context.with_sampled(trace.is_sampled_at(100)).traceparent()
        });
    });
    criterion.bench_function("trace/stages_off", |bencher| {
        bencher.iter(|| {
            let mut stages = Stages::off();
            for stage in STAGES {
                stages.time(black_box(stage), || ());
            }
            stages
        });
    });
}

fn spans(criterion: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return;
    };
    let _inside = runtime.enter();
    let node = Node { host: "node".into(), version: "0".into(), pid: 1 };
    let traces = Traces::new(node, Arc::new(Collector), random::next);
    let otlp = r#"{ "otlp": { "url": "http://127.0.0.1:4318/v1/traces", "queue": "256MiB" } }"#;
    let settings: Option<TracingSettings> = serde_json::from_str(otlp).ok();
    traces.apply(settings.as_ref());
    let endpoint = SocketAddr::from(([10, 0, 1, 11], 8080));
    criterion.bench_function("trace/measure_and_record_8_stages_1_try", |bencher| {
        bencher.iter(|| {
            let mut stages = Stages::on(Clock::System);
            let started = Clock::System.now();
            for stage in STAGES {
                stages.time(black_box(stage), || ());
            }
            let (id, outcome) = (SpanId::new(random::next()), Outcome::Answered(200));
            let (connected, ended) = (Some(started), Some(started));
            let (reused, hedge) = (true, false);
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
            let event = event();
            let trace = TraceId::new(random::next(), random::next());
            let context = TraceContext::root(trace, SpanId::new(random::next()));
            traces.record(&Traced {
                event: &event,
                context: context.with_sampled(true),
                parent: None,
                state: None,
                link: None,
                received_at: started,
                stages: &stages,
            });
        });
    });
    assert!(traces.stats().sent > 0, "nothing was sent: {:?}", traces.stats());
}

fn event() -> Event<'static> {
    Event {
        time: UNIX_EPOCH + Duration::from_secs(1_795_417_200),
        request_id: "0193b1c80193b1c80193b1c80193b1c8",
        listener: "0.0.0.0:8443",
        method: Some(&Method::GET),
        host: "api.example.com",
        path: "/pay/1",
        user_agent: Some("curl/8"),
        route: Some("pay"),
        upstream: Some("api"),
        endpoint: Some(SocketAddr::from(([10, 0, 1, 11], 8080))),
        status: 200,
        duration: Duration::from_millis(12),
        ..Event::default()
    }
}

criterion_group!(benches, places, spans);
criterion_main!(benches);
