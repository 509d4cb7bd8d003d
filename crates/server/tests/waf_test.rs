//! `tidegate waf test`: what the firewall does with a request, told without a server.

#![expect(clippy::expect_used, reason = "a test's helper fails where its caller stands")]

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const EDGE: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
routes:
  - { id: shop, host: shop.example, path: /, to: app, waf: { seclang: [rules.conf], response: { inspect: true } } }
  - { id: watched, path: /watched, to: app, waf: { mode: detect, shadow: { threshold: 4 } } }
  - { id: open, path: /open, to: app }
upstreams: { app: { endpoints: [127.0.0.1:9] } }
";

const RULES: &str = r#"
SecRule ARGS "@contains evil" "id:10, phase:2, deny, status:406, log, msg:'An evil word', \
    severity:CRITICAL, tag:'attack-evil', logdata:'saw %{MATCHED_VAR}'"
SecRule ARGS:pin "@rx ." "id:11, phase:2, pass, log, msg:'A PIN', sanitiseMatched"
SecRule RESPONSE_BODY "@contains leaked" "id:12, phase:4, deny, log, msg:'A leak'"
"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("edge.yaml", EDGE);
        folder.write("rules.conf", RULES);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("writes");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(self.0.path())
            .args(["waf", "test", "-c", "edge.yaml"])
            .args(arguments)
            .output()
            .expect("it starts")
    }

    /// Runs it, and looks for each text in what is told on either stream.
    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, told: &[&str]) {
        let output = self.run(arguments);
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        for text in told {
            assert!(out.contains(text) || err.contains(text), "no `{text}` in\n{out}{err}");
        }
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

#[test]
fn a_request_by_flags_is_told_with_what_decided() {
    let folder = Folder::new();
    let evil = "http://shop.example/?q=an+evil+word";
    folder.check(
        &[evil],
        1,
        &[
            "GET /?q=an+evil+word\n",
            "route shop, firewall block",
            "refused by firewall: 406 waf_blocked; ",
            "decided by 10",
            "10 CRITICAL: An evil word",
            "in ARGS:q: evil",
            "says saw an evil word",
            "phase 2, adds 0, makes 0; attack-evil",
            " of 12 ms: search ",
            "10 phase 2: ",
        ],
    );
    folder.check(&["http://shop.example/?q=good"], 0, &["passes: nothing was found"]);
    folder.check(&["http://shop.example/", "-d", "a=1", "-d", "b=evil"], 1, &["POST /", "ARGS:b"]);
    folder.write("form", "b=ev\nil");
    folder.check(&["http://shop.example/", "-d", "@form"], 1, &["ARGS:b"]);
    folder.check(&["http://shop.example/", "--data-binary", "@form"], 0, &[]);
    folder.check(&["/", "-H", "Host: shop.example", "-X", "PUT", "-d", "a=evil"], 1, &["PUT /"]);
    folder.check(&["/open?q=evil"], 0, &["route open, firewall off"]);
    folder.check(&["/nowhere"], 1, &["refused by routing: 404 no_route"]);
    folder.check(&["/open", "-H", "X_Y: 1"], 1, &["refused by reading: 400"]);
}

#[test]
fn programs_get_json_without_what_rules_hide() {
    let folder = Folder::new();
    let told = folder.json(&["http://shop.example/?q=evil&pin=4711", "-H", "Accept:"]);
    assert_eq!(told["refused"]["status"], 406);
    assert_eq!(told["waf"]["decided_by"], 10);
    assert_eq!(told["waf"]["matches"][0]["tags"], json!(["attack-evil"]));
    assert_eq!(told["route"], "shop");
    assert!(told["costs"].as_array().is_some_and(|costs| !costs.is_empty()), "{told}");
    let told = folder.json(&["http://shop.example/?pin=4711"]);
    let matches = &told["waf"]["matches"];
    assert_eq!((&matches[0]["rule"], &matches[0]["piece"]), (&json!(11), &json!("[redacted]")));
    let told = folder.json(&["/watched?q=%27%20UNION%20SELECT%20password%20FROM%20users--"]);
    assert_eq!((&told["refused"], &told["waf"]["blocked"]), (&Value::Null, &json!(true)));
    assert_eq!(told["waf_shadow"]["blocked"], true);
}

#[test]
fn a_file_holds_a_request_as_it_is_on_the_wire() {
    let folder = Folder::new();
    folder.write(
        "raw",
        "POST / HTTP/1.1\nHost: shop.example\nContent-Length: 6\n\
         Content-Type: application/x-www-form-urlencoded\n\na=evil\n",
    );
    folder.check(&["--raw", "raw"], 1, &["406 waf_blocked", "ARGS:a"]);
    folder.write("raw", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    folder.check(&["--raw", "raw"], 2, &["raw: the body ends 1 bytes too early"]);
    folder.check(&["--raw", "none"], 2, &["none: No such file"]);
    folder.check(&["--raw", "raw", "/"], 2, &["cannot be used with"]);
}

#[test]
fn a_har_file_holds_many_and_their_responses() {
    let folder = Folder::new();
    let entry = |query: &str, answer: &str| {
        json!({
            "request": {
                "method": "GET",
                "url": format!("https://shop.example/?q={query}"),
                "headers": [{ "name": ":method", "value": "GET" }, { "name": "Accept", "value": "*/*" }],
            },
            "response": {
                "status": 200,
                "headers": [{ "name": "Content-Type", "value": "text/html" }],
                "content": { "text": answer },
            },
        })
    };
    let entries = [entry("good", "fine"), entry("evil", "fine"), entry("good", "leaked")];
    folder.write("a.har", &json!({ "log": { "entries": entries } }).to_string());
    folder.check(
        &["--har", "a.har"],
        1,
        &["refused by firewall: 406", "refused by firewall, response: 403", "3 tried, 2 refused"],
    );
    folder.write("a.har", "{}");
    folder.check(&["--har", "a.har"], 2, &["a.har: this is no HAR"]);
}

#[test]
fn an_access_log_is_tried_again() {
    let folder = Folder::new();
    let line = |host: &str, path: &str, query: &str| json!({ "method": "GET", "host": host, "path": path, "query": query, "client": "192.0.2.1" });
    let lines = [
        line("shop.example", "/", "q=good"),
        line("shop.example", "/", "q=evil"),
        line("a", "/watched", "q=<script>alert(1)</script>"),
        json!({ "reason": "malformed_request" }),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    folder.write("access.log", &text);
    folder.check(
        &["--access-log", "access.log"],
        1,
        &["3 tried, 1 refused, 1 would be refused in block mode"],
    );
}

#[test]
fn a_configuration_that_is_wrong_is_told_as_check_tells_it() {
    let folder = Folder::new();
    folder.write("rules.conf", "SecRul\n");
    folder.check(
        &["/"],
        2,
        &["routes[0].waf.seclang[0]: ", "rules.conf:1: `SecRul` is no directive"],
    );
}
