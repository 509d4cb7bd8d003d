//! What the firewall does with responses (SecLang's phases 3 to 5): a leak is answered in our own
//! words, everything that is not inspected flows as if there were no firewall.

use std::process::Command;
use std::time::Duration;

use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::programs::output;
use tidegate_testkit::{Ca, Connection, Gateway, Nginx, Origin, Reply, needs, wait};

use crate::assert_problem;
use crate::streaming::{read_until, resident_kib};

const RULES: &str = r#"
SecRuleEngine On
SecRule RESPONSE_HEADERS:X-Internal "@rx ." "id:1,phase:3,deny,status:451,msg:'an internal field'"
SecRule RESPONSE_BODY "@contains ORA-00933" "id:2,phase:4,deny,status:500,msg:'an error of the database'"
SecRule RESPONSE_STATUS "@eq 418" "id:3,phase:5,pass,msg:'a teapot'"
SecRule REQUEST_HEADERS:X-Facts "@streq 1" "id:4,phase:1,pass,msg:'facts',logdata:'%{REMOTE_PORT} %{SERVER_ADDR} %{SERVER_PORT} %{UNIQUE_ID} %{TIME_EPOCH}'"
"#;

const LEAK: &str = "<p>ORA-00933: SQL command not properly ended</p>";

/// A gateway whose firewall has `RULES` and these settings, over HTTP/1 and HTTP/2 alike.
#[track_caller]
fn guarded(origin: &Origin, waf: &str, more: &str) -> Gateway {
    let config = format!(
        "
listeners: [{{ address: 127.0.0.1:0, h2c: true }}]
defaults: {{ waf: {{ seclang: [<dir>/own.conf], {waf} }} }}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
{more}"
    );
    Gateway::builder(&config).set("origin", origin.address()).file("own.conf", RULES).start()
}

fn html(body: &str) -> Reply {
    Reply::ok(body).with("Content-Type", "text/html; charset=utf-8").with("X-From", "the origin")
}

fn curl(gateway: &Gateway, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "-w", " %{http_version} %{response_code}"]).args(arguments);
    output(command.arg(format!("http://{}/", gateway.address()))).stdout
}

#[test]
fn a_leak_is_answered_in_our_own_words() {
    let origin = Origin::start(html(LEAK));
    let gateway = guarded(&origin, "response: { inspect: true }", "");
    let response = get(gateway.address(), "/leak");
    assert_problem(&response, 500, "waf_blocked");
    assert_eq!(response.header("x-from"), None);
    let line = gateway.logged(|line| line["path"] == "/leak");
    assert_eq!((&line["status"], &line["upstream_status"]), (&500.into(), &200.into()), "{line}");
    assert_eq!((&line["reason"], &line["waf"]["blocked"]), (&"waf_blocked".into(), &true.into()));
    assert_eq!(line["waf"]["matches"][0]["rule"], 2, "{line}");
}

#[test]
fn a_leak_is_answered_over_http2_too() {
    needs!("curl");
    let origin = Origin::start(html(LEAK));
    let gateway = guarded(&origin, "response: { inspect: true }", "");
    let said = curl(&gateway, &["--http2-prior-knowledge"]);
    assert!(said.contains("waf_blocked") && said.ends_with(" 2 500"), "{said}");
    let said = curl(&gateway, &["--http2-prior-knowledge", "--data", "a=1"]);
    assert!(said.contains("waf_blocked") && said.ends_with(" 2 500"), "{said}");
}

#[test]
fn a_head_is_inspected_whatever_the_body_is() {
    needs!("curl");
    let origin = Origin::start(Reply::ok("data").with("X-Internal", "10.0.0.7"));
    // `inspect` is about bodies.
    let gateway = guarded(&origin, "response: { inspect: false }, body: { over_limit: skip }", "");
    let response = get(gateway.address(), "/");
    assert_problem(&response, 451, "waf_blocked");
    assert_eq!(response.header("x-internal"), None);
    let said = curl(&gateway, &["--http2-prior-knowledge"]);
    assert!(said.ends_with(" 2 451"), "{said}");
    assert_eq!(Ask::new("HEAD", "/").send(gateway.address()).status, 451);
    let upload = Ask::new("POST", "/").body(vec![b'x'; 100 << 10]);
    assert_problem(&upload.send(gateway.address()), 451, "waf_blocked");
}

