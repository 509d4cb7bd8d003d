//! What operators and callers see when endpoints fail or are taken out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply, wait};

use crate::assert_problem;

fn zones(a: &Origin, b: &Origin, rest: &str) -> Gateway {
    let yaml = format!(
        "
routes: [{{ path: /, to: api }}]
upstreams:
  api:
    endpoints: [{{ address: <a>, zone: a }}, {{ address: <b>, zone: b }}]
{rest}"
    );
    Gateway::start(&yaml, &[("a", &a.address()), ("b", &b.address())])
}

/// The bodies of ten answers, sorted, each once.
fn answers(gateway: &Gateway) -> Vec<String> {
    let mut bodies: Vec<_> = (0..10).map(|_| get(gateway.address(), "/").text()).collect();
    bodies.sort();
    bodies.dedup();
    bodies
}

fn post(gateway: &Gateway, path: &str) -> u16 {
    Ask::new("POST", path).body("").send(gateway.admin()).status
}

#[test]
fn zones_and_endpoints_are_drained_by_the_admin_listener() {
    let (a, b) = (Origin::start(Reply::ok("a")), Origin::start(Reply::ok("b")));
    let gateway = zones(&a, &b, "");
    assert_eq!(answers(&gateway), ["a", "b"]);
    assert_eq!(post(&gateway, "/upstreams/api/drain?zone=a"), 200);
    assert_eq!(answers(&gateway), ["b"]);
    let page = get(gateway.admin(), "/upstreams").json();
    assert_eq!(page["api"]["zones_out"][0], "a", "{page}");
    let metrics = get(gateway.admin(), "/metrics").text();
    assert!(metrics.contains("tidegate_upstream_endpoints_drained{upstream=\"api\"} 1"));
    assert_eq!(post(&gateway, "/upstreams/api/undrain?zone=a"), 200);
    let path = format!("/upstreams/api/drain?endpoint={}", b.address());
    assert_eq!(post(&gateway, &path), 200);
    assert_eq!(answers(&gateway), ["a"]);
    for (path, status) in [
        ("/upstreams/api/drain?zone=x", 404),
        ("/upstreams/none/drain?zone=a", 404),
        ("/upstreams/api/drain?endpoint=x", 400),
        ("/upstreams/api/drain", 400),
        ("/upstreams/api/explode?zone=a", 404),
    ] {
        assert_eq!(post(&gateway, path), status, "{path}");
    }
    assert_eq!(get(gateway.admin(), "/upstreams/api/drain?zone=a").status, 405, "not by GET");
}

#[test]
fn an_endpoint_that_fails_is_ejected_and_comes_back() {
    let (a, b) = (Origin::start(Reply::status(500, "broken")), Origin::start(Reply::ok("b")));
    let rest = "    outlier: { ejection_time: 1s, interval: 1s }";
    let gateway = zones(&a, &b, rest);
    wait::until("it is ejected", || {
        let _answer = get(gateway.address(), "/");
        get(gateway.admin(), "/metrics")
            .text()
            .contains("tidegate_upstream_endpoints_ejected{upstream=\"api\"} 1")
    });
    assert_eq!(answers(&gateway), ["b"]);
    let labels = [("upstream", "api"), ("cause", "consecutive_5xx")];
    assert_eq!(gateway.metric("tidegate_upstream_ejections_total", &labels), Some(1.0));
    wait::until("it is back", || answers(&gateway).len() == 2);
}

#[test]
fn limits_and_the_breaker_refuse_at_once() {
    let (a, b) = (Origin::start(Reply::status(500, "x")), Origin::start(Reply::status(500, "x")));
    let gateway = zones(&a, &b, "    breaker: { min_requests: 5 }");
    let statuses: Vec<u16> = (0..6).map(|_| get(gateway.address(), "/").status).collect();
    assert_eq!(statuses, [500, 500, 500, 500, 500, 503]);
    let refused = get(gateway.address(), "/");
    assert!(refused.text().contains("upstream_overloaded"), "{}", refused.text());
    let after = refused.header("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(after.is_some_and(|seconds| (2..=5).contains(&seconds)), "until it opens: {after:?}");
}

#[test]
fn a_breaker_lets_probes_pass_and_closes() {
    let broken = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&broken);
    let origin = Origin::script(move |_request| {
        if seen.load(Ordering::SeqCst) { Reply::status(500, "x") } else { Reply::ok("good") }
    });
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams:
  api: { endpoints: [<a>], breaker: { min_requests: 5, open: 1s, successes: 2 } }
",
        &[("a", &origin.address())],
    );
    for _request in 0..5 {
        assert_eq!(get(gateway.address(), "/").status, 500);
    }
    let before = origin.received().len();
    assert_eq!(get(gateway.address(), "/").status, 503);
    assert_eq!(origin.received().len(), before, "nothing reaches the origin");
    broken.store(false, Ordering::SeqCst);
    wait::until("it closes", || (0..5).all(|_| get(gateway.address(), "/").status == 200));
    let page = get(gateway.admin(), "/upstreams").json();
    assert_eq!(page["api"]["breaker"], "closed", "{page}");
}

#[test]
fn what_is_beyond_the_limits_is_refused_at_once() {
    let slow = Reply::Delayed(Duration::from_secs(2), Box::new(Reply::ok("late")));
    let origin = Origin::start(slow);
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<a>], limits: { requests: 1 } } }
",
        &[("a", &origin.address())],
    );
    let mut first = Connection::open(gateway.address());
    first.send(&Ask::new("GET", "/").bytes());
    wait::until("it runs", || origin.received().len() == 1);
    let (took, refused) = wait::timed(|| get(gateway.address(), "/"));
    assert_problem(&refused, 503, "upstream_overloaded");
    assert!(refused.header("retry-after").is_some() && took < Duration::from_secs(1), "{took:?}");
    assert_eq!(first.response().text(), "late");
}
