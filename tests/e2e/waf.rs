//! The firewall in the running binary: what it refuses, and what its shadow would.

use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

use crate::{assert_problem, with_policy};

const ATTACK: &str = "/?q=%27%20UNION%20SELECT%20password%20FROM%20users--";
const ROUTE: (&str, &str) = ("route", "all");

#[test]
fn a_shadow_tells_what_it_would_refuse_and_refuses_nothing() {
    let origin = Origin::start(Reply::ok("ok"));
    let policy = "{ waf: { threshold: 1000, shadow: { threshold: 5 } } }";
    let gateway = with_policy(origin.address(), policy);
    assert_eq!(get(gateway.address(), "/calm").status, 200);
    assert_eq!(get(gateway.address(), ATTACK).status, 200);
    let line = gateway.logged(|line| line["waf_shadow"]["blocked"] == true);
    assert_eq!((&line["status"], &line["waf"]["blocked"]), (&200.into(), &false.into()));
    assert_eq!(line["waf_shadow"]["matches"], line["waf"]["matches"]);
    counts(&gateway, "tidegate_waf_shadow_would_block_total", 1.0);
    counts(&gateway, "tidegate_waf_shadow_requests_total", 2.0);
    assert_eq!(gateway.metric("tidegate_waf_shadow_would_pass_total", &[ROUTE]), None);
}

#[test]
fn a_shadow_tells_what_it_would_let_pass() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(
        origin.address(),
        "{ waf: { shadow: { exclude: [{ targets: ['query:q', uri] }] } } }",
    );
    assert_problem(&get(gateway.address(), ATTACK), 403, "waf_blocked");
    let line = gateway.logged(|line| line["reason"] == "waf_blocked");
    assert_eq!(line["waf_shadow"]["blocked"], false, "{line}");
    counts(&gateway, "tidegate_waf_shadow_would_pass_total", 1.0);
}

#[test]
fn a_shadow_sees_bodies_where_the_firewall_itself_is_off() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(origin.address(), "{ waf: { mode: off, shadow: {} } }");
    let ask = Ask::new("POST", "/")
        .field("Content-Type", "application/x-www-form-urlencoded")
        .body(ATTACK.trim_start_matches("/?"));
    assert_eq!(ask.send(gateway.address()).status, 200);
    let line = gateway.logged(|line| line["waf_shadow"]["blocked"] == true);
    assert!(line["waf"].is_null(), "{line}");
    assert_eq!(origin.received()[0].body, ATTACK.as_bytes()[2..]);
}

#[test]
fn a_query_has_one_spelling_for_the_firewall_and_the_origin() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = with_policy(origin.address(), "{ waf: {} }");
    let response = Ask::new("POST", "/a?q=\"a<b\"").body("body").send(gateway.address());
    assert_eq!(response.status, 200, "{}", response.text());
    let received = &origin.received()[0];
    assert_eq!((&*received.target, &*received.body), ("/a?q=%22a%3Cb%22", &b"body"[..]));
    let attack = get(gateway.address(), "/?q=\"><script>alert(document.cookie)</script>");
    assert_problem(&attack, 403, "waf_blocked");
}

#[track_caller]
fn counts(gateway: &Gateway, name: &str, value: f64) {
    wait::until(name, || gateway.metric(name, &[ROUTE]) == Some(value));
}
