//! The process that writes: it says on its standard output what was acknowledged and signed.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tidegate_audit::log::{Durability, Log, Lost, Notice, Observer, Options, Refused};
use tidegate_audit::note::SigningKey;
use tidegate_core::Clock;

/// The directory for log and head file; that it is set makes a process the child.
const FOLDER: &str = "TIDEGATE_AUDIT_CHILD";
/// How many records it appends; without it, until it is killed.
const RECORDS: &str = "TIDEGATE_AUDIT_CHILD_RECORDS";
/// What makes the records of this process different from those of others.
const ROUND: &str = "TIDEGATE_AUDIT_CHILD_ROUND";

const WRITERS: u64 = 4;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed("crash.example.com/audit", [5; 32]).unwrap()
}

/// Short segments and frequent checkpoints, so that little time is spent without any of them.
pub(crate) fn options(folder: &Path) -> Options {
    Options {
        checkpoint_every: Duration::from_millis(15),
        segment: 32 << 10,
        ..Options::new(folder.join("log"), folder.join("apart/head"))
    }
}

/// The record number `n` of a writer: nobody else writes it.
pub(crate) fn record(round: &str, writer: u64, n: u64) -> String {
    let filler = usize::try_from((n * 131 + writer * 17) % 400).unwrap();
    format!("{round}.{writer}.{n}.{}", "x".repeat(filler))
}

/// What starts the child for a test of this binary, behind `wrapper` (a program and its
/// arguments) when there is one.
pub(crate) fn command(wrapper: &[String], test: &str, folder: &Path, round: &str) -> Command {
    let this = env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
        None => Command::new(this),
    };
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(ROUND, round);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Lets the child end by itself.
pub(crate) fn limited(mut command: Command, records: u64) -> Command {
    command.env(RECORDS, records.to_string());
    command
}

/// In the child this does the work and ends the process; elsewhere it returns.
pub(crate) fn run_if_child() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let text = |name| env::var_os(name).map(|value| value.into_string().unwrap());
    let records = text(RECORDS).map_or(u64::MAX, |records| records.parse().unwrap());
    let round = text(ROUND).unwrap_or_default();
    process::exit(if write(&folder, &round, records / WRITERS) { 0 } else { 3 });
}

/// Whether all went well.
fn write(folder: &Path, round: &str, each: u64) -> bool {
    let observer = Observer(Arc::new(|notice: &Notice| match notice {
        Notice::Checkpoint(published) => {
            say(&format!("S {} {}", published.size, published.root));
        }
        Notice::Failed(why) => say(&format!("F {why}")),
        Notice::NoSpace(why) => say(&format!("N {why}")),
        Notice::Pruned(_) => {}
    }));
    let options = Options { observers: vec![observer], ..options(folder) };
    let log = match Log::open(options, &key(), Clock::System) {
        Ok((log, _recovered)) => log,
        Err(error) => {
            say(&format!("O {error}"));
            return false;
        }
    };
    say("R");
    let good = AtomicBool::new(true);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (log, good) = (&log, &good);
            scope.spawn(move || {
                if !append_all(log, round, writer, each) {
                    good.store(false, Ordering::Relaxed);
                }
            });
        }
    });
    log.close().is_ok() && good.load(Ordering::Relaxed)
}

fn append_all(log: &Log, round: &str, writer: u64, each: u64) -> bool {
    for n in 0..each {
        let record = record(round, writer, n);
        match log.append(record.clone().into_bytes(), Durability::BeforeResponse) {
            Ok(ticket) => match ticket.wait() {
                Ok(index) => say(&format!("A {index} {record}")),
                Err(Lost::NoSpace(_)) => thread::sleep(Duration::from_millis(20)),
                Err(Lost::Failed(_)) => return false,
            },
            Err(Refused::NoSpace(_) | Refused::Full) => thread::sleep(Duration::from_millis(20)),
            Err(_stopped) => return false,
        }
    }
    true
}

/// A whole line in one write: below the size of a pipe's atomic writes.
pub(crate) fn say(line: &str) {
    if io::stdout().lock().write_all(format!("\n{line}\n").as_bytes()).is_err() {
        process::exit(4);
    }
}
