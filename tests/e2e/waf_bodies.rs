//! Request bodies larger than Pingora can send again: inspected whole before the upstream hears of
//! them, in bounded memory.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tidegate_testkit::client::Ask;
use tidegate_testkit::programs::output;
use tidegate_testkit::{Connection, Gateway, Nginx, Origin, Reply, needs, wait};

use crate::assert_problem;
use crate::streaming::{read_until, resident_kib};

const ATTACK: &str = "&q=%27%20UNION%20SELECT%20password%20FROM%20users--";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[track_caller]
fn guarded(origin: &Origin, waf: &str, more: &str) -> Gateway {
    let config = format!(
        "
listeners: [{{ address: 127.0.0.1:0, h2c: true }}]
defaults: {{ max_body: 64MiB, waf: {{ budget: {{ work: 1s }}, {waf} }} }}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
{more}"
    );
    Gateway::start(&config, &[("origin", &origin.address())])
}

/// A calm form of this size, and what comes at its end.
fn form(size: usize, end: &str) -> Vec<u8> {
    let mut body = b"text=".to_vec();
    body.resize(size, b'x');
    body.extend_from_slice(end.as_bytes());
    body
}

/// The same request with the body in chunks.
fn chunked(target: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\n{}: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        FORM.0, FORM.1
    )
    .into_bytes();
    for chunk in body.chunks(50_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn post(gateway: &Gateway, body: Vec<u8>) -> tidegate_testkit::Response {
    Ask::new("POST", "/").field(FORM.0, FORM.1).body(body).send(gateway.address())
}

#[test]
fn an_attack_at_the_end_of_a_large_body_never_reaches_the_origin() {
    needs!("curl");
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "body: { limit: 4MiB }", "");
    let body = form(1 << 20, ATTACK);
    assert_problem(&post(&gateway, body.clone()), 403, "waf_blocked");
    let mut connection = Connection::open(gateway.address());
    connection.send(&chunked("/", &body));
    assert_problem(&connection.response(), 403, "waf_blocked");
    let file = gateway.folder().join("body");
    std::fs::write(&file, &body).expect("writes");
    let data = format!("@{}", file.display());
    let url = format!("http://{}/", gateway.address());
    for extra in ["X-Plain: 1", "Transfer-Encoding: chunked"] {
        let mut command = Command::new("curl");
        command.args(["-sS", "--http2-prior-knowledge", "-H", extra, "--data-binary", &data]);
        let said = output(command.arg(&url)).stdout;
        assert!(said.contains("waf_blocked"), "{said}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_calm_large_body_arrives_whole() {
    needs!("curl");
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "body: { limit: 4MiB }", "");
    let body = form(3 << 20, "");
    assert_eq!(post(&gateway, body.clone()).text(), "ok");
    let mut connection = Connection::open(gateway.address());
    connection.send(&chunked("/chunked", &body));
    assert_eq!(connection.response().text(), "ok");
    // The connection is in order after it.
    assert_eq!(Ask::new("GET", "/after").send_on(&mut connection).text(), "ok");
    let file = gateway.folder().join("body");
    std::fs::write(&file, &body).expect("writes");
    let mut command = Command::new("curl");
    command.args(["-sS", "--http2-prior-knowledge", "--data-binary"]);
    command.arg(format!("@{}", file.display())).arg(format!("http://{}/", gateway.address()));
    assert_eq!(output(&mut command).stdout, "ok");
    for request in origin.received().iter().filter(|request| request.method == "POST") {
        assert!(request.body == body, "{} of {}", request.body.len(), body.len());
        assert_eq!(request.header("content-length"), Some(&*body.len().to_string()));
    }
    assert_eq!(origin.received().len(), 4);
}

#[test]
fn a_large_body_reaches_a_pod_that_speaks_http2() {
    needs!("nginx");
    let server = "client_max_body_size 10m; client_body_buffer_size 10m; \
                  location / { return 200 '$server_protocol $content_length'; }";
    let pod = Nginx::listening("http2", server, &[]);
    let config = "
defaults: { max_body: 64MiB, waf: { budget: { work: 1s }, body: { limit: 4MiB } } }
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<pod>], protocol: h2 } }
";
    let gateway = Gateway::start(config, &[("pod", &pod.address())]);
    let body = form(3 << 20, "");
    let expected = format!("HTTP/2.0 {}", body.len());
    assert_eq!(post(&gateway, body.clone()).text(), expected);
    let mut connection = Connection::open(gateway.address());
    connection.send(&chunked("/", &body));
    assert_eq!(connection.response().text(), expected);
}

#[test]
fn an_origin_that_does_not_wait_for_a_large_body_has_its_answer_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    let origin = thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().expect("a connection");
        let mut head = [0; 1024];
        let read = stream.read(&mut head).expect("a head");
        let answer = b"HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsoon";
        stream.write_all(answer).expect("an answer");
        assert!(read > 0);
    });
    let config = "
defaults: { max_body: 64MiB, waf: { budget: { work: 1s }, body: { limit: 16MiB } } }
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let gateway = Gateway::start(config, &[("origin", &address)]);
    let response = post(&gateway, form(12 << 20, ""));
    assert_eq!((response.status, response.text()), (429, "soon".to_owned()));
    origin.join().expect("ended");
}

