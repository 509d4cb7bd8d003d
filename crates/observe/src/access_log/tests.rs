//! The log as a whole: what reaches the file, and what happens when it cannot.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tidegate_core::Reason;
use tidegate_core::units::Percent;

use super::*;
use crate::fixture::event;

fn settings(path: &Path) -> AccessLogSettings {
    let path = path.to_str().unwrap().to_owned();
    AccessLogSettings::On(AccessLogTarget { path, ..AccessLogTarget::default() })
}

fn start(path: &Path) -> AccessLog {
    AccessLog::start(&settings(path), Arc::default()).unwrap()
}

fn log_ids(log: &AccessLog, ids: std::ops::Range<u32>) {
    for id in ids {
        log.log(&Event { request_id: &id.to_string(), ..event() });
    }
}

/// The request ids in a file; each line must be JSON.
fn ids(path: &Path) -> Vec<u32> {
    let text = fs::read_to_string(path).unwrap();
    let id = |line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["request_id"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(id).collect()
}

#[test]
fn lines_are_in_the_file_after_a_flush_and_after_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = start(&path);
    log_ids(&log, 0..10);
    log.flush();
    assert_eq!(ids(&path), (0..10).collect::<Vec<_>>());
    log_ids(&log, 10..20);
    drop(log);
    assert_eq!(ids(&path), (0..20).collect::<Vec<_>>());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0, "not for everybody");
}

#[test]
fn lines_are_written_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = start(&path);
    for round in 0..3 {
        log_ids(&log, round..round + 1);
        let wanted = usize::try_from(round).unwrap() + 1;
        let written = (0..2_000).any(|_| {
            std::thread::park_timeout(Duration::from_millis(5));
            ids(&path).len() == wanted
        });
        assert!(written, "line {round} stayed in the buffer");
    }
}

#[test]
fn a_renamed_file_keeps_its_lines_and_a_new_one_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let log = start(&path);
    log_ids(&log, 0..5);
    fs::rename(&path, &rotated).unwrap();
    log.reopen();
    log.flush();
    log_ids(&log, 5..9);
    log.flush();
    assert_eq!(ids(&rotated), (0..5).collect::<Vec<_>>());
    assert_eq!(ids(&path), (5..9).collect::<Vec<_>>());
}

#[test]
fn a_file_that_cannot_be_reopened_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("logs");
    fs::create_dir(&inner).unwrap();
    let log = start(&inner.join("access.log"));
    let moved = dir.path().join("moved");
    fs::rename(&inner, &moved).unwrap();
    log.reopen();
    log_ids(&log, 0..3);
    log.flush();
    assert_eq!(ids(&moved.join("access.log")), [0, 1, 2]);
}

#[test]
fn a_reload_changes_the_target_only_when_it_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.log"), dir.path().join("new.log"));
    let log = start(&old);
    log_ids(&log, 0..2);
    let staged = AccessLog::stage(&settings(&new)).unwrap();
    log_ids(&log, 2..4);
    log.apply(staged);
    log.flush();
    log_ids(&log, 4..6);
    log.flush();
    assert_eq!((ids(&old), ids(&new)), (vec![0, 1, 2, 3], vec![4, 5]));
    log.apply(AccessLog::stage(&AccessLogSettings::Off).unwrap());
    log_ids(&log, 6..8);
    log.flush();
    assert_eq!(ids(&new), [4, 5]);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = AccessLog::stage(&settings(&dir.path().join("no/such/access.log"))).unwrap_err();
    assert!(error.to_string().ends_with("no/such/access.log` cannot be opened"), "{error}");
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    let log = start(Path::new("/dev/full"));
    log_ids(&log, 0..10);
    log.flush();
    let stats = &log.shared.stats;
    assert_eq!((stats.lines(), stats.dropped(), stats.write_errors()), (10, 10, 1));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    log.apply(AccessLog::stage(&settings(&path)).unwrap());
    log.flush();
    log_ids(&log, 10..12);
    log.flush();
    assert_eq!(ids(&path), [10, 11], "the next target works");
}

