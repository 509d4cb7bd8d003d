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
/// work.
const MOMENTS: &[u32] = &[3, 11];
const THOROUGH: &[u32] = &[1, 2, 3, 5, 8, 11, 16, 23, 31, 44, 60, 90];

#[test]
fn nothing_acknowledged_is_lost_when_system_calls_fail() {
    child::run_if_child();
    if let Some(reason) = cannot_trace() {
        eprintln!("SKIPPED: no fault was injected: {reason}");
        return;
    }
    let moments = env::var_os("TIDEGATE_AUDIT_THOROUGH").map_or(MOMENTS, |_set| THOROUGH);
    let mut stopped: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut runs = 0;
    for call in CALLS {
        for fault in FAULTS {
            for moment in moments {
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
    let first = child::limited(child::command(&[], TEST, folder.path(), "first"), 200);
    let said = run(first, &mut ledger);
    assert_eq!((said.0, said.1), (Some(0), 200), "it works untroubled");
    ledger.check(folder.path());

    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"].map(str::to_owned);
    let what = format!("inject={call}:{fault}:when={moment}");
    let wrapper = [&wrapper[..], std::slice::from_ref(&what)].concat();
    let traced = child::limited(child::command(&wrapper, TEST, folder.path(), "traced"), 400);
    let (code, _acknowledged, noticed) = run(traced, &mut ledger);
    let recovered = ledger.check(folder.path());
    assert!(recovered.size >= 200, "{what}");

    let after = child::limited(child::command(&[], TEST, folder.path(), "after"), 100);
    let said = run(after, &mut ledger);
    assert_eq!((said.0, said.1), (Some(0), 100), "it goes on after {what}");
    ledger.check_all(folder.path());
    noticed || code != Some(0)
}

/// The exit code, how many records were acknowledged, and whether it spoke of a fault.
fn run(mut command: Command, ledger: &mut Ledger) -> (Option<i32>, usize, bool) {
    let output = command.output().unwrap();
    let said = ledger.note(&String::from_utf8_lossy(&output.stdout));
    let quiet = said.failures.is_empty() && said.no_space.is_empty() && said.not_opened.is_empty();
    (output.status.code(), said.acknowledged, !quiet)
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
