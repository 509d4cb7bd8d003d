//! Decisions from elsewhere: a real CrowdSec on loopback, and webhooks as an Alertmanager sends them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidegate_testkit::client::{Ask, Response};
use tidegate_testkit::origin::closed_port;
use tidegate_testkit::{Gateway, Origin, Reply, needs, wait};

use crate::response::{as_client, probe_until_blocked, tidegate};

/// CrowdSec's Local API alone: no agent that reads logs, no central API.
struct Crowdsec {
    folder: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Crowdsec {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = closed_port();
        let config = CROWDSEC
            .replace("<dir>", folder.path().to_str().expect("a path"))
            .replace("<address>", &address.to_string());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        fs::create_dir(folder.path().join("hub")).expect("a folder");
        write("config.yaml", &config).expect("writes");
        write("hub/.index.json", "{}").expect("writes");
        write("profiles.yaml", PROFILES).expect("writes");
        for name in ["simulation.yaml", "acquis.yaml", "credentials.yaml"] {
            write(name, "").expect("writes");
        }
        let mut crowdsec = Self { folder, address, process: None };
        let credentials = crowdsec.file("credentials.yaml");
        let credentials = credentials.to_str().expect("a path");
        crowdsec.cscli(&["machines", "add", "test", "--auto", "-f", credentials]);
        crowdsec.revive();
        crowdsec
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cscli(&self, args: &[&str]) -> String {
        let output = Command::new("cscli")
            .arg("-c")
            .arg(self.file("config.yaml"))
            .args(args)
            .output()
            .expect("cscli runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn revive(&mut self) {
        let log = fs::File::create(self.file("crowdsec.log")).expect("a file");
        let process = Command::new("crowdsec")
            .arg("-c")
            .arg(self.file("config.yaml"))
            .arg("-no-cs")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("crowdsec runs");
        self.process = Some(process);
        let up = || std::net::TcpStream::connect(self.address).is_ok();
        wait::until("CrowdSec", up);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

impl Drop for Crowdsec {
    fn drop(&mut self) {
        self.kill();
    }
}

const CROWDSEC: &str = "
common: { daemonize: false, log_media: stdout, log_level: info, working_dir: <dir> }
config_paths: { config_dir: <dir>, data_dir: <dir>, simulation_path: <dir>/simulation.yaml, hub_dir: <dir>/hub, index_path: <dir>/hub/.index.json }
crowdsec_service: { acquisition_path: <dir>/acquis.yaml }
db_config: { log_level: info, type: sqlite, db_path: <dir>/crowdsec.db }
api:
  client: { credentials_path: <dir>/credentials.yaml }
  server: { log_level: info, listen_uri: <address>, profiles_path: <dir>/profiles.yaml }
prometheus: { enabled: false }
";

const PROFILES: &str = "
name: default
filters: [ 'Alert.Remediation == true && Alert.GetScope() == \"Ip\"' ]
decisions: [ { type: ban, duration: 4h } ]
on_success: break
";

fn following(crowdsec: SocketAddr, key: &Path) -> (Origin, Gateway) {
    let config = format!(
        "
trusted_proxies: [127.0.0.1]
bans: {{ never: [198.51.100.7], crowdsec: {{ url: 'http://{crowdsec}', key: '${{file:{}}}', every: 1s }} }}
routes: [{{ path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
",
        key.display()
    );
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    (origin, gateway)
}

#[test]
fn decisions_of_a_real_crowdsec_are_followed_and_outlast_it() {
    needs!("crowdsec", "cscli");
    let mut crowdsec = Crowdsec::start();
    let key = crowdsec.file("key");
    let made = crowdsec.cscli(&["bouncers", "add", "tidegate", "-o", "raw"]);
    fs::write(&key, made.trim()).expect("writes");
    crowdsec.cscli(&["decisions", "add", "--ip", "203.0.113.9", "--duration", "1h"]);
    crowdsec.cscli(&["decisions", "add", "--ip", "198.51.100.7", "--duration", "1h"]);
    let (_origin, gateway) = following(crowdsec.address, &key);
    let status = |address: &str| as_client(&gateway, address, "/").status;
    // What there was before, and what comes while we run.
    wait::until("the first decision", || status("203.0.113.9") == 403);
    crowdsec.cscli(&["decisions", "add", "--range", "192.0.2.0/24", "--duration", "1h"]);
    crowdsec.cscli(&["decisions", "add", "--ip", "203.0.113.20", "--duration", "20s"]);
    wait::until("the range", || status("192.0.2.77") == 403 && status("203.0.113.20") == 403);
    assert_eq!(status("198.51.100.7"), 200, "who is never banned is not, whoever decides it");
    let (_, list) = tidegate(&gateway, &["bans", "list"]);
    assert!(list.contains("192.0.2.0/24\tblock\t") && list.contains("\tcrowdsec\t"), "{list}");
    // What is deleted there is lifted here.
    crowdsec.cscli(&["decisions", "delete", "--range", "192.0.2.0/24"]);
    wait::until("the deletion", || status("192.0.2.77") == 200);

    // It dies: what is known holds, nobody else is refused, and ends come on time.
    crowdsec.kill();
    let failed =
        || gateway.metric("tidegate_crowdsec_pulls_total", &[("result", "failure")]) > Some(0.0);
    wait::until("the failure", failed);
    assert_eq!((status("203.0.113.9"), status("203.0.113.10")), (403, 200));
    wait::until_within(std::time::Duration::from_secs(40), "its end", || {
        status("203.0.113.20") == 200
    });
    assert_eq!(status("203.0.113.9"), 403);

    // It comes back: everything is asked for anew, and what is deleted is lifted.
    crowdsec.revive();
    crowdsec.cscli(&["decisions", "delete", "--ip", "203.0.113.9"]);
    wait::until_within(std::time::Duration::from_secs(70), "the return", || {
        status("203.0.113.9") == 200
    });
}

#[test]
fn what_crowdsec_deletes_the_policy_goes_on_to_hold() {
    needs!("crowdsec", "cscli");
    let crowdsec = Crowdsec::start();
    let key = crowdsec.file("key");
    let made = crowdsec.cscli(&["bouncers", "add", "tidegate", "-o", "raw"]);
    fs::write(&key, made.trim()).expect("writes");
    let config = format!(
        "
trusted_proxies: [127.0.0.1]
bans: {{ crowdsec: {{ url: 'http://{}', key: '${{file:{}}}', every: 1s }} }}
response:
  builtin: off
  rules:
    probing:
      when: {{ status: [404] }}
      leaky: {{ capacity: 5, leak: 1/h }}
      ladder: [block]
      ttl: {{ first: 10m, jitter: 0% }}
      enforce: true
routes: [{{ path: /pay, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
",
        crowdsec.address,
        key.display()
    );
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    let sources = || -> Vec<String> {
        let (_, explained) = tidegate(&gateway, &["bans", "explain", "203.0.113.9"]);
        let explained: Value = serde_json::from_str(&explained).expect("JSON");
        let bans = explained["bans"].as_array().cloned().unwrap_or_default();
        bans.iter().map(|ban| ban["source"].as_str().unwrap_or_default().to_owned()).collect()
    };
    probe_until_blocked(&gateway, "203.0.113.9");
    crowdsec.cscli(&["decisions", "add", "--ip", "203.0.113.9", "--duration", "4h"]);
    wait::until("both", || sources() == ["crowdsec", "probing"]);
    crowdsec.cscli(&["decisions", "delete", "--ip", "203.0.113.9"]);
    wait::until("the deletion", || sources() == ["probing"]);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);
}

#[test]
fn an_answer_that_is_no_list_lifts_nothing() {
    let told = r#"{"new":[{"value":"203.0.113.9","scope":"Ip","type":"ban","duration":"4h","id":1},7],"deleted":null}"#;
    let first = AtomicBool::new(true);
    let double = Origin::script(move |_| match first.swap(false, Ordering::Relaxed) {
        true => Reply::ok(told),
        false => Reply::ok("{\"message\":\"ok\"}"),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    fs::write(&key, "k3y").expect("writes");
    let (_origin, gateway) = following(double.address(), &key);
    wait::until("the ban", || as_client(&gateway, "203.0.113.9", "/").status == 403);
    let failures =
        || gateway.metric("tidegate_crowdsec_pulls_total", &[("result", "failure")]) > Some(1.0);
    wait::until("answers", failures);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/").status, 403);
}

#[test]
fn a_crowdsec_that_refuses_or_talks_nonsense_blocks_nobody() {
    for reply in [
        Reply::status(403, "{\"message\":\"access forbidden\"}"),
        Reply::ok("<html>"),
        Reply::ok(
            "{\"new\":[{\"value\":\"0.0.0.0/0\",\"scope\":\"Range\",\"type\":\"ban\",\"duration\":\"4h\"}]}",
        ),
        Reply::Close,
    ] {
        let double = Origin::start(reply.clone());
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        fs::write(&key, "k3y").expect("writes");
        let (_origin, gateway) = following(double.address(), &key);
        wait::until("a question", || !double.received().is_empty());
        let asked = &double.received()[0];
        assert_eq!(asked.target, "/v1/decisions/stream?startup=true");
        assert_eq!(asked.header("x-api-key"), Some("k3y"));
        assert_eq!(as_client(&gateway, "203.0.113.9", "/").status, 200, "{reply:?}");
    }
}

const TOKEN: &str = "s3cr3t-t0ken-0f-the-t3st";

const ALERTS: &str = "
trusted_proxies: [127.0.0.1]
admin: { address: 127.0.0.1:0, token: '${env:ADMIN_TOKEN}' }
bans: { never: [198.51.100.7] }
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

fn webhook(gateway: &Gateway, token: &str, body: &Value) -> Response {
    Ask::new("POST", "/alertmanager")
        .field("Authorization", &format!("Bearer {token}"))
        .field("Content-Type", "application/json")
        .body(body.to_string())
        .send(gateway.admin())
}

/// As Alertmanager 0.28 sends it.
fn message(status: &str, labels: &Value) -> Value {
    json!({
        "receiver": "tidegate", "status": status, "version": "4", "groupKey": "{}:{}",
        "truncatedAlerts": 0, "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": [{
            "status": status, "labels": labels, "annotations": { "summary": "somebody floods" },
            "startsAt": "2026-11-23T16:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph", "fingerprint": "c0ffee",
        }],
    })
}

#[test]
fn an_alert_acts_while_it_fires_and_is_lifted_when_it_is_resolved() {
    let origin = Origin::start(Reply::ok("ok"));
    let builder = Gateway::builder(ALERTS).env("ADMIN_TOKEN", TOKEN);
    let gateway = builder.set("origin", origin.address()).start();
    let labels = json!({
        "alertname": "Flood", "severity": "critical", "tidegate_network": "203.0.113.9",
        "tidegate_measure": "block", "tidegate_for": "30m",
    });
    let fires = message("firing", &labels);
    // Only who may change something may.
    assert_eq!(webhook(&gateway, "guess", &fires).status, 401);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/").status, 200);
    let answer = webhook(&gateway, TOKEN, &fires);
    assert_eq!((answer.status, &answer.json()["firing"]), (200, &json!(1)), "{}", answer.text());
    assert_eq!(as_client(&gateway, "203.0.113.9", "/").status, 403);
    let labels_of =
        [("rule", "alertmanager/Flood"), ("measure", "block"), ("standing", "enforced")];
    assert_eq!(gateway.metric("tidegate_decisions_total", &labels_of), Some(1.0));
    let line = gateway.logged(|line| line["reason"] == "banned");
    assert_eq!(line["measure"]["rule"], "alertmanager/Flood");
    // Sent again it changes nothing; resolved, it is over.
    assert_eq!(webhook(&gateway, TOKEN, &fires).status, 200);
    let answer = webhook(&gateway, TOKEN, &message("resolved", &labels));
    assert_eq!(answer.json()["lifted"], 1, "{}", answer.text());
    assert_eq!(as_client(&gateway, "203.0.113.9", "/").status, 200);
}

#[test]
fn an_alert_about_nobody_the_protected_or_everybody_does_nothing() {
    let origin = Origin::start(Reply::ok("ok"));
    let builder = Gateway::builder(ALERTS).env("ADMIN_TOKEN", TOKEN);
    let gateway = builder.set("origin", origin.address()).start();
    let ignored = webhook(&gateway, TOKEN, &message("firing", &json!({ "alertname": "Disk" })));
    assert_eq!(ignored.json()["ignored"], 1);
    for network in ["198.51.100.7", "0.0.0.0/0", "127.0.0.1"] {
        let labels = json!({ "alertname": "Wrong", "tidegate_network": network });
        assert_eq!(webhook(&gateway, TOKEN, &message("firing", &labels)).status, 200);
    }
    // Nor is the only endpoint isolated.
    let labels = json!({
        "alertname": "Down", "tidegate_upstream": "api",
        "tidegate_endpoint": origin.address().to_string(),
    });
    assert_eq!(webhook(&gateway, TOKEN, &message("firing", &labels)).status, 200);
    let capped = [("rule", "alertmanager/Down"), ("standing", "capped")];
    assert_eq!(gateway.metric("tidegate_decisions_total", &capped), Some(1.0));
    let wrong = message("firing", &json!({ "tidegate_network": "nowhere" }));
    let told = webhook(&gateway, TOKEN, &wrong).json()["refused"][0].to_string();
    assert!(told.contains("nowhere"), "{told}");
    for address in ["198.51.100.7", "203.0.113.9", "192.0.2.1"] {
        assert_eq!(as_client(&gateway, address, "/").status, 200);
    }
    assert_eq!(webhook(&gateway, TOKEN, &json!("nonsense")).status, 400);
}
