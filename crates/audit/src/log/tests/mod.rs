//! Tests of the log on the machine's own file system: what appenders see, and what stands on the
//! disk afterwards.

mod crashes;
mod cuts;
mod sim;
mod stalled;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::bundle;
use crate::checkpoint::Signed;
use crate::hash::Hash;
use crate::tile::{Kind, Tile};
use crate::tree::{Frontier, root_of};

fn key() -> SigningKey {
    SigningKey::from_seed("edge-1.example.com/audit", [7; 32]).unwrap()
}

fn options(folder: &TempDir) -> Options {
    Options::new(folder.path().join("log"), folder.path().join("apart/head"))
}

fn open(options: Options) -> (Log, Recovered) {
    Log::open(options, &key(), Clock::System).unwrap()
}

/// A record that can be recognised.
fn record(n: u64) -> Vec<u8> {
    let mut record = format!("record {n} ").into_bytes();
    record.resize(record.len() + usize::try_from(n % 400).unwrap(), b'.');
    record
}

/// Appends records `from..to` and waits until all are durable.
fn append(log: &Log, from: u64, to: u64) {
    let tickets: Vec<_> =
        (from..to).map(|n| log.append(record(n), Durability::Grouped).unwrap()).collect();
    for (n, ticket) in (from..).zip(tickets) {
        assert_eq!(ticket.wait(), Ok(n));
    }
}

/// Reads a log as others do, from `minimum` on: checkpoint, bundles and tiles agree.
fn read_back(path: &Path) -> Vec<Vec<u8>> {
    let checkpoint = fs::read(path.join("checkpoint")).unwrap();
    let signed = Signed::open(&checkpoint, key().verifying_key()).unwrap();
    let size = signed.checkpoint().size;
    let mut tree = Frontier::new();
    let mut records = Vec::new();
    for tile in Tile::all_at(Kind::Entries, size) {
        let bytes = fs::read(path.join(tile.path())).unwrap();
        let entries = bundle::entries(&bytes, usize::from(tile.width)).unwrap();
        let leaves: Vec<_> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        records.extend(entries.into_iter().map(<[u8]>::to_vec));
        let hashes = Tile { kind: Kind::Hashes(0), ..tile };
        let stored = fs::read(path.join(hashes.path())).unwrap();
        assert_eq!(stored, leaves.iter().flat_map(|l| *l.as_bytes()).collect::<Vec<_>>());
        if tile.is_full() {
            let above = Tile::in_tree(Kind::Hashes(1), tile.index / 256, size).unwrap();
            let above = fs::read(path.join(above.path())).unwrap();
            let place = usize::try_from(tile.index % 256).unwrap() * 32;
            assert_eq!(above[place..place + 32], *root_of(&leaves).as_bytes());
        }
    }
    assert_eq!(tree.root(), signed.checkpoint().root);
    records
}

#[track_caller]
fn refused(folder: &TempDir, key: &SigningKey) -> OpenError {
    Log::open(options(folder), key, Clock::System).map(|(_log, recovered)| recovered).unwrap_err()
}

#[test]
fn what_was_appended_is_there_in_order_and_signed_at_the_end() {
    let folder = TempDir::new().unwrap();
    let (log, recovered) = open(options(&folder));
    assert!(recovered.fresh);
    assert_eq!(log.latest().size, 0);
    append(&log, 0, 1000);
    let published = log.close().unwrap();
    assert_eq!(published.size, 1000);
    assert!(matches!(log.append(Vec::new(), Durability::No), Err(Refused::Closed)));
    let records = read_back(log.path());
    assert_eq!(records, (0..1000).map(record).collect::<Vec<_>>());
    drop(log);

    let (log, recovered) = open(options(&folder));
    assert_eq!((recovered.fresh, recovered.size, recovered.replayed), (false, 1000, 0));
    append(&log, 1000, 70_000);
    log.close().unwrap();
    assert_eq!(read_back(log.path()).len(), 70_000);
    let stats = log.stats();
    assert_eq!((stats.size, stats.records, stats.lag()), (70_000, 69_000, 0));
    assert_eq!(stats.commit_latency.count, 69_000);
    assert_eq!((stats.pending_records, stats.pending_bytes), (0, 0));
}

