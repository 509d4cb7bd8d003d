//! What a route promises: the request's record before anything goes upstream, the outcome's before
//! the client has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::origin::closed_port;
use tidegate_testkit::programs::output;
use tidegate_testkit::{Ask, Connection, Origin, Reply, needs, wait};

use super::{assert_verifies, contains, events, everything_below, recorded, records, with_log};
use crate::assert_problem;

const PAYMENT: &str = "{ event: payment, durable: before_response, fields: { \
    amount: request.body:/amount, to: request.query:to, id: response.body:/id, \
    trace: response.header:X-Trace } }";

fn pay(amount: &str) -> Ask {
    Ask::new("POST", "/pay?to=shop-1")
        .field("content-type", "application/json")
        .body(format!("{{\"amount\":\"{amount}\"}}"))
}

#[test]
fn the_request_is_on_the_disk_before_the_upstream_sees_it_and_the_outcome_before_the_client() {
    let folder: Arc<std::sync::OnceLock<std::path::PathBuf>> = Arc::default();
    let early = Arc::new(AtomicBool::new(false));
    let (at, seen) = (Arc::clone(&folder), Arc::clone(&early));
    let origin = Origin::script(move |request| {
        let amount = String::from_utf8_lossy(&request.body).into_owned();
        let amount = amount.split('"').nth(3).expect("an amount").to_owned();
        let log = everything_below(at.get().expect("known"));
        if !contains(&log, &amount) {
            seen.store(true, Ordering::SeqCst);
        }
        let id = amount.replace('.', "-");
        Reply::ok(format!("{{\"id\":\"paid-{id}\"}}")).with("X-Trace", "t-1")
    });
    let gateway = with_log("", &events(PAYMENT)).set("origin", origin.address()).start();
    folder.set(gateway.folder().join("audit")).expect("once");
    for number in 0..50 {
        let answer = pay(&format!("{number}.55")).send(gateway.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let log = everything_below(&gateway.folder().join("audit"));
        assert!(contains(&log, &format!("paid-{number}-55")), "the outcome of {number}");
    }
    assert!(!early.load(Ordering::SeqCst), "a request went upstream before its record was there");
    let outcome = recorded(&gateway, |record| record["fields"]["id"] == "paid-49-55");
    assert_eq!(outcome["kind"], "outcome");
    assert_eq!(outcome["event"], "payment");
    assert_eq!(outcome["status"], 200);
    assert_eq!(outcome["fields"], json!({"id": "paid-49-55", "trace": "t-1"}));
    assert_eq!(outcome["details"]["upstream"], "api");
    let id = outcome["request_id"].clone();
    let request = recorded(&gateway, |record| record["request_id"] == id);
    assert_eq!(request["kind"], "request");
    assert_eq!(request["fields"], json!({"amount": "49.55", "to": "shop-1"}));
    assert_eq!((&request["method"], &request["path"]), (&json!("POST"), &json!("/pay")));
    assert_eq!((&request["v"], &request["node"]), (&json!(1), &json!("edge-1.example")));
    assert_verifies(gateway.folder());
}

#[test]
fn http2_and_long_and_chunked_bodies_are_recorded_alike() {
    needs!("curl");
    let origin =
        Origin::script(|_request| Reply::Chunked(vec![b"{\"id\":".to_vec(), b"7}".to_vec()]));
    let rest = format!("listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{}", events(PAYMENT));
    let gateway = with_log("", &rest).set("origin", origin.address()).start();
    let note = "x".repeat(200_000);
    let body = format!("{{\"amount\":\"1.00\",\"note\":\"{note}\"}}");
    std::fs::write(gateway.folder().join("body"), body).expect("writes");
    for protocol in ["--http2-prior-knowledge", "--http1.1"] {
        for framing in ["x-framing: length", "transfer-encoding: chunked"] {
            let mut curl = std::process::Command::new("curl");
            curl.args(["-s", "-S", "--max-time", "20", protocol, "-H", framing, "-H", "expect:"]);
            curl.args(["-H", "content-type: application/json"]);
            curl.arg("--data-binary").arg(format!("@{}/body", gateway.folder().display()));
            curl.arg(format!("http://{}/pay", gateway.address()));
            let said = output(&mut curl);
            assert_eq!(said.stdout, "{\"id\":7}", "{protocol} {framing}: {}", said.stderr);
        }
    }
    let count = |is: &dyn Fn(&Value) -> bool| records(&gateway).iter().filter(|r| is(r)).count();
    wait::until("four outcomes have their id", || count(&|r| r["fields"]["id"] == 7) == 4);
    assert_eq!(count(&|record| record["fields"]["amount"] == "1.00"), 4);
    assert!(origin.received().iter().all(|request| request.body.len() > 200_000));
}

#[test]
fn a_failed_upstream_and_a_retry_are_told_in_the_outcome() {
    let rest = events(PAYMENT);
    let gateway = with_log("", &rest).set("origin", closed_port()).start();
    assert_problem(&pay("2.00").send(gateway.address()), 502, "upstream_connect_failed");
    let outcome = recorded(&gateway, |record| record["kind"] == "outcome");
    assert_eq!(outcome["status"], 502);
    assert_eq!(outcome["reason"], "upstream_connect_failed");

    let origin = Origin::script(|request| match request.number {
        0 => Reply::status(503, "busy"),
        _ => Reply::ok("{\"id\":1}"),
    });
    let rest = format!(
        "defaults: {{ audit: {PAYMENT}, retries: {{ attempts: 2, on: [503], non_idempotent: true }} }}\n{}",
        crate::ALL_TO_API
    );
    let gateway = with_log("", &rest).set("origin", origin.address()).try_start();
    let gateway = gateway.unwrap_or_else(|failed| panic!("{}", failed.stderr));
    assert_eq!(pay("3.00").send(gateway.address()).status, 200);
    let outcome = recorded(&gateway, |record| record["kind"] == "outcome");
    assert_eq!(outcome["details"]["attempts"], 2, "{outcome}");
    let requests = records(&gateway).iter().filter(|record| record["kind"] == "request").count();
    assert_eq!(requests, 1, "a request is one record, however often it is tried");
}

#[test]
fn a_client_that_leaves_is_told_in_the_outcome_or_the_delivery() {
    let origin = Origin::script(|request| match request.target.as_str() {
        "/hang" => Reply::Hang,
        _ => Reply::StallAfter(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()),
    });
    let audit = "{ event: payment, durable: before_response }";
    let gateway = with_log("", &events(audit)).set("origin", origin.address()).start();
    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("POST", "/hang").body("x").bytes());
    wait::until("the origin has it", || origin.received().len() == 1);
    drop(connection);
    let outcome = recorded(&gateway, |record| record["kind"] == "outcome");
    assert_eq!((&outcome["reason"], &outcome["status"]), (&json!("client_closed"), &json!(499)));

    let mut connection = Connection::open(gateway.address());
    connection.send(&Ask::new("POST", "/half").body("x").bytes());
    recorded(&gateway, |record| record["kind"] == "outcome" && record["status"] == 200);
    drop(connection);
    let delivery = recorded(&gateway, |record| record["kind"] == "delivery");
    assert_eq!(delivery["reason"], "client_closed", "{delivery}");
}

