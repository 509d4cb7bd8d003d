//! What one record for a sink costs, beside the access log's line of the same event: the line is
//! the measure, since every request already pays for it. What a request pays for sinks that do not
//! want it or are full, and a record's way through the queue.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Method, Version};
use tidegate_core::event::{WafMatch, WafSummary};
use tidegate_core::notice::Severity;
use tidegate_core::record;
use tidegate_core::record::json::Object;
use tidegate_core::{Clock, Event, Reason};
use tidegate_siem::{
    BatchLimits, Draft, Format, HttpAnswer, HttpCall, HttpClient, HttpError, Node, Queue, REQUEST,
    SinkSet, SinkSettings, Sinks, Surroundings,
};

fn ordinary() -> Event<'static> {
    static GET: Method = Method::GET;
    let client = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    Event {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_417_200_042),
        request_id: "0193b1c8f3a07c0e8a5d4c1b2a3f4e5d",
        listener: "0.0.0.0:8443",
        client,
        peer: SocketAddr::new(client, 50_000),
        scheme: "https",
        server: Some(SocketAddr::from(([10, 0, 0, 1], 8443))),
        tls: Some("TLSv1.3"),
        tls_cipher: Some("TLS_AES_128_GCM_SHA256"),
        tls_server_name: Some("api.example.com"),
        version: Version::HTTP_11,
        method: Some(&GET),
        host: "api.example.com",
        path: "/v1/accounts/1234/payments",
        query: Some("limit=50&cursor=eyJpZCI6MTIzfQ"),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        span_id: Some("00f067aa0ba902b7"),
        route: Some("pay"),
        upstream: Some("api"),
        endpoint: Some(SocketAddr::from(([10, 0, 1, 11], 8080))),
        status: 200,
        upstream_status: Some(200),
        attempts: 1,
        response_bytes: 4_096,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_millis(12)),
        overhead: Some(Duration::from_micros(45)),
        upstream_reused: true,
        ..Event::default()
    }
}

fn findings() -> WafSummary {
    let found = WafMatch {
        rule: 942_100,
        message: "SQL injection".into(),
        target: "query:id".into(),
        piece: "1' or \"1\"=\"1".into(),
        score: 5,
        total: 5,
        tags: vec!["attack-sqli".into()].into(),
        severity: "CRITICAL",
        logdata: "found".into(),
        phase: 2,
    };
    WafSummary { score: 5, blocked: true, matches: vec![found], ..WafSummary::default() }
}

fn encode(c: &mut Criterion) {
    let node = Node { host: "gate-1".into(), version: "0.1.0".into(), pid: 1 };
    let findings = findings();
    let refused = Event {
        status: 403,
        reason: Some(Reason::WafBlocked),
        waf: Some(&findings),
        upstream: None,
        ..ordinary()
    };
    for (name, event) in [("ordinary", ordinary()), ("refused by the firewall", refused)] {
        let mut group = c.benchmark_group(format!("siem/{name}"));
        let mut out = Vec::with_capacity(8 * 1024);
        group.bench_function("access log line", |b| {
            b.iter(|| {
                out.clear();
                let mut line = Object::begin(&mut out);
                line.time("time", event.time);
                record::event::members(&mut line, black_box(&event));
                line.end();
            });
        });
        for format in Format::ALL {
            group.bench_function(format.name(), |b| {
                b.iter(|| {
                    out.clear();
                    format.event(&mut out, &node, black_box(&event));
                });
            });
        }
        group.finish();
    }
}

/// Makes no calls.
struct Nobody;

#[async_trait]
impl HttpClient for Nobody {
    async fn call(&self, _call: HttpCall) -> Result<HttpAnswer, HttpError> {
        std::future::pending().await
    }
}

/// Four sinks alike, to a receiver that never answers.
fn four(sink: &str) -> Sinks {
    let one = || serde_json::from_str::<SinkSettings>(sink);
    let settings = ["a", "b", "c", "d"].map(|name| {
        let sink = one().unwrap_or_else(|error| unreachable!("{error}"));
        (name.to_owned(), sink)
    });
    let mut errors = Vec::new();
    let set = SinkSet::compile(&BTreeMap::from(settings), |_| true, &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
    let node = Node { host: "gate-1".into(), version: "0.1.0".into(), pid: 1 };
    let client = Arc::new(Nobody);
    Sinks::start(&set, Surroundings { node, client, clock: Clock::System, seed: 1 }).0
}

fn tell(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| unreachable!("{error}"));
    let _inside = runtime.enter();
    let event = ordinary();
    let mut group = c.benchmark_group("siem/four sinks");
    let url = r#""webhook": { "url": "http://127.0.0.1/" }"#;
    let unwanted = four(&format!("{{ {url} }}"));
    group.bench_function("none wants it", |b| b.iter(|| unwanted.event(black_box(&event))));
    let full = four(&format!(r#"{{ "events": "all", "queue": "64KiB", {url} }}"#));
    for _record in 0..1000 {
        full.event(&event);
    }
    group.bench_function("all are full", |b| b.iter(|| full.event(black_box(&event))));
    group.finish();
}

fn queue(c: &mut Criterion) {
    let queue = Queue::new(1, 64 << 20);
    let limits = BatchLimits { records: 500, bytes: 1 << 20 };
    let body = Bytes::from(vec![b'x'; 900]);
    let mut pushed = 0_usize;
    c.bench_function("siem/queue, in and out by 500", |b| {
        b.iter(|| {
            let draft = Draft {
                time: SystemTime::UNIX_EPOCH,
                severity: Severity::Low,
                kind: REQUEST,
                body: body.clone(),
            };
            assert!(queue.push(black_box(draft)).is_ok());
            pushed += 1;
            if pushed.is_multiple_of(500) {
                queue.done(black_box(queue.peek(limits)).len());
            }
        });
    });
}

criterion_group!(benches, encode, tell, queue);
criterion_main!(benches);
