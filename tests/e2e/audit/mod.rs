//! The audit log through the running binary: what is recorded, what is promised, what is redacted,
//! and what happens when the disk or an anchor fails.

mod anchors;
pub(crate) mod faults;
mod process;
mod promises;
mod redaction;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tidegate_audit::checkpoint::Checkpoint;
use tidegate_audit::note::SigningKey;
use tidegate_audit::tiles::{Directory, entry};
use tidegate_audit::verify::{Claim, verify};
use tidegate_testkit::client::get;
use tidegate_testkit::gateway::Builder;
use tidegate_testkit::{Gateway, wait};

/// The name of the tests' log.
const ORIGIN: &str = "edge-1.example/audit";

/// The log's settings but for the closing brace, so that a test can add some.
const LOG: &str = "audit: { path: <dir>/audit, origin: edge-1.example/audit, key: audit.key, \
                   checkpoint_every: 20ms, redaction: { key: '${file:hash.key}', subjects: <dir>/subjects }";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32]).expect("a key")
}

/// A gateway with an audit log; `more` is added to the log's settings, such as `, max_pending: 1MiB`.
pub(crate) fn with_log(more: &str, rest: &str) -> Builder {
    Gateway::builder(&format!("{LOG}{more} }}\n{rest}"))
        .file("audit.key", &key().to_secret_text())
        .file("hash.key", "0123456789abcdef0123456789abcdef")
}

/// Routes to `<origin>` under `/`, with the policy field `audit` in YAML's flow style.
fn events(audit: &str) -> String {
    format!("defaults: {{ audit: {audit} }}\n{}", crate::ALL_TO_API)
}

/// Every record that is under a checkpoint now, in order.
#[track_caller]
pub(crate) fn records(gateway: &Gateway) -> Vec<Value> {
    let note = get(gateway.admin(), "/audit/checkpoint");
    assert_eq!(note.status, 200, "{}", note.text());
    read(gateway.folder(), &note.text())
}

/// The records of a log that may not be served any more.
#[track_caller]
fn read(folder: &Path, note: &str) -> Vec<Value> {
    let checkpoint = Checkpoint::parse(note.split("\n\n").next().expect("a note")).or_else(|_| {
        // The text of a note ends with its newline.
        Checkpoint::parse(&format!("{}\n", note.split("\n\n").next().expect("a note")))
    });
    let size = checkpoint.expect("a checkpoint").size;
    let log = Directory::new(folder.join("audit"));
    let entries = (0..size).map(|index| entry(&log, index, size).expect("an entry"));
    entries.map(|entry| serde_json::from_slice(&entry).expect("JSON")).collect()
}

/// Waits for a record.
#[track_caller]
fn recorded(gateway: &Gateway, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    let seen = wait::holds_within(wait::PATIENCE, || {
        found = records(gateway).into_iter().find(|record| is_wanted(record));
        found.is_some()
    });
    assert!(seen, "no such record: {:#?}", records(gateway));
    found.expect("found")
}

/// Everything that the log's folder holds at this moment, as bytes.
fn everything_below(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                // A file may be removed while we look.
                bytes.extend(fs::read(&path).unwrap_or_default());
                bytes.push(b'\n');
            }
        }
    }
    bytes
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The log verifies from its entries up.
#[track_caller]
fn assert_verifies(folder: &Path) {
    let file = |name: &str| fs::read(folder.join(name)).ok();
    let log = Directory::new(folder.join("audit"));
    let mut findings = Vec::new();
    // A running log writes its head file a moment before its checkpoint.
    let holds = wait::holds_within(wait::PATIENCE, || {
        let claim = Claim {
            head: Some(file("audit.head")),
            checkpoint: file("audit/checkpoint"),
            ..Claim::default()
        };
        let report = verify(&log, key().verifying_key(), &claim, &mut |_, _| {});
        findings.clone_from(&report.findings);
        report.holds()
    });
    assert!(holds, "{findings:#?}");
}
