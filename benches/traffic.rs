//! What it costs to find a route among 10, 1,000 and 10,000, and to pick one of 3, 100 and 10,000
//! endpoints. Targets: about the same for any number of routes; 200 ns for a pick.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::request::Parts;
use serde_json::json;
use tidegate_core::{Clock, Request};
use tidegate_traffic::outlier::Answer;
use tidegate_traffic::zones::Locality;
use tidegate_traffic::{Lookup, Pick, Pool, RouteMatch, Router, UpstreamSettings, random};

/// Host and path of a request, and its head.
type Sample = (String, String, Parts);
/// Makes the nth route and a request for it.
type Shape = fn(usize) -> (serde_json::Value, Sample);

fn sample(host: String, path: String) -> Sample {
    let (head, ()) = http::Request::get(&path)
        .header("x-version", "v2")
        .body(())
        .unwrap_or_else(|error| unreachable!("{error}"))
        .into_parts();
    (host, path, head)
}

/// Routes as `shape` makes them, and a request for each.
fn compile(count: usize, shape: Shape) -> (Router, Vec<Sample>) {
    let (routes, samples): (Vec<_>, Vec<_>) = (0..count).map(shape).unzip();
    let routes: Vec<RouteMatch> =
        serde_json::from_value(routes.into()).unwrap_or_else(|error| unreachable!("{error}"));
    let router = Router::compile(routes).unwrap_or_else(|error| unreachable!("{error:?}"));
    (router, samples)
}

fn by_host(n: usize) -> (serde_json::Value, Sample) {
    let host = format!("tenant-{n}.example.com");
    (json!({ "host": host, "path": "/api/" }), sample(host, "/api/v1/users/42".to_owned()))
}

fn by_prefix(n: usize) -> (serde_json::Value, Sample) {
    let prefix = format!("/api/service-{n}/v1");
    let request = sample("api.example.com".to_owned(), format!("{prefix}/users/42"));
    (json!({ "host": "api.example.com", "path": prefix }), request)
}

fn by_exact_path(n: usize) -> (serde_json::Value, Sample) {
    let path = format!("/api/service-{n}/v1/users");
    let request = sample("api.example.com".to_owned(), path.clone());
    (json!({ "host": "api.example.com", "path": { "exact": path }, "methods": ["GET"] }), request)
}

fn by_regex(n: usize) -> (serde_json::Value, Sample) {
    let pattern = format!("^/api/service-{n}/v[0-9]+/users/[0-9]+$");
    let request = sample("a.example.com".to_owned(), format!("/api/service-{n}/v2/users/42"));
    (json!({ "host": "*.example.com", "path": { "regex": pattern } }), request)
}

fn lookups(c: &mut Criterion) {
    let shapes: [(&str, Shape); 4] =
        [("host", by_host), ("prefix", by_prefix), ("exact", by_exact_path), ("regex", by_regex)];
    for (name, shape) in shapes {
        let mut group = c.benchmark_group(format!("route_by_{name}"));
        for count in [10, 1_000, 10_000] {
            let (router, samples) = compile(count, shape);
            // A thousand requests spread over all routes, so that not the caches are measured.
            let step = samples.len().div_ceil(1_000);
            let picked: Vec<&Sample> = samples.iter().step_by(step).collect();
            let (client, received_at) = (IpAddr::from([192, 0, 2, 1]), Clock::System.now());
            let mut turn = picked.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| {
                    let Some((host, path, head)) = turn.next() else { unreachable!("endless") };
                    let request = Request { head, host, path, client, secure: true, received_at };
                    let found = router.find(black_box(&request));
                    assert!(matches!(found, Lookup::Found { .. }));
                });
            });
        }
    }
}

fn pool(count: usize, balance: &serde_json::Value) -> Pool {
    let endpoints: Vec<_> = (0..count)
        .map(|n| {
            let address = format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255);
            json!({ "address": address, "weight": 1 + n % 3 })
        })
        .collect();
    let settings =
        json!({ "endpoints": endpoints, "balance": balance, "health": {}, "outlier": {} });
    let settings: UpstreamSettings =
        serde_json::from_value(settings).unwrap_or_else(|error| unreachable!("{error}"));
    Pool::compile("api", &settings, &Locality::default(), None)
        .unwrap_or_else(|error| unreachable!("{error:?}"))
}

fn balances() -> [(&'static str, serde_json::Value); 7] {
    let ketama = json!({ "hash": "client_ip", "algorithm": "ketama" });
    let bounded = json!({ "hash": "client_ip", "bounded_load": "150%" });
    [
        ("round_robin", json!("round_robin")),
        ("random", json!("random")),
        ("least_request", json!("least_request")),
        ("peak_ewma", json!("peak_ewma")),
        ("maglev", json!({ "hash": "client_ip" })),
        ("maglev_bounded", bounded),
        ("ketama", ketama),
    ]
}

/// All that a request costs here: the pick, the report of its answer with outlier detection on, and
/// the end of its lease.
fn picks(c: &mut Criterion) {
    for (name, balance) in balances() {
        let mut group = c.benchmark_group(format!("pick_{name}"));
        group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
        for count in [3, 100, 10_000] {
            let pool = pool(count, &balance);
            let now = Clock::System.now();
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| {
                    let (key, random) = (random::next(), random::next());
                    let lease = pool.pick(&Pick { key, now, prefer: None, random, tried: &[] });
                    let Ok(lease) = black_box(lease) else { unreachable!("all are available") };
                    pool.report(&lease, Answer::Status(200), Duration::from_millis(3), now)
                });
            });
        }
    }
}

fn rebuilds(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool_rebuild");
    group.sample_size(10);
    for (name, balance) in balances() {
        for count in [100, 10_000] {
            let pool = pool(count, &balance);
            let settings = pool.settings();
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| {
                    black_box(
                        Pool::compile("api", settings, &Locality::default(), Some(&pool)).is_ok(),
                    )
                });
            });
        }
    }
}

criterion_group!(benches, lookups, picks, rebuilds);
criterion_main!(benches);
