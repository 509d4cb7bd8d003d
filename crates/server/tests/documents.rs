//! Every YAML block in the documents passes `check`, so that what is pasted from there works. A
//! block is a configuration or some of its sections; what it leaves out or names elsewhere is
//! added: a listener, routes, upstreams, an issuer, files. A block that is another program's says
//! so in its first line, by a comment that begins with the name of that program's file.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};
use tidegate_audit::note::SigningKey;
use tidegate_engine::config::yaml_to_json;
use tidegate_testkit::Ca;

#[test]
fn configurations_in_documents_pass_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files { folder: folder.path() };
    files.make();
    let (mut checked, mut wrong) = (0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).expect("reads");
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if !is_for_another_program(block) {
                wrong.extend(
                    files.check(block).map(|said| format!("{}:\n{said}", document.display())),
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "only {checked} configurations were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn is_for_another_program(block: &str) -> bool {
    let first = block.lines().next().unwrap_or_default();
    let name = first.strip_prefix("# ").and_then(|rest| rest.split([' ', ';', ',']).next());
    name.is_some_and(|name| name.ends_with(".yml"))
}

/// The guides, the references and what else is written about the whole.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut documents = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents
}

/// A folder with all files that the documents' configurations name.
struct Files<'a> {
    folder: &'a Path,
}

impl Files<'_> {
    fn make(&self) {
        let ca = Ca::new("documents");
        let leaf = ca.server(&["localhost"]);
        let signing = SigningKey::from_seed("edge-1.example.com/audit", [1; 32]).expect("a key");
        const SECRET: &str = "0123456789abcdef";
        for (name, text) in [
            ("app-after.conf", ""),
            ("app-before.conf", ""),
            ("coreruleset/crs-setup.conf", ""),
            ("coreruleset/rules/RULES.conf", RULES),
            ("coreruleset-4.19/crs-setup.conf", ""),
            ("coreruleset-4.19/rules/RULES.conf", RULES),
            ("coreruleset-4.20/crs-setup.conf", ""),
            ("coreruleset-4.20/rules/RULES.conf", RULES),
            ("edge.creds", CREDENTIALS),
            ("etc/tidegate/audit.key", &signing.to_secret_text()),
            ("etc/tidegate/crowdsec.key", SECRET),
            ("etc/tidegate/drop.txt", "203.0.113.0/24\n"),
            ("etc/tidegate/redaction.key", SECRET),
            ("hec.token", SECRET),
            ("hook.key", SECRET),
            ("kafka-ca.pem", ca.pem()),
            ("kafka.password", SECRET),
            ("mnt/worm/.keep", ""),
            ("otlp.key", SECRET),
            ("redis.password", SECRET),
            ("search.key", SECRET),
            ("siem-ca.pem", ca.pem()),
            ("tls.crt", &leaf.cert),
            ("tls.key", &leaf.key),
            ("var/lib/tidegate/.keep", ""),
            ("var/log/tidegate/.keep", ""),
        ] {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("makes a folder");
            fs::write(path, text).expect("writes");
        }
    }

    /// What `check` has against a block, if anything.
    fn check(&self, block: &str) -> Option<String> {
        let mut text = block.replace("/usr/share/modsecurity-crs", "coreruleset");
        for of_the_machine in ["/etc/", "/var/", "/mnt/"] {
            let here = format!("{}{of_the_machine}", self.folder.display());
            text = text.replace(of_the_machine, &here);
        }
        let config = match yaml_to_json(&text) {
            Ok(Value::Object(sections)) => complete(sections).to_string(),
            Ok(_) => return Some(format!("no section is named in:\n{block}")),
            Err(errors) => return Some(format!("{errors}\nin:\n{block}")),
        };
        let file = self.folder.join("tidegate.yaml");
        fs::write(&file, &config).expect("writes");
        let mut tidegate = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        for name in ["EXCHANGE_SECRET", "NEW", "OLD", "STICKY_SECRET"] {
            tidegate.env(name, "0123456789abcdef");
        }
        let output = tidegate.arg("check").arg("-c").arg(&file).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        (!output.status.success()).then(|| format!("{said}\nin:\n{block}\nas:\n{config}"))
    }
}

/// Adds what a configuration needs and these sections leave to other files.
fn complete(mut sections: Map<String, Value>) -> Value {
    let named = Value::Object(sections.clone());
    let issuers = strings(&named, "jwt");
    let has_auth = sections.contains_key("auth") || !issuers.is_empty();
    sections.entry("listeners").or_insert_with(|| json!([{ "address": "127.0.0.1:8080" }]));

    let mut wanted = strings(&named, "routes");
    if !sections.contains_key("routes") {
        wanted.push("added".into());
    }
    let routes = sections.entry("routes").or_insert_with(|| json!([]));
    for id in wanted {
        let auth = if has_auth { json!({ "jwt": "corp" }) } else { json!(null) };
        let route = json!({ "id": id, "path": format!("/{id}"), "to": "api", "auth": auth });
        routes.as_array_mut().expect("a list").push(route);
    }

    let mut wanted = [strings(&named, "to"), vec!["api".into()]].concat();
    wanted.retain(|name| !name.contains('/'));
    add(&mut sections, "upstreams", wanted, &json!({ "endpoints": ["127.0.0.1:9001"] }));
    if has_auth {
        let issuer = json!({ "issuer": "https://id.example.com", "audience": ["api"] });
        let auth = sections.entry("auth").or_insert_with(|| json!({}));
        let auth = auth.as_object_mut().expect("a map");
        add(auth, "issuers", [issuers, vec!["corp".into()]].concat(), &issuer);
    }
    Value::Object(sections)
}

/// Adds entries to the map `key`, where they are not.
fn add(parent: &mut Map<String, Value>, key: &str, names: Vec<String>, value: &Value) {
    let map = parent.entry(key).or_insert_with(|| json!({}));
    for name in names {
        map.as_object_mut().expect("a map").entry(name).or_insert_with(|| value.clone());
    }
}

/// All strings that stand at this key anywhere, alone or in a list.
fn strings(value: &Value, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    let members: Vec<(&str, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        Value::Array(items) => items.iter().map(|value| ("", value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        if name == key {
            let one = value.as_str().into_iter();
            let many = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            found.extend(one.chain(many).map(str::to_owned));
        }
        found.extend(strings(value, key));
    }
    found
}

/// A user's JWT and key for NATS, of the form that its tools write; nobody lets it in.
const CREDENTIALS: &str = "-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.AAAA
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY
------END USER NKEY SEED------
";

/// Stands for a release of the Core Rule Set: it looks at what the settings of one set.
const RULES: &str = r#"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@lt 1" "id:949060,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@rx evil" "id:942200,phase:2,pass,setvar:tx.anomaly_score=+5"
SecRule TX:ANOMALY_SCORE "@ge %{tx.inbound_anomaly_score_threshold}" "id:949110,phase:2,deny"
SecMarker "END"
"#;
