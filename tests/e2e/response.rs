//! Measures in the running binary: what is decided about somebody is done, told and recorded.
//! Clients stand behind a trusted proxy, since loopback is never hit.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::client::{Ask, Response};
use tidegate_testkit::gateway::{Builder, binary};
use tidegate_testkit::tokens::{Signer, key_set, now};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

use crate::assert_problem;

/// One rule that acts, and every measure.
const CONFIG: &str = "
trusted_proxies: [127.0.0.1]
bans: { file: bans.jsonl }
response:
  builtin: off
  throttle: { rate: 1/h, burst: 2 }
  tarpit: { delay: 1s, max_held: 2 }
  isolate: { to: quarantine }
  rules:
    probing:
      when: { status: [404] }
      leaky: { capacity: 5, leak: 1/h }
      ladder: [block]
      ttl: { first: 10m, jitter: 0% }
      enforce: true
    refused:
      when: { status: [403] }
      leaky: { capacity: 5, leak: 1/h }
      ladder: [alert]
      enforce: true
routes:
  - { id: pay, path: /pay, to: api }
  - { id: login, path: /login, to: api }
upstreams:
  api: { endpoints: [<origin>] }
  quarantine: { endpoints: [<trap>] }
";

struct Rig {
    gateway: Gateway,
    _origins: [Origin; 2],
}

fn rig(config: &str) -> Rig {
    rig_with(Gateway::builder(config))
}

fn rig_with(builder: Builder) -> Rig {
    let origins = [Origin::start(Reply::ok("paid")), Origin::start(Reply::ok("trapped"))];
    let gateway =
        builder.set("origin", origins[0].address()).set("trap", origins[1].address()).start();
    Rig { gateway, _origins: origins }
}

/// What a client at `address` gets.
pub(crate) fn as_client(gateway: &Gateway, address: &str, path: &str) -> Response {
    Ask::new("GET", path).field("X-Forwarded-For", address).send(gateway.address())
}

