//! The policy as a whole: events in, decisions out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use tidegate_core::clock::ManualClock;
use tidegate_core::decision::{Decision, Measure, Standing, Target};
use tidegate_core::event::{Applied, Identity, WafMatch, WafSummary};
use tidegate_core::{Clock, Event, Notice, NoticeKind, Reason};

use super::{
    Builtin, Decisions, Geo, Remaining, ResponsePolicy, ResponseSettings, RuleSettings,
    Surroundings, Upstreams,
};
use crate::bans::Now;

struct World {
    policy: ResponsePolicy,
    time: ManualClock,
}

fn around(builtin: &BTreeMap<String, RuleSettings>) -> Surroundings<'_> {
    Surroundings {
        builtin,
        routes: &["login", "shop"],
        geo: Geo::default(),
        upstreams: Arc::new(Pools(Remaining { able: 1, total: 1 })),
        seed: 1,
    }
}

fn settings(json: &str) -> ResponseSettings {
    serde_json::from_str(json).unwrap()
}

impl World {
    fn new(json: &str) -> Self {
        let policy = ResponsePolicy::compile(&settings(json), around(&BTreeMap::new()), None);
        let policy = policy.unwrap_or_else(|errors| panic!("{errors:?}"));
        Self { policy, time: ManualClock::new() }
    }

    /// A world with one rule that acts, and no jitter.
    fn with_rule(rest: &str) -> Self {
        let ttl = r#""ttl": {"first": "1m", "factor": 2, "max": "10m", "jitter": "0%"}"#;
        Self::new(&format!(r#"{{"rules": {{"rule": {{"enforce": true, {ttl}, {rest}}}}}}}"#))
    }

    fn now(&self) -> Now {
        let clock = Clock::Manual(self.time.clone());
        Now { instant: clock.now(), wall: clock.wall() }
    }

    fn pass(&self, seconds: u64) {
        self.time.advance(Duration::from_secs(seconds));
    }

    fn see(&self, event: &Event<'_>) -> Vec<Arc<Decision>> {
        self.policy.observe(event, self.now()).map(|made| made.decided).unwrap_or_default()
    }

    /// How many of these events, a second apart, it takes until something is decided.
    fn events_until(&self, event: &Event<'_>) -> Option<usize> {
        (1..=100).find(|_| {
            self.pass(1);
            !self.see(event).is_empty()
        })
    }
}

const LEAKY: &str = r#""leaky": {"capacity": 3, "leak": "1/h"}"#;

fn from(client: &str) -> Event<'static> {
    Event { client: client.parse().unwrap(), ..Event::default() }
}

fn status(client: &str, status: u16) -> Event<'static> {
    Event { status, ..from(client) }
}

