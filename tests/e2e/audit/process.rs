//! Starts, stops, configurations, keys, admin calls and refusals record themselves.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tidegate_audit::tile::Tile;
use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Ca, Load, Origin, Reply, wait};

use super::{assert_verifies, read, recorded, records, with_log};
use crate::{ALL_TO_API, assert_problem};

#[test]
fn the_life_of_the_process_is_recorded_from_start_to_stop() {
    let origin = Origin::start(Reply::ok("ok"));
    let ca = Ca::new("ca");
    let (one, two) = (ca.server(&["a.example"]), ca.server(&["a.example"]));
    let rest = |policy: &str| {
        format!(
            "listeners:\n  - {{ address: 127.0.0.1:0, tls: {{ cert: <dir>/tls.crt, key: <dir>/tls.key }} }}\n\
             defaults: {policy}\n{ALL_TO_API}"
        )
    };
    let mut gateway = with_log("", &rest("{}"))
        .set("origin", origin.address())
        .file("tls.crt", &one.cert)
        .file("tls.key", &one.key)
        .start();
    let start = recorded(&gateway, |record| record["kind"] == "start");
    assert_eq!(start["details"]["pid"], gateway.pid());
    assert_eq!(start["details"]["keys"].as_array().map(Vec::len), Some(1));

    let config = |policy: &str| format!("{} }}\n{}", super::LOG, rest(policy));
    std::fs::write(gateway.folder().join("tls.crt"), &two.cert).expect("writes");
    std::fs::write(gateway.folder().join("tls.key"), &two.key).expect("writes");
    gateway.write_config(&config("{ max_body: 1MiB }"));
    assert_eq!(gateway.reload().status, 200);
    let loaded = recorded(&gateway, |record| record["event"] == "loaded");
    assert_eq!(loaded["details"]["by"], "admin");
    let changes = loaded["details"]["changes"]["keys"].to_string();
    assert!(changes.contains("max_body") && changes.contains("1MiB"), "{loaded}");
    assert_ne!(loaded["details"]["before"], loaded["details"]["after"]);
    let keys = recorded(&gateway, |record| record["kind"] == "key");
    assert!(keys["details"]["changed"][0]["file"].to_string().contains("tls.crt"), "{keys}");
    let admin = recorded(&gateway, |record| record["kind"] == "admin");
    assert_eq!((&admin["event"], &admin["status"]), (&json!("/reload"), &json!(200)));

    gateway.write_config(&config("{ max_bodi: 1MiB }"));
    gateway.signal(Signal::HUP);
    let refused = recorded(&gateway, |record| record["event"] == "refused");
    assert_eq!(refused["details"]["by"], "SIGHUP");
    assert!(refused["details"]["errors"].to_string().contains("max_bodi"), "{refused}");

    let moved = config("{}").replace("<dir>/audit,", "<dir>/elsewhere,");
    gateway.write_config(&moved);
    let answer = gateway.reload();
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("needs a restart"), "{}", answer.text());

    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
    let note = std::fs::read_to_string(gateway.folder().join("audit/checkpoint")).expect("reads");
    let records = read(gateway.folder(), &note);
    let last = records.last().expect("records");
    assert_eq!((&last["kind"], &last["event"]), (&json!("stop"), &json!("drained")));
    assert_verifies(gateway.folder());
}

#[test]
fn refusals_are_recorded_up_to_a_rate_and_counted_beyond() {
    let origin = Origin::start(Reply::ok("ok"));
    let more = ", security_events: { rate: 5/h }";
    let rest = format!("defaults: {{ deny: [127.0.0.0/8] }}\n{ALL_TO_API}");
    let mut gateway = with_log(more, &rest).set("origin", origin.address()).start();
    for _ in 0..20 {
        assert_problem(&get(gateway.address(), "/"), 403, "address_denied");
    }
    wait::until("five are recorded", || {
        records(&gateway).iter().filter(|record| record["kind"] == "refusal").count() == 5
    });
    assert_eq!(gateway.metric("tidegate_audit_summarised_total", &[]), Some(15.0));
    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
    let note = std::fs::read_to_string(gateway.folder().join("audit/checkpoint")).expect("reads");
    let records = read(gateway.folder(), &note);
    let summary = records.iter().find(|record| record["kind"] == "summary").expect("a summary");
    assert_eq!(summary["details"]["refusals"], json!({"address_denied": 15}));
}

