//! HTTP/1: the tables against the running binary, and the same against a bare Pingora proxy.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply};

use crate::bare_pingora::BarePingora;
use crate::http1_cases::{Case, Expect, FRAMING, LINES, OnPingora, PATHS, TARGETS};

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const ALL_TO_API: &str = "\
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

#[test]
fn messages_end_where_everybody_agrees() {
    check(FRAMING);
}

#[test]
fn lines_and_fields_follow_the_grammar() {
    check(LINES);
}

#[test]
fn targets_and_hosts_mean_one_thing() {
    check(TARGETS);
}

#[test]
fn paths_have_one_spelling() {
    check(PATHS);
}

#[test]
fn a_bare_pingora_proxy_reads_otherwise() {
    let cases = [FRAMING, LINES, TARGETS, PATHS].into_iter().flatten();
    let alike: Vec<_> = cases
        .filter(|case| case.on_pingora == OnPingora::Differs)
        .filter(|case| (0..10).all(|_| runs_on_pingora(case)))
        .map(|case| case.name)
        .collect();
    assert!(alike.is_empty(), "Pingora does the same, our own check may go: {alike:#?}");
}

/// Whether a bare Pingora proxy does what `case` expects. What it takes for a second request may
/// end the first one before it is forwarded, so one time says nothing.
fn runs_on_pingora(case: &Case) -> bool {
    // A smuggled piece stays in the connection to the origin and would answer for the next case,
    // so each has its own.
    let origin = Origin::start(Reply::ok("ok"));
    let bare = BarePingora::start(origin.address());
    run(case, bare.address(), &origin).is_ok()
}

/// After a message that means two things, nothing is read (RFC 9112 §9.6).
#[test]
fn a_refused_head_hides_no_second_request() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(ALL_TO_API, &[("origin", &origin.address())]);
    for case in [FRAMING, LINES, TARGETS, PATHS].into_iter().flatten() {
        let Expect::Refused(_) = case.expect else { continue };
        let mut connection = Connection::open(gateway.address());
        let hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        connection.send(&[case.wire, hidden].concat());
        assert!(connection.is_closed_within(PATIENCE), "{} stays open", case.name);
    }
    let reached: Vec<_> = origin.received().into_iter().map(|it| it.target).collect();
    assert!(reached.is_empty(), "{reached:?}");
}

/// A tunnel to `h2c` would bypass every check; the request is served as if it had not asked.
#[test]
fn only_websocket_upgrades_are_passed_on() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(ALL_TO_API, &[("origin", &origin.address())]);
    for upgrade in ["h2c", "TLS/1.3", "websocket, h2c"] {
        let ask = Ask::new("GET", "/")
            .field("Connection", "Upgrade, HTTP2-Settings")
            .field("Upgrade", upgrade)
            .field("HTTP2-Settings", "AAMAAABkAAQAAP__");
        // The connection stays what it is, also for a request that came along.
        let mut connection = Connection::open(gateway.address());
        connection.send(&[ask.bytes(), Ask::new("GET", "/next").bytes()].concat());
        assert_eq!(connection.response().status, 200, "{upgrade}");
        assert_eq!(connection.response().status, 200, "{upgrade}: the next request");
        assert_eq!(ask.body("hi").send_on(&mut connection).status, 200, "{upgrade}: with a body");
    }
    for request in origin.received() {
        let names = ["upgrade", "http2-settings"];
        assert!(names.iter().all(|it| request.header(it).is_none()), "{:?}", request.fields);
    }
}

/// An HTTP/1.0 client knows no chunks (RFC 9112 §7.1): without a length, the answer ends with the
/// connection.
#[test]
fn an_http10_client_gets_no_chunks() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let unbounded = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi";
    for answer in [&chunked[..], unbounded] {
        let origin = Origin::start(Reply::RawThenClose(answer.to_vec()));
        let gateway = Gateway::start(ALL_TO_API, &[("origin", &origin.address())]);
        let text = ask_in_http10(gateway.address());
        assert!(text.ends_with("\r\n\r\nhi"), "{text}");
        assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
        let bare = BarePingora::start(origin.address());
        let text = ask_in_http10(bare.address());
        assert!(text.to_lowercase().contains("transfer-encoding"), "{text}");
    }
}

fn ask_in_http10(address: SocketAddr) -> String {
    let mut connection = Connection::open(address);
    connection.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    String::from_utf8_lossy(&connection.read_to_end()).into_owned()
}

#[track_caller]
fn check(cases: &[Case]) {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(ALL_TO_API, &[("origin", &origin.address())]);
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| run(case, gateway.address(), &origin).err().map(|why| (case, why)))
        .map(|(case, why)| format!("{} ({}): {why}", case.name, case.section))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Sends one case; says what is wrong.
fn run(case: &Case, address: SocketAddr, origin: &Origin) -> Result<(), String> {
    let before = origin.received().len();
    let mut connection = Connection::open(address);
    connection.socket().set_read_timeout(Some(PATIENCE)).map_err(|it| it.to_string())?;
    connection.send(case.wire);
    let answer = connection.try_response();
    let status = answer.as_ref().map(|it| it.status).map_err(|it| format!("no answer: {it}"))?;
    let reached = origin.received().split_off(before);
    match case.expect {
        Expect::Refused(_) if !reached.is_empty() => {
            let head = String::from_utf8_lossy(&reached[0].head).into_owned();
            Err(format!("it reached the origin as {head:?}"))
        }
        Expect::Refused(expected) if status != expected => {
            Err(format!("the status is {status} instead of {expected}"))
        }
        Expect::Refused(_) if !connection.is_closed_within(PATIENCE) => {
            Err("the connection stays open".to_owned())
        }
        Expect::Refused(_) => Ok(()),
        Expect::Forwarded(_) if status != 200 || reached.len() != 1 => {
            Err(format!("status {status}, and {} requests reached the origin", reached.len()))
        }
        Expect::Forwarded(line) => {
            let head = String::from_utf8_lossy(&reached[0].head).into_owned();
            let seen = head.lines().next().unwrap_or_default();
            if seen == line { Ok(()) } else { Err(format!("the origin sees {seen:?}")) }
        }
    }
}