/// How many of an event are too many under this `when`, of which three are fine.
#[track_caller]
fn check_when(when: &str, event: &Event<'_>, counts: bool) {
    let world = World::with_rule(&format!(r#""when": {when}, {LEAKY}"#));
    assert_eq!(world.events_until(event), counts.then_some(4), "{when} {event:?}");
}

#[test]
fn conditions_choose_the_events() {
    let plain = status("198.51.100.1", 404);
    check_when(r#"{"status": [404]}"#, &plain, true);
    check_when(r#"{"status": ["4xx"]}"#, &plain, true);
    check_when(r#"{"status": [401, 403]}"#, &plain, false);
    let limited = Event { reason: Some(Reason::RateLimited), ..plain.clone() };
    check_when(r#"{"reasons": ["rate_limited"]}"#, &limited, true);
    check_when(r#"{"reasons": ["waf_blocked"]}"#, &limited, false);
    check_when(r#"{"reasons": ["rate_limited"]}"#, &plain, false);
    check_when(r#"{"reasons": ["rate_limited"], "status": [200]}"#, &limited, false);
    let login = Event { route: Some("login"), method: Some(&Method::POST), ..plain.clone() };
    check_when(r#"{"routes": ["login"]}"#, &login, true);
    check_when(r#"{"routes": ["shop"]}"#, &login, false);
    check_when(r#"{"methods": ["POST"]}"#, &login, true);
    check_when(r#"{"methods": ["GET"]}"#, &login, false);
    let path = Event { path: "/.env", user_agent: Some("Nikto/2.5"), ..plain.clone() };
    check_when(r#"{"path": "^/\\.(env|git)"}"#, &path, true);
    check_when(r#"{"path": "^/\\.(env|git)"}"#, &plain, false);
    check_when(r#"{"headers": {"user-agent": "(?i)nikto"}}"#, &path, true);
    check_when(r#"{"headers": {"user-agent": "(?i)nikto"}}"#, &plain, false);
    let expired = Event { evidence: Some("the token has expired"), ..plain.clone() };
    check_when(r#"{"evidence": "expired"}"#, &expired, true);
    check_when(r#"{"evidence": "expired"}"#, &plain, false);
    let left = Event { upstream_status: Some(404), status: 499, ..plain.clone() };
    let left = Event { reason: Some(Reason::ClientClosed), ..left };
    check_when(r#"{"status": [404]}"#, &left, true);
    check_when(r#"{"status": [404], "refused": false}"#, &left, true);
    check_when(r#"{"refused": false, "status": ["4xx"]}"#, &limited, false);
    check_when(r#"{"refused": true}"#, &limited, true);
    let spelt = Event { path: "/%2eenv", canonical_path: "/.env", ..plain.clone() };
    check_when(r#"{"path": "^/\\.env$"}"#, &spelt, true);
    let mut fields = HeaderMap::new();
    fields.insert("x-tool", HeaderValue::from_static("v1"));
    let tool = Event { headers: Some(&fields), ..plain.clone() };
    check_when(r#"{"headers": {"X-Tool": "^v\\d$"}}"#, &tool, true);
    let abroad = Event { country: Some("DE"), asn: Some(64_500), ..plain };
    check_when(r#"{"identified": false}"#, &abroad, true);
    check_when(r#"{"identified": true}"#, &abroad, false);
}

#[test]
fn the_firewall_and_who_asks_are_conditions_too() {
    let found = WafSummary {
        score: 10,
        matches: vec![WafMatch {
            rule: 942_100,
            tags: ["attack-sqli".into()].into(),
            ..WafMatch::default()
        }],
        ..WafSummary::default()
    };
    let event = Event { waf: Some(&found), ..from("198.51.100.1") };
    check_when(r#"{"rules": [942100]}"#, &event, true);
    check_when(r#"{"rules": [1]}"#, &event, false);
    check_when(r#"{"tags": ["attack-sqli"]}"#, &event, true);
    check_when(r#"{"tags": ["attack-*"]}"#, &event, true);
    check_when(r#"{"tags": ["attack"]}"#, &event, false);
    check_when(r#"{"score": 10}"#, &event, true);
    check_when(r#"{"score": 11}"#, &event, false);
    check_when(r#"{"score": 1}"#, &from("198.51.100.1"), false);
    let identity =
        Identity { provider: "corp".into(), subject: Some("ann".into()), ..Identity::default() };
    let event = Event { identity: Some(&identity), ..from("198.51.100.1") };
    check_when(r#"{"subjects": ["ann"]}"#, &event, true);
    check_when(r#"{"subjects": ["bob"]}"#, &event, false);
    check_when(r#"{"identified": true}"#, &event, true);
}

/// Whether four events of different kinds count as those of one, and whom a decision names.
#[track_caller]
fn check_key(key: &str, events: [&Event<'_>; 2], target: Option<&str>) {
    let rest = format!(r#""when": {{"status": [404]}}, "key": {key}, {LEAKY}"#);
    let world = World::with_rule(&rest);
    let decided: Vec<_> = (0..4).flat_map(|n| world.see(events[n % 2])).collect();
    let named = decided.first().map(|decision| decision.target.to_string());
    assert_eq!(named.as_deref(), target, "{key}");
}

#[test]
fn a_key_is_who_is_counted_and_decided_about() {
    let (one, other) = (status("198.51.100.1", 404), status("198.51.100.2", 404));
    check_key(r#""client_ip""#, [&one, &other], None);
    check_key(r#""client_ip""#, [&one, &one], Some("198.51.100.1"));
    check_key(r#"{"prefix": {}}"#, [&one, &other], Some("198.51.100.0/24"));
    let (v6, neighbour) = (status("2001:db8::1", 404), status("2001:db8::ff", 404));
    check_key(r#""client_ip""#, [&v6, &neighbour], Some("2001:db8::/64"));
    let mapped = status("::ffff:198.51.100.1", 404);
    check_key(r#""client_ip""#, [&one, &mapped], Some("198.51.100.1"));
    let on = |event: &Event<'static>| Event { route: Some("shop"), ..event.clone() };
    check_key(r#""route""#, [&on(&one), &on(&other)], Some("route shop"));
    check_key(r#""route""#, [&one, &other], None);
    let tool = |event: &Event<'static>| Event { user_agent: Some("tool"), ..event.clone() };
    check_key(r#"{"header": "user-agent"}"#, [&tool(&one), &tool(&other)], Some("198.51.100.2"));
    let identity = Identity {
        provider: "corp".into(),
        subject: Some("ann".into()),
        client: Some("app".into()),
        method: "jwt",
    };
    let known = |event: &Event<'static>| Event {
        identity: Some(&identity),
        credential: Some("c0ffee"),
        ..event.clone()
    };
    let known = [&known(&one), &known(&other)];
    check_key(r#""subject""#, known, Some("subject ann of corp"));
    check_key(r#""client""#, known, Some("client app of corp"));
    check_key(r#""api_key""#, known, None);
    check_key(r#""token""#, known, Some("token c0ffee"));
    check_key(r#""token""#, [&one, &other], None);
}

#[test]
fn different_values_are_counted_whatever_their_number() {
    let rest =
        r#""when": {"status": [404]}, "distinct": {"of": "path", "more_than": 5, "within": "1m"}"#;
    let world = World::with_rule(rest);
    let paths: Vec<String> = (0..20).map(|n| format!("/{n}")).collect();
    let event = |path| Event { path, ..status("198.51.100.1", 404) };
    assert!((0..50).all(|n| world.see(&event(&paths[n % 5])).is_empty()));
    let decided = world.see(&event(&paths[5]));
    assert_eq!((decided[0].evidence.count, decided[0].evidence.samples.len()), (51, 5));
}

#[test]
fn the_ladder_is_climbed_and_a_measure_is_not_repeated() {
    let rest = format!(
        r#""when": {{"status": [404]}}, "ladder": ["alert", "throttle", "block"], {LEAKY}"#
    );
    let world = World::with_rule(&rest);
    let event = status("198.51.100.1", 404);
    let decided: Vec<_> = (0..100).flat_map(|_| world.see(&event)).collect();
    let told: Vec<_> = decided
        .iter()
        .map(|decision| {
            let lasts = decision.until.unwrap().duration_since(decision.time).unwrap();
            (decision.measure, decision.offence, lasts.as_secs(), decision.standing)
        })
        .collect();
    let enforced = Standing::Enforced;
    let expected = [
        (Measure::Alert, 1, 60, enforced),
        (Measure::Throttle, 2, 120, enforced),
        (Measure::Block, 3, 240, enforced),
    ];
    assert_eq!(told, expected);
    world.pass(240);
    let again: Vec<_> = (0..4).flat_map(|_| world.see(&event)).collect();
    assert_eq!((again[0].measure, again[0].offence), (Measure::Block, 4));
    let (target, now) = (again[0].target.clone(), world.now());
    world.policy.forget(&target, now);
    let forgiven: Vec<_> = (0..4).flat_map(|_| world.see(&event)).collect();
    assert_eq!((forgiven[0].measure, forgiven[0].offence), (Measure::Alert, 1));
}

#[test]
fn the_evidence_is_the_events_that_led_to_it() {
    let world = World::with_rule(&format!(r#""when": {{"status": [404]}}, {LEAKY}"#));
    let began = world.now().wall;
    let ids: Vec<String> = (0..4).map(|n| format!("id-{n}")).collect();
    let mut decided = Vec::new();
    for id in &ids {
        let route = Some("shop");
        decided.extend(world.see(&Event { request_id: id, route, ..status("198.51.100.1", 404) }));
        world.see(&status("198.51.100.9", 200));
        world.pass(1);
    }
    let evidence = &decided[0].evidence;
    assert_eq!((evidence.count, evidence.since), (4, Some(began)));
    let told: Vec<&str> = evidence.samples.iter().map(|sample| &*sample.request_id).collect();
    assert_eq!(told, ["id-0", "id-1", "id-2", "id-3"]);
    assert_eq!(evidence.samples[3].time, began + Duration::from_secs(3));
    assert_eq!(evidence.samples[3].route.as_deref(), Some("shop"));
}

#[test]
fn nobody_who_is_protected_is_counted() {
    let world = World::new(&format!(
        r#"{{"allow": ["198.51.100.0/28"],
            "rules": {{"rule": {{"when": {{"status": [404]}}, {LEAKY}}}}}}}"#
    ));
    for client in ["127.0.0.1", "::1", "192.0.2.77", "198.51.100.3", "::ffff:127.1.2.3"] {
        assert_eq!(world.events_until(&status(client, 404)), None, "{client}");
    }
    assert_eq!(world.events_until(&status("198.51.100.99", 404)), Some(4));
}

#[test]
fn what_enforcement_answers_counts_for_nothing() {
    let world = World::with_rule(&format!(r#""when": {{"status": ["4xx"]}}, {LEAKY}"#));
    let banned = Event { reason: Some(Reason::Banned), ..status("198.51.100.1", 403) };
    assert_eq!(world.events_until(&banned), None);
    let by = |measure| Some(Applied { measure, rule: "rule" });
    let throttled = Event { measure: by(Measure::Throttle), ..status("198.51.100.1", 404) };
    let refused = Event { reason: Some(Reason::Throttled), ..throttled.clone() };
    assert_eq!(world.events_until(&refused), None);
    let isolated = Event { measure: by(Measure::Isolate), ..throttled.clone() };
    assert_eq!(world.events_until(&isolated), None);
    assert_eq!(world.events_until(&throttled), Some(4), "a real answer");
    assert_eq!(world.policy.population(world.now()).0.clients, 1);
}

#[test]
fn dry_run_is_the_default_and_hits_nobody() {
    let rule = format!(r#"{{"when": {{"status": [404]}}, "ladder": ["block"], {LEAKY}}}"#);
    let world = World::new(&format!(r#"{{"cap_floor": 0, "rules": {{"rule": {rule}}}}}"#));
    let decided: Vec<_> = (0..9).flat_map(|_| world.see(&status("198.51.100.1", 404))).collect();
    let standings: Vec<_> = decided.iter().map(|decision| decision.standing).collect();
    assert_eq!(standings, [Standing::DryRun]);
    assert_eq!(
        world.policy.population(world.now()),
        (super::Counted { clients: 1, hit: 0 }, false)
    );
}

#[test]
fn a_rule_that_means_everybody_stops_at_the_cap() {
    let world = World::with_rule(
        r#""when": {"status": ["100-599"]}, "ladder": ["block"], "leaky": {"capacity": 3, "leak": "1/h"}"#,
    );
    let clients: Vec<IpAddr> =
        (0..200_u32).map(|n| std::net::Ipv4Addr::from_bits(0xcb00_7100 + n).into()).collect();
    let (mut blocked, mut capped, mut notices) = (0, 0, Vec::new());
    for _ in 0..10 {
        for client in &clients {
            let event = Event { client: *client, status: 200, ..Event::default() };
            let Decisions { decided, notices: told } =
                world.policy.observe(&event, world.now()).unwrap_or_default();
            notices.extend(told);
            for decision in decided {
                match decision.standing {
                    Standing::Enforced => blocked += 1,
                    Standing::Capped => capped += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        world.pass(1);
    }
    assert_eq!((blocked, capped), (10, 190));
    let kinds: Vec<NoticeKind> = notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, [NoticeKind::EnforcementCapped]);
    assert!(notices[0].summary.starts_with("measures hit 10 of 200"), "{}", notices[0].summary);
    assert!(world.policy.tick(world.now()).is_none());
    world.pass(60);
    let resumed = world.policy.tick(world.now()).unwrap();
    assert_eq!(resumed.notices[0].kind, NoticeKind::EnforcementResumed);
}

#[test]
fn a_distributed_attack_is_stopped_although_it_is_more_than_all_others() {
    let world = World::with_rule(
        r#""when": {"status": [401]}, "ladder": ["block"], "leaky": {"capacity": 3, "leak": "1/h"}"#,
    );
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0xcb00_7100 + n));
    let event = |n: u32, status: u16| Event {
        client: address(n),
        status,
        upstream_status: Some(status),
        ..Event::default()
    };
    let (mut blocked, mut throttled) = ([false; 1_000], 0);
    for _ in 0..12 {
        (0..100).for_each(|n| assert!(world.see(&event(n, 200)).is_empty()));
        for (n, blocked) in (100..).zip(&mut blocked).filter(|(_, blocked)| !**blocked) {
            for decision in world.see(&event(n, 401)) {
                assert_eq!(decision.standing, Standing::Enforced);
                *blocked |= decision.measure == Measure::Block;
                throttled += usize::from(decision.measure == Measure::Throttle);
            }
        }
        world.pass(12);
    }
    assert_eq!(blocked.iter().filter(|blocked| **blocked).count(), 1_000);
    // 5 % of 1,100 at once.
    assert_eq!(throttled, 945);
    // Of those who are served no more than 5 % are hit, whatever they do.
    let mut hit = 0;
    for n in (0..100).flat_map(|n| [n; 8]) {
        let decided = world.see(&event(n, 401));
        hit += decided.iter().filter(|one| one.standing == Standing::Enforced).count();
    }
    assert_eq!(hit, 5);
}

#[test]
fn a_reload_keeps_what_was_counted_where_the_detection_is_the_same() {
    let rule = |capacity: u32, ladder: &str| {
        settings(&format!(
            r#"{{"rules": {{"rule": {{"when": {{"status": [404]}}, "ladder": ["{ladder}"],
                "leaky": {{"capacity": {capacity}, "leak": "1/h"}}}}}}}}"#
        ))
    };
    let none = BTreeMap::new();
    let time = ManualClock::new();
    let mut world = World {
        policy: ResponsePolicy::compile(&rule(3, "alert"), around(&none), None).unwrap(),
        time,
    };
    let event = status("198.51.100.1", 404);
    assert!((0..3).all(|_| world.see(&event).is_empty()));
    let reload = |world: &World, settings| {
        ResponsePolicy::compile(&settings, around(&none), Some(&world.policy)).unwrap()
    };
    world.policy = reload(&world, rule(3, "block"));
    assert_eq!(world.see(&event)[0].measure, Measure::Block);
    assert!((0..3).all(|_| world.see(&event).is_empty()));
    world.policy = reload(&world, rule(4, "block"));
    assert!((0..4).all(|_| world.see(&event).is_empty()));
    assert_eq!(world.see(&event).len(), 1);
}

#[test]
fn who_offended_in_dry_run_is_met_once_the_rule_acts() {
    let rule = |enforce: bool| {
        settings(&format!(
            r#"{{"rules": {{"rule": {{"when": {{"status": [404]}}, "ladder": ["block"],
                "enforce": {enforce}, {LEAKY}}}}}}}"#
        ))
    };
    let none = BTreeMap::new();
    let compile = |settings, old: Option<&ResponsePolicy>| {
        ResponsePolicy::compile(&settings, around(&none), old).unwrap()
    };
    let mut world = World { policy: compile(rule(false), None), time: ManualClock::new() };
    let event = status("198.51.100.1", 404);
    let told: Vec<_> = (0..4).flat_map(|_| world.see(&event)).collect();
    assert_eq!(told[0].standing, Standing::DryRun);
    world.policy = compile(rule(true), Some(&world.policy));
    let done: Vec<_> = (0..4).flat_map(|_| world.see(&event)).collect();
    assert_eq!((done[0].standing, done[0].offence), (Standing::Enforced, 1));
}

/// Two zones of two endpoints, some of which can take requests, and some addresses of ours.
#[derive(Debug)]
struct Pools(Remaining);

impl Upstreams for Pools {
    fn is_ours(&self, address: IpAddr) -> bool {
        let ours: ipnet::IpNet = "192.0.2.0/24".parse().unwrap();
        ours.contains(&address.to_canonical())
    }

    fn zone(&self, _: &str, endpoint: std::net::SocketAddr) -> Option<Box<str>> {
        Some(if endpoint.port() < 3 { "a" } else { "b" }.into())
    }

    fn without(&self, _: &Target) -> Option<Remaining> {
        Some(self.0)
    }
}

/// What becomes of the isolation of an endpoint if this is left of its upstream.
#[track_caller]
fn check_isolation(key: &str, remaining: Remaining, standing: Standing, target: &str) {
    let json = format!(
        r#"{{"rules": {{"rule": {{"enforce": true, "when": {{"notices": ["endpoint_ejected"]}},
            "key": "{key}", "ladder": ["isolate"], {LEAKY}}}}}}}"#
    );
    let none = BTreeMap::new();
    let around = Surroundings { upstreams: Arc::new(Pools(remaining)), ..around(&none) };
    let policy = ResponsePolicy::compile(&settings(&json), around, None).unwrap();
    let world = World { policy, time: ManualClock::new() };
    let mut notice = Notice::new(world.now().wall, NoticeKind::EndpointEjected, "ejected");
    (notice.upstream, notice.endpoint) = (Some("api".into()), "10.0.0.1:1".parse().ok());
    let seen = (0..4).filter_map(|_| world.policy.observe_notice(&notice, world.now()));
    let decided: Vec<_> = seen.flat_map(|made| made.decided).collect();
    let decision = decided.first().unwrap();
    assert_eq!((decision.standing, &*decision.target.to_string()), (standing, target));
    assert!(world.see(&status("192.0.2.1", 502)).is_empty());
}

#[test]
fn an_endpoint_is_isolated_only_if_half_of_its_upstream_is_left() {
    let (three, one) = (Remaining { able: 3, total: 4 }, Remaining { able: 1, total: 4 });
    let endpoint = "endpoint 10.0.0.1:1 of api";
    check_isolation("endpoint", three, Standing::Enforced, endpoint);
    check_isolation("endpoint", one, Standing::Capped, endpoint);
    check_isolation("endpoint", Remaining { able: 0, total: 0 }, Standing::Capped, endpoint);
    check_isolation("zone", three, Standing::Enforced, "zone a of api");
}

#[track_caller]
fn check_error(rule: &str, expected: &str) {
    let json = format!(r#"{{"rules": {{"r": {rule}}}}}"#);
    let errors = ResponsePolicy::compile(&settings(&json), around(&BTreeMap::new()), None);
    let errors: Vec<String> = errors.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(errors, [expected], "{rule}");
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    let rule = |rest: &str| format!(r#"{{"when": {{"status": [404]}}, {LEAKY}{rest}}}"#);
    let when = |when: &str| format!(r#"{{"when": {when}, {LEAKY}}}"#);
    check_error(&format!("{{{LEAKY}}}"), "rules.r.when: nothing says which events count");
    check_error(&when("{}"), "rules.r.when: no condition is given, so every request would count");
    let many = r#"{"when": {"status": [404]}}"#;
    check_error(many, "rules.r: nothing says how many are too many");
    let distinct = r#", "distinct": {"of": "path", "more_than": 1, "within": "1m"}"#;
    check_error(&rule(distinct), "rules.r.distinct: a rule has either `leaky` or `distinct`");
    let ladder = r#", "ladder": ["block", "alert"]"#;
    let milder = "rules.r.ladder: a further offence would be answered more mildly";
    check_error(&rule(ladder), milder);
    check_error(&rule(r#", "ladder": []"#), "rules.r.ladder: the ladder has no step");
    let zone = r#", "key": "zone", "ladder": ["block"]"#;
    check_error(&rule(zone), "rules.r.ladder: an endpoint or a zone can only be isolated");
    let factor = r#", "ttl": {"factor": 0.5}"#;
    check_error(&rule(factor), "rules.r.ttl.factor: a factor is from 1 to 100");
    let reasons = when(r#"{"reasons": ["banned", "x"]}"#);
    check_error(&reasons, "rules.r.when.reasons.1: `x` is none of the reasons");
    let routes = when(r#"{"routes": ["nowhere"]}"#);
    check_error(&routes, "rules.r.when.routes.0: no route has the id `nowhere`");
    let geo = "rules.r.when.countries: nothing tells where an address is";
    check_error(&when(r#"{"countries": ["DE"]}"#), geo);
    let both = when(r#"{"notices": ["endpoint_down"], "status": [502]}"#);
    let beside =
        "rules.r.when.notices: conditions on requests stand beside `notices`, which are none";
    check_error(&both, beside);
    let method = "rules.r.when.methods.0: `get` is not a method";
    check_error(&when(r#"{"methods": ["get"]}"#), method);
    let prefix = r#", "key": {"prefix": {"ipv4": 4}}"#;
    check_error(&rule(prefix), "rules.r.key.prefix.ipv4: an IPv4 prefix is from 8 to 32 here");
}

#[test]
fn a_bad_regular_expression_says_what_is_wrong_with_it() {
    let json = format!(r#"{{"rules": {{"r": {{"when": {{"path": "("}}, {LEAKY}}}}}}}"#);
    let errors = ResponsePolicy::compile(&settings(&json), around(&BTreeMap::new()), None);
    let error = errors.unwrap_err()[0].to_string();
    assert_eq!(error, "rules.r.when.path: `(` is not a regular expression: unclosed group");
}

#[test]
fn shipped_rules_are_changed_field_by_field() {
    let shipped: RuleSettings =
        serde_json::from_str(&format!(r#"{{"when": {{"status": [404]}}, {LEAKY}}}"#)).unwrap();
    let builtin =
        BTreeMap::from([("one".to_owned(), shipped.clone()), ("two".to_owned(), shipped)]);
    let rules = |json: &str| {
        let policy = ResponsePolicy::compile(&settings(json), around(&builtin), None).unwrap();
        policy.rules().map(|rule| (rule.name.to_owned(), rule.enforce)).collect::<Vec<_>>()
    };
    let named = |one, two| vec![("one".to_owned(), one), ("two".to_owned(), two)];
    assert_eq!(rules("{}"), named(false, false));
    assert_eq!(rules(r#"{"builtin": "enforce"}"#), named(true, true));
    assert_eq!(rules(r#"{"rules": {"two": {"enforce": true}}}"#), named(false, true));
    assert_eq!(
        rules(r#"{"builtin": "enforce", "rules": {"two": {"enabled": false}}}"#),
        named(true, true)[..1]
    );
    assert!(rules(r#"{"builtin": "off"}"#).is_empty());
    assert_eq!(settings("{}").builtin, Builtin::DryRun);
}

proptest::proptest! {
    /// Whatever comes, no measure names somebody who is protected, no decision makes more clients
    /// who are served be hit than the cap allows, and of all no more are hit harder than lightly
    /// without a warning.
    #[test]
    fn no_traffic_makes_the_policy_an_outage(
        events in proptest::collection::vec((0_u32..120, 0_usize..4, 0_u64..30), 1..800),
        is_answered: bool,
    ) {
        let world = World::new(r#"{"allow": ["203.0.113.0/28"], "rules": {
            "one": {"enforce": true, "when": {"status": ["4xx"]}, "ladder": ["throttle", "block"],
                "leaky": {"capacity": 2, "leak": "1/m"}},
            "net": {"enforce": true, "when": {"status": ["4xx"]}, "ladder": ["block"],
                "key": {"prefix": {"ipv4": 28}}, "leaky": {"capacity": 4, "leak": "1/m"}},
            "route": {"enforce": true, "when": {"status": [404]}, "ladder": ["block"],
                "key": "route", "leaky": {"capacity": 9, "leak": "1/m"}}}}"#);
        for (client, status, seconds) in events {
            world.pass(seconds);
            let client = std::net::Ipv4Addr::from_bits(0xcb00_7100 + client).into();
            let status = [200, 401, 404, 500][status];
            let upstream_status = Some(status).filter(|_| is_answered);
            let route = Some("shop");
            let event = Event { client, status, upstream_status, route, ..Event::default() };
            let before = world.policy.served(world.now()).hit;
            for decision in world.see(&event) {
                if let Target::Network(network) = &decision.target {
                    proptest::prop_assert!(!world.policy.is_protected(network.net().addr()));
                }
            }
            let (counted, _) = world.policy.population(world.now());
            let served = world.policy.served(world.now());
            // Whoever was hit stays so while others leave: so beyond a share of those who are here
            // there may be as many as when there were 120. And whoever is hit may be served then.
            proptest::prop_assert!(status < 400 || served.hit <= before.max(6), "{served:?}");
            proptest::prop_assert!(is_answered || counted.hit <= 6, "{counted:?}");
        }
    }
}
