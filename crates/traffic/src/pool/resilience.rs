//! Ejections, slow starts, panic, zones, limits and the breaker, as a pool puts them together.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidegate_core::Clock;

use super::{Event, NoPick, Pick, Pool};
use crate::breaker::BreakerState;
use crate::endpoint::Lease;
use crate::health::Outcome;
use crate::outlier::{Answer, Cause};
use crate::random::mix;
use crate::zones::Locality;

/// A pool of `10.0.0.0:80` and on, with these further settings.
fn pool(count: usize, rest: &str) -> Pool {
    let endpoints: Vec<String> = (0..count).map(|n| format!(r#""10.0.0.{n}:80""#)).collect();
    compile(&format!("[{}]", endpoints.join(",")), rest, None)
}

fn compile(endpoints: &str, rest: &str, zone: Option<&str>) -> Pool {
    let json = format!(r#"{{"endpoints":{endpoints},"balance":"random"{rest}}}"#);
    let here = Locality { region: None, zone: zone.map(Into::into) };
    Pool::compile("api", &serde_json::from_str(&json).unwrap(), &here, None).unwrap()
}

fn address(n: usize) -> SocketAddr {
    format!("10.0.0.{n}:80").parse().unwrap()
}

fn start() -> Instant {
    Clock::System.now()
}

fn pick(pool: &Pool, random: u64, now: Instant) -> Result<Lease, NoPick> {
    pool.pick(&Pick { key: random, now, prefer: None, random: mix(random), tried: &[] })
}

/// A lease on the endpoint at `address`.
fn lease_on(pool: &Pool, wanted: SocketAddr, now: Instant) -> Lease {
    let lease = pool.pick(&Pick { key: 0, now, prefer: Some(wanted), random: 0, tried: &[] });
    let lease = lease.unwrap();
    assert_eq!(lease.address(), wanted);
    lease
}

/// So many bad answers in a row.
fn fail(pool: &Pool, n: usize, times: usize, now: Instant) -> Option<Event> {
    let mut event = None;
    for _ in 0..times {
        let lease = lease_on(pool, address(n), now);
        event = pool.report(&lease, Answer::Status(500), Duration::from_millis(1), now);
    }
    event
}

/// Which part of the picks each endpoint gets.
fn shares(pool: &Pool, now: Instant) -> Vec<f64> {
    let count = 40_000;
    let before: Vec<u64> = pool.endpoints().iter().map(|e| e.picks()).collect();
    for nth in 0..count {
        drop(pick(pool, nth, now).unwrap());
    }
    let picks = pool.endpoints().iter().zip(before).map(|(e, b)| e.picks() - b).collect::<Vec<_>>();
    picks.into_iter().map(|picks| picks as f64 / count as f64).collect()
}

#[track_caller]
fn check_shares(pool: &Pool, now: Instant, expected: &[f64]) {
    let found = shares(pool, now);
    for (found_one, expected) in found.iter().zip(expected) {
        assert!((found_one - expected).abs() < 0.012, "{found:?}");
    }
}

#[test]
fn failures_in_a_row_take_an_endpoint_out_for_a_while() {
    let (pool, now) = (pool(4, r#","outlier":{}"#), start());
    let event = fail(&pool, 1, 5, now).unwrap();
    let until = now + Duration::from_secs(30);
    assert_eq!(event, Event::Ejected { endpoint: address(1), cause: Cause::Consecutive5xx, until });
    check_shares(&pool, now, &[0.333, 0.0, 0.333, 0.333]);
    assert_eq!(pool.tend(now + Duration::from_secs(29)), []);
    let back = pool.tend(until);
    assert_eq!(back, [Event::Readmitted { endpoint: address(1) }]);
    check_shares(&pool, until, &[0.25; 4]);
    assert_eq!(pool.endpoints()[1].ejection().count, 1);
}

#[test]
fn only_so_many_are_out_and_never_the_last() {
    let now = start();
    let small = pool(3, r#","outlier":{}"#);
    assert!(fail(&small, 0, 5, now).is_some(), "one always may");
    assert_eq!(fail(&small, 1, 20, now), None, "10 % of three is none, so that one is the most");
    let large = pool(4, r#","outlier":{"max_ejected":"100%"},"panic_threshold":"0%""#);
    for n in 0..3 {
        assert!(fail(&large, n, 5, now).is_some(), "{n}");
    }
    assert_eq!(fail(&large, 3, 20, now), None, "the last one stays");
    check_shares(&large, now, &[0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn a_passing_check_ends_an_ejection() {
    let (pool, now) = (pool(3, r#","outlier":{},"health":{}"#), start());
    assert!(fail(&pool, 0, 5, now).is_some());
    assert!(pool.endpoints()[0].is_ejected());
    pool.observe(address(0), Outcome::Passed, now);
    assert!(!pool.endpoints()[0].is_ejected());
    check_shares(&pool, now, &[0.333; 3]);
}

#[test]
fn a_sweep_ejects_who_is_slower_or_fails_more() {
    let (pool, now) = (pool(6, r#","outlier":{"latency":{},"success_rate":null}"#), start());
    assert_eq!(pool.tend(now), []);
    for n in 0..6 {
        for _ in 0..50 {
            let took = Duration::from_millis(if n == 4 { 700 } else { 10 });
            pool.report(&lease_on(&pool, address(n), now), Answer::Status(200), took, now);
        }
    }
    let later = now + Duration::from_secs(10);
    let events = pool.tend(later);
    let until = later + Duration::from_secs(30);
    let ejected = Event::Ejected { endpoint: address(4), cause: Cause::Latency, until };
    assert_eq!(events, [ejected]);
}

#[test]
fn an_endpoint_that_is_back_starts_slowly() {
    let (pool, now) =
        (pool(2, r#","slow_start":{"window":"10s"},"health":{"rise":1,"fall":1}"#), start());
    pool.observe(address(1), Outcome::Passed, now);
    check_shares(&pool, now, &[0.5, 0.5]);
    pool.observe(address(1), Outcome::Failed, now);
    pool.observe(address(1), Outcome::Passed, now);
    let at = |seconds| now + Duration::from_secs(seconds);
    for (seconds, part) in [(0, 0.1), (2, 0.2), (5, 0.5), (10, 1.0)] {
        pool.tend(at(seconds));
        check_shares(&pool, at(seconds), &[1.0 / (1.0 + part), part / (1.0 + part)]);
    }
}

#[test]
fn in_panic_all_are_tried() {
    let (pool, now) = (pool(4, r#","health":{"fall":1}"#), start());
    for n in 0..2 {
        pool.observe(address(n), Outcome::Failed, now);
    }
    assert!(!pool.is_in_panic(), "half of them is enough");
    check_shares(&pool, now, &[0.0, 0.0, 0.5, 0.5]);
    pool.observe(address(2), Outcome::Failed, now);
    assert!(pool.is_in_panic());
    check_shares(&pool, now, &[0.25; 4]);
    pool.observe(address(3), Outcome::Failed, now);
    assert_eq!(pick(&pool, 0, now).unwrap_err(), NoPick::NoEndpoint);
}

const ZONED: &str = r#"[
    {"address":"10.0.0.0:80","zone":"a"},{"address":"10.0.0.1:80","zone":"a"},
    {"address":"10.0.0.2:80","zone":"b"},{"address":"10.0.0.3:80","zone":"b"},
    {"address":"10.0.0.4:80","zone":"c"},{"address":"10.0.0.5:80","zone":"c"}]"#;

#[test]
fn the_local_zone_comes_first_and_spills_over() {
    let now = start();
    let rest = r#","health":{"fall":1},"zones":{"min_endpoints":4}"#;
    check_shares(&compile(ZONED, rest, None), now, &[0.166; 6]);
    let pool = compile(ZONED, rest, Some("a"));
    check_shares(&pool, now, &[0.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
    pool.observe(address(1), Outcome::Failed, now);
    // One of five has a fifth; a third is our demand: 60 % stays, the rest is spread.
    check_shares(&pool, now, &[0.6, 0.0, 0.1, 0.1, 0.1, 0.1]);
    pool.observe(address(0), Outcome::Failed, now);
    check_shares(&pool, now, &[0.0, 0.0, 0.25, 0.25, 0.25, 0.25]);
    pool.observe(address(2), Outcome::Failed, now);
    // Fewer than four: zones make no difference.
    check_shares(&pool, now, &[0.0, 0.0, 0.0, 0.333, 0.333, 0.333]);
}

#[test]
fn a_zone_is_drained_and_comes_back_gradually() {
    let now = start();
    let rest = r#","slow_start":{"window":"10s"},"zones":{"mode":"off"}"#;
    let pool = compile(ZONED, rest, None);
    assert!(!pool.drain_zone("x", true));
    assert!(pool.drain_zone("b", true));
    assert_eq!(pool.zones_out(), ["b".into()]);
    check_shares(&pool, now, &[0.25, 0.25, 0.0, 0.0, 0.25, 0.25]);
    assert!(pool.drain_zone("b", false));
    pool.tend(now);
    check_shares(&pool, now, &[0.238, 0.238, 0.024, 0.024, 0.238, 0.238]);
    pool.tend(now + Duration::from_secs(10));
    check_shares(&pool, now, &[0.166; 6]);
    let drained = compile(ZONED, r#","zones":{"drained":["a","c"]}"#, Some("a"));
    check_shares(&drained, now, &[0.0, 0.0, 0.5, 0.5, 0.0, 0.0]);
}

#[test]
fn an_endpoint_is_drained_by_hand() {
    let (pool, now) = (pool(3, ""), start());
    assert!(!pool.drain_endpoint(address(7), true));
    assert!(pool.drain_endpoint(address(0), true));
    check_shares(&pool, now, &[0.0, 0.5, 0.5]);
    assert!(pool.drain_endpoint(address(0), false));
    check_shares(&pool, now, &[0.333; 3]);
}

#[test]
fn the_response_policy_quarantines_endpoints_and_zones_while_others_can_serve() {
    let now = start();
    let pool = compile(ZONED, r#","zones":{"mode":"off"},"health":{"fall":1}"#, None);
    let zone: [Box<str>; 1] = ["b".into()];
    assert_eq!(pool.quarantine(&[address(0)], &zone), 3);
    assert_eq!(pool.quarantine(&[address(0)], &zone), 0);
    check_shares(&pool, now, &[0.0, 0.333, 0.0, 0.0, 0.333, 0.333]);
    // The others fail: those that are quarantined are better than nobody.
    for n in [1, 4, 5] {
        pool.observe(address(n), Outcome::Failed, now);
    }
    assert_eq!(pool.quarantine(&[address(0)], &zone), 3);
    assert!(pick(&pool, 0, now).is_ok());
    assert_eq!(pool.quarantine(&[], &[]), 0);
}

#[test]
fn one_quarantine_too_many_ends_none_that_is_there() {
    let (pool, now) = (pool(3, ""), start());
    assert_eq!(pool.quarantine(&[address(0)], &[]), 1);
    assert_eq!(pool.quarantine(&[address(1), address(0)], &[]), 0);
    check_shares(&pool, now, &[0.0, 0.5, 0.5]);
    // Its place goes to the other one, when it is over.
    assert_eq!(pool.quarantine(&[address(1)], &[]), 2);
    check_shares(&pool, now, &[0.091, 0.0, 0.909]);
}

#[test]
fn a_zone_that_fails_is_isolated() {
    let now = start();
    let rest = r#","health":{"fall":1},"zones":{"mode":"off","isolate":{"time":"20s"}}"#;
    let pool = compile(ZONED, rest, None);
    pool.observe(address(2), Outcome::Failed, now);
    assert_eq!(pool.tend(now), [Event::ZoneIsolated { zone: "b".into() }]);
    check_shares(&pool, now, &[0.25, 0.25, 0.0, 0.0, 0.25, 0.25]);
    assert_eq!(pool.tend(now + Duration::from_secs(19)), []);
    for _ in 0..2 {
        pool.observe(address(2), Outcome::Passed, now);
    }
    let back = pool.tend(now + Duration::from_secs(20));
    assert_eq!(back, [Event::ZoneReturned { zone: "b".into() }]);
    // Gradually, also without a slow start of single endpoints.
    check_shares(&pool, now, &[0.238, 0.238, 0.024, 0.024, 0.238, 0.238]);
    assert_eq!(pool.tend(now + Duration::from_secs(50)), []);
    check_shares(&pool, now, &[0.166; 6]);
}

#[test]
fn a_zone_that_fails_still_stays_out_silently() {
    let now = start();
    let rest = r#","health":{"fall":1,"rise":1},"zones":{"mode":"off","isolate":{"time":"20s"}}"#;
    let pool = compile(ZONED, rest, None);
    pool.observe(address(2), Outcome::Failed, now);
    assert_eq!(pool.tend(now), [Event::ZoneIsolated { zone: "b".into() }]);
    let at = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(pool.tend(at(20)), []);
    assert!(pool.endpoints()[3].is_isolated());
    pool.observe(address(2), Outcome::Passed, at(21));
    assert_eq!(pool.tend(at(39)), []);
    assert_eq!(pool.tend(at(40)), [Event::ZoneReturned { zone: "b".into() }]);
}

#[test]
fn an_isolated_zone_comes_back_at_once_if_nothing_else_can_serve() {
    let now = start();
    let rest = r#","health":{"fall":1,"rise":1},"zones":{"isolate":{}},"panic_threshold":"0%""#;
    let pool = compile(ZONED, rest, None);
    for n in [2, 3] {
        pool.observe(address(n), Outcome::Failed, now);
    }
    pool.tend(now);
    assert_eq!(pool.zones_out(), ["b".into()]);
    for n in [2, 3] {
        pool.observe(address(n), Outcome::Passed, now);
    }
    for n in [0, 1, 4, 5] {
        pool.observe(address(n), Outcome::Failed, now);
    }
    assert_eq!(pick(&pool, 0, now).unwrap_err(), NoPick::NoEndpoint);
    assert_eq!(pool.tend(now), [Event::ZoneReturned { zone: "b".into() }]);
    check_shares(&pool, now, &[0.0, 0.0, 0.5, 0.5, 0.0, 0.0]);
    pool.tend(now);
    assert_eq!(pool.zones_out(), ["a".into(), "c".into()]);
    for n in [2, 3] {
        pool.observe(address(n), Outcome::Failed, now);
    }
    pool.tend(now);
    assert_eq!(pool.zones_out(), ["a".into(), "c".into()], "the last one is never isolated");
}

#[test]
fn regions_may_have_zones_of_one_name() {
    let now = start();
    let endpoints = r#"[
        {"address":"10.0.0.0:80","region":"x","zone":"a"},
        {"address":"10.0.0.1:80","region":"y","zone":"a"},
        {"address":"10.0.0.2:80","region":"y","zone":"b"}]"#;
    let pool = compile(endpoints, "", None);
    assert!(pool.drain_zone("y/a", true));
    check_shares(&pool, now, &[0.5, 0.0, 0.5]);
    assert!(pool.drain_zone("y/a", false) && pool.drain_zone("a", true));
    check_shares(&pool, now, &[0.0, 0.0, 1.0]);
    let pool = compile(endpoints, r#","zones":{"drained":["x/a"]}"#, None);
    check_shares(&pool, now, &[0.0, 0.5, 0.5]);
    // We are in the only `b` there is; of the two `a`, nobody knows which.
    let rest = r#","zones":{"min_endpoints":3}"#;
    check_shares(&compile(endpoints, rest, Some("b")), now, &[0.0, 0.0, 1.0]);
    check_shares(&compile(endpoints, rest, Some("a")), now, &[0.333; 3]);
}

#[test]
fn a_reload_keeps_a_drained_zone_drained_for_new_endpoints_too() {
    let now = start();
    let old = compile(ZONED, "", None);
    assert!(old.drain_zone("b", true));
    let more = ZONED.replace("}]", r#"},{"address":"10.0.0.6:80","zone":"b"}]"#);
    let settings = format!(r#"{{"endpoints":{more},"balance":"random"}}"#);
    let settings = serde_json::from_str(&settings).unwrap();
    let new = Pool::compile("api", &settings, &Locality::default(), Some(&old)).unwrap();
    check_shares(&new, now, &[0.25, 0.25, 0.0, 0.0, 0.25, 0.25, 0.0]);
}

#[test]
fn outliers_are_only_told_of_if_that_is_asked_for() {
    let (pool, now) = (pool(4, r#","outlier":{"enforce":false}"#), start());
    let event = fail(&pool, 1, 5, now).unwrap();
    assert_eq!(event, Event::Suspected { endpoint: address(1), cause: Cause::Consecutive5xx });
    assert_eq!(fail(&pool, 1, 5, now), None, "told once per time that it would be out");
    check_shares(&pool, now, &[0.25; 4]);
    assert_eq!(pool.endpoints()[1].ejection().count, 1);
    assert!(fail(&pool, 1, 5, now + Duration::from_secs(30)).is_some());
}

#[test]
fn a_large_pool_ejects_without_being_rebuilt_by_requests() {
    let endpoints: Vec<_> =
        (0..1_000).map(|n| format!(r#""10.0.{}.{}:80""#, n / 200, n % 200)).collect();
    let pool = compile(&format!("[{}]", endpoints.join(",")), r#","outlier":{}"#, None);
    let now = start();
    assert!(fail(&pool, 7, 5, now).is_some());
    assert!((0..5_000).all(|n| pick(&pool, n, now).unwrap().address() != address(7)));
    pool.tend(now);
    assert!((0..5_000).all(|n| pick(&pool, n, now).unwrap().address() != address(7)));
}

#[test]
fn lower_priorities_take_over_as_much_as_is_missing() {
    let now = start();
    let endpoints = r#"[
        {"address":"10.0.0.0:80"},{"address":"10.0.0.1:80"},
        {"address":"10.0.0.2:80","priority":1},{"address":"10.0.0.3:80","priority":1}]"#;
    let pool = compile(endpoints, r#","health":{"fall":1},"panic_threshold":"0%""#, None);
    check_shares(&pool, now, &[0.5, 0.5, 0.0, 0.0]);
    pool.observe(address(0), Outcome::Failed, now);
    check_shares(&pool, now, &[0.0, 0.7, 0.15, 0.15]);
    pool.observe(address(1), Outcome::Failed, now);
    check_shares(&pool, now, &[0.0, 0.0, 0.5, 0.5]);
}

#[test]
fn a_small_standby_takes_over_without_panic() {
    let now = start();
    let endpoints = r#"[
        {"address":"10.0.0.0:80"},{"address":"10.0.0.1:80"},{"address":"10.0.0.2:80"},
        {"address":"10.0.0.3:80","priority":1}]"#;
    let pool = compile(endpoints, r#","health":{"fall":1}"#, None);
    for n in 0..3 {
        pool.observe(address(n), Outcome::Failed, now);
    }
    assert!(!pool.is_in_panic());
    check_shares(&pool, now, &[0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn zones_share_what_their_level_of_priority_gets() {
    let now = start();
    let endpoints = ZONED.replace("}]", r#"},{"address":"10.0.0.6:80","zone":"d","priority":1}]"#);
    let rest = r#","health":{"fall":1},"zones":{"min_endpoints":3}"#;
    let pool = compile(&endpoints, rest, Some("a"));
    check_shares(&pool, now, &[0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    for n in [1, 3, 5] {
        pool.observe(address(n), Outcome::Failed, now);
    }
    // Half of level 0 is left, which gets 70 %, all of it here; the standby gets the rest.
    check_shares(&pool, now, &[0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3]);
}

#[test]
fn limits_refuse_what_is_too_much() {
    let (all, now) = (pool(2, r#","limits":{"requests":3}"#), start());
    let leases: Vec<_> = (0..3).map(|n| pick(&all, n, now).unwrap()).collect();
    assert_eq!(pick(&all, 3, now).unwrap_err(), NoPick::Full);
    drop(leases);
    assert!(pick(&all, 3, now).is_ok());
    let waiting = pool(2, r#","limits":{"pending":1}"#);
    let lease = pick(&waiting, 0, now).unwrap();
    assert_eq!(pick(&waiting, 1, now).unwrap_err(), NoPick::Full);
    waiting.report(&lease, Answer::Status(200), Duration::ZERO, now);
    assert!(pick(&waiting, 1, now).is_ok());
    let each = pool(2, r#","limits":{"endpoint_requests":2}"#);
    let leases: Vec<_> = (0..4).map(|n| pick(&each, n, now).unwrap()).collect();
    assert!(leases.iter().all(|lease| lease.in_flight() == 2));
    assert_eq!(pick(&each, 4, now).unwrap_err(), NoPick::Full);
}

#[test]
fn a_breaker_opens_for_the_whole_pool_and_probes() {
    let (pool, now) = (pool(3, r#","breaker":{}"#), start());
    let report = |failed: bool, at: Instant| {
        let lease = pick(&pool, 0, at)?;
        let answer = if failed { Answer::None } else { Answer::Status(200) };
        Ok::<_, NoPick>(pool.report(&lease, answer, Duration::ZERO, at))
    };
    let turned: Vec<_> = (0..20).filter_map(|_| report(true, now).unwrap()).collect();
    assert_eq!(turned, [Event::Breaker(BreakerState::Open)]);
    assert!(matches!(report(false, now), Err(NoPick::BreakerOpen(_))));
    let later = now + Duration::from_secs(6);
    let probe = pick(&pool, 0, later).unwrap();
    assert!(matches!(report(false, later), Err(NoPick::BreakerOpen(_))), "one probe at a time");
    drop(probe);
    let turned: Vec<_> = (0..3).filter_map(|_| report(false, later).unwrap()).collect();
    assert_eq!(turned, [Event::Breaker(BreakerState::Closed)]);
    assert_eq!(pool.breaker(later), BreakerState::Closed);
    assert_eq!(pool.in_flight(), 0);
}

#[track_caller]
fn check_refused(rest: &str, expected: &str) {
    let json = format!(r#"{{"endpoints":{ZONED}{rest}}}"#);
    let settings = serde_json::from_str(&json).unwrap();
    let errors = Pool::compile("api", &settings, &Locality::default(), None).unwrap_err();
    let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("; "), expected);
}

#[test]
fn settings_say_what_is_wrong() {
    check_refused(
        r#","zones":{"drained":["d"]}"#,
        "zones.drained.0: no endpoint is in the zone `d`",
    );
    check_refused(
        r#","zones":{"drained":["a","b","c"]}"#,
        "zones.drained: all zones are drained, so that nothing would be served",
    );
    check_refused(
        r#","outlier":{"interval":"0s","max_ejection_time":"1s","latency":{"factor":1}}"#,
        "outlier.interval: interval must be longer than 0; outlier.max_ejection_time: \
         max_ejection_time is shorter than ejection_time; outlier.latency.factor: a factor must be \
         above 1",
    );
    check_refused(
        r#","slow_start":{"window":"0s","aggression":-1},"breaker":{"probes":0,"failures":"0%"}"#,
        "slow_start.window: window must be longer than 0; slow_start.aggression: aggression must \
         be above 0; breaker.probes: probes must be above 0; breaker.failures: 0% would never let \
         anything pass",
    );
}
