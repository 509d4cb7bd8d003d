//! What `admit` decides, in which order, and what a reload keeps of it.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method};
use tidegate_auth::Caller;
use tidegate_core::clock::ManualClock;
use tidegate_core::{Clock, Reason, Request};
use tidegate_engine::pipeline::Refused;
use tidegate_engine::{Admission, Admitted, Config, RequestFacts, Snapshot, admit};

const EDGE: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
policies:
  shared: { rate_limit: { name: shared, rate: 2/h } }
  guarded: { waf: { mode: block } }
routes:
  - { id: open, path: /open, to: api }
  - { id: post, path: /post, methods: [POST, PUT], to: api }
  - { id: office, path: /office, to: api, allow: [10.0.0.0/8], rate_limit: { rate: 1/h } }
  - { id: one, path: /one, to: api, policies: [shared] }
  - { id: two, path: /two, to: api, policies: [shared] }
  - { id: trial, path: /trial, to: api, rate_limit: [{ name: try, rate: 1/h, dry_run: true }, { name: real, rate: 3/h }] }
  - { id: guarded, path: /guarded, to: api, policies: [guarded], rate_limit: { rate: 2/h } }
  - { id: old, path: /old, redirect: { path: /open } }
upstreams:
  api: { endpoints: [127.0.0.1:9000] }
";

fn compile(text: &str, previous: Option<&Snapshot>) -> Snapshot {
    let config = Config::from_text("edge.yaml", text).unwrap();
    Snapshot::compile(&config, previous).unwrap()
}

/// A client at a machine whose clock stands still.
struct Client {
    clock: ManualClock,
    now: Instant,
}

impl Client {
    fn new() -> Self {
        let clock = ManualClock::new();
        let now = Clock::Manual(clock.clone()).now();
        Self { clock, now }
    }

    fn wait(&mut self, time: Duration) {
        self.clock.advance(time);
        self.now = Clock::Manual(self.clock.clone()).now();
    }

    fn send(
        &self,
        snapshot: &Snapshot,
        (method, target): (Method, &str),
        client: &str,
    ) -> Result<Admitted, Box<Refused>> {
        let head = head(method, target);
        self.admit(snapshot, &self.request(&head, client.parse().unwrap_or(NOBODY)))
    }

    fn admit(&self, snapshot: &Snapshot, request: &Request<'_>) -> Result<Admitted, Box<Refused>> {
        let caller = Caller { time: Clock::Manual(self.clock.clone()).wall(), certificate: None };
        match admit(snapshot, request, &RequestFacts::default(), &caller)? {
            Admission::Admitted(admitted) => Ok(*admitted),
            Admission::Waiting(waiting) => panic!("nothing here waits: {waiting:?}"),
        }
    }

    fn get(&self, snapshot: &Snapshot, target: &str) -> Result<Admitted, Box<Refused>> {
        self.send(snapshot, (Method::GET, target), "192.0.2.1")
    }

    fn request<'r>(&self, head: &'r Parts, client: IpAddr) -> Request<'r> {
        Request {
            head,
            host: "api.example.com",
            path: head.uri.path(),
            client,
            secure: false,
            received_at: self.now,
        }
    }
}

const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn head(method: Method, target: &str) -> Parts {
    http::Request::builder().method(method).uri(target).body(()).unwrap().into_parts().0
}

/// The reason of a refusal; `None` if the request was admitted.
fn reason(result: Result<Admitted, Box<Refused>>) -> Option<Reason> {
    result.err().map(|refused| refused.denial.reason)
}

#[test]
fn a_request_without_a_route_is_refused_first() {
    let (snapshot, client) = (compile(EDGE, None), Client::new());
    let refused = client.get(&snapshot, "/none").unwrap_err();
    assert_eq!(refused.denial.reason, Reason::NoRoute);
    assert!(refused.route.is_none());
    let refused = client.get(&snapshot, "/post").unwrap_err();
    assert_eq!(refused.denial.reason, Reason::MethodNotAllowed);
    let allow = refused.denial.headers.get("allow").unwrap().to_str().unwrap();
    assert!(allow.contains("POST") && allow.contains("PUT"), "{allow}");
    let admitted = client.get(&snapshot, "/open/x").unwrap();
    assert_eq!(&*admitted.route().id, "open");
    assert_eq!(admitted.matched_len(), "/open".len());
}

#[test]
fn addresses_come_before_tokens() {
    let (snapshot, client) = (compile(EDGE, None), Client::new());
    for _ in 0..5 {
        let refused = client.send(&snapshot, (Method::GET, "/office"), "192.0.2.1").unwrap_err();
        assert_eq!(refused.denial.reason, Reason::AddressDenied);
        assert_eq!(refused.route.as_ref().map(|route| &*route.id), Some("office"));
    }
    let inside = || reason(client.send(&snapshot, (Method::GET, "/office"), "10.1.2.3"));
    assert_eq!(inside(), None);
    assert_eq!(inside(), Some(Reason::RateLimited));
}