#[test]
fn calm_responses_pass_whole() {
    needs!("curl");
    let page = "<p>all is well</p>".repeat(20_000);
    let pieces: Vec<Vec<u8>> = page.as_bytes().chunks(1_000).map(<[u8]>::to_vec).collect();
    for reply in [html(&page), Reply::Chunked(pieces), html(""), Reply::status(204, "")] {
        let origin = Origin::start(reply);
        let gateway = guarded(&origin, "response: { inspect: true, limit: 1MiB }", "");
        let mut connection = Connection::open(gateway.address());
        let ask = Ask::new("GET", "/").field("Accept-Encoding", "gzip, br");
        let first = ask.send_on(&mut connection);
        let second = ask.send_on(&mut connection);
        assert_eq!((first.status, &first.body), (second.status, &second.body));
        assert!(first.body.is_empty() || first.body == page.as_bytes(), "{}", first.body.len());
        // What is compressed could not be inspected.
        assert_eq!(origin.received()[0].header("accept-encoding"), Some("identity"));
        assert_eq!(origin.connections(), 1);
        let head = Ask::new("HEAD", "/").send(gateway.address());
        assert_eq!((head.status, head.body.len()), (first.status, 0));
        let said = curl(&gateway, &["--http2-prior-knowledge"]);
        assert_eq!(said.len(), first.body.len() + " 2 200".len());
    }
}

#[test]
fn what_is_not_inspected_streams() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}b\r\ndata: one\n\n\r\n");
    let origin = Origin::start(Reply::StallAfter(first.into_bytes()));
    let gateway = guarded(&origin, "response: { inspect: true }", "");
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/events").bytes());
    read_until(&mut connection, "data: one");
}

#[test]
fn a_firewall_that_detects_holds_nothing_back() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}{:x}\r\n{LEAK}\r\n", LEAK.len());
    let origin = Origin::start(Reply::StallAfter(first.into_bytes()));
    let gateway = guarded(&origin, "mode: detect, response: { inspect: true, limit: 20B }", "");
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("GET", "/leak").bytes());
    read_until(&mut connection, "properly ended");
    drop(connection);
    let line = gateway.logged(|line| line["path"] == "/leak");
    assert_eq!(line["waf"]["matches"][0]["rule"], 2, "{line}");
}

#[test]
fn beyond_the_limit_happens_what_the_settings_say() {
    let page = format!("{}{LEAK}", "x".repeat(100_000));
    let origin = Origin::start(html(&page));
    let of = |over_limit: &str| {
        let waf = format!("response: {{ inspect: true, limit: 64KiB, over_limit: {over_limit} }}");
        get(guarded(&origin, &waf, "").address(), "/")
    };
    assert_eq!(of("inspect_prefix").body, page.as_bytes());
    assert_eq!(of("skip").body, page.as_bytes());
    assert_problem(&of("block"), 502, "waf_blocked");
    let early = Origin::start(html(&format!("{LEAK}{}", "x".repeat(100_000))));
    let waf = "response: { inspect: true, limit: 64KiB }";
    assert_problem(&get(guarded(&early, waf, "").address(), "/"), 500, "waf_blocked");
}

#[test]
fn a_route_with_its_own_timers_is_inspected_as_well() {
    let origin = Origin::script(|request| {
        if request.number % 2 == 0 { Reply::status(503, "later") } else { html(LEAK) }
    });
    let waf = "response: { inspect: true } }, retries: { on: [503], per_try_timeout: 5s";
    let gateway = guarded(&origin, waf, "");
    assert_problem(&get(gateway.address(), "/"), 500, "waf_blocked");
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn a_leak_behind_a_streamed_request_never_arrives() {
    let origin = Origin::start(html(LEAK));
    let waf = "response: { inspect: true }, body: { over_limit: skip, limit: 1KiB }";
    let gateway = guarded(&origin, waf, "");
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("POST", "/leak").body(vec![b'x'; 100 << 10]).bytes());
    let bytes = connection.read_to_end();
    assert!(!String::from_utf8_lossy(&bytes).contains("ORA-"));
    let line = gateway.logged(|line| line["path"] == "/leak");
    assert_eq!(line["reason"], "waf_blocked", "{line}");
}

