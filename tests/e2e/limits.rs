//! Deadlines and sizes towards clients: slow ones are cut, large ones refused, others served.

use std::io::Write;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use tidegate_testkit::{Ask, Connection, Gateway, Load, Nginx, Origin, Reply, needs, wait};

use crate::{ALL_TO_API, assert_problem, with_policy};

#[track_caller]
fn with_limits(origin: &Origin, limits: &str) -> Gateway {
    Gateway::start(&format!("limits: {limits}\n{ALL_TO_API}"), &[("origin", &origin.address())])
}

#[test]
fn a_head_that_dribbles_is_cut_at_its_deadline() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_limits(&origin, "{ header_timeout: 500ms }");
    let mut connection = Connection::open(gateway.address());
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n");
    let (took, ()) = wait::timed(|| {
        // Each byte resets a per-read timeout; the deadline must be for the whole head.
        while connection.try_send(b"X").is_ok() {
            if connection.is_closed_within(Duration::from_millis(100)) {
                break;
            }
        }
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(origin.received().is_empty());
}

#[test]
fn a_silent_connection_is_closed() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_limits(&origin, "{ header_timeout: 500ms, idle_timeout: 500ms }");
    let mut silent = Connection::open(gateway.address());
    assert!(silent.is_closed_within(Duration::from_secs(5)), "before its first request");
    let mut idle = Connection::open(gateway.address());
    assert_eq!(Ask::new("GET", "/").send_on(&mut idle).status, 200);
    assert!(idle.is_closed_within(Duration::from_secs(5)), "between requests");
}

#[test]
fn slow_heads_take_nothing_from_others() {
    needs!("nginx");
    let pod = Nginx::pod("ok");
    let config =
        format!("limits: {{ header_timeout: 1s, connections_per_client: 300 }}\n{ALL_TO_API}");
    let gateway = Gateway::start(&config, &[("origin", &pod.address())]);
    // More than the limit, from an address of their own.
    let mut slow: Vec<_> = (0..400)
        .map(|_| Connection::open_from(Ipv4Addr::new(127, 0, 0, 66), gateway.address()))
        .collect();
    for connection in &mut slow {
        connection.try_send(b"GET / HTTP/1.1\r\nHost: x\r\n").ok();
    }
    let load = Load::start(gateway.address(), 2);
    load.wait_for(500);
    load.stop().assert_unharmed();
    for connection in &mut slow {
        assert!(connection.is_closed_within(Duration::from_secs(5)));
    }
}

#[test]
fn connections_beyond_the_clients_share_are_closed_at_once() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_limits(&origin, "{ connections: 100, connections_per_client: 5 }");
    let kept: Vec<_> = (0..5)
        .map(|_| {
            let mut connection = Connection::open(gateway.address());
            assert_eq!(Ask::new("GET", "/").send_on(&mut connection).status, 200);
            connection
        })
        .collect();
    let mut refused = Connection::open(gateway.address());
    assert!(refused.is_closed_within(Duration::from_secs(2)));
    let mut other = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), gateway.address());
    assert_eq!(Ask::new("GET", "/").send_on(&mut other).status, 200);
    drop(kept);
    wait::until("a place is free again", || {
        let mut connection = Connection::open(gateway.address());
        connection.try_send(&Ask::new("GET", "/").bytes()).is_ok()
            && connection.try_response().is_ok_and(|response| response.status == 200)
    });
}

#[test]
fn heads_and_targets_beyond_their_limits_are_refused() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway =
        with_limits(&origin, "{ header_bytes: 8KiB, header_fields: 20, uri_bytes: 1KiB }");
    let check = |ask: Ask, status: u16| {
        let mut connection = Connection::open(gateway.address());
        connection.try_send(&ask.bytes()).ok();
        assert_eq!(connection.response().status, status);
    };
    check(Ask::new("GET", "/").field("X-A", &"a".repeat(9_000)), 431);
    let many = (0..30).fold(Ask::new("GET", "/"), |ask, n| ask.field(&format!("X-{n}"), "1"));
    check(many, 431);
    check(Ask::new("GET", &format!("/{}", "a".repeat(2_000))), 414);
    check(Ask::new("GET", "/"), 200);
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn a_body_beyond_the_routes_limit_is_413_declared_or_not() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(origin.address(), "{ max_body: 1KiB }");
    let declared = Ask::new("POST", "/").body(vec![b'a'; 2_000]).send(gateway.address());
    assert_problem(&declared, 413, "body_too_large");
    let mut connection = Connection::open(gateway.address());
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"400\r\n".as_slice(), &[b'a'; 1_024], b"\r\n"].concat();
    for _chunk in 0..4 {
        connection.try_send(&chunk).ok();
    }
    connection.try_send(b"0\r\n\r\n").ok();
    assert_eq!(connection.response().status, 413);
    let fits = Ask::new("POST", "/").body(vec![b'a'; 1_024]).send(gateway.address());
    assert_eq!(fits.status, 200);
    let whole = origin.received().iter().filter(|request| request.body.len() > 1_024).count();
    assert_eq!(whole, 0);
}

#[test]
fn a_body_that_stalls_is_ended() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_limits(&origin, "{ body_timeout: 500ms }");
    let mut connection = Connection::open(gateway.address());
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    let (took, closed) = wait::timed(|| connection.is_closed_within(Duration::from_secs(10)));
    assert!(closed, "after {took:?}");
    gateway.logged(|line| line["reason"] == "request_timeout" || line["status"] == 408);
}

#[test]
fn a_client_that_does_not_read_is_ended() {
    let origin = Origin::start(Reply::ok(vec![b'x'; 32 << 20]));
    let gateway = with_limits(&origin, "{ send_timeout: 1s }");
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/").bytes());
    gateway.logged(|line| !line["reason"].is_null());
}

#[test]
fn the_request_count_of_a_connection_is_bounded() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_limits(&origin, "{ requests_per_connection: 3 }");
    let mut connection = Connection::open(gateway.address());
    for _request in 0..2 {
        let response = Ask::new("GET", "/").send_on(&mut connection);
        assert_ne!(response.header("connection"), Some("close"));
    }
    let last = Ask::new("GET", "/").send_on(&mut connection);
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(connection.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::script(|request| Reply::ok(request.target.clone()));
    let gateway = with_limits(&origin, "{}");
    let mut connection = Connection::open(gateway.address());
    let bytes: Vec<u8> =
        ["/1", "/2", "/3"].iter().flat_map(|target| Ask::new("GET", target).bytes()).collect();
    connection.send(&bytes);
    for target in ["/1", "/2", "/3"] {
        assert_eq!(connection.response().text(), target);
    }
}

#[test]
fn an_expectation_is_answered_before_the_body_comes() {
    let origin = Origin::script(|request| Reply::ok(request.body.clone()));
    let gateway = with_limits(&origin, "{}");
    let mut connection = Connection::open(gateway.address());
    connection
        .send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let sender = connection.socket().try_clone().expect("a second handle");
    let later = thread::spawn(move || {
        let mut sender = sender;
        wait::holds_within(Duration::from_millis(300), || false);
        sender.write_all(b"hello").ok();
    });
    let response = connection.response();
    later.join().expect("sends");
    assert_eq!((response.status, response.text()), (200, "hello".to_owned()));
    assert_eq!(response.interim, [100]);
}
