//! Disks that stall, fail or have no room while the log's threads run: what appenders are told,
//! and how much is held in memory.

use std::any::Any;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use parking_lot::Condvar;

use super::super::disk::Growing;
use super::*;

/// The machine's disk, with a hand on what is written.
#[derive(Debug)]
struct Held {
    machine: Machine,
    state: Arc<Grip>,
}

#[derive(Debug, Default)]
struct Grip {
    mode: Mutex<Mode>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Free,
    /// Syncs do not return.
    Stalled,
    /// Syncs fail.
    Failing,
    /// Only the write-ahead log has room.
    NoRoomForTiles,
}

impl Grip {
    fn set(&self, mode: Mode) {
        *self.mode.lock() = mode;
        self.changed.notify_all();
    }

    fn sync(&self) -> io::Result<()> {
        let mut mode = self.mode.lock();
        while *mode == Mode::Stalled {
            self.changed.wait(&mut mode);
        }
        if *mode == Mode::Failing { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct File {
    inner: Box<dyn Growing>,
    state: Arc<Grip>,
    tile: bool,
}

impl Growing for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.tile && *self.state.mode.lock() == Mode::NoRoomForTiles {
            return Err(ErrorKind::StorageFull.into());
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.state.sync()?;
        self.inner.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }
}

impl Disk for Held {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Growing>> {
        let tile = path.extension().is_none();
        let inner = self.machine.create(path)?;
        Ok(Box::new(File { inner, state: Arc::clone(&self.state), tile }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.machine.read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.machine.list(dir)
    }

    fn facts(&self, path: &Path) -> io::Result<(u64, SystemTime)> {
        self.machine.facts(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.machine.make_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.machine.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.machine.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state.sync()?;
        self.machine.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.machine.lock(path)
    }
}

const ROOM: usize = 1 << 20;

/// Checkpoints come when they are asked for.
const HOUR: Duration = Duration::from_secs(3600);

fn held(folder: &TempDir, observers: Vec<Observer>) -> (Log, Arc<Grip>) {
    let state = Arc::<Grip>::default();
    let disk: Arc<dyn Disk> = Arc::new(Held { machine: Machine, state: Arc::clone(&state) });
    let options =
        Options { max_pending: ROOM, checkpoint_every: HOUR, observers, ..options(folder) };
    let (log, _new) = Log::open_on(&disk, options, &key(), Clock::System).unwrap();
    (log, state)
}

/// Appends until no more is taken.
fn append_until_full(log: &Log) -> (Vec<Ticket>, Refused) {
    let mut tickets = Vec::new();
    loop {
        match log.append(vec![b'x'; 1000], Durability::BeforeResponse) {
            Ok(ticket) => tickets.push(ticket),
            Err(refused) => return (tickets, refused),
        }
    }
}

#[track_caller]
fn eventually(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 10 s: {what}");
}

#[test]
fn while_the_disk_stalls_so_much_is_held_and_the_rest_refused() {
    let folder = TempDir::new().unwrap();
    let (log, state) = held(&folder, Vec::new());
    state.set(Mode::Stalled);
    let (tickets, refused) = append_until_full(&log);
    assert_eq!(refused, Refused::Full);
    // Each counts as its bytes and 64 more.
    assert_eq!(tickets.len(), ROOM / 1064);
    let stats = log.stats();
    assert_eq!(stats.pending_bytes, u64::try_from(tickets.len() * 1064).unwrap());
    assert_eq!((stats.records, stats.refused, stats.size), (0, 1, 0));
    state.set(Mode::Free);
    let count = u64::try_from(tickets.len()).unwrap();
    for (n, ticket) in (0..).zip(tickets) {
        assert_eq!(ticket.wait(), Ok(n), "what was taken is written after the stall");
    }
    eventually("room again", || log.stats().pending_bytes == 0);
    assert_eq!(
        log.append(b"after".to_vec(), Durability::BeforeResponse).unwrap().wait(),
        Ok(count)
    );
}

#[test]
fn a_failed_sync_stops_the_log_and_a_new_start_finds_what_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let observer = Observer(Arc::new(move |notice: &Notice| {
        if let Notice::Failed(why) = notice {
            tell.lock().push(why.to_string());
        }
    }));
    let (log, state) = held(&folder, vec![observer]);
    append(&log, 0, 300);
    state.set(Mode::Failing);
    let lost = log.append(record(300), Durability::BeforeResponse).unwrap().wait().unwrap_err();
    let Lost::Failed(why) = &lost else { panic!("{lost}") };
    assert!(why.contains(".wal") && why.contains("Input/output error"), "{why}");
    // The disk is well again, as far as anybody can tell: that changes nothing.
    state.set(Mode::Free);
    let refused = log.append(record(301), Durability::No).unwrap_err();
    assert!(matches!(refused, Refused::Failed(_)), "{refused}");
    assert!(matches!(log.checkpoint_now(), Err(Refused::Failed(_))));
    assert!(matches!(log.stats().health, Health::Failed(_)));
    assert_eq!(log.close(), Err(lost.clone()));
    assert_eq!(told.lock().len(), 1);
    drop(log);
    let (log, recovered) = open(options(&folder));
    // The record whose sync failed may be there or not; nobody was told that it is.
    assert!(recovered.size == 300 || recovered.size == 301, "{recovered:?}");
    let records = read_back(log.path());
    assert_eq!(records[..300], (0..300).map(record).collect::<Vec<_>>());
}

#[test]
fn without_room_for_tiles_records_are_taken_as_long_as_memory_lasts() {
    let folder = TempDir::new().unwrap();
    let (log, state) = held(&folder, Vec::new());
    state.set(Mode::NoRoomForTiles);
    let mut taken = 0;
    loop {
        match log.append(vec![b'x'; 1000], Durability::BeforeResponse) {
            Ok(ticket) => assert_eq!(ticket.wait(), Ok(taken), "its own log has room"),
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                break;
            }
        }
        taken += 1;
    }
    // One bundle more than the bound: the tiler has it in hands.
    assert!(taken >= u64::try_from(ROOM / 1064).unwrap(), "{taken}");
    let stats = log.stats();
    assert_eq!((stats.checkpoint.size, stats.lag()), (0, taken));
    assert!(stats.no_space > 0 && stats.pending_bytes <= u64::try_from(ROOM).unwrap());
    state.set(Mode::Free);
    eventually("room again", || log.stats().pending_bytes == 0);
    assert_eq!(log.close().unwrap().size, taken);
    assert_eq!(read_back(log.path()).len(), usize::try_from(taken).unwrap());
}

#[test]
fn a_failure_while_tiles_are_written_stops_the_log_too() {
    let folder = TempDir::new().unwrap();
    let (log, state) = held(&folder, Vec::new());
    append(&log, 0, 10);
    let waiting = log.checkpoint_now().unwrap();
    state.set(Mode::Failing);
    drop(waiting.wait());
    let last = log.append(record(10), Durability::BeforeResponse);
    let ended = last.is_err() || last.is_ok_and(|ticket| ticket.wait().is_err());
    assert!(ended);
    eventually("stopped", || matches!(log.stats().health, Health::Failed(_)));
    drop(log);
    let kept = fs::read(folder.path().join("log/checkpoint")).unwrap();
    Signed::open(&kept, key().verifying_key()).unwrap();
    let (_log, recovered) = open(options(&folder));
    assert!(recovered.size >= 10);
}