#[test]
fn an_endless_response_takes_bounded_memory() {
    let origin = Origin::start(html(&"x".repeat(48 << 20)));
    let gateway = guarded(&origin, "response: { inspect: true, limit: 4MiB }", "");
    let before = resident_kib(gateway.pid());
    let response = get(gateway.address(), "/");
    assert_eq!(response.body.len(), 48 << 20);
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
}

#[test]
fn a_response_that_finds_no_room_is_refused() {
    let origin = Origin::start(html(&"x".repeat(10_000)));
    let waf = "response: { inspect: true }";
    let gateway = guarded(&origin, waf, "limits: { held_bodies: 5KiB }");
    assert_problem(&get(gateway.address(), "/"), 503, "overloaded");
    assert_eq!(Ask::new("HEAD", "/").send(gateway.address()).status, 200);
}

#[test]
fn a_slow_response_ends_with_its_request() {
    let bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99999\r\n\r\nxxx";
    let origin = Origin::start(Reply::Slowly {
        bytes: bytes.as_bytes().to_vec(),
        every: Duration::from_millis(10),
    });
    let waf = "response: { inspect: true } }, timeouts: { total: 2s";
    let gateway = guarded(&origin, waf, "");
    let (took, response) = wait::timed(|| get(gateway.address(), "/"));
    assert_problem(&response, 504, "total_timeout");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn the_last_phase_sees_the_answer_and_the_rules_know_who_asks() {
    let origin = Origin::start(Reply::status(418, "short and stout"));
    let gateway = guarded(&origin, "mode: block", "");
    let mut connection = Connection::open(gateway.address());
    let port = connection.socket().local_addr().expect("bound").port();
    let response = Ask::new("GET", "/tea").field("X-Facts", "1").send_on(&mut connection);
    assert_eq!(response.status, 418);
    let id = response.header("x-request-id").expect("an id").to_owned();
    let line = gateway.logged(|line| line["path"] == "/tea");
    let rules: Vec<u64> = line["waf"]["matches"]
        .as_array()
        .expect("matches")
        .iter()
        .filter_map(|found| found["rule"].as_u64())
        .collect();
    assert_eq!(rules, [4, 3], "{line}");
    let facts = line["waf"]["matches"][0]["logdata"].as_str().expect("logdata");
    let expected = format!("{port} 127.0.0.1 {} {id} ", gateway.address().port());
    assert!(facts.starts_with(&expected), "{facts} / {expected}");
}

#[test]
fn a_pod_of_nginx_is_inspected_over_both_protocols() {
    needs!("nginx", "curl");
    let pod = Nginx::start(&format!(
        "location /calm {{ default_type text/html; return 200 'fine'; }} \
         location / {{ default_type text/html; return 200 '{LEAK}'; }}"
    ));
    let config = "
listeners: [{ address: 127.0.0.1:0, h2c: true }]
defaults: { waf: { seclang: [<dir>/own.conf], response: { inspect: true } } }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<pod>] } }
";
    let gateway =
        Gateway::builder(config).set("pod", pod.address()).file("own.conf", RULES).start();
    assert_problem(&get(gateway.address(), "/"), 500, "waf_blocked");
    assert_eq!(get(gateway.address(), "/calm").text(), "fine");
    assert!(curl(&gateway, &["--http2-prior-knowledge"]).ends_with(" 2 500"));
}

#[test]
fn a_leak_is_answered_over_tls_as_well() {
    needs!("curl");
    let (origin, ca) = (Origin::start(html(LEAK)), Ca::new("ca"));
    let leaf = ca.server(&["127.0.0.1"]);
    let config = "
listeners: [{ address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }]
defaults: { waf: { seclang: [<dir>/own.conf], response: { inspect: true } } }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let gateway = Gateway::builder(config)
        .set("origin", origin.address())
        .file("own.conf", RULES)
        .file("tls.crt", &leaf.cert)
        .file("tls.key", &leaf.key)
        .file("ca.pem", ca.pem())
        .start();
    for version in ["--http2", "--http1.1"] {
        let mut command = Command::new("curl");
        command.args(["-sS", version, "-w", " %{response_code}", "--cacert"]);
        command.arg(gateway.folder().join("ca.pem"));
        let said = output(command.arg(format!("https://{}/", gateway.address()))).stdout;
        assert!(said.contains("waf_blocked") && said.ends_with(" 500"), "{version} {said}");
        assert!(!said.contains("ORA-"), "{said}");
    }
}
