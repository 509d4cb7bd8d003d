//! Origins that misbehave: a clear error for the client, a reason in the log, and the proxy lives.

use std::time::Duration;

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Origin, Reply, wait};

use crate::{assert_problem, with_policy};

const IMPATIENT: &str =
    "{ timeouts: { connect: 1s, first_byte: 500ms, between_bytes: 500ms, total: 3s } }";

/// Asks an origin that does `reply`, expects a problem, and then shows that the gateway lives.
#[track_caller]
fn check(reply: Reply, status: u16, code: &str) {
    let origin =
        Origin::script(
            move |request| {
                if request.target == "/good" { Reply::ok("good") } else { reply.clone() }
            },
        );
    let gateway = with_policy(origin.address(), IMPATIENT);
    let mut connection = Connection::open(gateway.address());
    let response = Ask::new("GET", "/bad").send_on(&mut connection);
    assert_problem(&response, status, code);
    gateway.logged(|line| line["path"] == "/bad" && line["reason"] == code);
    for _again in 0..3 {
        assert_eq!(get(gateway.address(), "/good").text(), "good");
    }
}

#[test]
fn garbage() {
    check(Reply::RawThenClose(b"\x00\x01garbage\r\n\r\n".to_vec()), 502, "upstream_bad_response");
}

#[test]
fn a_closed_connection() {
    check(Reply::Close, 502, "upstream_reset");
}

#[test]
fn a_reset() {
    check(Reply::Reset, 502, "upstream_reset");
}

#[test]
fn silence() {
    check(Reply::Hang, 504, "upstream_timeout");
}

#[test]
fn silence_is_the_endpoints_failure() {
    let origin = Origin::start(Reply::Hang);
    let gateway = with_policy(origin.address(), IMPATIENT);
    assert_problem(&get(gateway.address(), "/"), 504, "upstream_timeout");
    let page = get(gateway.admin(), "/upstreams").json();
    assert_eq!(page["api"]["endpoints"][0]["failures"], 1, "{page}");
}

#[test]
fn a_head_that_never_ends() {
    check(Reply::StallAfter(b"HTTP/1.1 200 OK\r\nX-A: ".to_vec()), 504, "upstream_timeout");
}

#[test]
fn a_huge_head() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nX-Huge: ".to_vec();
    bytes.resize(4 << 20, b'a');
    bytes.extend(b"\r\nContent-Length: 0\r\n\r\n");
    check(Reply::RawThenClose(bytes), 502, "upstream_bad_response");
}

#[test]
fn a_thousand_fields() {
    let mut text = "HTTP/1.1 200 OK\r\n".to_owned();
    for number in 0..1_000 {
        text.push_str(&format!("X-{number}: 1\r\n"));
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    check(Reply::RawThenClose(text.into_bytes()), 502, "upstream_bad_response");
}

#[test]
fn half_a_head_and_then_the_end() {
    check(Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n".to_vec()), 502, "upstream_reset");
}

/// A response that breaks after its head: the client must see that it is not complete.
#[track_caller]
fn check_cut_short(reply: Reply) {
    let origin =
        Origin::script(
            move |request| {
                if request.target == "/good" { Reply::ok("good") } else { reply.clone() }
            },
        );
    let gateway = with_policy(origin.address(), IMPATIENT);
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/bad").bytes());
    let error = connection.try_response().expect_err("the body is not complete");
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the connection must end");
    gateway.logged(|line| line["path"] == "/bad" && !line["reason"].is_null());
    assert_eq!(get(gateway.address(), "/good").text(), "good");
}

#[test]
fn a_body_shorter_than_its_length() {
    check_cut_short(Reply::RawThenClose(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
    ));
}

#[test]
fn chunks_without_an_end() {
    check_cut_short(Reply::RawThenClose(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec(),
    ));
}

#[test]
fn a_body_that_stalls() {
    check_cut_short(Reply::StallAfter(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
    ));
}

#[test]
fn chunks_that_are_none() {
    check_cut_short(Reply::RawThenClose(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n".to_vec(),
    ));
}

#[test]
fn a_trickle_ends_at_the_total_time() {
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{}", "x".repeat(200));
    let origin = Origin::start(Reply::Slowly {
        bytes: bytes.into_bytes(),
        every: Duration::from_millis(100),
    });
    let gateway = with_policy(origin.address(), IMPATIENT);
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/").bytes());
    let (took, ended) = wait::timed(|| connection.is_closed_within(Duration::from_secs(10)));
    let answered = String::from_utf8_lossy(connection.unread()).contains("504");
    assert!(ended || answered, "after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn an_early_answer_to_an_upload_reaches_the_client() {
    // Reads nothing of the body, answers at once and closes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::io::Write::write_all(
                &mut stream,
                b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            )
            .ok();
        }
    });
    let gateway = with_policy(address, "{ max_body: 10MiB }");
    let ask = Ask::new("POST", "/").body(vec![b'a'; 1 << 20]);
    let mut connection = Connection::open(gateway.address());
    connection.try_send(&ask.bytes()).ok();
    // The close may overtake the answer in the kernel; it must not become a success or hang.
    if let Ok(response) = connection.try_response() {
        assert!(matches!(response.status, 401 | 502), "{}", response.status);
    }
    assert_eq!(get(gateway.admin(), "/healthz").status, 200);
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for() {
    check(
        Reply::RawThenClose(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_vec(),
        ),
        502,
        "upstream_bad_response",
    );
}
