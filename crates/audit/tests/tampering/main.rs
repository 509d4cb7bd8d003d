//! The tampering table: what somebody with access to the files can do to a log, case by case, and
//! that verifying finds each and names it. `UPDATE_GENERATED=1` writes the table to
//! `docs/reference/audit-tampering.md`.

#![cfg(test)]

mod cases;
mod forger;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidegate_audit::log::{Durability, Log, Options};
use tidegate_audit::tiles::Directory;
use tidegate_audit::verify::{Claim, Report, verify};
use tidegate_core::Clock;

use crate::cases::Case;
use crate::forger::{Forger, entry, key};

/// Five full bundles and a partial one, under one tile of the level above.
const SIZE: u64 = 1500;

#[test]
fn every_tampering_is_found_and_named() {
    let original = TempDir::new().unwrap();
    let log = written_by_tidegate(original.path());
    let untouched = examine(&log.path, &claim(&log));
    assert!(untouched.holds(), "{untouched:?}");

    let mut table: Vec<(&'static str, usize, Vec<&'static str>)> = Vec::new();
    let mut failures = String::new();
    let cases = cases::all();
    for case in &cases {
        let findings = run(case, &log);
        let named = findings.iter().find(|finding| (case.named)(finding));
        let Some(named) = named else {
            writeln!(failures, "{} ({}): {findings:?}", case.deed, case.place).unwrap();
            continue;
        };
        if !table.iter().any(|(deed, ..)| *deed == case.deed) {
            table.push((case.deed, 0, Vec::new()));
        }
        let row = table.iter_mut().find(|(deed, ..)| *deed == case.deed).unwrap();
        row.1 += 1;
        if !row.2.contains(&named.kind()) {
            row.2.push(named.kind());
        }
    }
    assert!(failures.is_empty(), "not found, or not named:\n{failures}");
    assert!(cases.len() >= 200, "{}", cases.len());
    check_page(&table, cases.len());
}

/// A log as a gateway leaves it that signed now and then and was stopped.
fn written_by_tidegate(folder: &Path) -> Forger {
    let (path, head) = (folder.join("log"), folder.join("head"));
    let options = Options::new(&path, &head);
    let (log, _recovered) = Log::open(options, &key(1), Clock::System).unwrap();
    let entries: Vec<_> = (0..SIZE).map(entry).collect();
    for (index, entry) in entries.iter().enumerate() {
        let ticket = log.append(entry.clone(), Durability::Grouped).unwrap();
        if index % 300 == 299 {
            assert_eq!(ticket.wait(), Ok(index as u64));
            log.checkpoint_now().unwrap().wait().unwrap();
        }
    }
    assert_eq!(log.close().unwrap().size, SIZE);
    assert_eq!(fs::read(&head).unwrap(), fs::read(path.join("checkpoint")).unwrap());
    Forger { path, entries }
}

fn run(case: &Case, original: &Forger) -> Vec<tidegate_audit::verify::Finding> {
    let copy = TempDir::new().unwrap();
    link_all(&original.path, copy.path());
    let mut log = Forger { path: copy.path().to_owned(), entries: original.entries.clone() };
    let mut claim = claim(original);
    let had_checkpoint = claim.checkpoint.is_some();
    (case.tamper)(&mut log, &mut claim);
    if had_checkpoint && claim.checkpoint.is_some() {
        claim.checkpoint = Some(log.checkpoint());
    }
    claim.minimum = fs::read(log.path.join("minimum")).ok();
    examine(&log.path, &claim).findings
}

/// The log with its head file as they are before anything is done.
fn claim(log: &Forger) -> Claim {
    let checkpoint = log.checkpoint();
    Claim { head: Some(Some(checkpoint.clone())), checkpoint: Some(checkpoint), ..Claim::default() }
}

fn examine(path: &Path, claim: &Claim) -> Report {
    let log = Directory::new(path);
    verify(&log, key(1).verifying_key(), claim, &mut |_, _| ())
}

fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_all(&entry.path(), &target);
        } else {
            fs::hard_link(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_pruned_log_and_a_range_of_a_large_one_verify() {
    let folder = TempDir::new().unwrap();
    let mut log = Forger { path: folder.path().to_owned(), entries: Vec::new() };
    log.rewrite((0..140_000).map(entry).collect(), &key(1));
    let mut claim = claim(&log);
    for range in [0..1, 65_535..65_537, 139_999..140_000, 70_000..70_000, 0..140_000] {
        claim.range = Some(range.clone());
        let report = examine(&log.path, &claim);
        assert!(report.holds(), "{range:?}: {report:?}");
    }
    // Two levels up: only the root tells that the tile of the second level was made to fit.
    log.change_bundle(70_000, |entries| entries[0] = b"{}".to_vec());
    log.refit(0, 70_000);
    log.refit(1, 70_000);
    let report = examine(&log.path, &claim);
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].kind(), "entries_replaced");
    claim.range = Some(0..60_000);
    log.rewrite((0..140_000).map(entry).collect(), &key(1));

    fs::write(log.path.join("minimum"), "70000\n").unwrap();
    claim.minimum = Some(b"70000\n".to_vec());
    claim.range = None;
    for path in pruned(&log) {
        fs::remove_file(path).unwrap();
    }
    let report = examine(&log.path, &claim);
    assert!(report.holds(), "{report:?}");
    assert_eq!(report.verified, 69_888..140_000);

    // What lies before cannot be compared, unless a later checkpoint can.
    let at = |size: usize| forger::sign(&log.entries[..size], &key(1)).to_string().into_bytes();
    claim.earlier = vec![at(1_000)];
    assert_eq!(examine(&log.path, &claim).findings[0].kind(), "incomparable");
    claim.earlier.push(at(100_000));
    assert!(examine(&log.path, &claim).holds());
}

#[test]
fn what_a_former_key_signed_counts_only_if_the_key_is_given() {
    let folder = TempDir::new().unwrap();
    let mut log = Forger { path: folder.path().to_owned(), entries: Vec::new() };
    log.rewrite((0..300).map(entry).collect(), &key(2));
    let mut before = claim(&log);
    log.rewrite((0..400).map(entry).collect(), &key(1));
    before.checkpoint = Some(log.checkpoint());
    let kinds: Vec<_> = examine(&log.path, &before).findings.iter().map(|f| f.kind()).collect();
    assert_eq!(kinds, ["checkpoint"]);
    before.former_keys = vec![key(2).verifying_key().clone()];
    assert!(examine(&log.path, &before).holds());
}

/// What a log pruned to 70,000 need not have.
fn pruned(log: &Forger) -> Vec<PathBuf> {
    use tidegate_audit::tile::{Kind, Tile};
    let kinds = [Kind::Entries, Kind::Hashes(0), Kind::Hashes(1)];
    let tiles = kinds.into_iter().flat_map(|kind| Tile::all_at(kind, log.size()));
    tiles.filter(|tile| tile.range().1 <= 70_000).map(|tile| log.file(tile)).collect()
}

fn check_page(table: &[(&'static str, usize, Vec<&'static str>)], cases: usize) {
    let mut page = format!(
        "# What verifying finds\n\nMade by `UPDATE_GENERATED=1 cargo test -p tidegate-audit --test \
         tampering`, which does all this to a log of {SIZE} entries and asks that each case is found \
         and named. What the words mean stands in [the guide](../guide/audit.md#what-verify-says).\n\n\
         | what was done | cases | named |\n|---|---|---|\n"
    );
    for (deed, count, kinds) in table {
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        writeln!(page, "| {deed} | {count} | {} |", kinds.join(", ")).unwrap();
    }
    writeln!(page, "| **all** | **{cases}** | |").unwrap();
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/audit-tampering.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "{} is stale; run with UPDATE_GENERATED=1", file.display());
}

#[test]
fn what_witnesses_signed_is_found_and_held_against_the_log() {
    use tidegate_audit::cosignature;
    use tidegate_audit::note::SigningKey;
    let folder = TempDir::new().unwrap();
    let mut log = Forger { path: folder.path().to_owned(), entries: Vec::new() };
    log.rewrite((0..300).map(entry).collect(), &key(1));
    let witness = SigningKey::for_cosignatures("witness.example", [8; 32]).unwrap();
    let cosigned = |entries: &[Vec<u8>], time| {
        let mut signed = forger::sign(entries, &key(1));
        let cosignature = cosignature::sign(&witness, signed.note().text(), time);
        signed.add(cosignature);
        signed.to_string().into_bytes()
    };
    let mut claim = claim(&log);
    claim.witnesses = vec![witness.verifying_key().clone()];
    assert_eq!(examine(&log.path, &claim).cosigned, []);
    claim.cosigned = vec![cosigned(&log.entries[..100], 7), cosigned(&log.entries[..200], 8)];
    let report = examine(&log.path, &claim);
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.cosigned[0].size, report.cosigned[0].time), (200, 8));

    claim.cosigned = vec![cosigned(&log.entries[100..], 9)];
    assert_eq!(examine(&log.path, &claim).findings[0].kind(), "forked");
}
