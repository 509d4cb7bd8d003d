//! What operators see: health, readiness, metrics, the running configuration, upstreams.

use std::process::Command;

use tidegate_testkit::client::get;
use tidegate_testkit::programs::output_of;
use tidegate_testkit::{Ask, Ca, Connection, Gateway, Origin, Reply, needs};

use crate::{ALL_TO_API, in_front_of};

#[test]
fn promtool_accepts_the_metrics_after_all_kinds_of_requests() {
    needs!("promtool");
    let origin = Origin::script(|request| match request.target.as_str() {
        "/close" => Reply::Close,
        target => Reply::ok(target),
    });
    let ca = Ca::new("ca");
    let leaf = ca.server(&["api.example.com"]);
    let config = "
listeners:
  - { address: 127.0.0.2:0 }
  - { address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }
defaults: { waf: { mode: block }, rate_limit: { key: client_ip, rate: 1/s, burst: 5 } }
routes: [{ id: all, host: api.example.com, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>], health: { type: tcp, interval: 1s } } }
";
    let gateway = Gateway::builder(config)
        .set("origin", origin.address())
        .file("tls.crt", &leaf.cert)
        .file("tls.key", &leaf.key)
        .start();
    for target in ["/", "/close", "/?q=<script>alert(1)</script>", "/", "/", "/", "/", "/", "/"] {
        let ask = Ask::new("GET", target).host("api.example.com");
        assert_ne!(ask.send(gateway.address()).status, 0);
    }
    assert_eq!(get(gateway.address(), "/nothing").status, 404);
    Connection::open(gateway.address()).send(b"\x00\x01\r\n\r\n");
    let page = gateway.metrics();
    let said = output_of(Command::new("promtool").args(["check", "metrics"]), &page);
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.stderr.trim(), "", "promtool's advice");
    let families: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    assert!(families.iter().all(|line| line.contains(" tidegate_") || line.contains(" process_")));
    for word in ["build_info", "request", "refus", "upstream", "connections", "expir", "reload"] {
        assert!(families.iter().any(|line| line.contains(word)), "no {word} in {families:#?}");
    }
}

#[test]
fn metrics_carry_routes_and_never_paths() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    for number in 0..50 {
        assert_eq!(get(gateway.address(), &format!("/secret-path-{number}")).status, 200);
    }
    let page = gateway.metrics();
    assert!(!page.contains("secret-path"), "{page}");
    assert!(page.contains("route=\"all\""), "{page}");
}

#[test]
fn health_and_readiness_answer() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    assert_eq!(get(gateway.admin(), "/healthz").status, 200);
    assert_eq!(get(gateway.admin(), "/readyz").status, 200);
    assert_eq!(get(gateway.admin(), "/nothing").status, 404);
    assert_eq!(get(gateway.address(), "/readyz").text(), "ok", "a proxied path like any other");
}

/// A gateway whose admin listener asks for `s3cr3t-t0ken-0f-the-t3st`.
fn with_a_token(origin: &Origin) -> Gateway {
    let config =
        format!("admin: {{ address: 127.0.0.1:0, token: '${{env:ADMIN_TOKEN}}' }}\n{ALL_TO_API}");
    Gateway::builder(&config)
        .set("origin", origin.address())
        .env("ADMIN_TOKEN", "s3cr3t-t0ken-0f-the-t3st")
        .start()
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_a_token(&origin);
    let shown = Ask::new("GET", "/config")
        .field("Authorization", "Bearer s3cr3t-t0ken-0f-the-t3st")
        .send(gateway.admin());
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert!(shown.text().contains(&origin.address().to_string()), "{}", shown.text());
    assert!(!shown.text().contains("s3cr3t-t0ken-0f-the-t3st"));
    assert!(!gateway.stderr().contains("s3cr3t-t0ken-0f-the-t3st"));
}

#[test]
fn a_mutation_needs_post_and_the_token() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_a_token(&origin);
    let reload = |method: &str, token: Option<&str>| {
        let ask = Ask::new(method, "/reload").body("");
        let ask = match token {
            Some(token) => ask.field("Authorization", &format!("Bearer {token}")),
            None => ask,
        };
        ask.send(gateway.admin()).status
    };
    assert_eq!(reload("GET", Some("s3cr3t-t0ken-0f-the-t3st")), 405);
    assert_eq!(reload("POST", None), 401);
    assert_eq!(reload("POST", Some("wrong")), 401);
    assert!(reload("POST", Some("s3cr3t-t0ken-0f-the-t3st")) < 300);
}

#[test]
fn a_slip_in_an_admin_call_is_told_and_does_nothing() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    for (method, target, status, part) in [
        ("POST", "/reloads", 404, "POST /reload\n"),
        ("PUT", "/bans", 405, "/bans takes GET, HEAD, POST, DELETE\n"),
        ("POST", "/bans?network=203.0.113.9&mesure=throttle", 400, "`mesure` says nothing here"),
    ] {
        let answer = Ask::new(method, target).body("").send(gateway.admin());
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text().contains(part), "{target}: {}", answer.text());
    }
    assert_eq!(gateway.metric("tidegate_bans", &[("origin", "added")]), Some(0.0));
}

#[test]
fn who_is_banned_is_told_to_who_may_change_it() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_a_token(&origin);
    assert_eq!(get(gateway.admin(), "/bans").status, 401);
    assert_eq!(get(gateway.admin(), "/report/scopes").status, 401);
    let ask = Ask::new("GET", "/bans").field("Authorization", "Bearer s3cr3t-t0ken-0f-the-t3st");
    assert_eq!(ask.send(gateway.admin()).status, 200);
}

#[test]
fn a_web_page_cannot_make_a_browser_reload() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    let ask = Ask::new("POST", "/reload").field("Origin", "https://evil.test").body("");
    assert!(ask.send(gateway.admin()).status >= 400);
}

#[test]
fn upstreams_lists_each_endpoint() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    let page = get(gateway.admin(), "/upstreams");
    assert_eq!(page.status, 200);
    assert!(page.json().to_string().contains(&origin.address().to_string()), "{}", page.text());
}

#[test]
fn the_access_log_tells_one_request_in_one_line() {
    let origin = Origin::start(Reply::ok("hello"));
    let gateway = in_front_of(origin.address());
    let ask = Ask::new("GET", "/x?q=1").field("User-Agent", "test \"quoted\"").host("a.test");
    assert_eq!(ask.send(gateway.address()).status, 200);
    let line = gateway.logged(|line| line["path"] == "/x");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["host"], "a.test");
    assert_eq!(line["status"], 200);
    assert_eq!(line["route"], "all");
    assert_eq!(line["upstream"], "api");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["user_agent"], "test \"quoted\"");
    assert!(line["reason"].is_null());
}
