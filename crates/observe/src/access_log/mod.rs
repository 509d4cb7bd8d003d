//! The access log: one JSON line for each request.
//!
//! [`AccessLog::log`] serialises the event into the buffer of the calling thread's shard and
//! returns; a thread of its own writes the buffers out. Buffers are bounded: when the disk does
//! not keep up, lines are dropped and counted, and no request waits. What a line says is in
//! `tidegate_core::record`, its reference in `docs/reference/access-log.md`.
//!
//! It does not rotate files: rename the file, then call [`AccessLog::reopen`].

mod settings;
mod writer;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tidegate_core::Event;
use tidegate_core::record;
use tidegate_core::record::json::Object;

pub use self::settings::{AccessLogFormat, AccessLogSettings, AccessLogTarget};
use self::writer::{Lines, Orders, Sink, Writer};

/// A running access log.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What loggers and the writer share.
#[derive(Debug)]
struct Shared {
    enabled: AtomicBool,
    /// The share of ordinary requests that are logged, in hundredths of a percent.
    sample: AtomicU16,
    shards: [Mutex<Shard>; SHARDS],
    /// Whether the writer waits for the first line.
    asleep: AtomicBool,
    orders: Mutex<Orders>,
    ordered: Condvar,
    /// How many flushes are done.
    flushed: Mutex<u64>,
    flush_done: Condvar,
    stats: Arc<AccessLogStats>,
}

/// A buffer that few threads share.
#[derive(Debug, Default)]
struct Shard {
    buffer: Vec<u8>,
    /// Collects the sampled share; a request is logged whenever it is full.
    due: u16,
}

/// Threads take the shards in turn.
const SHARDS: usize = 16;

/// A shard with this much drops further lines.
const MAX_BUFFER: usize = 1024 * 1024;

/// A shard with this much does not wait for the writer's next round.
const LARGE_BUFFER: usize = 64 * 1024;

/// What an empty buffer may keep after a rush.
const KEPT_CAPACITY: usize = 2 * LARGE_BUFFER;

/// A flush that takes longer is given up: the disk hangs.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What the access log counts.
#[derive(Debug, Default)]
pub struct AccessLogStats {
    lines: AtomicU64,
    dropped: AtomicU64,
    write_errors: AtomicU64,
}

