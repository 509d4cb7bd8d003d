//! What is tried again, and what never is: a request that may have had an effect is sent once.

use std::time::Duration;

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply, wait};

use crate::{assert_problem, in_front_of, with_policy};

/// An origin whose connections break at their second request, after it was read.
fn breaks_at_the_second() -> Origin {
    let seen = calls_by_connection();
    Origin::script(
        move |request| {
            if seen(request.connection) == 0 { Reply::ok("first") } else { Reply::Reset }
        },
    )
}

/// Counts calls per connection.
fn calls_by_connection() -> impl Fn(usize) -> usize + Send + Sync {
    let counts: [std::sync::atomic::AtomicUsize; 64] = std::array::from_fn(|_| 0.into());
    move |connection| counts[connection].fetch_add(1, std::sync::atomic::Ordering::SeqCst)
}

#[test]
fn a_get_on_a_stale_connection_is_sent_again() {
    let origin = breaks_at_the_second();
    let gateway = in_front_of(origin.address());
    for _request in 0..10 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
}

#[test]
fn a_post_on_a_stale_connection_is_not_sent_twice() {
    let origin = breaks_at_the_second();
    let gateway = in_front_of(origin.address());
    assert_eq!(get(gateway.address(), "/").status, 200);
    let response = Ask::new("POST", "/pay").body("amount=1").send(gateway.address());
    let sent = origin.received().iter().filter(|request| request.method == "POST").count();
    assert_eq!(sent, 1, "answered {}: a payment may have happened", response.status);
    assert_problem(&response, 502, "upstream_reset");
}

#[test]
fn a_fresh_connection_that_breaks_is_not_tried_again() {
    let origin = Origin::start(Reply::Close);
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    let response = Ask::new("POST", "/pay").body("amount=1").send_on(&mut connection);
    assert_problem(&response, 502, "upstream_reset");
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn an_origin_that_closes_without_saying_so_costs_no_request() {
    // The answer says keep-alive; the connection ends right after it.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    let origin = Origin::start(Reply::RawThenClose(answer));
    let gateway = in_front_of(origin.address());
    for number in 0..50 {
        assert_eq!(get(gateway.address(), "/").status, 200, "request {number}");
    }
}

/// A gateway before a pod that misbehaves and one that does not.
fn beside_a_good_one(bad: &Origin, good: &Origin, policy: &str) -> Gateway {
    let config = format!(
        "server: {{ threads: 1 }}
defaults: {policy}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<bad>, <good>] }} }}
"
    );
    Gateway::start(&config, &[("bad", &bad.address()), ("good", &good.address())])
}

/// Asks ten times; each answer has to be the good pod's, though the bad one was asked, too.
#[track_caller]
fn check_saved(reply: Reply, policy: &str, ask: &Ask, code: &str) {
    let (bad, good) = (Origin::start(reply), Origin::start(Reply::ok("good")));
    let gateway = beside_a_good_one(&bad, &good, policy);
    for _request in 0..10 {
        let response = ask.clone().send(gateway.address());
        assert_eq!((response.status, response.text()), (200, "good".into()));
    }
    assert!(!bad.received().is_empty(), "the bad pod was asked as well");
    let line = gateway.logged(|line| line["attempts"] == 2);
    assert_eq!(line["retries"], serde_json::json!([code]));
    assert_eq!(line["endpoint"], good.address().to_string());
    let labels = [("upstream", "api"), ("reason", code)];
    assert!(gateway.metric("tidegate_upstream_retries_total", &labels) > Some(0.0));
}

/// Asks until the bad pod was asked; its failure has to reach the client, and nobody else is asked.
#[track_caller]
fn check_lost(reply: Reply, policy: &str, ask: &Ask, status: u16) {
    let (bad, good) = (Origin::start(reply), Origin::start(Reply::ok("good")));
    let gateway = beside_a_good_one(&bad, &good, policy);
    let statuses: Vec<_> = (0..4).map(|_| ask.clone().send(gateway.address()).status).collect();
    let failed = statuses.iter().filter(|found| **found == status).count();
    assert_eq!(failed, 2, "{statuses:?}");
    assert_eq!((bad.received().len(), good.received().len()), (2, 2));
}

const GATEWAY_ERRORS: &str = "{ retries: { on: [connect_failure, reset, gateway_error] } }";
const PATIENT: &str = "{ retries: { per_try_timeout: 200ms }, timeouts: { total: 5s } }";

#[test]
fn a_pod_that_resets_costs_a_get_nothing() {
    check_saved(Reply::Reset, "{}", &Ask::new("GET", "/"), "reset");
}

#[test]
fn a_pod_that_breaks_off_in_its_head_costs_a_get_nothing() {
    let half = Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec());
    check_saved(half.clone(), "{}", &Ask::new("GET", "/"), "reset");
    check_saved(half, PATIENT, &Ask::new("GET", "/"), "reset");
}

#[test]
fn a_pod_that_speaks_no_http_costs_a_get_nothing() {
    let garbage = Reply::RawThenClose(b"\x00\x01garbage\r\n\r\n".to_vec());
    check_saved(garbage, GATEWAY_ERRORS, &Ask::new("GET", "/"), "bad_response");
}

#[test]
fn an_unavailable_pod_costs_a_get_nothing_where_the_route_says_so() {
    let unavailable = Reply::status(503, "no");
    check_saved(unavailable.clone(), GATEWAY_ERRORS, &Ask::new("GET", "/"), "status");
    check_lost(unavailable, "{}", &Ask::new("GET", "/"), 503);
    let listed = "{ retries: { on: [429] } }";
    check_saved(Reply::status(429, "no"), listed, &Ask::new("GET", "/"), "status");
}

