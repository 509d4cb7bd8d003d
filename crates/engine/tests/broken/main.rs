//! What people see when a configuration is wrong: each error at one glance, all of them at once.
//!
//! A case is the wrong part; the parts that it does not mention are added behind it, so that
//! nothing else is wrong. An error is shown as `line:column path: message (help)`.

#![cfg(test)]

mod sense;
mod shape;

use std::fs;

use tidegate_engine::{Config, ConfigErrors, Snapshot};

const REST: [(&str, &str); 3] = [
    ("listeners:", "listeners: [{ address: 127.0.0.1:8080 }]\n"),
    ("routes:", "routes: [{ path: /, to: api }]\n"),
    ("upstreams:", "upstreams: { api: { endpoints: [127.0.0.1:9000] } }\n"),
];

fn errors(text: &str) -> ConfigErrors {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("a.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    fs::write(folder.path().join("a.crt"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    fs::write(folder.path().join("a.txt"), "hello\n").unwrap();
    fs::write(folder.path().join("short"), "hunter2\n").unwrap();
    fs::write(folder.path().join("binary"), "hunter\u{1}2\n").unwrap();
    Config::load(&file)
        .and_then(|config| Snapshot::compile(&config, None))
        .map(|_| panic!("this is not broken:\n{text}"))
        .unwrap_err()
}

fn lines(text: &str) -> Vec<String> {
    errors(text)
        .errors()
        .iter()
        .map(|error| {
            let folder = error.file.strip_suffix("edge.yaml").unwrap_or_default();
            let path = if error.path.is_empty() { "-" } else { &error.path };
            let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}:{} {path}: {}{hint}", error.line, error.column, error.message)
                .replace(folder, "")
        })
        .collect()
}

/// Checks the wrong part among parts that are right.
#[track_caller]
fn check(part: &str, expected: &[&str]) {
    let given = |key: &str| part.starts_with(key) || part.contains(&format!("\n{key}"));
    let rest: String = REST.iter().filter(|(key, _)| !given(key)).map(|(_, text)| *text).collect();
    assert_eq!(lines(&format!("{part}\n{rest}")), expected, "{part}");
}

/// Checks a whole file.
#[track_caller]
fn check_whole(text: &str, expected: &[&str]) {
    assert_eq!(lines(text), expected, "{text}");
}

#[test]
fn files_that_hold_something_else() {
    check_whole(
        "",
        &["1:1 -: the file is empty (a configuration needs listeners, routes and upstreams)"],
    );
    check_whole("hello", &["1:1 -: expected a map, found the string `hello`"]);
    check_whole("- 1", &["1:1 -: expected a map, found a list"]);
}

#[test]
fn everything_is_reported_at_once() {
    check_whole(
        "\
listeners:
  - { adress: 0.0.0.0:80, tls: { crt: none.crt, key: a.key } }
  - { address: '0.0.0.0:443', tls: { cert: none.crt, key: a.key } }
limits: { idle_timeout: 75, header_bytes: 1B }
routes:
  - { path: /, to: apo, waf: { mode: on } }
  - { path: /x, to: apo, rate_limit: { rate: 1 } }
  - { path: /y, to: apo, max-body: 3 }
upstreams:
  api: { endpoints: 10.0.0.1:80 }
  more: { endpoints: [] }
",
        &[
            "2:7 listeners[0].adress: unknown key `adress` (did you mean `address`?)",
            "2:34 listeners[0].tls.crt: unknown key `crt` (did you mean `cert`?)",
            "2:39 listeners[0].tls.cert: no such file `none.crt`",
            "3:44 listeners[1].tls.cert: no such file `none.crt`",
            "4:25 limits.idle_timeout: expected a duration such as 250ms or 30s, found the number 75",
            "4:43 limits.header_bytes: 1B is too small for ordinary requests (write at least 1024B)",
            "6:20 routes[0].to: no upstream is called `apo` (did you mean `api`?)",
            "6:38 routes[0].waf.mode: unknown value `on`, expected `off`, `detect` or `block`",
            "7:21 routes[1].to: no upstream is called `apo` (did you mean `api`?)",
            "7:46 routes[1].rate_limit.rate: expected a rate such as 100/s, found the number 1",
            "8:21 routes[2].to: no upstream is called `apo` (did you mean `api`?)",
            "8:26 routes[2].max-body: unknown key `max-body` (did you mean `max_body`?)",
            "8:36 routes[2].max_body: expected a size such as 64KiB, found the number 3",
            "10:21 upstreams.api.endpoints: expected a list, found the string `10.0.0.1:80` (write `[10.0.0.1:80]`)",
            "11:22 upstreams.more.endpoints: an upstream needs at least one endpoint",
        ],
    );
}

#[test]
fn an_error_in_a_policy_is_reported_once_and_where_it_stands() {
    check(
        "\
policies:
  p:
    waf: { sensitivity: 9 }
routes:
  - { path: /a, to: api, policies: [p] }
  - { path: /b, to: api, policies: [p], waf: { mode: detect } }
",
        &["3:25 policies.p.waf.sensitivity: must be 1, 2, 3 or 4"],
    );
}

#[test]
fn a_secret_is_not_quoted() {
    check(
        "limits: { idle_timeout: '${file:short}' }",
        &[
            "1:25 limits.idle_timeout: `<secret>` is not a duration; write a whole number and a unit, such as 250ms, 30s, 5m, 1h or 2d",
        ],
    );
}

#[test]
fn an_error_is_shown_with_its_line() {
    let text = "listeners:\n  - adress: 0.0.0.0:80\n";
    let shown = errors(text).to_string();
    let expected = "\
edge.yaml:2:5: listeners[0].adress: unknown key `adress`
    2 |   - adress: 0.0.0.0:80
      |     ^^^^^^
      = help: did you mean `address`?";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn a_missing_file_is_an_error_of_its_own() {
    let errors = Config::load("/nonexistent/edge.yaml").unwrap_err();
    let expected = "/nonexistent/edge.yaml: no such file `/nonexistent/edge.yaml`";
    assert_eq!(errors.to_string(), expected);
}