#[test]
fn a_refused_request_is_a_refusal_and_a_redirect_an_outcome() {
    let origin = Origin::start(Reply::ok("ok"));
    let rest =
        "defaults: { audit: { event: login, durable: before_response }, waf: { mode: block } }
routes:
  - { id: all, path: /, to: api }
  - { id: moved, path: /old, redirect: { path: /new } }
upstreams: { api: { endpoints: [<origin>] } }
";
    let gateway = with_log("", rest).set("origin", origin.address()).start();
    let attack = Ask::new("GET", "/?q=<script>alert(1)</script>&password=hunter2");
    assert_problem(&attack.send(gateway.address()), 403, "waf_blocked");
    let refusal = recorded(&gateway, |record| record["kind"] == "refusal");
    assert_eq!((&refusal["reason"], &refusal["status"]), (&json!("waf_blocked"), &json!(403)));
    assert!(refusal["details"]["waf"]["rules"][0]["rule"].is_number(), "{refusal}");
    assert!(!refusal.to_string().contains("hunter2"), "{refusal}");
    assert!(Ask::new("GET", "/old").send(gateway.address()).status / 100 == 3);
    let outcome =
        recorded(&gateway, |record| record["route"] == "moved" && record["kind"] == "outcome");
    assert_eq!(outcome["event"], "login");
    let attack = Ask::new("POST", "/").field("content-type", "application/x-www-form-urlencoded");
    let attack = attack.body("q=<script>alert(1)</script>");
    assert_problem(&attack.send(gateway.address()), 403, "waf_blocked");
    wait::until("both refusals are there", || {
        records(&gateway).iter().filter(|record| record["kind"] == "refusal").count() == 2
    });
    assert!(origin.received().is_empty());
}

#[test]
fn hedged_routes_have_one_request_and_one_outcome() {
    let slow = Origin::start(Reply::Delayed(
        Duration::from_millis(400),
        Box::new(Reply::ok("{\"id\":1}")),
    ));
    let quick = Origin::start(Reply::ok("{\"id\":1}"));
    let rest = "
defaults: { audit: { event: read, durable: before_response, fields: { id: response.body:/id } }, hedge: { max_delay: 50ms } }
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<slow>, <quick>] } }
";
    let gateway = with_log("", rest).set("slow", slow.address()).set("quick", quick.address());
    let gateway = gateway.try_start().unwrap_or_else(|failed| panic!("{}", failed.stderr));
    for _ in 0..6 {
        assert_eq!(Ask::new("GET", "/").send(gateway.address()).status, 200);
    }
    wait::until("all outcomes are there", || {
        records(&gateway).iter().filter(|record| record["fields"]["id"] == 1).count() == 6
    });
    let requests = records(&gateway).iter().filter(|record| record["kind"] == "request").count();
    assert_eq!(requests, 6);
}