#[test]
fn a_limit_of_a_policy_counts_over_its_routes() {
    let (snapshot, client) = (compile(EDGE, None), Client::new());
    assert_eq!(reason(client.get(&snapshot, "/one")), None);
    let admitted = client.get(&snapshot, "/two").unwrap();
    let fields: HeaderMap =
        admitted.rate_headers().map(|(name, value)| (name, value.clone())).collect();
    assert_eq!(fields.get("ratelimit").unwrap(), "\"shared\";r=0;t=3600");
    let refused = client.get(&snapshot, "/one").unwrap_err();
    assert_eq!(refused.denial.reason, Reason::RateLimited);
    assert!(refused.denial.retry_after.is_some());
    assert_eq!(reason(client.send(&snapshot, (Method::GET, "/one"), "192.0.2.2")), None);
}

#[test]
fn a_limit_in_dry_run_only_leaves_its_name() {
    let (snapshot, client) = (compile(EDGE, None), Client::new());
    let first = client.get(&snapshot, "/trial").unwrap();
    assert_eq!(first.dry_run_limits().count(), 0);
    let second = client.get(&snapshot, "/trial").unwrap();
    assert_eq!(second.dry_run_limits().collect::<Vec<_>>(), ["try"]);
    assert_eq!(second.rate_headers().count(), 2);
    assert_eq!(reason(client.get(&snapshot, "/trial")), None);
    let refused = client.get(&snapshot, "/trial").unwrap_err();
    assert_eq!(refused.dry_run_limits, [Box::<str>::from("try")]);
}

#[test]
fn tokens_come_before_the_firewall() {
    let (snapshot, client) = (compile(EDGE, None), Client::new());
    let attack = "/guarded?id=1'%20OR%20'1'='1'%20--%20";
    for _ in 0..2 {
        let refused = client.get(&snapshot, attack).unwrap_err();
        assert_eq!(refused.denial.reason, Reason::WafBlocked);
        assert!(refused.waf.as_ref().is_some_and(|waf| waf.blocked && !waf.matches.is_empty()));
    }
    assert_eq!(reason(client.get(&snapshot, attack)), Some(Reason::RateLimited));
}

#[test]
fn the_body_is_inspected_where_the_firewall_is_on() {
    let (snapshot, client) = (compile(EDGE, None), Client::new());
    let request = http::Request::post("/guarded").header("content-length", "30");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let (head, ()) = request.body(()).unwrap().into_parts();
    let mut admitted =
        client.admit(&snapshot, &client.request(&head, [192, 0, 2, 1].into())).unwrap();
    assert!(admitted.body_cap().is_some_and(|cap| cap >= 1024));
    let form = b"id=1'+OR+'1'='1'+--+";
    let denial =
        admitted.inspect_body(Some("application/x-www-form-urlencoded"), form, true).unwrap_err();
    assert_eq!(denial.reason, Reason::WafBlocked);
    assert!(admitted.waf_summary().is_some_and(|waf| waf.blocked));
    assert_eq!(client.get(&snapshot, "/open").unwrap().body_cap(), None);
}

#[test]
fn a_reload_keeps_buckets() {
    let (first, mut client) = (compile(EDGE, None), Client::new());
    assert_eq!(reason(client.get(&first, "/one")), None);
    assert_eq!(reason(client.get(&first, "/one")), None);
    let second = compile(EDGE, Some(&first));
    assert_eq!(reason(client.get(&second, "/two")), Some(Reason::RateLimited));

    // Moving a route, or changing another setting of the limit, keeps them, too.
    let (head, tail) = EDGE.split_once("routes:\n").unwrap();
    let moved = format!("{head}routes:\n  - {{ id: new, path: /new, to: api }}\n{tail}");
    let third = compile(&moved.replace("rate: 2/h", "rate: 2/h, dry_run: false"), Some(&second));
    assert_eq!(reason(client.get(&third, "/two")), Some(Reason::RateLimited));
    client.wait(Duration::from_secs(1800));
    assert_eq!(reason(client.get(&third, "/two")), None);
    assert_eq!(reason(client.get(&third, "/two")), Some(Reason::RateLimited));
}

#[test]
fn a_reload_keeps_pools_and_a_refused_one_leaves_no_trace() {
    let first = compile(EDGE, None);
    let second = compile(EDGE, Some(&first));
    let same = |one: &Snapshot, other: &Snapshot| {
        std::sync::Arc::ptr_eq(&one.pools()["api"], &other.pools()["api"])
    };
    assert!(same(&first, &second));

    let endpoint =
        |snapshot: &Snapshot| snapshot.pools()["api"].endpoints().first().cloned().unwrap();
    endpoint(&second).record_failure();
    let changed =
        EDGE.replace("endpoints: [127.0.0.1:9000]", "endpoints: [127.0.0.1:9000, 127.0.0.1:9001]");
    let third = compile(&changed, Some(&second));
    assert!(!same(&second, &third));
    assert_eq!(third.pools()["api"].endpoints().len(), 2);
    assert_eq!(endpoint(&third).failures(), 1);

    let broken = Config::from_text("edge.yaml", &EDGE.replace("/open }", "open }")).unwrap();
    assert!(Snapshot::compile(&broken, Some(&third)).is_err());
    assert_eq!(third.pools()["api"].endpoints().len(), 2);
}
