//! Each system call of the writer fails, or is the process's last, by strace's fault injection.
//! Without strace, or where a process may not be traced, this is skipped, and says so.

use std::collections::BTreeMap;
use std::env;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::child;
use super::ledger::Ledger;

const TEST: &str = "injected::nothing_acknowledged_is_lost_when_system_calls_fail";

/// What the writer asks of the kernel, with the names that it has on different machines.
const CALLS: &[&str] = &[
    "write",
    "fdatasync",
    "fsync",
    "?open,openat",
    "?rename,?renameat,renameat2",
    "?unlink,unlinkat",
    "?mkdir,mkdirat",
    "ftruncate",
    "flock",
    "close",
    "read",
];

const FAULTS: &[&str] = &["error=EIO", "error=ENOSPC", "signal=SIGKILL"];

/// At which call of each thread: the first are those that open the log, and the later ones its
/// work. Only the first of these, for the calls that are not the writer's daily work.
const MOMENTS: &[u32] = &[3, 11];
const DAILY: usize = 5;
const THOROUGH: &[u32] = &[1, 2, 3, 5, 8, 11, 16, 23, 31, 44, 60, 90];

#[test]
fn nothing_acknowledged_is_lost_when_system_calls_fail() {
    child::run_if_child();
    if let Some(reason) = cannot_trace() {
        eprintln!("SKIPPED: no fault was injected: {reason}");
        return;
    }
    let thorough = env::var_os("TIDEGATE_AUDIT_THOROUGH").is_some();
    let moments = if thorough { THOROUGH } else { MOMENTS };
    let mut stopped: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut runs = 0;
    for (place, call) in CALLS.iter().enumerate() {
        let count = if place < DAILY || thorough { moments.len() } else { 1 };
        for fault in FAULTS {
            for moment in &moments[..count] {
                let hit = inject(call, fault, *moment);
                *stopped.entry((call, fault)).or_default() += u32::from(hit);
                runs += 1;
            }
        }
    }
    eprintln!("{runs} runs; of these stopped, refused or died: {stopped:?}");
    for call in ["write", "fdatasync", "fsync"] {
        for fault in FAULTS {
            assert!(stopped[&(call, *fault)] > 0, "{call} with {fault} met nothing");
        }
    }
}

/// One run of the writer; whether it noticed.
fn inject(call: &str, fault: &str, moment: u32) -> bool {
    let folder = TempDir::new().unwrap();
    let mut ledger = Ledger::default();
    // A log that has worked, so that opening it is among what fails.
    ledger.work(folder.path(), "before", 200);

    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"].map(str::to_owned);
    let what = format!("inject={call}:{fault}:when={moment}");
    let wrapper = [&wrapper[..], std::slice::from_ref(&what)].concat();
    let traced = child::limited(child::command(&wrapper, TEST, folder.path(), "traced"), 400);
    let (code, noticed) = run(traced, &mut ledger);
    let recovered = ledger.check(folder.path());
    assert!(recovered.size >= 200, "{what}");

    ledger.work(folder.path(), "after", 100);
    ledger.check_all(folder.path());
    noticed || code != Some(0)
}

/// The exit code, and whether it spoke of a fault.
fn run(mut command: Command, ledger: &mut Ledger) -> (Option<i32>, bool) {
    let output = command.output().unwrap();
    let said = ledger.note(&String::from_utf8_lossy(&output.stdout));
    let quiet = said.failures.is_empty() && said.no_space.is_empty() && said.not_opened.is_empty();
    (output.status.code(), !quiet)
}

fn cannot_trace() -> Option<String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=9999", "true"]);
    match strace.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("strace says {status}")),
        Err(error) => Some(format!("strace: {error}")),
    }
}
