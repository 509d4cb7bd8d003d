//! Every example configuration loads, compiles and agrees with the schema.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_engine::{Config, ConfigErrors, Snapshot, config};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
/// An authority that signed nothing; its key was thrown away.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUJ57qqE+CBhEiEuPbJ16yf7E3eBswCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIzMTcwNTAzWhgPMjEy
NjEwMzAxNzA1MDNaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAE42hRd+zz9iS8CsByMHdTrYfafayY7K4jJ47mB4tM
ZhL/WW4iPOrtXT+mU74EDb5pO8smgj5B3yEh8DuYOsHi0qNTMFEwHQYDVR0OBBYE
FFm/4TtTfC/jioXhlcvyTA02XCN4MB8GA1UdIwQYMBaAFFm/4TtTfC/jioXhlcvy
TA02XCN4MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgWMSTY6Ja
ks98tmF8XolJXKU0BTFNUH7Iv6zni2OVZI4CIQDCyAPRspjfLCfGRv+LCRVNOqzG
sMLusCpVb2XuOOJklQ==
-----END CERTIFICATE-----
";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";

/// The examples in a folder of their own, with the files that they name.
struct Examples {
    folder: tempfile::TempDir,
}

impl Examples {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&source(), folder.path());
        for (name, text) in [
            ("secrets/admin-token", "0123456789abcdef\n"),
            ("secrets/exchange", "0123456789abcdef\n"),
            ("audit/redaction.key", "0123456789abcdef\n"),
            ("audit/signing.key", &signing_key()),
            ("exchange.secret", "0123456789abcdef"),
            ("hook.secret", "0123456789abcdef"),
            ("redis.secret", "0123456789abcdef"),
            ("search.token", "0123456789abcdef"),
            ("siem-ca.pem", AUTHORITY),
            ("tls/edge.crt", CERTIFICATE),
            ("tls/edge.key", KEY),
            ("tls/partners.crt", CERTIFICATE),
            ("tls/partners.key", KEY),
            ("tls/clients-ca.pem", CERTIFICATE),
            ("tls/internal-ca.pem", CERTIFICATE),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { folder }
    }

    fn load(&self, name: &str) -> Result<(Config, Snapshot), ConfigErrors> {
        let config = Config::load(self.folder.path().join(name))?;
        let snapshot = Snapshot::compile(&config, None)?;
        Ok((config, snapshot))
    }
}

/// A key of the log that `audit.yaml` has.
fn signing_key() -> String {
    let key = tidegate_audit::note::SigningKey::from_seed("edge-1.example.com/audit", [1; 32]);
    key.unwrap().to_secret_text()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// The configurations among the examples; rules and included parts are none.
fn names() -> Vec<String> {
    let entries = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".yaml"));
    names.sort();
    names
}

#[test]
fn every_example_compiles() {
    let examples = Examples::new();
    assert!(names().len() >= 3, "{:?}", names());
    for name in names() {
        if let Err(errors) = examples.load(&name) {
            panic!("{errors}");
        }
    }
}

#[test]
fn the_effective_configuration_says_where_values_come_from() {
    let examples = Examples::new();
    let (config, _) = examples.load("edge.yaml").unwrap();
    let folder = format!("{}/", examples.folder.path().display());
    insta::assert_snapshot!(config.effective().replace(&folder, ""));
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let examples = Examples::new();
    for name in names().iter().filter(|name| *name != "edge.yaml") {
        let (config, _) = examples.load(name).unwrap();
        let again = Config::from_text("effective", &config.effective()).unwrap();
        assert_eq!(again.settings.routes, config.settings.routes);
    }
}

/// A configuration file as JSON, for the schema.
fn json(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap();
    config::yaml_to_json(&text).unwrap()
}

#[test]
fn the_schema_takes_every_example() {
    let schema = config::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut files: Vec<_> = names().into_iter().map(|name| source().join(name)).collect();
    files.push(source().join("routes.d/partners.yaml"));
    for file in files {
        let errors: Vec<_> = validator
            .iter_errors(&json(&file))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, [""; 0], "{}", file.display());
    }
}

#[test]
fn the_schema_refuses_what_the_loader_refuses() {
    let schema = config::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in [
        "listener: []",
        "listeners: [{ adress: '0.0.0.0:80' }]",
        "listeners: [{ address: 80 }]",
        "listeners: [{}]",
        "limits: { header_bytes: 10kb }",
        "limits: { idle_timeout: 75 }",
        "limits: { h2_streams: 0 }",
        "routes: [{ path: pay }]",
        "routes: [{ path: { exact: /a, prefix: /b } }]",
        "routes: [{ '(policy)': {} }]",
        "routes: [{ max_bodi: 1MiB }]",
        "routes: [{ rate_limit: { rate: fast } }]",
        "upstreams: { api: {} }",
        "upstreams: { api: { endpoints: ['10.0.0.1'] } }",
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: best } }",
        "policies: { a: { waf: { mode: on } } }",
        "admin: { token: plain }",
        "trusted_proxies: 10.0.0.0/8",
    ] {
        let value = config::yaml_to_json(text).unwrap();
        assert!(!validator.is_valid(&value), "{text}");
    }
}

#[test]
fn every_setting_is_described() {
    let schema = config::schema();
    let definitions = schema["definitions"].as_object().unwrap();
    for (name, definition) in definitions.iter().chain([(&"root".to_owned(), &schema)]) {
        let Some(properties) = definition["properties"].as_object() else { continue };
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{name}.{key} has no description");
        }
    }
}

/// Compares a generated file with what it should be, or writes it when asked to.
#[track_caller]
fn check_generated(file: &str, current: &str) {
    let path = source().join("..").join(file);
    let written = fs::read_to_string(&path).unwrap_or_default();
    if written != current && std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, current).unwrap();
        return;
    }
    assert!(written == current, "{file} is stale; run this test with UPDATE_GENERATED=1");
}

#[test]
fn the_reference_is_current() {
    check_generated("docs/reference/configuration.md", &config::reference());
}

#[test]
fn the_schema_for_editors_is_current() {
    let schema = serde_json::to_string_pretty(&config::schema()).unwrap() + "\n";
    check_generated("config/tidegate.schema.json", &schema);
}
