//! What a limit promises, seen through `check`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use proptest::prelude::*;
use tidegate_core::Clock;
use tidegate_core::clock::ManualClock;

use super::*;

fn settings(json: &str) -> RateLimitSettings {
    serde_json::from_str(json).unwrap()
}

fn limit(json: &str) -> RateLimit {
    RateLimit::compile("test", &settings(json), None).unwrap()
}

fn head(fields: &[(&'static str, &'static str)]) -> Parts {
    let mut request = http::Request::new(());
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request.into_parts().0
}

/// A limit under a clock that stands still until it is moved.
struct Bench {
    limit: RateLimit,
    manual: ManualClock,
    clock: Clock,
}

impl Bench {
    fn new(json: &str) -> Self {
        Self::of(limit(json))
    }

    fn of(limit: RateLimit) -> Self {
        let manual = ManualClock::new();
        Self { limit, clock: Clock::Manual(manual.clone()), manual }
    }

    fn ask_as(&self, client: IpAddr, route: &str, head: &Parts) -> Decision<'_> {
        let now = self.clock.now();
        let request =
            Request { head, host: "", path: "/", client, secure: false, received_at: now };
        self.limit.check(&request, route, now)
    }

    fn ask(&self, client: &str) -> Decision<'_> {
        self.ask_as(client.parse().unwrap(), "r", &head(&[]))
    }

    /// How many of many requests pass at once.
    fn pass(&self, client: &str) -> usize {
        (0..1_000).filter(|_| self.ask(client).allowed).count()
    }

    fn advance(&self, millis: u64) {
        self.manual.advance(Duration::from_millis(millis));
    }
}

