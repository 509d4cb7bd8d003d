//! What stands in `deploy/`, held against the programs that will read it. A program that is not
//! installed is said so, and its test passes.
//!
//! The dashboard and the alert rules are not here; the metrics they name are tested beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tidegate_testkit::client::get;
use tidegate_testkit::{Ca, Gateway};

#[test]
fn systemd_accepts_the_unit() -> Result<()> {
    // systemd also looks whether the programs exist; `true` stands for what is installed later.
    let unit = fs::read_to_string(deploy("systemd/tidegate.service"))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tidegate.service");
    fs::write(&file, unit.replace("/usr/local/bin/tidegate", "/bin/true"))?;
    accepts(Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file))
}

#[test]
fn the_unit_exposes_little() -> Result<()> {
    let unit = deploy("systemd/tidegate.service");
    let mut security = Command::new("systemd-analyze");
    accepts(security.args(["security", "--offline=true", "--threshold=20"]).arg(unit))
}

#[test]
fn hadolint_accepts_the_dockerfile() -> Result<()> {
    accepts(Command::new("hadolint").arg(deploy("Dockerfile")))
}

#[test]
fn kustomize_builds_the_manifests() -> Result<()> {
    accepts(Command::new("kubectl").arg("kustomize").arg(deploy("kubernetes")))
}

#[test]
fn the_configuration_of_the_manifests_serves() {
    let leaf = Ca::new("deploy").server(&["api.example.com"]);
    let config = fs::read_to_string(deploy("kubernetes/tidegate.yaml")).expect("is there");
    let config = config
        .replace("0.0.0.0:9900", "127.0.0.1:0")
        .replace("0.0.0.0:8443", "127.0.0.1:0")
        .replace("/etc/tidegate", "<dir>");
    let gateway = Gateway::builder(&config)
        .file("tls/tls.crt", &leaf.cert)
        .file("tls/tls.key", &leaf.key)
        .file("admin/token", "a-token-of-the-test\n")
        .start();
    assert_eq!(get(gateway.admin(), "/readyz").status, 200);
}

/// Runs a checker, and passes if it has nothing to say.
#[expect(clippy::print_stdout, reason = "who reads the test's output learns what was skipped")]
fn accepts(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {program} is not installed");
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(output.status.success(), "{program}: {}\n{said}", output.status);
            Ok(())
        }
    }
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}
