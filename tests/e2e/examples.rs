//! Every example in `config/` starts, on ports of the test's choosing.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_audit::note::SigningKey;
use tidegate_testkit::client::get;
use tidegate_testkit::{Ca, Gateway, Leaf};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("config/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no examples in {}", folder.display());
    files
}

/// Moves what an example binds and writes into the test's reach; all else stays as it is.
fn adapted(text: &str) -> String {
    let mut adapted = String::new();
    for line in text.lines() {
        let line = match line.split_once("address:") {
            // Listener and admin addresses; an endpoint's address keeps its port.
            Some((before, after)) if is_listener(before, after) => {
                let after = after.trim_start();
                let end = after.find([',', ' ', '}']).unwrap_or(after.len());
                format!("{before}address: 127.0.0.1:0{}", after.split_at(end).1)
            }
            _ => line.replace("/var/log/tidegate", "<dir>"),
        };
        adapted.push_str(&line);
        adapted.push('\n');
    }
    adapted
}

fn is_listener(before: &str, after: &str) -> bool {
    let host = after.trim_start().trim_start_matches(['"', '\'']);
    let local = ["0.0.0.0:", "127.0.0.1:", "[::]:", "[::1]:"];
    !before.contains("endpoints") && local.iter().any(|prefix| host.starts_with(prefix))
}

#[test]
fn every_example_starts_and_serves() {
    let ca = Ca::new("examples");
    let leaf = ca.server(&["api.example.com", "localhost"]);
    for path in examples() {
        let text = fs::read_to_string(&path).expect("reads");
        let mut builder =
            Gateway::builder(&adapted(&text)).env("TIDEGATE_ADMIN_TOKEN", "0123456789abcdef");
        for (name, text) in beside(&path) {
            builder = builder.file(&name, &text);
        }
        for (name, text) in named(&text, &ca, &leaf) {
            builder = builder.file(&name, &text);
        }
        match builder.try_start() {
            Ok(gateway) => assert_eq!(get(gateway.admin(), "/readyz").status, 200),
            Err(failed) => panic!("{}: {}", path.display(), failed.stderr),
        }
    }
}

/// The certificates, keys and secrets that an example names, made up.
fn named(example: &str, ca: &Ca, leaf: &Leaf) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (key, text) in [
        ("cert:", leaf.cert.as_str()),
        ("key:", &leaf.key),
        ("ca:", ca.pem()),
        ("${file:", "0123456789abcdef"),
    ] {
        for rest in example.split(key).skip(1) {
            let name = rest.trim_start().split([',', ' ', '}', '\n']).next().unwrap_or_default();
            files.push((name.to_owned(), text.to_owned()));
        }
    }
    let signing = SigningKey::from_seed("edge-1.example.com/audit", [1; 32]).expect("a key");
    for (_name, text) in files.iter_mut().filter(|(name, _text)| name == "audit/signing.key") {
        *text = signing.to_secret_text();
    }
    files.retain(|(name, _text)| name.contains('.') || name.contains('/'));
    files
}

/// The folders that examples include, relative to `config/`.
fn beside(example: &Path) -> Vec<(String, String)> {
    let folder = example.parent().expect("config/");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("reads").filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".d") {
            continue;
        }
        for file in fs::read_dir(entry.path()).expect("reads").filter_map(Result::ok) {
            let inner = file.file_name().to_string_lossy().into_owned();
            files
                .push((format!("{name}/{inner}"), fs::read_to_string(file.path()).expect("reads")));
        }
    }
    files
}
