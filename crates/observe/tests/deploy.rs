//! The dashboard and the alert rules that are shipped: they name metrics that exist, and promtool
//! understands every expression and agrees with the rules' own tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn read(path: &str) -> String {
    let text = fs::read_to_string(repository().join(path));
    assert!(text.is_ok(), "{path}: {text:?}");
    text.unwrap_or_default()
}

/// The names that the reference lists; a test of the crate compares them with a scrape.
fn known_metrics() -> BTreeSet<String> {
    let reference = read("docs/reference/metrics.md");
    let name = |line: &str| Some(line.strip_prefix("| `")?.split(['`', '{']).next()?.to_owned());
    reference.lines().filter_map(name).collect()
}

/// All words in a text that look like one of our metrics, without the suffixes of histograms. What
/// ends with a colon is a label that an alert gets.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let ours = |name: &&str| name.starts_with("tidegate_") || name.starts_with("process_");
    let base = |name| {
        let suffixes = ["_bucket", "_sum", "_count"];
        suffixes.iter().find_map(|suffix| str::strip_suffix(name, suffix)).unwrap_or(name)
    };
    let is_label = |name: &&str| name.ends_with(':');
    text.split(word).filter(ours).filter(|name| !is_label(name)).map(base).collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let known = known_metrics();
    assert!(known.len() > 40, "{known:?}");
    let files = [rules(), tests(), vec![DASHBOARD.to_owned()]].concat();
    assert!(files.len() >= 7, "{files:?}");
    for path in files {
        let text = read(&path);
        let used = metrics_in(&text);
        assert!(!used.is_empty(), "{path}");
        let unknown: Vec<_> = used.into_iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_that_counts() {
    let dashboard = read(DASHBOARD);
    let shown = metrics_in(&dashboard);
    // The configuration's age says the same as the time of the last load; the rest is for alerts.
    let left_out = [
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
        "tidegate_config_last_reload_timestamp_seconds",
    ];
    let missing: Vec<_> = known_metrics()
        .into_iter()
        .filter(|name| !shown.contains(name.as_str()) && !left_out.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The files of rules, or of their tests, from the folder of the repository.
fn files_ending_in(suffix: &str) -> Vec<String> {
    let folder = "deploy/prometheus";
    let entries = fs::read_dir(repository().join(folder));
    assert!(entries.is_ok(), "{folder}: {entries:?}");
    let names = entries.into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<_> = names.filter(|name| name.ends_with(suffix)).collect();
    found.sort_unstable();
    found.into_iter().map(|name| format!("{folder}/{name}")).collect()
}

fn rules() -> Vec<String> {
    files_ending_in(".rules.yml")
}

fn tests() -> Vec<String> {
    files_ending_in(".test.yml")
}

const DASHBOARD: &str = "deploy/grafana/tidegate.json";

/// Every PromQL expression of the dashboard, its variables replaced.
fn dashboard_expressions() -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::String(text) if name == "expr" => found.push(text.clone()),
                        other => walk(other, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let dashboard: Value = read(DASHBOARD).parse().unwrap_or_default();
    let mut found = Vec::new();
    walk(&dashboard, &mut found);
    found.iter().map(|text| text.replace("$__rate_interval", "5m")).collect()
}

/// Runs promtool in a folder; where it is not installed, there is nothing to say.
#[track_caller]
fn promtool(arguments: &[&str], folder: &Path) {
    if let Ok(output) = Command::new("promtool").args(arguments).current_dir(folder).output() {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn promtool_agrees_with_the_rules_and_their_tests() {
    let folder = repository().join("deploy/prometheus");
    promtool(&["check", "config", "prometheus.yml"], &folder);
    let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    for rules in rules().iter().map(name) {
        promtool(&["check", "rules", &rules], &folder);
        let scraper = read("deploy/prometheus/prometheus.yml");
        assert!(scraper.contains(&format!("- {rules}\n")), "prometheus.yml does not name {rules}");
    }
    for tests in tests().iter().map(name) {
        promtool(&["test", "rules", &tests], &folder);
    }
}

#[test]
fn promtool_understands_the_dashboard() {
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 40);
    let rules: Vec<_> = expressions
        .iter()
        .enumerate()
        .map(|(index, expr)| json!({ "record": format!("panel:{index}"), "expr": expr }))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    let file = json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string();
    fs::write(folder.path().join("rules.yml"), file).unwrap();
    promtool(&["check", "rules", "rules.yml"], folder.path());
}

#[test]
fn every_alert_has_a_test() {
    let alerts = |text: &str, key: &str| -> BTreeSet<String> {
        let after = |line: &str| {
            let (_, name) = line.split_once(key)?;
            name.split([',', ' ']).find(|word| !word.is_empty()).map(str::to_owned)
        };
        text.lines().filter_map(after).collect()
    };
    let all = |paths: Vec<String>| paths.iter().map(|path| read(path)).collect::<String>();
    let written = alerts(&all(rules()), "alert: ");
    let tested = alerts(&all(tests()), "alertname: ");
    assert!(written.len() > 20, "{written:?}");
    assert_eq!(written, tested);
}
