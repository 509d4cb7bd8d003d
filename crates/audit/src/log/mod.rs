//! The writer of a log: records go in from any number of threads, and each is told its index when
//! it is synced to the disk.
//!
//! A group of records is one write and one sync of a private write-ahead log; behind it, bundles,
//! tiles and checkpoints are made for others to read (`docs/adr`, "An audit log on tiles"). On the
//! disk, in the log's directory:
//!
//! ```text
//! checkpoint   tile/…     what others read, as C2SP tlog-tiles has it
//! minimum                 records with a lower index were removed
//! wal/   tmp/   lock      private
//! ```
//!
//! and apart from it the head file, the last checkpoint that was signed.
//!
//! The log does not know what a record says, and never waits for an appender.

mod disk;
mod fault;
mod frame;
mod levels;
mod open;
mod options;
mod queue;
mod replay;
mod retention;
mod staging;
mod stats;
mod threads;
mod ticket;
mod tiler;
mod wal;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use tidegate_core::Clock;

pub use open::{OpenError, Recovered};
pub use options::{
    Durability, Notice, Observer, Options, Predecessor, Published, Retention, Succession,
    SuccessionRecord,
};
pub use queue::Refused;
pub use stats::{Health, Latency, Stats};
pub use ticket::{Lost, Ticket};

use crate::note::SigningKey;
use disk::{Disk, Machine};
use queue::Shared;
use threads::Threads;

/// A log that is written by this process.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
    path: PathBuf,
}

#[derive(Debug)]
struct Running {
    threads: Threads,
    _locks: Vec<Box<dyn Any + Send + Sync>>,
}

impl Log {
    /// Opens the log, or begins a new one. What a crash left is put in order first: every record
    /// that was acknowledged is there and under a checkpoint when this returns.
    ///
    /// # Errors
    /// When the directory is in use, damaged, not the log that was last signed, or not writable.
    pub fn open(
        options: Options,
        key: &SigningKey,
        clock: Clock,
    ) -> Result<(Self, Recovered), OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(Machine);
        Self::open_on(&disk, options, key, clock)
    }

    fn open_on(
        disk: &Arc<dyn Disk>,
        mut options: Options,
        key: &SigningKey,
        clock: Clock,
    ) -> Result<(Self, Recovered), OpenError> {
        let opened = open::open(disk, &mut options, key, &clock)?;
        let shared = Shared::new(&options, clock, opened.published.clone());
        shared.counters.size.store(opened.recovered.size, Relaxed);
        shared.counters.minimum.store(opened.minimum, Relaxed);
        let shared = Arc::new(shared);
        shared.tell(&Notice::Checkpoint(opened.published));
        let (wal, tiler, every) = (opened.wal, opened.tiler, options.checkpoint_every);
        let threads = Threads::start(&shared, wal, tiler, every)?;
        let running = Running { threads, _locks: opened.locks };
        let log = Self { shared, running: Mutex::new(Some(running)), path: options.path };
        Ok((log, opened.recovered))
    }

    /// Takes a record. Never waits: not for the disk, and not for room.
    ///
    /// # Errors
    /// Why it is not taken; then it will not be in the log.
    pub fn append(&self, record: Vec<u8>, durability: Durability) -> Result<Ticket, Refused> {
        self.shared.append(record, durability)
    }

    /// Asks for a checkpoint over everything appended before. The ticket resolves to its size.
    ///
    /// # Errors
    /// When the log takes nothing any more.
    pub fn checkpoint_now(&self) -> Result<Ticket, Refused> {
        self.shared.barrier()
    }

    /// The last checkpoint.
    #[must_use]
    pub fn latest(&self) -> Published {
        self.shared.published()
    }

    /// What the log says of itself.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The directory in which `checkpoint` and `tile/` stand.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what was taken, signs the last checkpoint and lets go of the directory. Blocks until
    /// that is done. Closing again does nothing.
    ///
    /// # Errors
    /// [`Lost::Failed`] when the log stopped before; [`Lost::NoSpace`] when the last checkpoint
    /// did not fit: the records are safe, and the next start signs it.
    pub fn close(&self) -> Result<Published, Lost> {
        self.shared.close();
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.threads.join();
        }
        if let Some(why) = self.shared.failure() {
            return Err(Lost::Failed(why));
        }
        let published = self.latest();
        let missing = self.shared.counters.size.load(Relaxed).saturating_sub(published.size);
        match missing {
            0 => Ok(published),
            _ => Err(Lost::NoSpace(format!("{missing} records wait for a checkpoint").into())),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the audit log did not end with a checkpoint");
        }
    }
}
