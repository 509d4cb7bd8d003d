//! Who asks: PROXY protocol from a real HAProxy, and forwarded headers from trusted peers only.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tidegate_testkit::client::get;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply, needs, programs};

use crate::ALL_TO_API;

const PROXIED: &str = "
listeners: [{ address: 127.0.0.1:0, proxy_protocol: { from: [127.0.0.0/8] } }]
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

#[track_caller]
fn check_haproxy(option: &str) {
    needs!("haproxy", "curl");
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(PROXIED, &[("origin", &origin.address())]);
    let folder = tempfile::tempdir().expect("a folder");
    let front = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let file = folder.path().join("haproxy.cfg");
    let text = format!(
        "defaults
  mode tcp
  timeout connect 2s
  timeout client 10s
  timeout server 10s
listen edge
  bind {front}
  server tidegate {} {option}
",
        gateway.address()
    );
    fs::write(&file, text).expect("writes");
    let haproxy = programs::start(programs::command("haproxy").arg("-q").arg("-f").arg(&file));
    let _haproxy = haproxy.accepting(front);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--interface", "127.0.0.77", &format!("http://{front}/hello")]);
    let output = programs::output(&mut curl);
    assert_eq!(output.stdout, "ok", "{output:?}");
    assert_eq!(origin.received()[0].header("x-forwarded-for"), Some("127.0.0.77"));
    let line = gateway.logged(|line| line["path"] == "/hello");
    assert_eq!(line["client"], "127.0.0.77");
}

#[test]
fn haproxy_tells_the_client_in_version_1() {
    check_haproxy("send-proxy");
}

#[test]
fn haproxy_tells_the_client_in_version_2() {
    check_haproxy("send-proxy-v2");
}

#[test]
fn without_the_header_a_listed_peer_is_refused() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(PROXIED, &[("origin", &origin.address())]);
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/").bytes());
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    assert!(origin.received().is_empty());
}

#[test]
fn a_peer_that_is_not_listed_is_refused_even_with_the_header() {
    let origin = Origin::start(Reply::ok("ok"));
    let config = PROXIED.replace("127.0.0.0/8", "192.0.2.0/24");
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    let mut connection = Connection::open(gateway.address());
    connection.send(b"PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    assert!(origin.received().is_empty());
}

#[test]
fn a_truncated_proxy_header_ends_in_the_handshake_timeout() {
    let origin = Origin::start(Reply::ok("ok"));
    let config = format!("limits: {{ handshake_timeout: 300ms }}{PROXIED}");
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    for bytes in [&b"PROXY TCP4 203.0"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00", b"PROX"] {
        let mut connection = Connection::open(gateway.address());
        connection.send(bytes);
        assert!(connection.is_closed_within(Duration::from_secs(5)), "{bytes:?}");
    }
    let mut connection = Connection::open(gateway.address());
    connection.send(b"PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\n");
    assert_eq!(Ask::new("GET", "/").send_on(&mut connection).status, 200);
    assert_eq!(origin.received()[0].header("x-forwarded-for"), Some("203.0.113.1"));
}

/// What the gateway takes for the client, by the access log.
#[track_caller]
fn check_forwarded(settings: &str, name: &str, value: &str, client: &str) {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway =
        Gateway::start(&format!("{settings}\n{ALL_TO_API}"), &[("origin", &origin.address())]);
    assert_eq!(Ask::new("GET", "/").field(name, value).send(gateway.address()).status, 200);
    assert_eq!(gateway.logged(|_line| true)["client"], client, "{name}: {value}");
}

#[test]
fn forwarded_headers_count_only_behind_trusted_proxies() {
    let trusted = "trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]";
    check_forwarded("", "X-Forwarded-For", "203.0.113.9", "127.0.0.1");
    check_forwarded(trusted, "X-Forwarded-For", "203.0.113.9", "203.0.113.9");
    // What the client wrote itself stands left of what the trusted proxies added.
    check_forwarded(trusted, "X-Forwarded-For", "1.2.3.4, 203.0.113.9, 10.0.0.1", "203.0.113.9");
    check_forwarded(trusted, "Forwarded", "for=203.0.113.9", "127.0.0.1");
    let rfc = "trusted_proxies: [127.0.0.0/8]\nforwarded_header: forwarded";
    check_forwarded(rfc, "Forwarded", "for=1.2.3.4, for=\"[2001:db8::9]:4711\"", "2001:db8::9");
    check_forwarded(rfc, "X-Forwarded-For", "203.0.113.9", "127.0.0.1");
}

#[test]
fn a_trusted_peer_may_choose_the_request_id() {
    let origin = Origin::start(Reply::ok("ok"));
    let config = format!("trusted_proxies: [127.0.0.0/8]\n{ALL_TO_API}");
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    let ask = Ask::new("GET", "/").field("X-Request-ID", "from-the-cdn-1");
    assert_eq!(ask.send(gateway.address()).status, 200);
    assert_eq!(origin.received()[0].header("x-request-id"), Some("from-the-cdn-1"));
    assert_eq!(get(gateway.address(), "/").status, 200);
}