impl AccessLogStats {
    /// Lines that were taken.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Lines that were lost, whether the buffer was full or writing failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes that failed.
    #[must_use]
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }

    fn write_failed(&self, lost: u64) {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
        self.dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

/// An access log cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessLogError {
    /// The file cannot be opened for appending.
    #[error("the access log `{path}` cannot be opened")]
    Open {
        /// The path as configured.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("the access log's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// An access log that is open, but does not receive lines yet: a reload opens it first, and
/// applies it only if everything else is right too.
#[derive(Debug)]
pub struct StagedAccessLog {
    sink: Sink,
    sample: u16,
}

impl AccessLog {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or the thread not be started.
    pub fn start(
        settings: &AccessLogSettings,
        stats: Arc<AccessLogStats>,
    ) -> Result<Self, AccessLogError> {
        Self::start_staged(Self::stage(settings)?, stats)
    }

    /// Opens what the settings name, without writing to it.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn stage(settings: &AccessLogSettings) -> Result<StagedAccessLog, AccessLogError> {
        match settings {
            AccessLogSettings::Off => Ok(StagedAccessLog { sink: Sink::Off, sample: 0 }),
            AccessLogSettings::On(target) => {
                let sink = Sink::open(&target.path)
                    .map_err(|source| AccessLogError::Open { path: target.path.clone(), source })?;
                Ok(StagedAccessLog { sink, sample: target.sample.basis_points() })
            }
        }
    }

    fn start_staged(
        staged: StagedAccessLog,
        stats: Arc<AccessLogStats>,
    ) -> Result<Self, AccessLogError> {
        let shared = Arc::new(Shared {
            enabled: AtomicBool::new(staged.is_on()),
            sample: AtomicU16::new(staged.sample),
            shards: Default::default(),
            asleep: AtomicBool::new(false),
            orders: Mutex::default(),
            ordered: Condvar::new(),
            flushed: Mutex::new(0),
            flush_done: Condvar::new(),
            stats,
        });
        let writer = Writer::new(Arc::clone(&shared), staged.sink);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())
            .map_err(AccessLogError::Thread)?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Writes to what was staged from now on; lines from before go where they belonged.
    pub fn apply(&self, staged: StagedAccessLog) {
        self.shared.sample.store(staged.sample, Ordering::Relaxed);
        self.shared.enabled.store(staged.is_on(), Ordering::Relaxed);
        self.shared.order(|orders| orders.sink = Some(staged.sink));
    }

    /// Logs a request that has ended. It never waits for the disk.
    pub fn log(&self, event: &Event<'_>) {
        if self.shared.enabled.load(Ordering::Relaxed) {
            self.shared.log(event);
        }
    }

    /// Opens the file anew under its path, after what was logged so far is in the old one.
    pub fn reopen(&self) {
        self.shared.order(|orders| orders.reopen = true);
    }

    /// Returns when everything that was logged before is written, or after five seconds.
    pub fn flush(&self) {
        let mut ticket = 0;
        self.shared.order(|orders| {
            orders.flushes += 1;
            orders.lines = Lines::Urgent;
            ticket = orders.flushes;
        });
        self.shared.await_flush(ticket);
    }
}

impl StagedAccessLog {
    fn is_on(&self) -> bool {
        !matches!(self.sink, Sink::Off)
    }
}

impl Drop for AccessLog {
    /// Writes what is left. A disk that hangs does not keep the process from ending.
    fn drop(&mut self) {
        self.shared.enabled.store(false, Ordering::Relaxed);
        self.shared.order(|orders| orders.stop = true);
        let stopped = self.shared.await_flush(u64::MAX);
        if let Some(writer) = self.writer.take().filter(|_| stopped) {
            // The writer does not panic; if it did, there is nothing left to do.
            drop(writer.join());
        }
    }
}

impl Shared {
    fn log(&self, event: &Event<'_>) {
        let Some(shard) = self.shards.get(shard_of_this_thread()) else { return };
        let mut shard = shard.lock();
        if !shard.takes(event, self.sample.load(Ordering::Relaxed)) {
            return;
        }
        let before = shard.buffer.len();
        if before >= MAX_BUFFER {
            drop(shard);
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        write_line(&mut shard.buffer, event);
        let after = shard.buffer.len();
        drop(shard);
        self.stats.lines.fetch_add(1, Ordering::Relaxed);
        if before < LARGE_BUFFER && after >= LARGE_BUFFER {
            self.order(|orders| orders.lines = Lines::Urgent);
        } else if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
        {
            self.order(|orders| orders.lines = orders.lines.max(Lines::Some));
        }
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock());
        self.ordered.notify_one();
    }

    /// Waits until the flush with this number is done; gives up when the disk hangs.
    fn await_flush(&self, ticket: u64) -> bool {
        let mut flushed = self.flushed.lock();
        let waits = |flushed: &mut u64| *flushed < ticket;
        !self.flush_done.wait_while_for(&mut flushed, waits, FLUSH_TIMEOUT).timed_out()
    }

    /// Says that the next line has to wake the writer. The locks of the shards, which are taken
    /// after it, make it visible to whoever adds a line later.
    fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
    }

    fn announce_wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    fn buffers_are_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().buffer.is_empty())
    }
}

/// Appends the event as one line.
fn write_line(out: &mut Vec<u8>, event: &Event<'_>) {
    let mut line = Object::begin(out);
    line.time("time", event.time);
    record::event::members(&mut line, event);
    line.end();
    out.push(b'\n');
}

impl Shard {
    /// Whether the event is to be logged: always if something went wrong, else by the share.
    fn takes(&mut self, event: &Event<'_>, sample: u16) -> bool {
        if sample >= ALL || event.reason.is_some() || event.status >= 500 {
            return true;
        }
        self.due += sample;
        let takes = self.due >= ALL;
        if takes {
            self.due -= ALL;
        }
        takes
    }
}

/// A hundred percent.
const ALL: u16 = 10_000;

/// The shard that this thread uses: threads are numbered as they come.
fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SHARD.with(|shard| {
        shard.get().unwrap_or_else(|| {
            let taken = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            shard.set(Some(taken));
            taken
        })
    })
}

#[cfg(test)]
mod tests;
