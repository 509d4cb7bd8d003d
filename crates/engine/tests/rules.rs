//! Rule files that a configuration names: compiled once for all routes, kept over reloads, wrong
//! ones told with the setting that names them.

#![cfg(test)]

use std::fs;
use std::path::Path;

use tidegate_engine::{Config, ConfigErrors, Snapshot};

const EDGE: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
defaults:
  waf: { seclang: [rules/*.conf] }
policies:
  odd: { waf: { exclude: [{ rules: [2] }] } }
routes:
  - { path: /a, to: api }
  - { path: /b, to: api, waf: { exclude: [{ rules: [1] }] } }
  - { path: /c, to: api, waf: { exclude: [{ rules: [7] }, { rules: [7], targets: [query] }], seclang: [other.conf], shadow: { seclang: [rules/*.conf] } } }
upstreams:
  api: { endpoints: [127.0.0.1:9000] }
";

fn rule(id: u32) -> String {
    format!("SecRule ARGS \"@pmFromFile words.data\" \"id:{id}, phase:2, deny\"\n")
}

fn write(folder: &Path) {
    fs::create_dir_all(folder.join("rules")).unwrap();
    for (name, text) in [
        ("edge.yaml", EDGE.to_owned()),
        ("rules/a.conf", rule(1)),
        ("rules/b.conf", rule(2)),
        ("rules/words.data", "evil\n".to_owned()),
        ("other.conf", "SecRule ARGS \"@contains x\" \"id:7, deny\"\n".to_owned()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn compile(folder: &Path, previous: Option<&Snapshot>) -> Result<Snapshot, ConfigErrors> {
    Snapshot::compile(&Config::load(folder.join("edge.yaml"))?, previous)
}

#[test]
fn a_rule_set_is_compiled_once_and_kept_while_its_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let first = compile(folder.path(), None).unwrap();
    let sets = |snapshot: &Snapshot| {
        let mut sets: Vec<_> = snapshot
            .routes()
            .iter()
            .flat_map(|route| [&route.waf, &route.waf_shadow])
            .filter_map(|policy| policy.rules())
            .map(std::sync::Arc::as_ptr)
            .collect();
        sets.sort_unstable();
        sets.dedup();
        sets
    };
    assert_eq!(sets(&first).len(), 2);
    let second = compile(folder.path(), Some(&first)).unwrap();
    assert_eq!(sets(&second), sets(&first));
    for (file, text) in
        [("rules/words.data", "bad\n"), ("rules/b.conf", &*rule(3)), ("rules/c.conf", &*rule(4))]
    {
        let before = compile(folder.path(), Some(&second)).unwrap();
        fs::write(folder.path().join(file), text).unwrap();
        // A policy names rule 2, which is gone with the second change.
        let edge = EDGE.replace("rules: [2]", "rules: [1]");
        fs::write(folder.path().join("edge.yaml"), edge).unwrap();
        let after = compile(folder.path(), Some(&before)).unwrap();
        let kept = sets(&after).into_iter().filter(|set| sets(&before).contains(set)).count();
        assert_eq!(kept, 1, "{file}");
    }
}

#[test]
fn wrong_rules_are_told_with_file_line_and_setting_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    fs::write(folder.path().join("rules/a.conf"), "\nSecRule ARGS \"@nope x\" \"id:1\"\n").unwrap();
    fs::write(
        folder.path().join("other.conf"),
        "SecRul ARGS x\nSecRule ARGS \"@rx (?=a)\" \"id:8,deny\"\n",
    )
    .unwrap();
    let errors = compile(folder.path(), None).unwrap_err();
    let root = format!("{}/", folder.path().display());
    let told: Vec<String> = errors
        .errors()
        .iter()
        .map(|error| format!("{} {}: {}", error.line, error.path, error.message.replace(&root, "")))
        .collect();
    let expected = [
        "4 defaults.waf.seclang: rules/a.conf:2: rule 1: `nope` is no operator",
        "10 routes[2].waf.seclang[0]: other.conf:1: `SecRul` is no directive; did you mean `SecRule`?",
        "10 routes[2].waf.seclang[0]: other.conf:2: rule 8: the pattern `(?=a)` does not compile: look-around, including look-ahead and look-behind, is not supported",
        "10 routes[2].waf.shadow.seclang: rules/a.conf:2: rule 1: `nope` is no operator",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_folder_without_a_rule_set_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let edge = EDGE.replace("{ seclang: [rules/*.conf] }", "{ crs: crs, builtin: true }");
    fs::write(folder.path().join("edge.yaml"), edge).unwrap();
    let errors = compile(folder.path(), None).unwrap_err().to_string();
    assert!(errors.contains("defaults.waf.crs: ") && errors.contains("crs-setup.conf"), "{errors}");
    let edge = EDGE.replace("{ seclang: [rules/*.conf] }", "{ builtin: false }");
    fs::write(folder.path().join("edge.yaml"), edge).unwrap();
    let errors = compile(folder.path(), None).unwrap_err().to_string();
    assert!(errors.contains("defaults.waf.builtin: there is no rule left"), "{errors}");
}

/// Resident memory in KiB, as Linux tells it.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn append(file: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// With `TIDEGATE_CRS` naming a checkout of the Core Rule Set it is that, else rules of our own.
#[test]
fn a_hundred_reloads_keep_the_memory_flat() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let crs = std::env::var_os("TIDEGATE_CRS").and_then(|it| it.into_string().ok());
    if let Some(crs) = &crs {
        let of_crs = format!("{{ crs: {{ path: {crs}, setup: setup.conf }} }}");
        let setup = Path::new(crs).join("crs-setup.conf.example");
        fs::copy(setup, folder.path().join("setup.conf")).unwrap();
        let edge = EDGE
            .replacen("{ seclang: [rules/*.conf] }", &of_crs, 1)
            .replace("[2]", "[942100]")
            .replace("[1]", "[942100]");
        fs::write(folder.path().join("edge.yaml"), edge).unwrap();
    }
    let mut current = compile(folder.path(), None).unwrap();
    for _ in 0..5 {
        current = compile(folder.path(), Some(&current)).unwrap();
    }
    let before = resident();
    for _ in 0..100 {
        current = compile(folder.path(), Some(&current)).unwrap();
    }
    let unchanged = resident();
    // Every file changed, so that every set is compiled anew.
    let rounds = if crs.is_some() { 10 } else { 100 };
    let mut changed = [0; 2];
    for (half, resident_now) in changed.iter_mut().enumerate() {
        for round in 0..rounds {
            let text = format!("{}# {half} {round}\n", rule(7));
            fs::write(folder.path().join("other.conf"), text).unwrap();
            fs::write(folder.path().join("words.data"), "x\n").unwrap();
            append(&folder.path().join("setup.conf"), "# a reload\n");
            current = compile(folder.path(), Some(&current)).unwrap();
        }
        *resident_now = resident();
    }
    println!("resident: {before} KiB, {unchanged} KiB behind 100 reloads, {changed:?} KiB behind");
    assert!(unchanged < before + 4_096, "{before} {unchanged}");
    assert!(changed[1] < changed[0] + 16_384, "{changed:?}");
}