/// Runs a command of the binary against the gateway; its exit code and what it printed.
pub(crate) fn tidegate(gateway: &Gateway, args: &[&str]) -> (i32, String) {
    let admin = gateway.admin().to_string();
    let output = Command::new(binary())
        .args(args)
        .args(["--admin", &admin])
        .output()
        .expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// Asks for what is not there until somebody is blocked.
pub(crate) fn probe_until_blocked(gateway: &Gateway, address: &str) {
    wait::until("the block", || as_client(gateway, address, "/nothing").status == 403);
}

fn decided(gateway: &Gateway, rule: &str, measure: &str, standing: &str) -> f64 {
    let labels = [("rule", rule), ("measure", measure), ("standing", standing)];
    gateway.metric("tidegate_decisions_total", &labels).unwrap_or_default()
}

#[test]
fn a_decision_is_followed_through_log_metric_sink_audit_record_and_admin() {
    let keys = tempfile::tempdir().expect("a folder");
    let key = keys.path().join("key");
    let made = Command::new(binary())
        .args(["audit", "keygen", "edge.example.com/log", "-o"])
        .arg(&key)
        .output()
        .expect("runs");
    assert!(made.status.success(), "{made:?}");
    let config = format!(
        "audit: {{ path: <dir>/log, origin: edge.example.com/log, key: {} }}\n\
         sinks: {{ soc: {{ file: {{ path: <dir>/soc.jsonl }} }} }}\n{CONFIG}",
        key.display()
    );
    let Rig { mut gateway, _origins } = rig(&config);
    probe_until_blocked(&gateway, "203.0.113.9");
    assert_problem(&as_client(&gateway, "203.0.113.9", "/pay"), 403, "banned");
    assert_eq!(as_client(&gateway, "203.0.113.10", "/pay").status, 200);

    // The metric and the log of what happens beside requests.
    assert_eq!(decided(&gateway, "probing", "block", "enforced"), 1.0);
    assert_eq!(gateway.metric("tidegate_measures", &[("measure", "block")]), Some(1.0));
    let stderr = gateway.stderr();
    assert!(stderr.contains("probing: block 203.0.113.9 (enforced)"), "{stderr}");
    // The access log.
    let line = gateway.logged(|line| line["reason"] == "banned");
    let measure = json!({ "name": "block", "rule": "probing" });
    assert_eq!(line["measure"], measure, "{line}");
    // The sink, which has the decision, and the refusal that followed from it.
    let sink = gateway.folder().join("soc.jsonl");
    let sent = || {
        let text = fs::read_to_string(&sink).unwrap_or_default();
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        text.lines().map(parse).collect::<Vec<_>>()
    };
    let told = || sent().into_iter().find(|record| record["notice"] == "decided");
    wait::until("the sink", || told().is_some());
    let decision = told().unwrap_or_default()["decision"].clone();
    assert_eq!(
        (&decision["rule"], &decision["target"]),
        (&json!("probing"), &json!("203.0.113.9"))
    );
    assert!(!decision["samples"].as_array().expect("samples").is_empty(), "{decision}");
    let refused = |record: &Value| record["measure"]["rule"] == "probing";
    wait::until("the refusal", || sent().iter().any(refused));
    // The admin listener.
    let (_, list) = tidegate(&gateway, &["bans", "list"]);
    assert!(list.starts_with("203.0.113.9\tblock\t") && list.contains("\tprobing\t"), "{list}");
    let (_, explained) = tidegate(&gateway, &["bans", "explain", "203.0.113.9"]);
    assert!(explained.contains("\"measure\": \"block\""), "{explained}");
    gateway.terminate();
    gateway.wait_exit(Duration::from_secs(20));
    assert_recorded(&gateway.folder().join("log"));
}

/// The record of the decision, with the evidence.
#[track_caller]
fn assert_recorded(log: &Path) {
    let found = Command::new(binary())
        .args(["audit", "search", "--kind", "decision", "--log"])
        .arg(log)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    let record: Value = serde_json::from_str(text.lines().next().expect("a record")).expect("JSON");
    let record = record.get("record").unwrap_or(&record);
    let details = &record["details"];
    assert_eq!((&record["event"], &record["client"]), (&json!("block"), &json!("203.0.113.9")));
    assert_eq!((&details["rule"], &details["standing"]), (&json!("probing"), &json!("enforced")));
    assert!(details["count"].as_u64() >= Some(6), "{record:#}");
    let samples = details["samples"].as_array().expect("samples");
    assert!(samples.iter().all(|sample| sample["status"] == 404), "{record:#}");
}

#[test]
fn answers_of_enforcement_feed_no_detector() {
    let Rig { gateway, _origins } = rig(CONFIG);
    probe_until_blocked(&gateway, "203.0.113.9");
    for _ in 0..40 {
        assert_eq!(as_client(&gateway, "203.0.113.9", "/nothing").status, 403);
    }
    // A tarpit's refusals and a throttle's feed none either.
    tidegate(&gateway, &["bans", "add", "203.0.113.10", "--measure", "throttle"]);
    for _ in 0..40 {
        as_client(&gateway, "203.0.113.10", "/pay");
    }
    gateway.logged(|line| line["reason"] == "throttled");
    assert_eq!(decided(&gateway, "probing", "block", "enforced"), 1.0);
    assert_eq!(decided(&gateway, "refused", "alert", "enforced"), 0.0);
}

#[test]
fn the_throttled_have_a_tighter_bucket() {
    let Rig { gateway, _origins } = rig(CONFIG);
    let (code, text) = tidegate(
        &gateway,
        &["bans", "add", "203.0.113.0/24", "--measure", "throttle", "--for", "1h"],
    );
    assert_eq!((code, &*text), (0, "throttled 203.0.113.0/24\n"));
    // A bucket for each client in the network.
    assert_eq!(as_client(&gateway, "203.0.113.1", "/pay").status, 200);
    assert_eq!(as_client(&gateway, "203.0.113.2", "/pay").status, 200);
    assert_eq!(as_client(&gateway, "203.0.113.2", "/pay").status, 200);
    let refused = as_client(&gateway, "203.0.113.2", "/pay");
    assert_problem(&refused, 429, "throttled");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(as_client(&gateway, "203.0.114.1", "/pay").status, 200);
    let line = gateway.logged(|line| line["reason"] == "throttled");
    assert_eq!(line["measure"], json!({ "name": "throttle", "rule": "admin" }));
    let touched = gateway.metric("tidegate_measured_requests_total", &[("measure", "throttle")]);
    assert_eq!(touched, Some(1.0));
}

#[test]
fn the_tarpit_holds_answers_and_is_bounded() {
    let Rig { gateway, _origins } = rig(&CONFIG.replace("rate: 1/h, burst: 2", "rate: 100/s"));
    tidegate(&gateway, &["bans", "add", "203.0.113.9", "--measure", "tarpit"]);
    let gateway = &gateway;
    let answers: Vec<(u16, Duration)> = std::thread::scope(|scope| {
        let ask = || {
            let (took, answer) = wait::timed(|| as_client(gateway, "203.0.113.9", "/pay"));
            (answer.status, took)
        };
        let asks: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        asks.into_iter().map(|ask| ask.join().expect("an answer")).collect()
    });
    let of = |status| answers.iter().filter(move |(got, _)| *got == status).map(|(_, took)| *took);
    assert_eq!((of(200).count(), of(429).count()), (2, 1), "{answers:?}");
    assert!(of(200).all(|took| took >= Duration::from_secs(1)), "{answers:?}");
    // Nobody else waits, and refusals wait as well.
    let (took, _) = wait::timed(|| as_client(gateway, "203.0.113.10", "/pay"));
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (took, refused) = wait::timed(|| as_client(gateway, "203.0.113.9", "/nothing"));
    assert!(refused.status == 404 && took >= Duration::from_secs(1), "{took:?}");
    assert_eq!(gateway.metric("tidegate_tarpit_held", &[]), Some(0.0));
}

#[test]
fn the_tarpit_holds_up_no_drain() {
    let Rig { mut gateway, _origins } = rig(&CONFIG.replace("delay: 1s", "delay: 50s"));
    tidegate(&gateway, &["bans", "add", "203.0.113.9", "--measure", "tarpit"]);
    let address = gateway.address();
    let held = std::thread::spawn(move || {
        Ask::new("GET", "/pay").field("X-Forwarded-For", "203.0.113.9").send(address)
    });
    wait::until("the tarpit", || gateway.metric("tidegate_tarpit_held", &[]) == Some(1.0));
    let (took, ()) = wait::timed(|| {
        gateway.terminate();
        gateway.wait_exit(Duration::from_secs(20));
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    let answer = held.join().expect("an answer");
    assert_eq!((answer.status, &*answer.text()), (200, "paid"));
}

/// Rule, measure, target and offence of a decision.
fn brief(decision: &Value) -> Value {
    json!([decision["rule"], decision["measure"], decision["target"], decision["offence"]])
}

/// What a recording is said to lead to under another policy is what the running binary decides
/// under it.
#[test]
fn a_recording_tells_what_another_policy_decides() {
    let traffic = |gateway: &Gateway| {
        for _ in 0..12 {
            for client in ["203.0.113.9", "203.0.113.10"] {
                as_client(gateway, client, "/nothing");
            }
            as_client(gateway, "203.0.113.11", "/pay");
        }
    };
    let recorded = rig(&CONFIG.replace("ladder: [block]", "ladder: [alert]")).gateway;
    traffic(&recorded);
    wait::until("the log", || recorded.access_log().len() == 36);
    let lines: Vec<String> = recorded.access_log().iter().map(Value::to_string).collect();

    let changed = CONFIG.replace(
        "{ capacity: 5, leak: 1/h }\n      ladder: [block]",
        "{ capacity: 3, leak: 1/h }\n      ladder: [alert, block]",
    );
    let config = format!("sinks: {{ soc: {{ file: {{ path: <dir>/soc.jsonl }} }} }}\n{changed}");
    let builder = Gateway::builder(&config).file("recorded.log", &lines.join("\n"));
    let running = rig_with(builder).gateway;
    traffic(&running);
    let folder = running.folder();
    let decided = || -> Vec<Value> {
        let text = fs::read_to_string(folder.join("soc.jsonl")).unwrap_or_default();
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let decided = records.filter(|record| record["notice"] == "decided");
        decided.map(|record| brief(&record["decision"])).collect()
    };
    wait::until("the decisions", || decided().len() >= 4);
    let report = Command::new(binary())
        .args(["policy", "test", "--as-configured", "--json", "--config"])
        .arg(folder.join("tidegate.yaml"))
        .arg(folder.join("recorded.log"))
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&report.stdout).into_owned();
    let told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<Value> =
        told.filter(|line| line["rule"].is_string()).map(|line| brief(&line)).collect();
    // Requests of two clients may end in either order; those of one may not.
    let by_client = |mut all: Vec<Value>| {
        all.sort_by_key(|decision| decision[2].to_string());
        all
    };
    assert_eq!(by_client(told.clone()), by_client(decided()));
    assert_eq!(told.len(), 4, "{text}");
}

#[test]
fn the_isolated_are_led_to_the_quarantine() {
    let Rig { gateway, _origins } = rig(CONFIG);
    tidegate(&gateway, &["bans", "add", "203.0.113.9", "--measure", "isolate"]);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").text(), "trapped");
    assert_eq!(as_client(&gateway, "203.0.113.10", "/pay").text(), "paid");
    let line = gateway.logged(|line| line["upstream"] == "quarantine");
    assert_eq!(line["measure"]["name"], "isolate");
    // Without a quarantine they are refused.
    gateway.write_config(&CONFIG.replace("  isolate: { to: quarantine }\n", ""));
    assert_eq!(gateway.reload().status, 200);
    assert_problem(&as_client(&gateway, "203.0.113.9", "/pay"), 403, "banned");
}

#[test]
fn whoever_is_known_is_held_by_name_wherever_they_come_from() {
    let signer = Signer::new("k1");
    let keys = format!("{{ inline: '{}' }}", key_set(&[signer.jwk()]));
    let auth = "auth: { log_subject: plain, issuers: { corp: { issuer: https://id.example.com, \
                audience: [api], keys: <keys> } } }\ndefaults: { auth: { jwt: corp } }\n";
    let config = format!("{auth}{CONFIG}");
    let Rig { gateway, _origins } = rig_with(Gateway::builder(&config).set("keys", keys));
    let token = |subject: &str, client: &str| {
        signer.token(&json!({
            "iss": "https://id.example.com", "aud": "api", "sub": subject, "client_id": client,
            "iat": now(), "exp": now() + 300,
        }))
    };
    let ask = |address: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let ask = Ask::new("GET", "/pay").field("X-Forwarded-For", address);
        ask.field("Authorization", &bearer).send(gateway.address())
    };
    let (ann, bob) = (token("ann", "shop"), token("bob", "app"));
    let add = |args: &[&str]| {
        let (code, text) = tidegate(&gateway, &[&["bans", "add"], args].concat());
        assert_eq!(code, 0, "{text}");
    };
    add(&["--subject", "ann", "--provider", "corp", "--for", "1h"]);
    for address in ["203.0.113.9", "203.0.113.10"] {
        assert_problem(&ask(address, &ann), 403, "banned");
        assert_eq!(ask(address, &bob).status, 200);
    }
    let line = gateway.logged(|line| line["reason"] == "banned");
    assert_eq!(line["evidence"], "banned: subject of corp");
    add(&["--client", "app", "--provider", "corp", "--measure", "isolate"]);
    assert_eq!(ask("203.0.113.9", &bob).text(), "trapped");
    let carol = token("carol", "web");
    // Its signature is no part of its name: who can make another one has the same token.
    let (signed, _signature) = carol.rsplit_once('.').expect("a JWT");
    let hash = sha256_of(signed);
    add(&["--token-hash", &hash]);
    assert_problem(&ask("203.0.113.9", &carol), 403, "banned");
    assert_eq!(ask("203.0.113.9", &token("carol", "other")).status, 200);
    // Who shows nothing is told that first, and nothing of bans.
    assert_problem(&as_client(&gateway, "203.0.113.9", "/pay"), 401, "unauthenticated");
    let lift = ["bans", "lift", "--subject", "ann", "--provider", "corp"];
    assert_eq!(tidegate(&gateway, &lift).0, 0);
    assert_eq!(ask("203.0.113.9", &ann).status, 200);
}

/// By the program that every Debian has.
fn sha256_of(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, text).expect("writes");
    let output = Command::new("sha256sum").arg(&file).output().expect("sha256sum");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_route_is_held_for_everybody_but_the_protected() {
    let config = CONFIG.replace("bans: {", "bans: { never: [198.51.100.7],");
    let Rig { gateway, _origins } = rig(&config);
    tidegate(&gateway, &["bans", "add", "--route", "login", "--measure", "throttle"]);
    for address in ["203.0.113.9", "203.0.113.10"] {
        // Each client on the route has its own bucket.
        for status in [200, 200, 429] {
            assert_eq!(as_client(&gateway, address, "/login").status, status);
        }
        assert_eq!(as_client(&gateway, address, "/pay").status, 200);
    }
    for _ in 0..5 {
        assert_eq!(as_client(&gateway, "198.51.100.7", "/login").status, 200);
    }
}

#[test]
fn an_endpoint_that_is_isolated_gets_nothing_and_comes_back() {
    let origins = [Origin::start(Reply::ok("a")), Origin::start(Reply::ok("b"))];
    let config = "
bans: {}
routes: [{ path: /, to: api }]
upstreams:
  api:
    slow_start: { window: 1s }
    endpoints: [{ address: <a>, zone: a }, { address: <b>, zone: b }]
";
    let values: [(&str, &dyn std::fmt::Display); 2] =
        [("a", &origins[0].address()), ("b", &origins[1].address())];
    let gateway = Gateway::start(config, &values);
    let (a, b) = (origins[0].address().to_string(), origins[1].address().to_string());
    let bodies = || {
        let answers = (0..20).map(|_| Ask::new("GET", "/").send(gateway.address()).text());
        answers.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(bodies(), ["a", "b"]);
    let add = ["bans", "add", "--endpoint", &a, "--upstream", "api", "--for", "3s"];
    assert_eq!(tidegate(&gateway, &add).1, format!("isolated endpoint {a} of api\n"));
    wait::until("the isolation", || bodies() == ["b"]);
    // Nobody else could serve: the zone stays.
    let add = ["bans", "add", "--zone", "b", "--upstream", "api", "--for", "2s"];
    assert_eq!(tidegate(&gateway, &add).0, 0);
    assert!(!bodies().is_empty());
    assert_eq!(Ask::new("GET", "/").send(gateway.address()).status, 200);
    wait::until("the return", || bodies() == ["a", "b"]);
    let blocked = ["bans", "add", "--endpoint", &b, "--upstream", "api", "--measure", "block"];
    assert_eq!(tidegate(&gateway, &blocked).0, 1);
}

#[test]
fn every_measure_outlives_a_restart() {
    let Rig { gateway, _origins } = rig(CONFIG);
    probe_until_blocked(&gateway, "203.0.113.9");
    tidegate(&gateway, &["bans", "add", "203.0.113.10", "--measure", "throttle", "--for", "1h"]);
    tidegate(&gateway, &["bans", "add", "--route", "login", "--measure", "isolate"]);
    let file = gateway.folder().join("bans.jsonl");
    wait::until("the file", || {
        fs::read_to_string(&file).is_ok_and(|text| text.lines().count() == 3)
    });
    let before = tidegate(&gateway, &["bans", "list"]).1;
    let kept = fs::read_to_string(&file).expect("reads");
    drop(gateway);
    let Rig { gateway, _origins } = rig_with(Gateway::builder(CONFIG).file("bans.jsonl", &kept));
    assert_eq!(tidegate(&gateway, &["bans", "list"]).1, before);
    assert_problem(&as_client(&gateway, "203.0.113.9", "/pay"), 403, "banned");
    assert_eq!(as_client(&gateway, "203.0.113.1", "/login").text(), "trapped");
}
