//! What one decision of the guard costs: a token, an address look-up, a connection's place, and
//! the event's way into metrics and log. Targets: 200 ns for a token, 1 µs for a log line.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::request::Parts;
use http::{HeaderValue, Method, Version};
use tidegate_core::net::{AddressSet, Network};
use tidegate_core::{Clock, Event, Request};
use tidegate_guard::rate::{KeyPart, RateLimitKey};
use tidegate_guard::{ConnectionCounts, ConnectionLimits, RateLimit, RateLimitSettings};
use tidegate_observe::{
    AccessLog, AccessLogSettings, AccessLogStats, BuildInfo, Exposition, Metrics,
};

fn head() -> Parts {
    let mut request = http::Request::new(());
    request.headers_mut().insert("x-api-key", HeaderValue::from_static("0123456789abcdef"));
    request.into_parts().0
}

fn request(head: &Parts, client: IpAddr, now: Instant) -> Request<'_> {
    Request { head, host: "api.example.com", path: "/", client, secure: true, received_at: now }
}

fn limit(key: Vec<KeyPart>, max_keys: u32) -> RateLimit {
    let rate = "100/s".parse().unwrap_or_else(|error| unreachable!("{error}"));
    let settings = RateLimitSettings {
        key: RateLimitKey::new(key),
        max_keys: max_keys.try_into().unwrap_or(std::num::NonZeroU32::MIN),
        ..RateLimitSettings::new(rate)
    };
    RateLimit::compile("bench", &settings, None).unwrap_or_else(|error| unreachable!("{error:?}"))
}

fn client(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(n))
}

/// A walk over clients that neither repeats soon nor goes in steps.
fn next(n: &mut u32) -> u32 {
    *n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *n
}

fn rate_limits(c: &mut Criterion) {
    let mut group = c.benchmark_group("rate_limit");
    let (head, clock) = (head(), Clock::System);
    let mut bench = |name: &str, key: Vec<KeyPart>, max_keys, clients: u32| {
        let limit = limit(key, max_keys);
        let now = clock.now();
        let mut n = 1;
        group.bench_function(name, |b| {
            b.iter(|| {
                let request = request(&head, client(next(&mut n) % clients), now);
                black_box(limit.check(&request, "pay", now).allowed)
            });
        });
    };
    let by_ip = || vec![KeyPart::ClientIp];
    let header = KeyPart::Header(http::HeaderName::from_static("x-api-key"));
    bench("one client", by_ip(), 100_000, 1);
    bench("1,000 clients", by_ip(), 100_000, 1_000);
    bench("100,000 clients", by_ip(), 100_000, 100_000);
    bench("flood of new clients, table full", by_ip(), 100_000, u32::MAX);
    bench("by header", vec![header.clone()], 100_000, 1);
    bench(
        "by client, header and route",
        vec![KeyPart::ClientIp, header, KeyPart::Route],
        100_000,
        1_000,
    );
    group.finish();
}

/// Every thread on the same key: the worst that a lock can do.
fn contended_rate_limit(c: &mut Criterion) {
    let mut group = c.benchmark_group("rate_limit_contended");
    let (limit, head, clock) = (limit(vec![KeyPart::ClientIp], 100_000), head(), Clock::System);
    for threads in [1, 2, 4] {
        group.bench_function(BenchmarkId::from_parameter(threads), |b| {
            b.iter_custom(|rounds| {
                let began = clock.now();
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            for _ in 0..rounds {
                                let request = request(&head, client(1), began);
                                black_box(limit.check(&request, "pay", began).allowed);
                            }
                        });
                    }
                });
                clock.now() - began
            });
        });
    }
    group.finish();
}

fn addresses(c: &mut Criterion) {
    let mut group = c.benchmark_group("address_set");
    for size in [10_u32, 1_000, 100_000] {
        let set: AddressSet = (0..size)
            .map(|n| Network::from(client(n.wrapping_mul(2_654_435_761))))
            .chain([Network::from(IpAddr::V6(Ipv6Addr::LOCALHOST))])
            .collect();
        let mut n = 1;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| black_box(set.contains(client(next(&mut n)))));
        });
    }
    group.finish();
}

fn connections(c: &mut Criterion) {
    let counts = ConnectionCounts::new(ConnectionLimits { total: 16_384, per_client: 1_024 });
    let mut n = 1;
    c.bench_function("connection/open and close", |b| {
        b.iter(|| drop(black_box(counts.open(client(next(&mut n) % 10_000)))));
    });
}

fn event(client: IpAddr) -> Event<'static> {
    static GET: Method = Method::GET;
    Event {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_417_200_042),
        request_id: "0193b1c8f3a07c0e8a5d4c1b2a3f4e5d",
        listener: "0.0.0.0:8443",
        client,
        peer: SocketAddr::new(client, 50_000),
        scheme: "https",
        tls: Some("TLSv1.3"),
        version: Version::HTTP_11,
        method: Some(&GET),
        host: "api.example.com",
        path: "/v1/accounts/1234/payments",
        query: Some("limit=50&cursor=eyJpZCI6MTIzfQ"),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        referer: None,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        route: Some("pay"),
        upstream: Some("api"),
        endpoint: Some(SocketAddr::from(([10, 0, 1, 11], 8080))),
        status: 200,
        upstream_status: Some(200),
        reason: None,
        evidence: None,
        attempts: 1,
        retries: &[],
        hedge: None,
        request_bytes: 0,
        response_bytes: 4_096,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_millis(12)),
        overhead: Some(Duration::from_micros(45)),
        upstream_reused: true,
        waf: None,
        waf_shadow: None,
        dry_run_limits: &[],
        ..Event::default()
    }
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("event");
    let metrics = Metrics::new(BuildInfo { version: "0", revision: "0" });
    let (route, upstream) = (metrics.route("pay"), metrics.upstream("api"));
    upstream.set_endpoints(&[SocketAddr::from(([10, 0, 1, 11], 8080))]);
    let event = event(client(3_221_225_985));
    group.bench_function("metrics", |b| {
        b.iter(|| metrics.record(black_box(&event), &route, Some(&upstream)));
    });
    let settings = log_to("/dev/null");
    if let Ok(log) = AccessLog::start(&settings, Arc::<AccessLogStats>::default()) {
        let clock = Clock::System;
        group.bench_function("access log", |b| {
            b.iter_custom(|rounds| log_in_batches(&log, &event, &clock, rounds));
        });
    }
    let routes: Vec<_> = (0..1_000).map(|n| metrics.route(&format!("route-{n}"))).collect();
    group.bench_function("scrape, 1,000 routes", |b| {
        b.iter_batched(|| (), |()| metrics.render(Exposition::Text), BatchSize::PerIteration);
    });
    drop(routes);
    group.finish();
}

/// Logs in batches that fit the buffer; the writer's work between them is not timed.
fn log_in_batches(log: &AccessLog, event: &Event<'_>, clock: &Clock, rounds: u64) -> Duration {
    let mut left = rounds;
    let mut spent = Duration::ZERO;
    while left > 0 {
        let batch = left.min(100);
        let began = clock.now();
        for _ in 0..batch {
            log.log(black_box(event));
        }
        spent += clock.now() - began;
        log.flush();
        left -= batch;
    }
    spent
}

fn log_to(path: &str) -> AccessLogSettings {
    AccessLogSettings::On(tidegate_observe::access_log::AccessLogTarget {
        path: path.to_owned(),
        ..Default::default()
    })
}

criterion_group!(benches, rate_limits, contended_rate_limit, addresses, connections, events);
criterion_main!(benches);
