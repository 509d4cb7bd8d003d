//! What the engine costs: one request's way through `admit`, bare and with everything on, and one
//! configuration's way to a snapshot.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use http::request::Parts;
use tidegate_auth::Caller;
use tidegate_core::{Clock, Request};
use tidegate_engine::{Config, RequestFacts, Snapshot, admit};

/// A configuration with this many routes, every second one with limits and firewall.
fn text(routes: usize) -> String {
    let mut text = "listeners: [{ address: 127.0.0.1:8080 }]\n\
        policies:\n  \
          all: { waf: { mode: block }, rate_limit: { rate: 1000000/s, burst: 4000000000 }, deny: [192.0.2.0/24] }\n\
        upstreams: { api: { endpoints: [127.0.0.1:9000] } }\n\
        routes:\n"
        .to_owned();
    for route in 0..routes {
        let policies = if route % 2 == 0 { "[]" } else { "[all]" };
        let _infallible = writeln!(
            text,
            "  - {{ id: r{route}, path: /r{route}/, to: api, policies: {policies} }}"
        );
    }
    text
}

fn config(routes: usize) -> Config {
    Config::from_text("bench.yaml", &text(routes)).unwrap_or_else(|errors| unreachable!("{errors}"))
}

fn snapshot(routes: usize) -> Snapshot {
    Snapshot::compile(&config(routes), None).unwrap_or_else(|errors| unreachable!("{errors}"))
}

fn head(path: &str) -> Parts {
    let request = http::Request::get(path)
        .header("host", "api.example.com")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101")
        .header("accept", "text/html,application/xhtml+xml")
        .header("cookie", "session=0123456789abcdef0123456789abcdef")
        .body(());
    request.unwrap_or_else(|error| unreachable!("{error}")).into_parts().0
}

fn admission(c: &mut Criterion) {
    let snapshot = snapshot(1_000);
    let now = Clock::System.now();
    let mut group = c.benchmark_group("admit");
    for (name, path) in [("bare", "/r500/items"), ("everything", "/r501/items?page=2&sort=name")] {
        let head = head(path);
        let request = Request {
            head: &head,
            host: "api.example.com",
            path: head.uri.path(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: now,
        };
        let caller = Caller { time: Clock::System.wall(), certificate: None };
        let admitted = || admit(&snapshot, &request, &RequestFacts::default(), &caller).is_ok();
        group.bench_function(name, |b| b.iter(|| black_box(admitted())));
    }
    group.finish();
}

fn compilation(c: &mut Criterion) {
    let mut group = c.benchmark_group("configuration");
    group.sample_size(10);
    let (text, config, previous) = (text(10_000), config(10_000), snapshot(10_000));
    group.bench_function("load 10000 routes", |b| {
        b.iter(|| black_box(Config::from_text("bench.yaml", &text).is_ok()));
    });
    group.bench_function("compile 10000 routes", |b| {
        b.iter(|| black_box(Snapshot::compile(&config, Some(&previous)).is_ok()));
    });
    group.finish();
}

criterion_group!(benches, admission, compilation);
criterion_main!(benches);
