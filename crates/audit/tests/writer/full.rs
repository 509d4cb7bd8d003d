//! A file system of two megabytes that fills up under the log, and has room again. Skipped, loudly,
//! where an unprivileged user may not mount one.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_audit::log::{Durability, Health, Log, Lost, Refused};
use tidegate_core::Clock;

use super::child;
use super::ledger::Ledger;

const TEST: &str = "full::a_full_file_system_refuses_records_and_loses_none";
const MOUNTED: &str = "TIDEGATE_AUDIT_MOUNTED";

#[test]
fn a_full_file_system_refuses_records_and_loses_none() {
    if env::var_os(MOUNTED).is_some() {
        return fill(&env::temp_dir());
    }
    let folder = TempDir::new().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=2m tmpfs '{0}' && TMPDIR='{0}' exec \"$0\" \"$@\"",
        folder.path().display()
    );
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-r", "-m", "sh", "-c"]).args(arguments);
        command
    };
    let allowed = unshare(&[&script, "true"]).stderr(Stdio::null()).status();
    if !allowed.as_ref().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no file system was filled: unshare and mount say {allowed:?}");
        return;
    }
    let this = env::current_exe().unwrap();
    let mut inside = unshare(&[&script]);
    inside.arg(this).args(["--exact", TEST, "--nocapture"]).env(MOUNTED, "1");
    let output = inside.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn fill(folder: &Path) {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; 500 << 10]).unwrap();
    let (log, _new) = Log::open(child::options(folder), &child::key(), Clock::System).unwrap();
    let (mut said, mut n) = (String::new(), 0);
    let mut append = |log: &Log| {
        n += 1;
        let record = format!("ballast {n} {}", "x".repeat(1000));
        let outcome = log.append(record.clone().into_bytes(), Durability::BeforeResponse);
        let outcome = outcome.map(tidegate_audit::log::Ticket::wait);
        if let Ok(Ok(index)) = &outcome {
            said.push_str(&format!("A {index} {record}\n"));
        }
        outcome
    };
    let lost = loop {
        match append(&log) {
            Ok(Ok(_index)) => {}
            Ok(Err(lost)) => break lost,
            Err(refused) => panic!("refused before it was full: {refused}"),
        }
    };
    assert!(matches!(lost, Lost::NoSpace(_)), "{lost}");
    let refused = append(&log).unwrap_err();
    assert!(matches!(refused, Refused::NoSpace(_)), "{refused}");
    assert_eq!(log.stats().health, Health::NoSpace);
    fs::remove_file(&ballast).unwrap();
    let mut tries = 0;
    while !matches!(append(&log), Ok(Ok(_))) {
        tries += 1;
        assert!(tries < 1000, "it takes records again when there is room");
        thread::sleep(Duration::from_millis(10));
    }
    for _ in 0..10 {
        append(&log).unwrap().unwrap();
    }
    assert_eq!(log.stats().health, Health::Good);
    log.close().unwrap();
    drop(log);
    let mut ledger = Ledger::default();
    ledger.note(&said);
    ledger.check_all(folder);
}