#[test]
fn a_bucket_has_its_burst_and_refills_at_its_rate() {
    let bench = Bench::new(r#"{"rate": "10/s", "burst": 20}"#);
    assert_eq!(bench.pass("192.0.2.1"), 20);
    bench.advance(99);
    assert_eq!(bench.pass("192.0.2.1"), 0);
    bench.advance(1);
    assert_eq!(bench.pass("192.0.2.1"), 1);
    bench.advance(500);
    assert_eq!(bench.pass("192.0.2.1"), 5);
    bench.advance(3_600_000);
    assert_eq!(bench.pass("192.0.2.1"), 20);
    assert_eq!(bench.pass("192.0.2.2"), 20);
}

#[test]
fn the_burst_is_the_rates_number_by_default() {
    assert_eq!(Bench::new(r#"{"rate": "600/m"}"#).pass("192.0.2.1"), 600);
    assert_eq!(Bench::new(r#"{"rate": "1/d"}"#).pass("192.0.2.1"), 1);
}

#[test]
fn a_decision_tells_what_is_left_and_when_to_come_back() {
    let bench = Bench::new(r#"{"rate": "2/s", "burst": 4}"#);
    let first = bench.ask("192.0.2.1");
    assert_eq!((first.limit, first.remaining), (4, 3));
    assert_eq!(first.window, Duration::from_secs(2));
    assert_eq!(first.reset_after, Duration::from_millis(500));
    assert_eq!(first.retry_after, Duration::ZERO);
    for _ in 0..3 {
        assert!(bench.ask("192.0.2.1").allowed);
    }
    bench.advance(200);
    let refused = bench.ask("192.0.2.1");
    assert!(refused.refuses() && !refused.would_refuse());
    assert_eq!(refused.remaining, 0);
    assert_eq!(refused.retry_after, Duration::from_millis(300));
    assert_eq!(refused.reset_after, Duration::from_millis(1_800));
    bench.advance(300);
    assert!(bench.ask("192.0.2.1").allowed, "after retry_after a token is there");
}

#[track_caller]
fn check_shared(json: &str, one: (&str, &str), other: (&str, &str), shared: bool) {
    let bench = Bench::new(json);
    let ask = |(client, route): (&str, &str)| {
        bench.ask_as(client.parse().unwrap(), route, &head(&[])).allowed
    };
    assert!(ask(one));
    assert_eq!(ask(other), !shared, "{json} {one:?} {other:?}");
}

#[test]
fn a_key_says_who_shares_a_bucket() {
    let by_ip = r#"{"rate": "1/s"}"#;
    check_shared(by_ip, ("192.0.2.1", "a"), ("192.0.2.1", "b"), true);
    check_shared(by_ip, ("192.0.2.1", "a"), ("192.0.2.2", "a"), false);
    check_shared(by_ip, ("192.0.2.1", "a"), ("::ffff:192.0.2.1", "a"), true);
    check_shared(by_ip, ("2001:db8::1", "a"), ("2001:db8::2", "a"), true);
    check_shared(by_ip, ("2001:db8::1", "a"), ("2001:db8:0:1::1", "a"), false);
    let wide = r#"{"rate": "1/s", "ipv4_prefix": 24, "ipv6_prefix": 128}"#;
    check_shared(wide, ("192.0.2.1", "a"), ("192.0.2.2", "a"), true);
    check_shared(wide, ("2001:db8::1", "a"), ("2001:db8::2", "a"), false);
    let by_route = r#"{"rate": "1/s", "key": "route"}"#;
    check_shared(by_route, ("192.0.2.1", "a"), ("192.0.2.2", "a"), true);
    check_shared(by_route, ("192.0.2.1", "a"), ("192.0.2.1", "b"), false);
    let by_both = r#"{"rate": "1/s", "key": ["route", "client_ip"]}"#;
    check_shared(by_both, ("192.0.2.1", "a"), ("192.0.2.1", "a"), true);
    check_shared(by_both, ("192.0.2.1", "a"), ("192.0.2.1", "b"), false);
    check_shared(by_both, ("192.0.2.1", "a"), ("192.0.2.2", "a"), false);
}

#[track_caller]
fn check_header(
    one: &[(&'static str, &'static str)],
    other: (&str, &[(&'static str, &'static str)]),
    shared: bool,
) {
    let bench = Bench::new(r#"{"rate": "1/s", "key": {"header": "x-api-key"}}"#);
    assert!(bench.ask_as("192.0.2.1".parse().unwrap(), "r", &head(one)).allowed);
    let (client, fields) = other;
    let second = bench.ask_as(client.parse().unwrap(), "r", &head(fields));
    assert_eq!(second.allowed, !shared, "{one:?} {other:?}");
}

#[test]
fn a_header_counts_by_its_value_and_a_missing_one_by_the_client() {
    let key: &[_] = &[("x-api-key", "k1")];
    check_header(key, ("198.51.100.9", key), true);
    check_header(key, ("192.0.2.1", &[("x-api-key", "k2")]), false);
    check_header(key, ("192.0.2.1", &[]), false);
    check_header(&[], ("192.0.2.1", &[]), true);
    check_header(&[], ("192.0.2.1", &[("x-api-key", "")]), true);
    check_header(&[], ("192.0.2.2", &[]), false);
    let twice: &[_] = &[("x-api-key", "k1"), ("x-api-key", "k2")];
    check_header(&[], ("192.0.2.1", twice), true);
    check_header(key, ("192.0.2.1", twice), false);
}

#[test]
fn dry_run_counts_and_lets_pass() {
    let bench = Bench::new(r#"{"rate": "1/s", "dry_run": true}"#);
    let mut fields = HeaderMap::new();
    bench.ask("192.0.2.1").append_headers(&mut fields);
    let second = bench.ask("192.0.2.1");
    second.append_headers(&mut fields);
    assert!(!second.allowed && !second.refuses() && second.would_refuse());
    assert!(fields.is_empty());
}

#[test]
fn a_refusal_carries_the_draft_fields() {
    let bench = Bench::new(r#"{"rate": "100/m", "burst": 1, "name": "logins"}"#);
    assert!(bench.ask("192.0.2.1").allowed);
    let denial = bench.ask("192.0.2.1").denial();
    assert_eq!(denial.status, 429);
    assert_eq!(denial.retry_after, Some(Duration::from_millis(600)));
    assert_eq!(denial.headers[RATE_LIMIT], "\"logins\";r=0;t=1");
    assert_eq!(denial.headers[RATE_LIMIT_POLICY], "\"logins\";q=1;w=1");
    assert_eq!(denial.evidence.as_deref(), Some("rate limit `logins`"));
}

#[test]
fn several_limits_make_a_list_of_fields() {
    let one = Bench::new(r#"{"rate": "100/m"}"#);
    let two = Bench::new(r#"{"rate": "5/s", "key": ["route", {"header": "x-user"}]}"#);
    let mut fields = HeaderMap::new();
    one.ask("192.0.2.1").append_headers(&mut fields);
    two.ask("192.0.2.1").append_headers(&mut fields);
    let policies: Vec<_> = fields.get_all(RATE_LIMIT_POLICY).iter().collect();
    assert_eq!(policies, ["\"client_ip\";q=100;w=60", "\"route.x-user\";q=5;w=1"]);
}

#[track_caller]
fn check_error(json: &str, expected: &str) {
    let errors = RateLimit::compile("test", &settings(json), None).unwrap_err();
    let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(text.join("; "), expected);
}

#[test]
fn settings_that_cannot_be_kept_are_errors() {
    check_error(r#"{"rate": "1000001/s"}"#, "rate: 1000001/s is too fast to be kept");
    check_error(
        r#"{"rate": "1/d", "burst": 4000}"#,
        "burst: an empty bucket would take over ten years to fill",
    );
    check_error(r#"{"rate": "1/s", "name": "a b"}"#, "name: \"a b\" is not a name");
    check_error(
        r#"{"rate": "1/s", "ipv4_prefix": 33, "ipv6_prefix": 0}"#,
        "ipv4_prefix: 33 is not from 1 to 32; ipv6_prefix: 0 is not from 1 to 128",
    );
    assert!(RateLimit::compile("t", &settings(r#"{"rate": "1000000/s"}"#), None).is_ok());
    assert!(RateLimit::compile("t", &settings(r#"{"rate": "4294967295/d"}"#), None).is_ok());
}

#[test]
fn a_reload_keeps_the_buckets() {
    let old = Bench::new(r#"{"rate": "10/s", "burst": 10}"#);
    assert_eq!(old.pass("192.0.2.1"), 10);
    let reload = |json: &str| {
        let limit = RateLimit::compile("test", &settings(json), Some(&old.limit)).unwrap();
        Bench { limit, manual: old.manual.clone(), clock: old.clock.clone() }
    };
    assert_eq!(reload(r#"{"rate": "10/s", "burst": 10}"#).pass("192.0.2.1"), 0);
    assert_eq!(reload(r#"{"rate": "10/s", "burst": 10, "dry_run": true}"#).pass("192.0.2.1"), 0);
    // The same client, another key: other buckets.
    assert_eq!(reload(r#"{"rate": "10/s", "ipv4_prefix": 24}"#).pass("192.0.2.1"), 10);
    assert_eq!(reload(r#"{"rate": "10/s", "key": "route"}"#).pass("192.0.2.1"), 10);
}

#[test]
fn a_tightened_limit_does_not_lock_anybody_out() {
    let old = Bench::new(r#"{"rate": "1/h", "burst": 100}"#);
    assert_eq!(old.pass("192.0.2.1"), 100);
    let tight = settings(r#"{"rate": "10/s", "burst": 10}"#);
    let limit = RateLimit::compile("test", &tight, Some(&old.limit)).unwrap();
    let new = Bench { limit, manual: old.manual.clone(), clock: old.clock.clone() };
    assert_eq!(new.pass("192.0.2.1"), 0, "an empty bucket stays empty");
    new.advance(100);
    assert_eq!(new.pass("192.0.2.1"), 1, "and refills at the new rate");
}

#[test]
fn a_full_table_shares_one_bucket_and_evicts_only_full_ones() {
    let bench = Bench::new(r#"{"rate": "1/s", "burst": 5, "max_keys": 10}"#);
    let client = |n: u32| IpAddr::V4(n.into()).to_string();
    for n in 0..10 {
        assert_eq!(bench.pass(&client(n)), 5);
    }
    let newcomers: usize = (10..1_000).map(|n| usize::from(bench.ask(&client(n)).allowed)).sum();
    assert_eq!(newcomers, 5, "all newcomers together have one bucket");
    for n in 0..10 {
        assert_eq!(bench.pass(&client(n)), 0, "nobody was refilled");
    }
    let stats = bench.limit.stats(bench.clock.now());
    assert_eq!((stats.keys_in_use, stats.max_keys), (10, 10));
    assert_eq!((stats.evictions, stats.overflows), (0, 990));
    bench.advance(5_000);
    assert_eq!(bench.limit.stats(bench.clock.now()).keys_in_use, 0);
    assert_eq!(bench.pass(&client(500)), 5);
    assert_eq!(bench.limit.stats(bench.clock.now()).keys_in_use, 1);
}

#[test]
fn a_key_that_shared_a_bucket_does_not_get_a_full_one_later() {
    let bench = Bench::new(r#"{"rate": "1/s", "burst": 5, "max_keys": 1}"#);
    assert!(bench.ask("192.0.2.1").allowed);
    assert_eq!(bench.pass("192.0.2.2"), 5, "from the shared bucket");
    bench.advance(1_000);
    assert_eq!(bench.pass("192.0.2.2"), 1, "in the place of the other, which is full again");
    assert_eq!(bench.limit.stats(bench.clock.now()).evictions, 1);
}

/// Asks as `clients` new clients, one each millisecond.
fn flood(bench: &Bench, clients: std::ops::Range<u32>) {
    let head = head(&[]);
    for n in clients {
        let _decision = bench.ask_as(IpAddr::V4(n.into()), "r", &head);
        bench.advance(1);
    }
}

#[test]
fn the_memory_is_bounded_by_max_keys() {
    let bench = Bench::new(r#"{"rate": "1/m", "max_keys": 5000}"#);
    flood(&bench, 0..50_000);
    let stats = bench.limit.stats(bench.clock.now());
    assert!(stats.keys_in_use <= 5_000 && stats.room <= 10_000, "{stats:?}");
    assert!(stats.overflows >= 45_000, "{stats:?}");
}

#[test]
fn the_memory_follows_the_keys_in_use() {
    let bench = Bench::new(r#"{"rate": "1/s", "max_keys": 1000000}"#);
    flood(&bench, 0..200_000);
    let busy = bench.limit.stats(bench.clock.now());
    assert_eq!((busy.keys_in_use, busy.overflows), (999, 0), "each is full again after a second");
    assert!(busy.room < 64 * 128, "{busy:?}");
    bench.advance(1_000);
    let idle = bench.limit.stats(bench.clock.now());
    assert!(idle.keys_in_use == 0 && idle.room <= 64 * 64, "{idle:?}");
}

#[test]
fn a_sweep_forgets_only_full_buckets() {
    let bench = Bench::new(r#"{"rate": "1/s", "burst": 5, "max_keys": 1000}"#);
    let client = |n: u32| IpAddr::V4(n.into()).to_string();
    (0..500).for_each(|n| assert_eq!(bench.pass(&client(n)), 5));
    bench.advance(1_000);
    (500..600).for_each(|n| assert!(bench.ask(&client(n)).allowed));
    bench.advance(1_000);
    assert_eq!(bench.limit.stats(bench.clock.now()).keys_in_use, 500);
    (0..500).for_each(|n| assert_eq!(bench.pass(&client(n)), 2, "client {n}"));
    (500..600).for_each(|n| assert_eq!(bench.pass(&client(n)), 5, "client {n}"));
}

#[test]
fn threads_on_one_key_get_exactly_the_burst_and_the_rate() {
    let bench = Bench::new(r#"{"rate": "1000/s", "burst": 500}"#);
    let allowed = AtomicU64::new(0);
    for round in 1..=20_u64 {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let passed = (0..400).filter(|_| bench.ask("192.0.2.1").allowed).count();
                    allowed.fetch_add(passed as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(allowed.load(Ordering::Relaxed), 500 + (round - 1) * 50);
        bench.advance(50);
    }
}

#[test]
fn threads_with_real_time_get_no_more_than_the_rate_allows() {
    let limit = limit(r#"{"rate": "100000/s", "burst": 100}"#);
    let clock = Clock::System;
    let allowed = AtomicU64::new(0);
    let began = clock.now();
    let head = head(&[]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while clock.now() - began < Duration::from_millis(50) {
                    let now = clock.now();
                    let client = IpAddr::V4([192, 0, 2, 1].into());
                    let request = Request {
                        head: &head,
                        host: "",
                        path: "/",
                        client,
                        secure: false,
                        received_at: now,
                    };
                    let passed = limit.check(&request, "r", now).allowed;
                    allowed.fetch_add(u64::from(passed), Ordering::Relaxed);
                }
            });
        }
    });
    let most = 100 + (clock.now() - began).as_nanos() / 10_000;
    let allowed = u128::from(allowed.into_inner());
    assert!(allowed <= most, "{allowed} of {most}");
    assert!(allowed > 100, "{allowed}");
}

proptest! {
    /// A token bucket that remembers everything, for each key: the table may be stricter under
    /// pressure, never more generous; with room for all keys it agrees.
    #[test]
    fn no_key_ever_gets_more_than_its_burst_and_rate(
        roomy in any::<bool>(),
        burst in 1_u32..6,
        steps in prop::collection::vec((0_u32..13, 0_u64..50), 1..400),
    ) {
        let max_keys = if roomy { 12 } else { 3 };
        let bench = Bench::new(&format!(
            r#"{{"rate": "10/s", "burst": {burst}, "max_keys": {max_keys}}}"#
        ));
        let mut oracle = [f64::from(burst); 12];
        for (client, millis) in steps {
            bench.advance(millis);
            for tokens in &mut oracle {
                *tokens = (*tokens + Duration::from_millis(millis).as_secs_f64() * 10.0)
                    .min(f64::from(burst));
            }
            let Some(tokens) = oracle.get_mut(client as usize) else {
                let _swept = bench.limit.stats(bench.clock.now());
                continue;
            };
            let had = *tokens;
            let allowed = bench.ask_as(IpAddr::V4(client.into()), "r", &head(&[])).allowed;
            prop_assert!(!allowed || had > 1.0 - 1e-6, "client {client} had {had}");
            prop_assert!(allowed || !roomy || had < 1.0 + 1e-6, "client {client} had {had}");
            *tokens -= f64::from(u8::from(allowed));
        }
    }
}

#[test]
fn who_asks_has_a_bucket_wherever_they_come_from() {
    let limit = limit(r#"{"rate": "1/h", "key": "subject"}"#);
    assert!(limit.needs_identity());
    let (head, now) = (head(&[]), Clock::System.now());
    let ask = |client: &str, provider, subject| {
        let client = client.parse().unwrap();
        let request =
            Request { head: &head, host: "", path: "/", client, secure: false, received_at: now };
        let known = Known { provider, subject, client: None };
        limit.check_known(&request, "r", known, now).allowed
    };
    assert!(ask("192.0.2.1", "corp", Some("ann")));
    assert!(!ask("192.0.2.2", "corp", Some("ann")), "another address, the same bucket");
    assert!(ask("192.0.2.1", "corp", Some("bob")));
    assert!(ask("192.0.2.1", "other", Some("ann")), "another provider's ann is somebody else");
    assert!(ask("192.0.2.1", "", None), "nobody known counts by address");
    assert!(!ask("192.0.2.1", "", None));
}