#[test]
fn a_client_that_waits_for_leave_gets_it() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "body: { limit: 1MiB }", "");
    let body = form(200_000, "");
    let mut connection = Connection::open(gateway.address());
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes());
    read_until(&mut connection, "HTTP/1.1 100 Continue\r\n\r\n");
    connection.send(&body);
    assert_eq!(connection.response().text(), "ok");
    assert_eq!(origin.received()[0].header("expect"), None);
    assert_eq!(origin.received()[0].body.len(), body.len());
}

#[test]
fn where_the_rest_may_pass_the_first_part_may_not_before_the_verdict() {
    let origin = Origin::start(Reply::ok("ok"));
    let waf = "body: { limit: 300KiB, over_limit: inspect_prefix }";
    let gateway = guarded(&origin, waf, "");
    let mut body = form(250 << 10, ATTACK);
    body.resize(600 << 10, b'y');
    let mut connection = Connection::open(gateway.address());
    connection.send(&chunked("/", &body));
    let status = connection.response().status;
    assert_eq!(status, 403);
    assert!(!origin.raw().windows(4).any(|bytes| bytes == b"xxxx"));
    let calm = form(600 << 10, ATTACK);
    let mut connection = Connection::open(gateway.address());
    connection.send(&chunked("/", &calm));
    assert_eq!(connection.response().status, 200);
    let received = origin.received();
    assert_eq!(received.last().expect("one").body.len(), calm.len());
}

#[test]
fn held_bodies_are_bounded_over_all_requests() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "body: { limit: 2MiB }", "limits: { held_bodies: 2MiB }");
    let body = form(1 << 20, "");
    let head = |length: usize| {
        let fields = format!("Expect: 100-continue\r\nContent-Length: {length}");
        format!("POST /held HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n").into_bytes()
    };
    // Two that say so much, and send nothing yet.
    let mut held: Vec<Connection> = (0..2)
        .map(|_number| {
            let mut connection = Connection::open(gateway.address());
            connection.send(&head(1 << 20));
            read_until(&mut connection, "100 Continue\r\n\r\n");
            connection
        })
        .collect();
    wait::until("no room is left", || {
        let response = post(&gateway, body.clone());
        response.status == 503 && response.text().contains("overloaded")
    });
    for connection in &mut held {
        connection.send(&vec![b'x'; 1 << 20]);
        assert_eq!(connection.response().status, 200);
    }
    wait::until("there is room again", || post(&gateway, body.clone()).status == 200);
}

#[test]
fn a_slow_body_ends_in_time_and_frees_its_room() {
    let origin = Origin::start(Reply::ok("ok"));
    let more = "limits: { held_bodies: 1MiB, body_timeout: 500ms }";
    let gateway = guarded(&origin, "body: { limit: 1MiB }", more);
    let mut connection = Connection::open(gateway.address());
    connection.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc");
    let (took, response) = wait::timed(|| connection.response());
    assert_problem(&response, 408, "request_timeout");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(post(&gateway, form(900_000, "")).status, 200);
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn large_bodies_leave_no_trace_in_memory() {
    let origin = Origin::script(|request| Reply::ok(request.body.len().to_string()));
    let gateway = guarded(&origin, "body: { limit: 16MiB }", "");
    let body = form(2 << 20, "");
    let post_some = || {
        for _ in 0..12 {
            assert_eq!(post(&gateway, body.clone()).status, 200);
        }
    };
    // Each worker thread keeps room for one inspection, and the allocator what it once had. What is
    // lost is lost in every round, and each round's bodies are 24 MiB.
    let grown = (0..5).map(|_round| {
        let before = resident_kib(gateway.pid());
        post_some();
        resident_kib(gateway.pid()).saturating_sub(before)
    });
    let least = grown.min().unwrap_or(u64::MAX);
    assert!(least < 8 << 10, "{least} KiB more in each round");
}

#[test]
fn an_upgrade_that_is_ignored_opens_no_way_around_the_body() {
    let origin = Origin::start(Reply::ok("served"));
    let config = "
routes: [{ path: /, to: api, waf: { mode: block, seclang: [own.conf] } }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let rule = "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,status:403\"\n";
    let gateway =
        Gateway::builder(config).set("origin", origin.address()).file("own.conf", rule).start();
    for upgrade in ["Upgrade: x\r\nConnection: upgrade\r\n", "Upgrade: x\r\n", ""] {
        let mut client = Connection::open(gateway.address());
        let head = format!(
            "POST /?q=attack HTTP/1.1\r\nHost: x\r\n{upgrade}Content-Length: 1\r\nContent-Type: text/plain\r\n\r\n"
        );
        client.send(head.as_bytes());
        assert!(!client.is_closed_within(Duration::from_millis(200)));
        assert_eq!(origin.connections(), 0, "nothing goes upstream before the verdict");
        client.send(b"x");
        assert_eq!(client.response().status, 403, "{upgrade}");
        assert_eq!(origin.connections(), 0);
    }
}