fn start_stream(stream: fs::File) -> AccessLog {
    let staged = StagedAccessLog { sink: Sink::Stream(stream), sample: ALL };
    AccessLog::start_staged(staged, Arc::default()).unwrap()
}

#[test]
fn a_reader_that_went_away_is_no_catastrophe() {
    let (reader, writer) = io::pipe().unwrap();
    let log = start_stream(std::os::fd::OwnedFd::from(writer).into());
    drop(reader);
    log_ids(&log, 0..3);
    log.flush();
    assert_eq!((log.shared.stats.dropped(), log.shared.stats.write_errors()), (3, 1));
}

/// A socket that does not block takes part of a batch and then refuses: like a disk that fills up.
#[test]
fn a_torn_line_does_not_spoil_the_next_one() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    reader.set_nonblocking(true).unwrap();
    let log = start_stream(std::os::fd::OwnedFd::from(writer).into());
    let stats = Arc::clone(&log.shared.stats);
    let mut logged = 0;
    // Twice, so that the newline that would mend the line cannot be written either.
    while stats.write_errors() < 2 {
        assert!(logged < 100_000);
        log_ids(&log, logged..logged + 100);
        logged += 100;
        log.flush();
    }
    let mut text = Vec::new();
    let full = reader.read_to_end(&mut text).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    log_ids(&log, logged..logged + 1);
    drop(log);
    reader.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let whole = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert_eq!(text.lines().filter(|line| !whole(line)).count(), 1, "one line is torn");
    assert!(text.lines().last().is_some_and(|line| line.contains(&format!("\"{logged}\""))));
    let written = u64::try_from(text.lines().filter(whole).count()).unwrap();
    assert_eq!(written + stats.dropped(), stats.lines());
}

/// A pipe that nobody reads blocks the writer: what requests see must not change.
#[test]
fn a_stuck_writer_fills_a_bounded_buffer_and_blocks_nobody() {
    let (mut reader, writer) = io::pipe().unwrap();
    let log = start_stream(std::os::fd::OwnedFd::from(writer).into());
    let rounds = u32::try_from(2 * MAX_BUFFER / 400).unwrap();
    let mut logged = 0;
    while log.shared.stats.dropped() == 0 {
        assert!(logged < 10 * rounds, "the buffer is not bounded");
        log_ids(&log, logged..logged + 100);
        logged += 100;
    }
    let buffered: usize = log.shared.shards.iter().map(|shard| shard.lock().buffer.len()).sum();
    assert!(buffered <= MAX_BUFFER + 4_096, "{buffered}");
    let stats = Arc::clone(&log.shared.stats);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count() as u64
    });
    drop(log);
    assert_eq!(reading.join().unwrap(), stats.lines(), "what was taken is written");
    assert_eq!(stats.lines() + stats.dropped(), u64::from(logged));
}

#[test]
fn a_sampled_log_has_its_share_and_all_that_went_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let target = AccessLogTarget {
        path: path.to_str().unwrap().to_owned(),
        sample: Percent::new(5),
        ..AccessLogTarget::default()
    };
    let log = AccessLog::start(&AccessLogSettings::On(target), Arc::default()).unwrap();
    log_ids(&log, 0..1_000);
    log.flush();
    assert_eq!(ids(&path).len(), 50);
    log.log(&Event { request_id: "1", status: 500, ..event() });
    log.log(&Event { request_id: "2", reason: Some(Reason::RateLimited), ..event() });
    log.flush();
    assert_eq!(ids(&path).len(), 52);
}

#[test]
fn threads_do_not_tear_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = start(&path);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || log_ids(log, thread * 500..(thread + 1) * 500));
        }
    });
    drop(log);
    let mut ids = ids(&path);
    ids.sort_unstable();
    assert_eq!(ids, (0..4_000).collect::<Vec<_>>());
}
