//! What a pool does with its settings, across reloads, with names, and under many threads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tidegate_core::Clock;

use super::Pool;
use crate::endpoint::Endpoint;
use crate::health::Outcome;
use crate::random;
use crate::settings::UpstreamSettings;
use crate::testing::pick;
use crate::zones::Locality;

const BALANCES: [&str; 4] =
    [r#""round_robin""#, r#""random""#, r#""least_request""#, r#"{"hash":"client_ip"}"#];

fn settings(json: &str) -> UpstreamSettings {
    serde_json::from_str(json).unwrap()
}

fn pool(json: &str, previous: Option<&Pool>) -> Pool {
    Pool::compile("api", &settings(json), &Locality::default(), previous).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn endpoint(pool: &Pool, text: &str) -> Arc<Endpoint> {
    let all = pool.endpoints();
    Arc::clone(all.iter().find(|endpoint| endpoint.address() == address(text)).unwrap())
}

/// One failed check, which is the first and decides alone.
fn fail(pool: &Pool, text: &str) {
    let turned = pool.observe(address(text), Outcome::Failed, Clock::System.now());
    assert!(turned.is_some_and(|turned| !turned.healthy));
}

#[track_caller]
fn check_refused(json: &str, expected: &str) {
    let errors = Pool::compile("api", &settings(json), &Locality::default(), None).unwrap_err();
    let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("; "), expected);
}

#[test]
fn settings_say_what_is_wrong() {
    check_refused(r#"{"endpoints":[]}"#, "endpoints: an upstream needs at least one endpoint");
    check_refused(
        r#"{"endpoints":[{"address":"10.0.0.1:80","weight":0},{"address":"a:80","weight":0}]}"#,
        "endpoints: all weights are 0, so that nothing would be served",
    );
    check_refused(
        r#"{"endpoints":["10.0.0.1:80",{"address":"10.0.0.1:80","weight":65536}]}"#,
        "endpoints.1: the weight 65536 is above 65535; \
         endpoints.1: the endpoint 10.0.0.1:80 is listed twice",
    );
    check_refused(
        r#"{"endpoints":["10.0.0.1:80"],"tls":{"key":"k"},"health":{"fall":0},
            "keepalive":{"idle_timeout":"0s"}}"#,
        "tls.key: key needs a cert; \
         tls: endpoints are given by address, so that sni has to name the certificate; \
         keepalive.idle_timeout: idle_timeout must be longer than 0; \
         health.fall: fall must be at least 1",
    );
    check_refused(
        r#"{"endpoints":["a:80"],"tls":{"cert":"c","sni":"10.0.0.1","ca":"x","insecure_skip_verify":true}}"#,
        "tls.cert: cert needs a key; \
         tls.ca: with insecure_skip_verify the ca would not be used; \
         tls.sni: `10.0.0.1` is not a name",
    );
    for fine in [
        r#"{"endpoints":["a:80"],"tls":{}}"#,
        r#"{"endpoints":["10.0.0.1:80"],"tls":{"sni":"Api.Internal"}}"#,
        r#"{"endpoints":["10.0.0.1:80"],"tls":{"insecure_skip_verify":true}}"#,
        r#"{"endpoints":[{"address":"10.0.0.1:80","weight":0},"10.0.0.2:80"],"protocol":"h2"}"#,
    ] {
        assert!(
            Pool::compile("api", &settings(fine), &Locality::default(), None).is_ok(),
            "{fine}"
        );
    }
}

#[track_caller]
fn check_shape(json: &str, expected: &str) {
    let error = serde_json::from_str::<UpstreamSettings>(json).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn shapes_say_what_they_expect() {
    check_shape("{}", "missing field `endpoints`");
    check_shape(r#"{"endpoints":["a"]}"#, "`a` is not an endpoint: it needs a port");
    check_shape(r#"{"endpoints":[{"address":"a:80","wieght":1}]}"#, "unknown field `wieght`");
    check_shape(r#"{"endpoints":[80]}"#, "expected an endpoint such as 10.0.1.11:8080");
    check_shape(r#"{"endpoints":["a:1"],"protocol":"h3"}"#, "unknown variant `h3`");
}

#[test]
fn one_that_was_tried_is_chosen_only_if_no_other_is_available() {
    let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
    for balance in BALANCES {
        let json = format!(
            r#"{{"endpoints":["{}",{{"address":"{}","weight":50}},"{}"],"health":{{}},"balance":{balance}}}"#,
            all[0], all[1], all[2]
        );
        let pool = pool(&json, None);
        let pick =
            |key, tried: &[SocketAddr]| pick(&pool, key, tried, random::next()).unwrap().address();
        for key in 0..200 {
            let first = pick(key, &[]);
            let second = pick(key, &[first]);
            let third = pick(key, &[first, second]);
            assert!(first != second && first != third && second != third, "{balance}");
            assert!(all.map(address).contains(&pick(key, &[first, second, third])));
        }
        fail(&pool, all[1]);
        for key in 0..200 {
            let first = pick(key, &[]);
            assert_ne!(first, address(all[1]));
            assert_ne!(pick(key, &[first]), address(all[1]));
        }
    }
}

#[test]
fn a_drained_endpoint_gets_nothing() {
    for balance in BALANCES {
        let json = format!(
            r#"{{"endpoints":["10.0.0.1:80",{{"address":"10.0.0.2:80","weight":0}}],"balance":{balance}}}"#
        );
        let pool = pool(&json, None);
        for key in 0..100 {
            let lease = pick(&pool, key, &[address("10.0.0.1:80")], random::next()).unwrap();
            assert_eq!(lease.address(), address("10.0.0.1:80"));
        }
        assert_eq!(pool.endpoints().len(), 2);
    }
}

#[test]
fn without_checks_nothing_is_observed() {
    let pool = pool(r#"{"endpoints":["10.0.0.1:80"]}"#, None);
    let now = Clock::System.now();
    assert_eq!(pool.observe(address("10.0.0.1:80"), Outcome::Failed, now), None);
    assert!(pick(&pool, 0, &[], 0).is_some());
}

#[test]
fn a_reload_keeps_what_is_known_about_endpoints() {
    let old = pool(r#"{"endpoints":["10.0.0.1:80","10.0.0.2:80"],"health":{}}"#, None);
    fail(&old, "10.0.0.2:80");
    let lease = pick(&old, 0, &[], 0).unwrap();
    let json = r#"{"endpoints":[{"address":"10.0.0.1:80","weight":3},"10.0.0.2:80","10.0.0.3:80"],
        "health":{"interval":"1s"},"balance":"random"}"#;
    let new = pool(json, Some(&old));
    assert_eq!(endpoint(&new, "10.0.0.1:80").in_flight(), 1);
    assert_eq!(endpoint(&new, "10.0.0.1:80").weight(), 3);
    assert_eq!(endpoint(&old, "10.0.0.1:80").weight(), 1);
    assert!(!endpoint(&new, "10.0.0.2:80").is_healthy());
    assert!(Arc::ptr_eq(&endpoint(&old, "10.0.0.2:80"), &endpoint(&new, "10.0.0.2:80")));
    assert!(endpoint(&new, "10.0.0.3:80").is_healthy());
    drop(lease);
    assert_eq!(endpoint(&new, "10.0.0.1:80").in_flight(), 0);
}

#[test]
fn without_checks_after_a_reload_nothing_stays_unhealthy() {
    let old = pool(r#"{"endpoints":["10.0.0.1:80"],"health":{}}"#, None);
    fail(&old, "10.0.0.1:80");
    assert!(pick(&old, 0, &[], 0).is_none());
    let new = pool(r#"{"endpoints":["10.0.0.1:80"]}"#, Some(&old));
    assert!(pick(&new, 0, &[], 0).is_some());
    assert!(pick(&old, 0, &[], 0).is_none());
}

#[test]
fn a_turn_that_another_snapshot_saw_is_noticed() {
    let json = r#"{"endpoints":["10.0.0.1:80","10.0.0.2:80"],"health":{"rise":1}}"#;
    let old = pool(json, None);
    fail(&old, "10.0.0.2:80");
    let new = pool(json, Some(&old));
    let now = Clock::System.now();
    assert!(old.observe(address("10.0.0.2:80"), Outcome::Passed, now).is_some());
    assert!(new.observe(address("10.0.0.2:80"), Outcome::Passed, now).is_none());
    let picked: Vec<_> = (0..2).map(|_| pick(&new, 0, &[], 0).unwrap().address()).collect();
    assert_ne!(picked[0], picked[1]);
}

const NAMED: &str =
    r#"{"endpoints":["10.0.0.1:80",{"address":"Pods.t:80","weight":2},"more.t:81"]}"#;

fn ips(last_octets: &[u8]) -> Vec<IpAddr> {
    last_octets.iter().map(|octet| IpAddr::from([10, 0, 0, *octet])).collect()
}

#[test]
fn names_become_endpoints_when_they_resolve() {
    let pool = pool(NAMED, None);
    let [pods, more] = pool.names() else { panic!("two names") };
    assert_eq!((&*pods.host, pods.port, pods.weight), ("pods.t", 80, 2));
    assert_eq!((&*more.host, more.port, more.weight), ("more.t", 81, 1));

    assert!(pool.update(0, &ips(&[3, 1, 2, 2])));
    assert!(pool.update(1, &ips(&[2])));
    let hosts: Vec<_> =
        pool.endpoints().iter().map(|e| (e.address(), e.host().map(str::to_owned))).collect();
    let named = |text, host: &str| (address(text), Some(host.to_owned()));
    let wanted = [
        (address("10.0.0.1:80"), None),
        named("10.0.0.2:80", "pods.t"),
        named("10.0.0.3:80", "pods.t"),
        named("10.0.0.2:81", "more.t"),
    ];
    assert_eq!(hosts, wanted);
}

#[test]
fn only_another_answer_changes_a_pool() {
    let pool = pool(NAMED, None);
    for (index, octets, changes) in
        [(0, [1, 2].as_slice(), true), (0, &[2, 1], false), (0, &[2], true), (7, &[9], false)]
    {
        assert_eq!(pool.update(index, &ips(octets)), changes, "{index} {octets:?}");
    }
}

#[test]
fn endpoints_of_a_name_outlive_other_answers_and_reloads() {
    let old = pool(NAMED, None);
    old.update(0, &ips(&[2, 3]));
    let stays = endpoint(&old, "10.0.0.3:80");
    old.update(0, &ips(&[3, 4]));
    assert!(Arc::ptr_eq(&stays, &endpoint(&old, "10.0.0.3:80")));

    let new = pool(r#"{"endpoints":[{"address":"pods.t:80","weight":2}]}"#, Some(&old));
    assert_eq!(new.endpoints().len(), 2);
    assert!(Arc::ptr_eq(&stays, &endpoint(&new, "10.0.0.3:80")));
    assert!(new.update(0, &[]));
    assert!(pick(&new, 0, &[], 0).is_none());
}

#[test]
fn many_threads_share_the_turns_exactly_and_give_all_back() {
    let json =
        r#"{"endpoints":["10.0.0.1:80",{"address":"10.0.0.2:80","weight":3},"10.0.0.3:80"]}"#;
    for balance in BALANCES {
        let pool = pool(&json.replace("]}", &format!(r#"],"balance":{balance}}}"#)), None);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..5_000 {
                        held.push(pick(pool, round ^ thread << 32, &[], random::next()).unwrap());
                        held.truncate(7);
                    }
                });
            }
        });
        let all = pool.endpoints();
        assert!(all.iter().all(|endpoint| endpoint.in_flight() == 0), "{balance}");
        let picks: Vec<u64> = all.iter().map(|endpoint| endpoint.picks()).collect();
        assert_eq!(picks.iter().sum::<u64>(), 40_000);
        if balance == BALANCES[0] {
            assert_eq!(picks, [8_000, 24_000, 8_000]);
        }
    }
}

#[test]
fn changes_under_load_disturb_no_pick() {
    let pool =
        pool(r#"{"endpoints":["10.0.0.1:80","pods.t:80"],"health":{"rise":1,"fall":1}}"#, None);
    let now = Clock::System.now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    assert!(pick(&pool, 0, &[], random::next()).is_some());
                }
            });
        }
        for round in 0..500_u32 {
            let ips: Vec<IpAddr> = (0..round % 5)
                .map(|n| IpAddr::from([10, 0, 1, u8::try_from(n).unwrap()]))
                .collect();
            pool.update(0, &ips);
            let outcome = if round % 2 == 0 { Outcome::Failed } else { Outcome::Passed };
            for endpoint in pool.endpoints().iter().filter(|e| e.host().is_some()) {
                pool.observe(endpoint.address(), outcome, now);
            }
        }
    });
    assert!(pool.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}
