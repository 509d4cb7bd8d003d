//! What is meant to hurt the firewall itself, through the running binary: heads that nobody can
//! read, bodies that are not what they say, bodies that grow when they are read. Each has its right
//! answer, in bounded time and memory.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::{Connection, Gateway, Origin, Reply, Response, wait};

use crate::assert_problem;
use crate::streaming::resident_kib;

const RULES: &str = r#"
SecRule REQUEST_METHOD "!@rx ^[A-Z]{1,20}$" "id:1,phase:1,pass,msg:'no method'"
SecRule REQUEST_PROTOCOL "!@rx ^HTTP/(?:1\.[01]|2\.0)$" "id:2,phase:1,pass,msg:'no protocol'"
SecRule REQUEST_HEADERS_NAMES "@contains _" "id:3,phase:2,pass,msg:'an underscore'"
SecRule ARGS "@rx \xe9" "id:4,phase:2,pass,msg:'not ASCII'"
SecRule REQUEST_FILENAME "@rx [\r\n]" "id:5,phase:1,pass,msg:'a line in the path'"
SecRule ARGS|XML:/* "@contains attack" "id:6,phase:2,deny,msg:'an attack'"
SecRule REQUEST_HEADERS:Host "@rx ^$" "id:7,phase:1,pass,msg:'no host'"
"#;

#[track_caller]
fn guarded(origin: &Origin, waf: &str) -> Gateway {
    let config = format!(
        "
defaults: {{ max_body: 64MiB, waf: {{ seclang: [<dir>/own.conf], {waf} }} }}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
encoded_slash: refuse
"
    );
    Gateway::builder(&config).set("origin", origin.address()).file("own.conf", RULES).start()
}

/// Sends a head as it is, and returns the status with the rules that the log names.
#[track_caller]
fn rules_of(gateway: &Gateway, head: &[u8]) -> (u16, Vec<u64>) {
    let before = gateway.access_log().len();
    let mut connection = Connection::open(gateway.address());
    connection.send(head);
    let status = connection.response().status;
    wait::until("it is logged", || gateway.access_log().len() > before);
    let line = gateway.access_log().pop().expect("a line");
    assert_eq!(line["route"], "all", "{line}");
    assert_eq!(line["status"], status, "{line}");
    let matches = line["waf"]["matches"].as_array().cloned().unwrap_or_default();
    (status, matches.iter().filter_map(|found| found["rule"].as_u64()).collect())
}

#[test]
fn a_head_that_is_refused_is_looked_at_all_the_same() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "mode: block");
    let check = |head: &[u8], expected: (u16, &[u64])| {
        let (status, rules) = rules_of(&gateway, head);
        assert_eq!((status, &*rules), expected, "{}", head.escape_ascii());
    };
    check(b"|GET / HTTP/1.1\r\nHost: x\r\n\r\n", (501, &[1]));
    check(b"Foo / HTTP/1.1\r\nHost: x\r\n\r\n", (501, &[1]));
    check(b"GET / HTTP/4.0\r\nHost: x\r\n\r\n", (400, &[2]));
    check(b"GET /\r\n\r\n", (400, &[2]));
    check(b"GET / HTTP/1.1\r\nHost: x\r\nX_A: 1\r\n\r\n", (400, &[3]));
    check(b"GET /?a=\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", (400, &[4]));
    check(b"GET /a%0ab%2f HTTP/1.1\r\nHost: x\r\n\r\n", (400, &[5]));
    check(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", (400, &[7]));
    check(b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", (405, &[]));
    // What would be refused by the firewall is refused for the other reason, and told.
    check(b"GET /a%2fb?a=attack HTTP/1.1\r\nHost: x\r\n\r\n", (400, &[6]));
    assert_eq!(origin.connections(), 0);
}

fn post(gateway: &Gateway, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let ask = Ask::new("POST", "/").field("Content-Type", content_type).body(body);
    ask.send(gateway.address())
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "mode: block");
    let refused = |content_type: &str, body: &[u8]| {
        let response = post(&gateway, content_type, body);
        assert_eq!(response.status, 400, "{content_type} {}", body.escape_ascii());
        assert_problem(&response, 400, "waf_blocked");
    };
    refused("application/json", b"{\"a\": ");
    refused("application/vnd.api+json; charset=utf-8", b"{'a': 1}");
    refused("application/json", b"{\"a\": 1}{\"a\": 2}");
    refused("text/xml", b"<a><b></a>");
    refused("multipart/form-data", b"--b\r\n\r\n--b--");
    const PART: &str = "Content-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n";
    let form = "multipart/form-data; boundary=b";
    refused(form, format!("--b\r\n{PART}").as_bytes());
    refused(form, format!("--b\r\n{PART}--b--\r\nmore").as_bytes());
    refused(form, format!("--b\r\n{}--b--\r\n", PART.replace('"', "'")).as_bytes());
    assert_eq!(origin.connections(), 0);
    let passed = |content_type: &str, body: &[u8]| {
        assert_eq!(post(&gateway, content_type, body).status, 200, "{}", body.escape_ascii());
    };
    passed("application/json", b"{\"a\": [1, \"b\", null]}");
    passed("text/xml", b"<a><b/></a>");
    passed(form, format!("--b\r\n{PART}--b--\r\n").as_bytes());
    // Attacks are seen where they are hidden in the format.
    let hidden = b"{\"a\": \"\\u0061ttack\"}";
    assert_problem(&post(&gateway, "application/json", &hidden[..]), 403, "waf_blocked");
    let hidden = b"<a><![CDATA[attack]]></a>";
    assert_problem(&post(&gateway, "application/xml", &hidden[..]), 403, "waf_blocked");
}

#[test]
fn a_route_may_take_bodies_that_are_not_what_they_say() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "exclude: [{ rules: [20000003] }]");
    assert_eq!(post(&gateway, "application/json", "{").status, 200);
}

/// Sends hostile requests, and checks that they end soon and leave no trace in memory.
#[track_caller]
fn survives(gateway: &Gateway) {
    let laughs: String =
        (1..30).fold(String::from("<!DOCTYPE a [<!ENTITY e0 \"ha\">"), |text, n| {
            let before = format!("&e{};", n - 1).repeat(10);
            text + &format!("<!ENTITY e{n} \"{before}\">")
        });
    let json = "application/json";
    let form = "multipart/form-data; boundary=b";
    let part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n";
    let plain = "application/x-www-form-urlencoded";
    let mut hostile: Vec<(&str, Vec<u8>)> = vec![
        (json, b"[".repeat(4 << 20)),
        (json, b"{\"a\":".repeat(500_000)),
        (json, [&b"["[..], &b"1,".repeat(1 << 20), b"1]"].concat()),
        (json, [&b"\""[..], &b"\\u0000".repeat(500_000), b"\""].concat()),
        (json, b"\xff\xfe\x00".repeat(100_000)),
        ("text/xml", format!("{laughs}]><a>&e29;</a>").into_bytes()),
        ("text/xml", b"<a>".repeat(1 << 20)),
        ("text/xml", [&b"<a "[..], &b"b='c' ".repeat(300_000), b"/>"].concat()),
        (plain, b"a=1&".repeat(100_000)),
        (plain, b"%".repeat(3 << 20)),
        (plain, b"a=%00%ff\x00\xff&".repeat(50_000)),
        (form, part.repeat(20_000).into_bytes()),
        (form, b"--b\r\n".repeat(400_000)),
        (form, b"--b".repeat(1 << 20)),
        (form, [b"--b\r\nContent-Disposition: ".to_vec(), b"; a".repeat(1 << 20)].concat()),
    ];
    hostile.push(("multipart/form-data; boundary=", b"-".repeat(1 << 20)));
    for (content_type, body) in hostile {
        let length = body.len();
        let start = body.get(..20).unwrap_or(&body).escape_ascii().to_string();
        let (took, response) = wait::timed(|| post(gateway, content_type, body));
        let answers = [200, 400, 403, 413];
        assert!(answers.contains(&response.status), "{start} {length}: {}", response.status);
        assert!(took < Duration::from_secs(15), "{start} {length}: {took:?}");
    }
    let arguments = format!("/?{}", "a=1&".repeat(1_900));
    assert!([200, 403].contains(&get(gateway.address(), &arguments).status));
    assert_eq!(get(gateway.address(), "/calm").status, 200);
}

#[test]
fn what_is_meant_to_hurt_ends_soon_and_leaves_no_trace() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "builtin: true, body: { limit: 16MiB }");
    let before = resident_kib(gateway.pid());
    survives(&gateway);
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} KiB more");
}

#[test]
fn the_core_rule_set_is_not_hurt_either() {
    let crs = std::env::var_os("TIDEGATE_CRS").map(PathBuf::from);
    let crs = crs.unwrap_or_else(|| PathBuf::from("/usr/share/modsecurity-crs"));
    if !crs.join("rules").is_dir() {
        eprintln!("skipped: no Core Rule Set in {}; TIDEGATE_CRS says where one is", crs.display());
        return;
    }
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, &format!("crs: {}, body: {{ limit: 16MiB }}", crs.display()));
    let before = resident_kib(gateway.pid());
    survives(&gateway);
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 160 << 10, "{grown} KiB more");
}

#[test]
fn a_head_full_of_nothing_good_is_answered() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = guarded(&origin, "builtin: true");
    for head in [
        b"GET /\x00\xff HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\xff\xfe / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        [b"GET / HTTP/1.1\r\n".to_vec(), b"a_b: c\r\n".repeat(3_000), b"\r\n".to_vec()].concat(),
        [b"GET /?".to_vec(), b"\xff=\x80&".repeat(1_500), b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
    ] {
        let mut connection = Connection::open(gateway.address());
        connection.send(&head);
        let status = connection.response().status;
        assert!([400, 414, 431].contains(&status), "{status}");
    }
    assert_eq!(get(gateway.address(), "/calm").status, 200);
    assert_eq!(origin.received().len(), 1);
}
