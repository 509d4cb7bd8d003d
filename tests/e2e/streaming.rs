//! Bodies flow while they come: nothing is held back without need, nothing is kept for nobody.

use std::io::Read;
use std::time::Duration;

use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply, wait};

use crate::{in_front_of, with_policy};

/// Reads until `wanted` has come.
#[track_caller]
pub(crate) fn read_until(connection: &mut Connection, wanted: &str) {
    let mut text = Vec::new();
    let mut chunk = [0; 1024];
    while !String::from_utf8_lossy(&text).contains(wanted) {
        let read = connection.read(&mut chunk).expect("more");
        assert_ne!(read, 0, "closed before {wanted:?}: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&chunk[..read]);
    }
}

#[test]
fn an_event_reaches_the_client_before_the_stream_ends() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}b\r\ndata: one\n\n\r\n");
    let origin = Origin::start(Reply::StallAfter(first.into_bytes()));
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/events").bytes());
    read_until(&mut connection, "data: one");
}

#[test]
fn an_upload_reaches_the_origin_before_it_ends() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello");
    wait::until("the first half arrives", || origin.raw().ends_with(b"hello"));
    connection.send(b"world");
    assert_eq!(connection.response().status, 200);
    assert_eq!(origin.received()[0].body, b"helloworld");
}

#[test]
fn a_large_upload_leaves_no_trace_in_memory() {
    let origin = Origin::script(|request| Reply::ok(request.body.len().to_string()));
    let gateway = with_policy(origin.address(), "{ max_body: 200MiB }");
    let before = resident_kib(gateway.pid());
    let size = 64 << 20;
    let response = Ask::new("POST", "/").body(vec![b'x'; size]).send(gateway.address());
    assert_eq!(response.text(), size.to_string());
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more for an upload of {} KiB", size >> 10);
}

pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_client_that_leaves_ends_its_request_at_the_origin() {
    let origin = Origin::start(Reply::Hang);
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/left").bytes());
    wait::until("the request runs", || origin.received().len() == 1);
    drop(connection);
    let line = gateway.logged(|line| line["path"] == "/left");
    assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_closed".into()));
    wait::until("nothing is in flight", || {
        let page = tidegate_testkit::client::get(gateway.admin(), "/upstreams").text();
        page.replace(' ', "").contains("\"in_flight\":0")
    });
}

#[test]
fn early_hints_and_bodiless_answers_pass() {
    let origin = Origin::script(|request| match request.target.as_str() {
        "/hints" => Reply::Raw(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
        ),
        "/204" => Reply::status(204, ""),
        "/304" => Reply::status(304, ""),
        _ => Reply::ok("0123456789"),
    });
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    let hints = Ask::new("GET", "/hints").send_on(&mut connection);
    assert_eq!((hints.status, hints.text()), (200, "ok".to_owned()));
    for status in [204, 304] {
        let response = Ask::new("GET", &format!("/{status}")).send_on(&mut connection);
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
    let head = Ask::new("HEAD", "/").send_on(&mut connection);
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let get = Ask::new("GET", "/").send_on(&mut connection);
    assert_eq!(get.text(), "0123456789", "one connection for all of them");
}

#[test]
fn an_answer_without_length_ends_with_its_connection_and_arrives_whole() {
    let body = "x".repeat(300_000);
    let raw = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    let origin = Origin::start(Reply::RawThenClose(raw.into_bytes()));
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    for _request in 0..3 {
        assert_eq!(Ask::new("GET", "/").send_on(&mut connection).text(), body);
    }
}

#[test]
fn a_slow_but_steady_answer_is_not_cut() {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{}", "x".repeat(30));
    let slowly = Reply::Slowly { bytes: text.into_bytes(), every: Duration::from_millis(30) };
    let origin = Origin::start(slowly);
    let gateway: Gateway =
        with_policy(origin.address(), "{ timeouts: { first_byte: 3s, between_bytes: 1s } }");
    let response = Ask::new("GET", "/").send(gateway.address());
    assert_eq!(response.body.len(), 30);
}