#[test]
fn a_frozen_pod_costs_a_get_the_time_of_one_try() {
    check_saved(Reply::Hang, PATIENT, &Ask::new("GET", "/"), "per_try_timeout");
    let stalls = Reply::StallAfter(b"HTTP/1.1 200 OK\r\nX-A: ".to_vec());
    check_saved(stalls, PATIENT, &Ask::new("GET", "/"), "per_try_timeout");
}

#[test]
fn a_post_is_sent_once() {
    let post = Ask::new("POST", "/pay").body("amount=1");
    check_lost(Reply::Reset, GATEWAY_ERRORS, &post, 502);
    check_lost(Reply::status(503, "no"), GATEWAY_ERRORS, &post, 503);
    check_lost(Reply::Hang, PATIENT, &post, 504);
}

#[test]
fn a_post_with_an_idempotency_key_is_sent_again() {
    let post = Ask::new("POST", "/pay").body("amount=1").field("Idempotency-Key", "\"8e03978e\"");
    check_saved(Reply::Reset, "{}", &post, "reset");
    check_saved(Reply::status(503, "no"), GATEWAY_ERRORS, &post, "status");
    check_saved(Reply::Hang, PATIENT, &post, "per_try_timeout");
}

#[test]
fn a_post_is_sent_again_where_the_route_says_so() {
    let post = Ask::new("POST", "/search").body("q=1");
    check_saved(Reply::Reset, "{ retries: { non_idempotent: true } }", &post, "reset");
}

#[test]
fn a_body_is_replayed_whole_up_to_the_limit() {
    let body: Vec<u8> = (0..48_000_u32).map(|number| (number % 251) as u8).collect();
    for policy in ["{}", PATIENT] {
        let (bad, good) = (Origin::start(Reply::Reset), Origin::start(Reply::ok("good")));
        let gateway = beside_a_good_one(&bad, &good, policy);
        for _request in 0..4 {
            let put = Ask::new("PUT", "/file").body(body.clone());
            assert_eq!(put.send(gateway.address()).status, 200);
        }
        assert_eq!(good.received().len(), 4);
        assert!(good.received().iter().all(|request| request.body == body));
    }
    let short = "{ retries: { max_body: 1KiB } }";
    check_lost(Reply::Reset, short, &Ask::new("PUT", "/file").body(body), 502);
}

#[test]
fn the_same_endpoint_is_not_asked_while_another_is_untried() {
    let bad = [Origin::start(Reply::Reset), Origin::start(Reply::Close)];
    let good = Origin::start(Reply::ok("good"));
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<a>, <b>, <good>], balance: random } }
",
        &[("a", &bad[0].address()), ("b", &bad[1].address()), ("good", &good.address())],
    );
    for _request in 0..30 {
        assert_eq!(get(gateway.address(), "/").status, 200, "two retries reach the third pod");
    }
}

#[test]
fn when_retries_run_out_the_last_answer_counts() {
    let policy = "{ retries: { attempts: 2, on: [5xx] } }";
    let origin = Origin::start(Reply::status(500, "the pod's own words"));
    let gateway = with_policy(origin.address(), policy);
    let response = get(gateway.address(), "/");
    assert_eq!((response.status, response.text()), (500, "the pod's own words".into()));
    assert_eq!(origin.received().len(), 3);
}

#[test]
fn nothing_is_tried_again_once_the_client_has_a_byte() {
    let cut = Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec());
    for policy in ["{}", PATIENT] {
        let origin = Origin::start(cut.clone());
        let gateway = with_policy(origin.address(), policy);
        let mut connection = Connection::open(gateway.address());
        connection.send(&Ask::new("GET", "/").bytes());
        connection.try_response().expect_err("the body is not complete");
        gateway.logged(|line| line["reason"] == "upstream_reset");
        assert_eq!(origin.received().len(), 1);
    }
}

#[test]
fn who_is_told_to_wait_is_not_asked_again() {
    let wait = Reply::status(503, "later").with("Retry-After", "7");
    let origin = Origin::start(wait.clone());
    let gateway = with_policy(origin.address(), GATEWAY_ERRORS);
    let response = get(gateway.address(), "/");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("7")));
    assert_eq!(origin.received().len(), 1);
    check_saved(wait, GATEWAY_ERRORS, &Ask::new("GET", "/"), "status");
}

#[test]
fn the_total_time_covers_all_tries() {
    let origin = Origin::start(Reply::Hang);
    let policy =
        "{ retries: { attempts: 10, per_try_timeout: 200ms }, timeouts: { total: 700ms } }";
    let gateway = with_policy(origin.address(), policy);
    let (took, response) = wait::timed(|| get(gateway.address(), "/"));
    assert_problem(&response, 504, "upstream_timeout");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!((2..=4).contains(&origin.received().len()), "{}", origin.received().len());
}

#[test]
fn the_budget_bounds_a_storm() {
    let slow = Reply::Delayed(Duration::from_millis(300), Box::new(Reply::status(503, "no")));
    let origin = Origin::start(slow);
    let policy = "{ retries: { attempts: 5, on: [5xx], budget: { percent: 0%, min: 2 },
                    backoff: { base: 1ms, max: 1ms } } }";
    let gateway = with_policy(origin.address(), policy);
    let address = gateway.address();
    std::thread::scope(|scope| {
        for _client in 0..20 {
            scope.spawn(move || assert_eq!(get(address, "/").status, 503));
        }
    });
    let tries = origin.received().len();
    assert!((21..=32).contains(&tries), "{tries} tries for 20 requests");
    let labels = [("upstream", "api")];
    let exhausted = gateway.metric("tidegate_upstream_retry_budget_exhausted_total", &labels);
    assert!(exhausted >= Some(10.0), "{exhausted:?}");
}
