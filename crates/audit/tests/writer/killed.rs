//! Killed at random moments under load, again and again, on one log.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::child;
use super::ledger::Ledger;

const TEST: &str = "killed::nothing_acknowledged_is_lost_when_the_process_is_killed";

/// How often, and how often with `TIDEGATE_AUDIT_THOROUGH` set.
const ROUNDS: u64 = 20;
const THOROUGH: u64 = 250;

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    child::run_if_child();
    let folder = TempDir::new().unwrap();
    let mut ledger = Ledger::default();
    let mut replayed = 0;
    let rounds = env::var_os("TIDEGATE_AUDIT_THOROUGH").map_or(ROUNDS, |_set| THOROUGH);
    for round in 0..rounds {
        let mut command = child::command(&[], TEST, folder.path(), &round.to_string());
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("R\n") {
            assert!(output.read_line(&mut text).unwrap() > 0, "it did not begin: {text}");
        }
        // Up to 120 ms: eight intervals between checkpoints, many groups, some segments.
        let moment = Duration::from_micros(round * 7_919 % 120_000);
        let reading = thread::spawn(move || {
            output.read_to_string(&mut text).unwrap();
            text
        });
        thread::sleep(moment);
        process.kill().unwrap();
        process.wait().unwrap();
        ledger.note(&reading.join().unwrap());
        replayed += ledger.check(folder.path()).replayed;
    }
    ledger.check_all(folder.path());
    let (acknowledged, signed) = ledger.count();
    assert!(replayed > 0, "no crash found records without a checkpoint");
    eprintln!(
        "{rounds} kills: {acknowledged} records acknowledged, {signed} checkpoints, {replayed} \
         records replayed, none lost"
    );
}
