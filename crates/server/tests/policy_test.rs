//! `tidegate policy test`: what a response policy would have done about recorded events.

#![cfg(test)]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
routes: [{ id: shop, path: /, to: app }]
upstreams: { app: { endpoints: [127.0.0.1:9000] } }
";

struct Bench(TempDir);

impl Bench {
    fn new(response: &str, events: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("edge.yaml"), format!("{CONFIG}{response}")).unwrap();
        fs::write(folder.path().join("events.jsonl"), events).unwrap();
        Self(folder)
    }

    fn run(&self, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["policy", "test", "-c", "edge.yaml", "events.jsonl"])
            .args(more)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Half a minute of a tool that says its name, and of a browser.
fn recording() -> String {
    (0..30)
        .flat_map(|second| {
            [("198.51.100.7", "sqlmap/1.8"), ("198.51.100.8", "Firefox")].map(|(client, agent)| {
                format!(
                    "{{\"time\":\"2026-11-23T09:00:{second:02}.000Z\",\"request_id\":\"r-{second}\",\
                     \"client\":\"{client}\",\"user_agent\":\"{agent}\",\"status\":200}}\n"
                )
            })
        })
        .collect()
}

#[test]
fn it_tells_what_would_have_been_done_to_whom_and_when() {
    let output = Bench::new("", &recording()).run(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let lines: Vec<&str> = told.lines().collect();
    let alert = "2026-11-23T09:00:03.000Z  alert    198.51.100.7  by attack-tools, offence 1: 4 events in 3.0 s; for ";
    assert!(lines[0].starts_with(alert), "{told}");
    assert!(
        lines[1].contains("block    198.51.100.7") && lines[1].ends_with("22 requests met"),
        "{told}"
    );
    assert!(
        lines[2].starts_with("60 requests and 0 notices from 2026-11-23T09:00:00.000Z to "),
        "{told}"
    );
    assert_eq!(lines.len(), 3, "{told}");
}

#[test]
fn programs_get_json() {
    let output = Bench::new("response: {}", &recording()).run(&["--json", "--as-configured"]);
    let told = text(&output.stdout);
    let values: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["time"], "2026-11-23T09:00:03.000Z");
    assert_eq!(values[0]["target"], "198.51.100.7");
    assert_eq!(values[0]["standing"], "dry_run");
    assert_eq!(values[0]["evidence"]["samples"][3]["request_id"], "r-3");
    assert_eq!(values[0]["evidence"]["samples"][3]["time"], "2026-11-23T09:00:03.000Z");
    let summary = &values.last().unwrap()["summary"];
    assert_eq!((&summary["requests"], &summary["bad_lines"]), (&60.into(), &0.into()));
    assert_eq!(summary["measures"]["block"], 1);
}

#[test]
fn a_quiet_day_is_a_success_and_a_bad_line_is_told_with_its_place() {
    let quiet = "{\"time\":\"2026-11-23T09:00:00Z\",\"client\":\"192.0.2.1\",\"status\":200}\n";
    assert_eq!(Bench::new("", quiet).run(&[]).status.code(), Some(0));
    let output = Bench::new("", &format!("{quiet}\n{{\"time\":1}}\nno event\n{quiet}")).run(&[]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("events.jsonl:3: not an event: invalid type"), "{told}");
    assert!(told.contains("events.jsonl:4: not an event: expected ident"), "{told}");
    assert!(text(&output.stdout).contains("2 requests"), "{}", text(&output.stdout));
}

#[test]
fn mistakes_in_the_policy_are_told_with_their_line() {
    let output = Bench::new("response: { rules: { r: { when: { reasons: [x] } } } }", "").run(&[]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("edge.yaml:5") && told.contains("`x` is none of the reasons"), "{told}");
    assert!(told.contains("nothing says how many are too many"), "{told}");
    let output = Bench::new("", "").run(&["missing.jsonl"]);
    assert!(text(&output.stderr).contains("missing.jsonl"), "{}", text(&output.stderr));
}
