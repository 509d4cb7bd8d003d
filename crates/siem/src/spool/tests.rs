//! The spool against crashes, damage and its bound.

use std::time::SystemTime;

use bytes::Bytes;
use tidegate_core::notice::Severity;

use super::*;
use crate::record::{Key, REQUEST};

const ALL: BatchLimits = BatchLimits { records: 1_000_000, bytes: 1 << 30 };

fn record(origin: u64, sequence: u64) -> Record {
    Record {
        key: Key { origin, sequence },
        time: SystemTime::UNIX_EPOCH,
        severity: Severity::Low,
        kind: REQUEST,
        body: Bytes::from(format!("record {sequence} {}", "x".repeat(100))),
    }
}

fn open(root: &Path, origin: u64) -> Spool {
    Spool::open(root, 1 << 20, origin, Clock::System).unwrap()
}

fn append(spool: &Spool, origin: u64, sequences: std::ops::RangeInclusive<u64>) {
    let records: Vec<_> = sequences.map(|sequence| record(origin, sequence)).collect();
    spool.append(&records).unwrap();
}

/// Reads everything there is, and takes it as sent.
fn drain(spool: &Spool, limits: BatchLimits) -> Vec<(u64, u64)> {
    let mut keys = Vec::new();
    while let Some(batch) = spool.peek(limits).unwrap() {
        keys.extend(batch.records.iter().map(|record| (record.key.origin, record.key.sequence)));
        spool.done(&batch).unwrap();
    }
    keys
}

fn keys(origin: u64, sequences: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
    sequences.map(|sequence| (origin, sequence)).collect()
}

fn files(root: &Path, ending: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = folders
        .flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}

#[test]
fn records_stay_until_they_are_done() {
    let root = tempfile::tempdir().unwrap();
    let spool = open(root.path(), 1);
    append(&spool, 1, 1..=10);
    let three = BatchLimits { records: 3, bytes: 1 << 20 };
    let sequences = |batch: Batch| batch.records.iter().map(|r| r.key.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(spool.peek(three).unwrap().unwrap()), [1, 2, 3]);
    let again = spool.peek(three).unwrap().unwrap();
    spool.done(&again).unwrap();
    assert_eq!(sequences(spool.peek(three).unwrap().unwrap()), [4, 5, 6]);
    append(&spool, 1, 11..=12);
    assert_eq!(drain(&spool, three), keys(1, 4..=12));
    assert!(spool.peek(ALL).unwrap().is_none());
}

#[test]
fn what_a_crash_left_is_sent_first_and_its_folder_removed() {
    let root = tempfile::tempdir().unwrap();
    let crashed = open(root.path(), 1);
    append(&crashed, 1, 1..=5);
    let two = crashed.peek(BatchLimits { records: 2, bytes: 1 << 20 }).unwrap().unwrap();
    crashed.done(&two).unwrap();
    drop((two, crashed));
    let spool = open(root.path(), 2);
    append(&spool, 2, 1..=3);
    let expected = [keys(1, 3..=5), keys(2, 1..=3)].concat();
    assert_eq!(drain(&spool, ALL), expected);
    assert!(!root.path().join(format!("{:016x}", 1)).exists());
    spool.leave();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_living_predecessor_keeps_what_is_its_own() {
    let root = tempfile::tempdir().unwrap();
    let before = open(root.path(), 1);
    append(&before, 1, 1..=5);
    let after = open(root.path(), 2);
    assert!(after.peek(ALL).unwrap().is_none());
    drop(before);
    assert!(after.adopt().unwrap());
    assert_eq!(drain(&after, ALL), keys(1, 1..=5));
}

#[test]
fn half_a_record_at_the_end_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let crashed = open(root.path(), 1);
    append(&crashed, 1, 1..=5);
    drop(crashed);
    let segment = files(root.path(), ".seg").remove(0);
    let len = fs::metadata(&segment).unwrap().len();
    for cut in [1, 60, 130] {
        OpenOptions::new().write(true).open(&segment).unwrap().set_len(len - cut).unwrap();
        let folder = Folder::lock(segment.parent().unwrap().to_owned()).unwrap().unwrap();
        let peeked = folder.peek(ALL).unwrap();
        assert_eq!((peeked.records.len(), peeked.damaged), (4, 0), "{cut}");
    }
}

#[test]
fn a_damaged_record_costs_no_other() {
    let root = tempfile::tempdir().unwrap();
    let crashed = open(root.path(), 1);
    append(&crashed, 1, 1..=5);
    drop(crashed);
    let segment = files(root.path(), ".seg").remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    fs::write(&segment, bytes).unwrap();
    let spool = open(root.path(), 2);
    let batch = spool.peek(ALL).unwrap().unwrap();
    assert_eq!((batch.records.len(), batch.damaged), (4, 1));
}

#[test]
fn a_lost_length_costs_one_segment() {
    let root = tempfile::tempdir().unwrap();
    let crashed = Spool::open(root.path(), 64 << 10, 1, Clock::System).unwrap();
    // An eighth of the spool is a segment.
    for sequence in 1..=100 {
        append(&crashed, 1, sequence..=sequence);
    }
    drop(crashed);
    let segments = files(root.path(), ".seg");
    assert!(segments.len() > 1, "{segments:?}");
    let mut bytes = fs::read(&segments[0]).unwrap();
    bytes[..4].fill(0xff);
    fs::write(&segments[0], bytes).unwrap();
    let spool = open(root.path(), 2);
    let kept = drain(&spool, ALL);
    assert!(!kept.is_empty() && kept.len() < 100, "{}", kept.len());
    assert_eq!(kept.last(), Some(&(1, 100)));
}

#[test]
fn a_full_spool_refuses_and_has_room_again_when_segments_are_sent() {
    let root = tempfile::tempdir().unwrap();
    let spool = Spool::open(root.path(), 64 << 10, 1, Clock::System).unwrap();
    let mut taken = 0;
    while spool.append(&[record(1, taken + 1)]).is_ok() {
        taken += 1;
    }
    let on_disk = || files(root.path(), ".seg").iter().map(|f| f.metadata().unwrap().len()).sum();
    let full: u64 = on_disk();
    assert!(full <= 64 << 10 && taken > 300, "{full} {taken}");
    assert_eq!(drain(&spool, ALL).len() as u64, taken);
    assert!(on_disk() < full / 4, "{}", on_disk());
    spool.append(&[record(1, taken + 1)]).unwrap();
    assert_eq!(drain(&spool, ALL), [(1, taken + 1)]);
}

#[test]
fn a_lost_cursor_sends_again_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let crashed = open(root.path(), 1);
    append(&crashed, 1, 1..=5);
    let two = crashed.peek(BatchLimits { records: 2, bytes: 1 << 20 }).unwrap().unwrap();
    crashed.done(&two).unwrap();
    drop((two, crashed));
    fs::write(&files(root.path(), "cursor")[0], "nonsense").unwrap();
    assert_eq!(drain(&open(root.path(), 2), ALL), keys(1, 1..=5));
}

#[test]
fn the_smallest_spool_never_wedges() {
    let root = tempfile::tempdir().unwrap();
    let spool = Spool::open(root.path(), 1 << 20, 1, Clock::System).unwrap();
    let mut next = 1;
    for _round in 0..10 {
        while spool.append(&[record(1, next)]).is_ok() {
            next += 1;
        }
        assert!(!drain(&spool, ALL).is_empty(), "at {next}");
    }
    assert!(next > 10 * 5000, "{next}");
}
