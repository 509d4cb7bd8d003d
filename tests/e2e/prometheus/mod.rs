//! A real Prometheus: it scrapes a running gateway, keeps the exemplars, answers what the dashboard
//! asks, and fires the rules that are shipped. Only their waits are shortened, so that a test sees
//! them fire.

mod alertmanager;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use tidegate_testkit::client::get;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{Ask, Gateway, Origin, Reply, needs, nginx, origin, wait};

/// How long an alert may take to fire.
const PATIENCE: Duration = Duration::from_secs(30);

struct Prometheus {
    address: SocketAddr,
    _running: Running,
    _folder: tempfile::TempDir,
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

impl Prometheus {
    /// One that scrapes the gateway each second, under the shipped rules without their waits, and
    /// tells an Alertmanager at this address. Their windows of five minutes are `window` here.
    fn watching(gateway: &Gateway, alertmanager: SocketAddr, window: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let deploy = deploy().join("prometheus");
        let config = fs::read_to_string(deploy.join("prometheus.yml")).expect("is there");
        let config = config
            .replace("15s", "1s")
            .replace("127.0.0.1:9900", &gateway.admin().to_string())
            .replace("127.0.0.1:9093", &alertmanager.to_string());
        fs::write(folder.path().join("prometheus.yml"), config).expect("is written");
        for entry in fs::read_dir(&deploy).expect("is there") {
            let path = entry.expect("is readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".rules.yml") {
                let rules = fs::read_to_string(&path).expect("is there");
                let wait = |line: &&str| !line.trim_start().starts_with("for: ");
                let rules: Vec<_> = rules.lines().filter(wait).collect();
                let rules = rules.join("\n").replace("[5m]", &format!("[{window}]"));
                let rules = rules.replace("offset 5m", &format!("offset {window}"));
                fs::write(folder.path().join(name), rules).expect("is written");
            }
        }
        let address = SocketAddr::from(([127, 0, 0, 1], nginx::free_port()));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .arg("--log.level=warn");
        let running = programs::start(&mut command).accepting(address);
        wait::until_within(PATIENCE, "it has read its data", || {
            get(address, "/-/ready").status == 200
        });
        Self { address, _running: running, _folder: folder }
    }

    fn ask(&self, path: &str) -> Value {
        get(self.address, path).json()["data"].clone()
    }

    /// The labels of an alert that fires.
    fn firing(&self, name: &str) -> Option<Value> {
        let alerts = self.ask("/api/v1/alerts")["alerts"].clone();
        let fires =
            |alert: &&Value| alert["labels"]["alertname"] == name && alert["state"] == "firing";
        alerts.as_array()?.iter().find(fires).map(|alert| alert["labels"].clone())
    }
}

#[test]
fn prometheus_scrapes_keeps_exemplars_and_fires_the_shipped_rules() {
    needs!("prometheus");
    let collector = Origin::start(Reply::ok(""));
    let good = Origin::start(Reply::ok("hello"));
    let bad = Origin::start(Reply::status(500, "broken"));
    let config = "
tracing: { sample: 100%, otlp: { url: \"http://<collector>/v1/traces\" } }
routes:
  - { id: good, path: /good, to: good }
  - { id: bad, path: /bad, to: bad }
upstreams:
  good: { endpoints: [<good>] }
  bad: { endpoints: [<bad>] }
  gone: { endpoints: [<gone>], health: { type: tcp, interval: 200ms, fall: 1 } }
";
    let gateway = Gateway::start(
        config,
        &[
            ("collector", &collector.address()),
            ("good", &good.address()),
            ("bad", &bad.address()),
            ("gone", &origin::closed_port()),
        ],
    );
    let prometheus = Prometheus::watching(&gateway, origin::closed_port(), "5m");
    wait::until_within(PATIENCE, "it is scraped", || {
        let targets = prometheus.ask("/api/v1/targets");
        let target = &targets["activeTargets"][0];
        assert_ne!(target["health"], "down", "{target}");
        target["health"] == "up"
    });
    // What Prometheus asks for is what has exemplars, and its parser takes it.
    let accept = "application/openmetrics-text;version=1.0.0";
    let page = Ask::new("GET", "/metrics").field("accept", accept).send(gateway.admin());
    assert!(page.text().ends_with("# EOF\n"));
    assert!(prometheus.firing("TidegateErrorBudgetBurnsFast").is_none());
    wait::until_within(PATIENCE, "the burning budget is an alert", || {
        for _request in 0..20 {
            assert_eq!(get(gateway.address(), "/good").status, 200);
            assert_eq!(get(gateway.address(), "/bad").status, 500);
        }
        prometheus.firing("TidegateErrorBudgetBurnsFast").is_some()
    });
    let labels = prometheus.firing("TidegateErrorBudgetBurnsFast").unwrap_or_default();
    assert_eq!((&labels["route"], &labels["severity"]), (&"bad".into(), &"critical".into()));
    wait::until_within(PATIENCE, "the upstream without endpoints is an alert", || {
        prometheus.firing("TidegateUpstreamDown").is_some_and(|labels| labels["upstream"] == "gone")
    });
    let exemplars = "/api/v1/query_exemplars?query=tidegate_request_duration_seconds_bucket\
                     &start=2020-01-01T00:00:00Z&end=2100-01-01T00:00:00Z";
    let mut found = String::new();
    wait::until_within(PATIENCE, "an exemplar is kept", || {
        let series = prometheus.ask(exemplars);
        let trace = &series[0]["exemplars"][0]["labels"]["trace_id"];
        found = trace.as_str().unwrap_or_default().to_owned();
        !found.is_empty()
    });
    // The trace that it names is one of the log.
    let line = gateway.logged(|line| line["trace_id"] == found.as_str());
    assert!(line["path"] == "/good" || line["path"] == "/bad", "{line}");
    assert!(prometheus.firing("TidegateDown").is_none());
    answers_the_dashboard(&prometheus);
}

/// Prometheus takes every expression of the dashboard, its variables as Grafana replaces them; those
/// about what this gateway does have an answer.
#[track_caller]
fn answers_the_dashboard(prometheus: &Prometheus) {
    let text = fs::read_to_string(deploy().join("grafana/tidegate.json")).expect("is there");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut expressions = BTreeMap::new();
    expressions_of(&dashboard, "", &mut expressions);
    let mut silent = Vec::new();
    for (expression, panel) in &expressions {
        let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "5m");
        let expression = VARIABLE.replace_all(&expression, ".*");
        let query = encoded(&expression);
        let answer = get(prometheus.address, &format!("/api/v1/query?query={query}")).json();
        assert_eq!(answer["status"], "success", "{panel}: {expression}: {answer}");
        if answer["data"]["result"].as_array().is_none_or(Vec::is_empty) {
            silent.push(&**panel);
        }
    }
    let answered = expressions.len() - silent.len();
    eprintln!("{answered} of {} expressions have an answer; none: {silent:?}", expressions.len());
    assert!(answered > 30, "{silent:?}");
}

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{?\w+\}?").expect("a pattern"));

/// Every expression, with the title of the panel that it is in.
fn expressions_of(value: &Value, panel: &str, found: &mut BTreeMap<String, String>) {
    let panel = value["title"].as_str().unwrap_or(panel);
    if let Some(expression) = value["expr"].as_str() {
        found.insert(expression.to_owned(), panel.to_owned());
    }
    let members = value.as_object().into_iter().flat_map(serde_json::Map::values);
    for inner in members.chain(value.as_array().into_iter().flatten()) {
        expressions_of(inner, panel, found);
    }
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
