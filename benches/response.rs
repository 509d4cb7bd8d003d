//! What an event costs in the response policy with the shipped rules, and what a million addresses
//! cost in memory. Targets: 1 µs for a benign event; memory that does not follow the addresses.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use tidegate_core::{Clock, Event, Reason};
use tidegate_guard::bans::Now;
use tidegate_guard::response::{
    Geo, NoUpstreams, ResponsePolicy, ResponseSettings, RuleSettings, Surroundings,
};

fn shipped() -> BTreeMap<String, RuleSettings> {
    tidegate_engine::snapshot::shipped_rules().unwrap_or_else(|error| unreachable!("{error}"))
}

fn policy() -> ResponsePolicy {
    let builtin = shipped();
    let around = Surroundings {
        builtin: &builtin,
        routes: &[],
        geo: Geo::default(),
        upstreams: Arc::new(NoUpstreams),
        seed: 1,
    };
    ResponsePolicy::compile(&ResponseSettings::default(), around, None)
        .unwrap_or_else(|errors| unreachable!("{errors:?}"))
}

fn now() -> Now {
    let clock = Clock::System;
    Now { instant: clock.now(), wall: clock.wall() }
}

fn client(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0b00_0000 + n).into()
}

/// A browser's request that went well.
fn benign(n: u32) -> Event<'static> {
    Event {
        request_id: "5f2c9f0a6ad44b7f9c6a7a1f0d3e2b1c",
        client: client(n),
        method: Some(&Method::GET),
        host: "api.example.com",
        path: "/v1/orders/1234",
        user_agent: Some(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like \
             Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        route: Some("orders"),
        upstream: Some("orders"),
        status: 200,
        upstream_status: Some(200),
        ..Event::default()
    }
}

/// A request that its upstream answered so.
fn answered(status: u16, n: u32) -> Event<'static> {
    Event { status, upstream_status: Some(status), ..benign(n) }
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("response");
    let mut bench = |name: &str, clients: u32, event: fn(u32) -> Event<'static>| {
        let (policy, now) = (policy(), now());
        let mut n = 0_u32;
        group.bench_function(name, |b| {
            b.iter(|| {
                n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let event = event(n % clients);
                black_box(policy.observe(&event, now).is_some())
            });
        });
    };
    bench("benign, 1,000 clients", 1_000, benign);
    bench("benign, 1,000,000 clients", 1_000_000, benign);
    bench("404, 100,000 clients", 100_000, |n| answered(404, n));
    bench("failed login, 100,000 clients", 100_000, |n| Event {
        method: Some(&Method::POST),
        ..answered(401, n)
    });
    bench("refused by the firewall, one client", 1, |n| Event {
        status: 403,
        upstream_status: None,
        reason: Some(Reason::WafBlocked),
        ..benign(n)
    });
    group.finish();
}

/// Not a time: what is held after a million addresses did each of these.
#[expect(clippy::print_stderr, reason = "Criterion has no word for bytes")]
fn memory(_: &mut Criterion) {
    let (policy, now) = (policy(), now());
    let print = |what: &str| {
        // Counts of clients are kept for a second.
        let now = Now { instant: now.instant + Duration::from_secs(2), wall: now.wall };
        policy.tick(now);
        let (counted, _) = policy.population(now);
        let bytes = policy.bytes(now);
        eprintln!("response/memory: {bytes} bytes after {what}; {} clients known", counted.clients);
    };
    print("nothing");
    (0..1_000_000).for_each(|n| drop(policy.observe(&benign(n), now)));
    print("1,000,000 addresses with a benign request");
    for (what, status, reason) in [
        ("1,000,000 addresses with a 404 too", 404, None),
        ("1,000,000 addresses refused by the firewall too", 403, Some(Reason::WafBlocked)),
        ("1,000,000 addresses with a malformed request too", 400, Some(Reason::MalformedRequest)),
        ("1,000,000 addresses refused by a limit too", 429, Some(Reason::RateLimited)),
    ] {
        // An upstream says 404; the others are refused before.
        let upstream_status = reason.is_none().then_some(status);
        (0..1_000_000).for_each(|n| {
            let event = Event { status, upstream_status, reason, ..benign(n) };
            drop(policy.observe(&event, now));
        });
        print(what);
    }
    (0..1_000_000).for_each(|n| {
        let event = Event { method: Some(&Method::POST), ..answered(401, n) };
        drop(policy.observe(&event, now));
    });
    print("1,000,000 addresses with a failed login too");
}

criterion_group!(benches, events, memory);
criterion_main!(benches);