#[test]
fn partial_tiles_go_when_the_full_ones_are_there() {
    let folder = TempDir::new().unwrap();
    let (log, _new) = open(options(&folder));
    for n in 0..300 {
        append(&log, n, n + 1);
        assert_eq!(log.checkpoint_now().unwrap().wait(), Ok(n + 1));
    }
    let there = |path: &str| log.path().join(path).exists();
    assert!(there("tile/entries/000") && !there("tile/entries/000.p"));
    assert!(there("tile/0/000") && !there("tile/0/000.p"));
    assert!(there("tile/0/001.p/1") && there("tile/0/001.p/44") && there("tile/1/000.p/1"));
}

#[test]
fn a_log_has_one_writer() {
    let folder = TempDir::new().unwrap();
    let (log, _new) = open(options(&folder));
    assert!(matches!(refused(&folder, &key()), OpenError::Locked(_)));
    let elsewhere = Options { path: folder.path().join("other"), ..options(&folder) };
    let same_head = Log::open(elsewhere, &key(), Clock::System).unwrap_err();
    assert!(matches!(same_head, OpenError::Locked(_)), "{same_head}");
    drop(log);
    open(options(&folder));
}

/// Without a process of its own: between fork and exec that would have the locks of other tests.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_restored_backup_is_refused_and_goes_on_only_under_a_new_origin() {
    let folder = TempDir::new().unwrap();
    let (log, _new) = open(options(&folder));
    append(&log, 0, 300);
    log.close().unwrap();
    drop(log);
    let backup = folder.path().join("backup");
    copy(&folder.path().join("log"), &backup);
    let (log, _more) = open(options(&folder));
    append(&log, 300, 400);
    log.close().unwrap();
    drop(log);
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let gone = refused(&folder, &key());
    assert!(matches!(gone, OpenError::RolledBack { found: 0, signed: 400, .. }), "{gone}");
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    fs::rename(&backup, folder.path().join("log")).unwrap();

    let error = refused(&folder, &key());
    assert!(matches!(error, OpenError::RolledBack { found: 300, signed: 400, .. }), "{error}");
    let successor = SigningKey::from_seed("edge-1.example.com/audit-2", [8; 32]).unwrap();
    let error = refused(&folder, &successor);
    assert!(matches!(error, OpenError::OtherOrigin { .. }), "{error}");

    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let record = Box::new(move |predecessor: &Predecessor| {
        *tell.lock() = Some(predecessor.clone());
        b"goes on".to_vec()
    });
    let options = || Options { succession: None, ..options(&folder) };
    let with = Options { succession: Some(Succession { record }), ..options() };
    let (log, recovered) = Log::open(with, &successor, Clock::System).unwrap();
    assert_eq!((recovered.size, log.latest().size), (301, 301));
    let predecessor = told.lock().take().unwrap();
    assert_eq!((predecessor.size, predecessor.damage.as_deref()), (300, None));
    assert!(predecessor.head.as_ref().unwrap().contains("\n400\n"));
    assert_eq!(recovered.predecessor, Some(predecessor));
    drop(log);
    let (log, recovered) = Log::open(options(), &successor, Clock::System).unwrap();
    assert_eq!((recovered.size, recovered.predecessor), (301, None));
    drop(log);
    assert!(matches!(refused(&folder, &key()), OpenError::OtherOrigin { .. }));
}

#[test]
fn a_log_whose_head_is_missing_forged_or_ahead_is_refused() {
    let folder = TempDir::new().unwrap();
    let (log, _new) = open(options(&folder));
    append(&log, 0, 300);
    log.close().unwrap();
    drop(log);
    let head = folder.path().join("apart/head");
    let kept = fs::read_to_string(&head).unwrap();
    fs::remove_file(&head).unwrap();
    let error = refused(&folder, &key());
    assert!(matches!(error, OpenError::HeadMissing { .. }), "{error}");
    fs::write(&head, kept.replace("\n300\n", "\n299\n")).unwrap();
    assert!(matches!(refused(&folder, &key()), OpenError::OtherKey { .. }));
    let forked = crate::checkpoint::Checkpoint {
        origin: key().name().to_owned(),
        size: 299,
        root: Hash::of_leaf(b"another history"),
    };
    fs::write(&head, forked.sign(&key()).unwrap().to_string()).unwrap();
    let error = refused(&folder, &key());
    assert!(matches!(error, OpenError::Forked { size: 299, .. }), "{error}");
    let other = SigningKey::from_seed(key().name(), [9; 32]).unwrap();
    assert!(matches!(refused(&folder, &other), OpenError::OtherKey { .. }));
    fs::write(&head, kept).unwrap();
    let rotated = Options { earlier_keys: vec![key().verifying_key().clone()], ..options(&folder) };
    let (log, recovered) = Log::open(rotated, &other, Clock::System).unwrap();
    assert_eq!(recovered.size, 300);
    drop(log);
}

