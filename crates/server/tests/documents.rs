//! Every complete configuration in the documents passes `check`, so that what is pasted from there
//! works. A YAML block is complete when it has listeners and routes; the others are fragments.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_testkit::Ca;

#[test]
fn configurations_in_documents_pass_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let leaf = Ca::new("documents").server(&["localhost"]);
    fs::write(folder.path().join("tls.crt"), &leaf.cert).expect("writes");
    fs::write(folder.path().join("tls.key"), &leaf.key).expect("writes");
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("reads");
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if block.contains("listeners:") && block.contains("routes:") {
                check(folder.path(), &document, block);
                checked += 1;
            }
        }
    }
    assert!(checked > 3, "only {checked} configurations were found");
}

fn check(folder: &Path, document: &Path, block: &str) {
    let file = folder.join("tidegate.yaml");
    fs::write(&file, block).expect("writes");
    let mut tidegate = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = tidegate.arg("check").arg("-c").arg(&file).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{said}\n\nin:\n{block}", document.display());
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs::read_dir(root.join("docs/guide")).expect("docs/guide");
    let mut documents: Vec<_> = guide.map(|entry| entry.expect("an entry").path()).collect();
    documents.push(root.join("README.md"));
    documents
}
