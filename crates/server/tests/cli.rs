//! The command line as scripts meet it: exit codes, and what goes to which stream.

#![expect(clippy::expect_used, reason = "a test's helper fails where its caller stands")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tidegate_testkit::Ca;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/demo.yaml");

/// Two mistakes, in one file.
const BROKEN: &str = "\
listeners:
  - adress: 127.0.0.1:8080
routes:
  - { path: /, to: nowhere }
";

#[track_caller]
fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().expect("it starts")
}

#[track_caller]
fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = tidegate(arguments);
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(stdout), "no `{stdout}` on standard output:\n{out}");
    assert!(err.contains(stderr), "no `{stderr}` on standard error:\n{err}");
}

fn broken(folder: &Path) -> String {
    let file = folder.join("broken.yaml");
    fs::write(&file, BROKEN).expect("writes");
    file.display().to_string()
}

#[test]
fn a_good_configuration_passes() {
    check(&["check", "-c", EXAMPLE], 0, "demo.yaml: ok (1 listener, 2 routes, 1 upstream)\n", "");
    check(&["-t", "-c", EXAMPLE], 0, ": ok (", "");
    check(&["check", "-c", EXAMPLE, "--format", "json"], 0, "\"ok\": true", "");
}

#[test]
fn a_bad_configuration_fails_with_everything_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = broken(folder.path());
    check(&["check", "-c", &file], 1, "", "broken.yaml:2:5: ");
    check(&["check", "-c", &file], 1, "", "`address`");
    check(&["check", "-c", &file], 1, "", "broken.yaml:4:20: ");
    check(&["-tc", &file], 1, "", "broken.yaml: 2 errors");
}

#[test]
fn programs_get_the_errors_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = tidegate(&["check", "--format", "json", "-c", &broken(folder.path())]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ok"], false);
    let lines: Vec<_> = report["errors"].as_array().expect("a list").iter().collect();
    assert_eq!(lines.iter().map(|error| &error["line"]).collect::<Vec<_>>(), [2, 4]);
    assert!(lines[1]["path"].as_str().is_some_and(|path| path.starts_with("routes[0]")));
}

#[test]
fn a_file_that_is_not_there_is_an_error_of_the_configuration() {
    check(&["check", "-c", "/nowhere/tidegate.yaml"], 1, "", "/nowhere/tidegate.yaml");
    check(&["run", "-c", "/nowhere/tidegate.yaml"], 1, "", "/nowhere/tidegate.yaml");
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_found() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), Ca::new("cli"));
    let (one, other) = (ca.server(&["a.example"]), ca.server(&["b.example"]));
    let tls = "listeners: [{ address: 127.0.0.1:0, tls: { cert: a.crt, key: b.key } }]\n";
    let config = format!("{tls}routes: [{{ path: /, redirect: {{ path: /x }} }}]\n");
    for (name, text) in [("a.crt", &one.cert), ("b.key", &other.key), ("edge.yaml", &config)] {
        fs::write(folder.path().join(name), text).expect("writes");
    }
    let file = folder.path().join("edge.yaml").display().to_string();
    check(&["check", "-c", &file], 1, "", "edge.yaml:1:");
    check(&["run", "-c", &file], 1, "", "edge.yaml: 1 error");
}

#[test]
fn wrong_usage_is_told_apart() {
    check(&[], 2, "", "Usage:");
    check(&["chekc"], 2, "", "check");
    check(&["-c", EXAMPLE], 2, "", "-t");
    check(&["check", "--effective", "--format", "json"], 2, "", "cannot be used with");
}

#[test]
fn the_effective_configuration_has_what_was_inherited() {
    check(&["check", "--effective", "-c", EXAMPLE], 0, "waf:", "");
}

#[test]
fn the_schema_describes_the_configuration() {
    let schema: Value = serde_json::from_slice(&tidegate(&["schema"]).stdout).expect("JSON");
    for key in ["listeners", "routes", "upstreams", "policies", "limits", "admin"] {
        let description = &schema["properties"][key]["description"];
        assert!(description.as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        check(&["completions", shell], 0, "effective", "");
    }
}

#[test]
fn the_version_is_one_line() {
    check(&["version"], 0, concat!("tidegate ", env!("CARGO_PKG_VERSION"), "\n"), "");
    check(&["--version"], 0, concat!("tidegate ", env!("CARGO_PKG_VERSION"), "\n"), "");
}

#[test]
fn a_reload_without_anybody_there_fails() {
    check(
        &["reload", "--admin", "127.0.0.1:1"],
        1,
        "",
        "cannot ask the admin listener at 127.0.0.1:1",
    );
}