#[test]
fn a_monitor_can_follow_the_log_on_the_admin_listener() {
    let origin = Origin::start(Reply::ok("ok"));
    let rest = super::events("{ event: read, durable: before_response }");
    let gateway = with_log("", &rest).set("origin", origin.address()).start();
    for _ in 0..150 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    wait::until("300 records are under a checkpoint", || records(&gateway).len() > 300);
    let full = get(gateway.admin(), "/audit/tile/0/000");
    assert_eq!((full.status, full.body.len()), (200, 8_192));
    let size = records(&gateway).len() as u64;
    for tile in Tile::partials(size) {
        let tile = get(gateway.admin(), &format!("/audit/{}", tile.path()));
        assert_eq!(tile.status, 200);
    }
    for nothing in ["/audit/tile/0/999", "/audit/../audit.key", "/audit/wal/", "/audit/"] {
        assert_eq!(get(gateway.admin(), nothing).status, 404, "{nothing}");
    }
    let erase = Ask::new("POST", "/audit/erase").field("origin", "http://evil.example").body("");
    assert_eq!(erase.send(gateway.admin()).status, 403);
    recorded(&gateway, |record| record["kind"] == "admin" && record["status"] == 403);
    // Whom a ban names is in the ban's own record.
    let ban = Ask::new("POST", "/bans?network=203.0.113.9&reason=fraud").body("");
    assert_eq!(ban.send(gateway.admin()).status, 200);
    let call = recorded(&gateway, |record| record["kind"] == "admin" && record["event"] == "/bans");
    assert!(!call.to_string().contains("203.0.113.9"), "{call}");
    let told = gateway.stderr();
    let line = told.lines().find(|line| line.contains("operation=POST /bans"));
    assert!(line.is_some_and(|line| !line.contains("203.0.113.9")), "{line:?}");
    for metric in ["size", "records_total", "bytes_total", "commit_seconds_count", "healthy"] {
        let value = gateway.metric(&format!("tidegate_audit_{metric}"), &[]);
        assert!(value.is_some_and(|value| value > 0.0), "{metric}: {value:?}");
    }
    let age = gateway.metric("tidegate_audit_checkpoint_age_seconds", &[]);
    assert!(age.is_some_and(|age| age < 30.0), "{age:?}");
}

#[test]
fn an_upgrade_hands_the_log_over_without_a_failed_request() {
    let origin = Origin::start(Reply::ok("ok"));
    let rest = super::events("{ event: read, durable: before_response }");
    let mut gateway = with_log("", &rest).set("origin", origin.address()).start();
    let load = Load::start(gateway.address(), 4);
    load.wait_for(50);
    gateway.signal(Signal::QUIT);
    let status = gateway.wait_exit(Duration::from_secs(20));
    assert!(status.success(), "{status:?}: {}", gateway.stderr());
    load.wait_for(50);
    load.stop().assert_unharmed();
    recorded(&gateway, |record| {
        record["kind"] == "start" && record["details"]["pid"] != gateway.pid()
    });
    let count = |kind: &str| records(&gateway).iter().filter(|r| r["kind"] == kind).count();
    wait::until("every request has its outcome", || count("request") == count("outcome"));
    assert_eq!((count("start"), count("stop")), (2, 1));
    recorded(&gateway, |record| record["kind"] == "stop" && record["event"] == "successor");
    assert_eq!(gateway.metric("tidegate_audit_lost_total", &[]), Some(0.0));
    assert_verifies(gateway.folder());
}

#[test]
fn a_log_that_cannot_be_kept_is_a_start_error_that_says_why() {
    let failed = |builder: tidegate_testkit::gateway::Builder| {
        builder.set("origin", "127.0.0.1:1").try_start().expect_err("it does not start").stderr
    };
    let stderr = failed(with_log("", ALL_TO_API).file("audit.key", "no key\n"));
    assert!(stderr.contains("audit.key"), "{stderr}");
    let other = tidegate_audit::note::SigningKey::from_seed("other/audit", [1; 32]).expect("a key");
    let stderr = failed(with_log("", ALL_TO_API).file("audit.key", &other.to_secret_text()));
    assert!(stderr.contains("belongs to `other/audit`"), "{stderr}");
    let stderr = failed(with_log("", ALL_TO_API).file("audit", "a file where the folder belongs"));
    assert!(stderr.contains("is no folder"), "{stderr}");
    let running = with_log("", ALL_TO_API).set("origin", "127.0.0.1:1").start();
    let path = running.folder().join("audit").display().to_string();
    let head = running.folder().join("audit.head").display().to_string();
    let config = format!("{} }}\n{ALL_TO_API}", super::LOG)
        .replace("<dir>/audit,", &format!("{path}, head: {head},"));
    let second = tidegate_testkit::Gateway::builder(&config)
        .file("audit.key", &super::key().to_secret_text())
        .file("hash.key", "0123456789abcdef");
    let stderr = failed(second);
    assert!(stderr.contains("in use") || stderr.contains("lock"), "{stderr}");
}
