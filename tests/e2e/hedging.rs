//! Hedging, and the exchange that it takes: it must do whatever the ordinary one does.

use std::time::Duration;

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply, wait};

/// A gateway before two origins that hedges after 100 ms, or with these fields in its policy.
fn hedging(a: &Origin, b: &Origin, policy: &str) -> Gateway {
    let config = format!(
        "server: {{ threads: 1 }}
defaults: {{ hedge: {{ max_delay: 100ms }}, {policy} }}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<a>, <b>] }} }}
"
    );
    Gateway::start(&config, &[("a", &a.address()), ("b", &b.address())])
}

fn slow(reply: Reply) -> Reply {
    Reply::Delayed(Duration::from_secs(3), Box::new(reply))
}

#[test]
fn the_quicker_answer_wins() {
    let (late, quick) = (Origin::start(slow(Reply::ok("late"))), Origin::start(Reply::ok("quick")));
    let gateway = hedging(&late, &quick, "");
    for _request in 0..6 {
        let (took, response) = wait::timed(|| get(gateway.address(), "/"));
        assert_eq!(response.text(), "quick");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let line = gateway.logged(|line| line["hedge"] == "won");
    assert_eq!(line["endpoint"], quick.address().to_string());
    assert_eq!(line["attempts"], 1, "a hedge is no retry");
    let labels = [("upstream", "api"), ("outcome", "won")];
    assert!(gateway.metric("tidegate_upstream_hedges_total", &labels) >= Some(3.0));
}

#[test]
fn a_hedge_that_fails_costs_nothing() {
    let late = Reply::Delayed(Duration::from_millis(400), Box::new(Reply::ok("late")));
    for bad in [Reply::Reset, Reply::status(503, "no"), Reply::Hang] {
        let (late, bad) = (Origin::start(late.clone()), Origin::start(bad));
        let gateway = hedging(&late, &bad, "retries: { per_try_timeout: 2s }");
        // Every second request starts at the bad one; those that do not must not suffer from it.
        let answers: Vec<_> = (0..4).map(|_| get(gateway.address(), "/").text()).collect();
        assert!(answers.iter().filter(|text| *text == "late").count() >= 2, "{answers:?}");
        let line = gateway.logged(|line| line["hedge"] == "lost");
        assert_eq!(line["endpoint"], late.address().to_string());
    }
}

#[test]
fn only_safe_methods_are_hedged() {
    let late = Reply::Delayed(Duration::from_millis(300), Box::new(Reply::ok("late")));
    let (a, b) = (Origin::start(late.clone()), Origin::start(late));
    let gateway = hedging(&a, &b, "");
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(Ask::new(method, "/").body("x").send(gateway.address()).text(), "late");
    }
    assert_eq!(a.received().len() + b.received().len(), 3);
    assert_eq!(get(gateway.address(), "/").text(), "late");
    wait::until("both were asked", || a.received().len() + b.received().len() == 5);
}

#[test]
fn a_hedge_needs_budget() {
    let late = Reply::Delayed(Duration::from_millis(300), Box::new(Reply::ok("late")));
    let (a, b) = (Origin::start(late.clone()), Origin::start(late));
    let gateway = hedging(&a, &b, "retries: { budget: { percent: 0%, min: 0 } }");
    assert_eq!(get(gateway.address(), "/").text(), "late");
    assert_eq!(a.received().len() + b.received().len(), 1);
    let labels = [("upstream", "api")];
    let exhausted = gateway.metric("tidegate_upstream_retry_budget_exhausted_total", &labels);
    assert_eq!(exhausted, Some(1.0));
}

#[test]
fn a_client_that_leaves_cancels_both() {
    let (a, b) = (Origin::start(Reply::Hang), Origin::start(Reply::Hang));
    let gateway = hedging(&a, &b, "");
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/").bytes());
    wait::until("both were asked", || a.received().len() + b.received().len() == 2);
    drop(connection);
    gateway.logged(|line| line["reason"] == "client_closed" && line["status"] == 499);
    let labels = [("upstream", "api")];
    let gone = || gateway.metric("tidegate_upstream_requests_in_flight", &labels) == Some(0.0);
    wait::until("nothing runs any more", gone);
}

/// Sends `ask` through the exchange, and expects the answer of the ordinary one.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "replies are written in place")]
fn check_alike(ask: &Ask, reply: Reply) {
    let answer = |policy: &str| {
        let origin = Origin::start(reply.clone());
        let gateway = crate::with_policy(origin.address(), policy);
        let mut connection = Connection::open(gateway.address());
        let responses = [0, 1].map(|_| ask.send_on(&mut connection));
        let seen = origin.received();
        assert_eq!(seen.len(), 2);
        assert_eq!(origin.connections(), 1, "connections are kept");
        let head = |request: &tidegate_testkit::Received| {
            let named = |name: &str| name.eq_ignore_ascii_case("x-request-id");
            let fields = request.fields.iter().filter(|(name, _)| !named(name));
            (request.method.clone(), request.target.clone(), fields.cloned().collect::<Vec<_>>())
        };
        let answers = responses.map(|response| (response.status, response.body.clone()));
        (answers, seen.iter().map(head).collect::<Vec<_>>())
    };
    let ordinary = answer("{ retries: { attempts: 2 } }");
    assert_eq!(answer("{ hedge: {}, retries: { per_try_timeout: 10s } }"), ordinary);
}

#[test]
fn the_exchange_says_and_returns_what_the_ordinary_one_does() {
    let get = || Ask::new("GET", "/a/b?c=d");
    let large: Vec<u8> = vec![b'x'; 300_000];
    check_alike(&get(), Reply::ok("ok"));
    check_alike(&get(), Reply::ok(large.clone()));
    check_alike(&get(), Reply::ok(""));
    check_alike(&get(), Reply::Chunked(vec![b"one".to_vec(), b"two".to_vec(), large]));
    check_alike(&get(), Reply::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()));
    check_alike(&get(), Reply::Raw(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec()));
    check_alike(
        &Ask::new("HEAD", "/"),
        Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec()),
    );
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    check_alike(&get(), Reply::Raw(early.to_vec()));
    check_alike(&Ask::new("PUT", "/").body("a body"), Reply::ok("ok"));
    check_alike(&Ask::new("DELETE", "/"), Reply::ok("ok"));
    let hop = get()
        .field("Connection", "x-hop")
        .field("X-Hop", "1")
        .field("TE", "trailers")
        .field("X-Forwarded-For", "192.0.2.9")
        .field("X-Kept", "2");
    check_alike(&hop, Reply::ok("ok"));
}

#[test]
fn a_connection_field_cannot_take_away_what_matters() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = crate::with_policy(origin.address(), "{ hedge: {} }");
    let ask = Ask::new("GET", "/").field("Connection", "x-forwarded-for, host");
    assert_eq!(ask.send(gateway.address()).status, 400);
    assert!(origin.received().is_empty());
}
