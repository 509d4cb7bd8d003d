//! Records on the disk, until their receiver has them.
//!
//! Each process that uses a spool has a folder of its own in it, named by the origin in its
//! records' keys, and locked; so a successor writes while its predecessor still sends. What a
//! process left behind, by a crash or a stop, is adopted by the next one. A record is in the page
//! cache once [`Spool::append`] returns, and survives the process; the disk has it within a second.
//!
//! A record may be sent twice, after a crash between sending and noting it. It is never sent in
//! another order than that of its folder.

mod folder;
mod frame;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_core::Clock;
use tokio::sync::Notify;

use self::folder::{Folder, Position};
use crate::queue::BatchLimits;
use crate::record::Record;

/// The disk is told at least this often to keep what was written.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A new segment is begun after this, or an eighth of the spool.
const SEGMENT: u64 = 8 << 20;

/// A spool that this process writes.
#[derive(Debug)]
pub(crate) struct Spool {
    root: PathBuf,
    max: AtomicU64,
    own: Arc<Folder>,
    tail: Mutex<Tail>,
    adopted: Mutex<Vec<Arc<Folder>>>,
    arrived: Notify,
    clock: Clock,
}

#[derive(Debug)]
struct Tail {
    file: Option<File>,
    number: u64,
    len: u64,
    synced: Instant,
    dirty: bool,
}

/// What was read: it stays until it is [`Spool::done`].
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// Places where records were damaged.
    pub(crate) damaged: u64,
    folder: Arc<Folder>,
    end: Position,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the spool is full")]
    Full,
    #[error("the spool cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl Spool {
    /// Opens the spool for a process whose records' keys have this origin.
    ///
    /// # Errors
    /// The folder cannot be made or locked.
    pub(crate) fn open(root: &Path, max: u64, origin: u64, clock: Clock) -> io::Result<Self> {
        let own = Folder::lock(root.join(format!("{origin:016x}")))?;
        let own = own.ok_or_else(|| io::Error::other("two processes have one origin"))?;
        let tail = Tail { file: None, number: 0, len: 0, synced: clock.now(), dirty: false };
        let spool = Self {
            root: root.to_owned(),
            max: AtomicU64::new(max),
            own: Arc::new(own),
            tail: Mutex::new(tail),
            adopted: Mutex::default(),
            arrived: Notify::new(),
            clock,
        };
        spool.adopt()?;
        Ok(spool)
    }

    /// Changes how large it may grow.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Takes over what processes left that are gone; returns whether there is something.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn adopt(&self) -> io::Result<bool> {
        let mut found = false;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let is_folder = entry.file_type()?.is_dir();
            if !is_folder || !is_origin(&entry.file_name().to_string_lossy()) {
                continue;
            }
            // Our own, and those that we have, are locked; a lock of ours counts too.
            match Folder::lock(entry.path()) {
                Ok(Some(folder)) => {
                    self.adopted.lock().push(Arc::new(folder));
                    found = true;
                }
                Ok(None) => {}
                Err(error) => {
                    let folder = entry.path();
                    tracing::warn!(folder = %folder.display(), %error, "a spool stays unread");
                }
            }
        }
        if found {
            self.arrived.notify_one();
        }
        Ok(found)
    }

    /// Appends the records, all or none.
    ///
    /// # Errors
    /// There is no room, or the disk refuses.
    pub(crate) fn append(&self, records: &[Record]) -> Result<(), AppendError> {
        let mut bytes = Vec::new();
        for record in records {
            frame::write(&mut bytes, record);
        }
        let max = self.max.load(Ordering::Relaxed);
        let mut tail = self.tail.lock();
        let is_full = || self.bytes() + bytes.len() as u64 > max;
        let sent_whole = tail.len > 0 && is_full() && self.own.is_sent(tail.number, tail.len);
        if tail.file.is_none() || tail.len >= SEGMENT.min(max / 8) || sent_whole {
            self.roll(&mut tail)?;
            self.own.sweep(Some(tail.number))?;
        }
        if is_full() {
            return Err(AppendError::Full);
        }
        let start = tail.len;
        let Some(file) = &mut tail.file else { return Ok(()) };
        if let Err(error) = file.write_all(&bytes) {
            // Half a record must not stand before the next one; the next begins a new segment.
            drop(file.set_len(start));
            tail.file = None;
            return Err(error.into());
        }
        tail.len += bytes.len() as u64;
        tail.dirty = true;
        self.own.grown(tail.number, tail.len);
        drop(tail);
        self.arrived.notify_one();
        Ok(())
    }

    /// Has the disk keep what was written, if that is due.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn sync(&self, at_once: bool) -> io::Result<()> {
        let mut tail = self.tail.lock();
        let now = self.clock.now();
        let due = at_once || now.saturating_duration_since(tail.synced) >= SYNC_EVERY;
        if !tail.dirty || !due {
            return Ok(());
        }
        tail.file.as_ref().map_or(Ok(()), File::sync_data)?;
        (tail.synced, tail.dirty) = (now, false);
        Ok(())
    }

    /// So many bytes of records may be appended at once, so that a small spool takes them.
    pub(crate) fn largest_batch(&self) -> usize {
        usize::try_from(self.max.load(Ordering::Relaxed) / 16).unwrap_or(usize::MAX)
    }

    fn roll(&self, tail: &mut Tail) -> io::Result<()> {
        if let Some(file) = tail.file.take() {
            file.sync_data()?;
        }
        tail.number += 1;
        let path = self.own.segment(tail.number);
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        (tail.file, tail.len, tail.dirty) = (Some(file), 0, false);
        self.own.grown(tail.number, 0);
        self.own.sync()?;
        Ok(())
    }

    /// All bytes on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        let adopted: u64 = self.adopted.lock().iter().map(|folder| folder.bytes()).sum();
        adopted + self.own.bytes()
    }

    /// The next records, those of earlier processes first; `None` if there are none.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn peek(&self, limits: BatchLimits) -> io::Result<Option<Batch>> {
        loop {
            let first = self.adopted.lock().first().cloned();
            let folder = first.as_ref().unwrap_or(&self.own);
            let peeked = folder.peek(limits)?;
            if !peeked.records.is_empty() || peeked.damaged > 0 {
                let (records, damaged, end) = (peeked.records, peeked.damaged, peeked.end);
                return Ok(Some(Batch { records, damaged, folder: Arc::clone(folder), end }));
            }
            let Some(empty) = first else { return Ok(None) };
            empty.remove();
            self.adopted.lock().retain(|folder| !Arc::ptr_eq(folder, &empty));
        }
    }

    /// Notes that a batch was sent.
    ///
    /// # Errors
    /// The disk refuses; the batch may come again after a crash.
    pub(crate) fn done(&self, batch: &Batch) -> io::Result<()> {
        let own = Arc::ptr_eq(&batch.folder, &self.own);
        let written = own.then(|| self.tail.lock().number);
        batch.folder.done(batch.end, written)
    }

    /// Whether the batch is of this process, and not what another left.
    pub(crate) fn is_own(&self, batch: &Batch) -> bool {
        Arc::ptr_eq(&batch.folder, &self.own)
    }

    /// Returns when something was appended or adopted since the last call.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Wakes whoever waits.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Leaves nothing behind if nothing waits.
    pub(crate) fn leave(&self) {
        let one = BatchLimits { records: 1, bytes: 1 };
        if matches!(self.own.peek(one), Ok(peeked) if peeked.records.is_empty()) {
            self.own.remove();
        }
    }
}

/// Whether a folder's name is that of a process's part.
fn is_origin(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit())
}