#[test]
fn damage_is_an_error_and_not_a_shorter_log() {
    let folder = TempDir::new().unwrap();
    let (log, _new) = open(options(&folder));
    append(&log, 0, 300);
    log.close().unwrap();
    drop(log);
    let tile = folder.path().join("log/tile/0/001.p/44");
    let good = fs::read(&tile).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(&tile, &bad).unwrap();
    let error = refused(&folder, &key());
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    fs::write(&tile, &good[..50]).unwrap();
    assert!(matches!(refused(&folder, &key()), OpenError::Damaged(_)));
    fs::write(&tile, &good).unwrap();
    let wal = folder.path().join("log/wal");
    let kept = folder.path().join("wal");
    fs::rename(&wal, &kept).unwrap();
    let error = refused(&folder, &key());
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    fs::remove_dir_all(&wal).unwrap();
    fs::rename(&kept, &wal).unwrap();
    open(options(&folder));
}

#[test]
fn what_is_beyond_the_limits_is_removed_and_the_minimum_stated() {
    let folder = TempDir::new().unwrap();
    let pruned = Arc::new(Mutex::new(0));
    let tell = Arc::clone(&pruned);
    let observer = Observer(Arc::new(move |notice: &Notice| {
        if let Notice::Pruned(minimum) = notice {
            *tell.lock() = *minimum;
        }
    }));
    let limited = || Options {
        retention: Retention { max_age: None, max_size: Some(1 << 20) },
        observers: vec![observer.clone()],
        ..options(&folder)
    };
    let (log, _new) = open(options(&folder));
    append(&log, 0, 70_000);
    log.close().unwrap();
    drop(log);
    let (log, _recovered) = open(limited());
    log.checkpoint_now().unwrap().wait().unwrap();
    let minimum = *pruned.lock();
    assert!(minimum > 65_536 && minimum.is_multiple_of(256), "{minimum}");
    assert_eq!(log.stats().minimum, minimum);
    assert_eq!(fs::read_to_string(log.path().join("minimum")).unwrap(), format!("{minimum}\n"));
    let there = |kind, index| log.path().join(Tile { kind, index, width: 256 }.path()).exists();
    let first = minimum / 256;
    for kind in [Kind::Entries, Kind::Hashes(0)] {
        assert!(there(kind, first) && !there(kind, first - 1) && !there(kind, 0));
    }
    assert!(!there(Kind::Hashes(1), 0));
    append(&log, 70_000, 71_000);
    log.close().unwrap();
    drop(log);
    // What a crash left below the minimum goes at the next start.
    let left = folder
        .path()
        .join("log")
        .join(Tile { kind: Kind::Entries, index: first - 1, width: 256 }.path());
    fs::write(&left, b"left").unwrap();
    let (log, recovered) = open(limited());
    assert_eq!((recovered.size, log.stats().minimum >= minimum), (71_000, true));
    assert!(!left.exists());
}

#[test]
fn too_long_records_are_refused() {
    let folder = TempDir::new().unwrap();
    let (log, _new) = open(options(&folder));
    let longest = log.append(vec![1; bundle::MAX_ENTRY], Durability::BeforeResponse).unwrap();
    assert_eq!(longest.wait(), Ok(0));
    let error = log.append(vec![1; bundle::MAX_ENTRY + 1], Durability::No).unwrap_err();
    assert_eq!(error, Refused::TooLarge(65_536));
    assert_eq!(log.stats().refused, 1);
}
