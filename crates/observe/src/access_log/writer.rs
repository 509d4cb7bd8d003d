//! The thread that writes the access log, and the file it writes to.
//!
//! It sleeps while there is nothing to write. The first line wakes it; it then gathers for a
//! moment, unless a buffer grows large or somebody waits. What cannot be written is counted and
//! dropped: a full disk must not fill the memory too.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::Clock;
use tracing::warn;

use super::Shared;

/// How long the writer gathers lines before it writes them.
const GATHER: Duration = Duration::from_millis(100);

/// How often at most a failing log is reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// Nowhere: the log is off.
    Off,
    /// Appended to a file.
    Path { path: PathBuf, file: File },
    /// To a stream that is open already, such as the standard output.
    Stream(File),
}

impl Sink {
    /// Opens the file for appending; it is readable to its owner and group only.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        if path == "-" {
            let stream = io::stdout().as_fd().try_clone_to_owned()?;
            return Ok(Self::Stream(stream.into()));
        }
        let path = PathBuf::from(path);
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?;
        Ok(Self::Path { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Off => Ok(bytes.len()),
            Self::Path { file, .. } | Self::Stream(file) => file.write(bytes),
        }
    }
}

/// What the writer is to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Whether there are lines to write.
    pub(super) lines: Lines,
    /// Open the file anew.
    pub(super) reopen: bool,
    /// Write elsewhere from now on.
    pub(super) sink: Option<Sink>,
    /// Write what there is and end.
    pub(super) stop: bool,
    /// How many flushes were asked for.
    pub(super) flushes: u64,
}

/// Whether there are lines to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lines {
    /// None that anybody told of.
    #[default]
    None,
    /// Some: gather a moment, then write them.
    Some,
    /// Many, or somebody waits for them.
    Urgent,
}

impl Orders {
    fn is_idle(&self) -> bool {
        self.lines == Lines::None && !self.is_urgent()
    }

    fn is_urgent(&self) -> bool {
        self.lines == Lines::Urgent || self.reopen || self.stop || self.sink.is_some()
    }
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    /// Swapped with a buffer of the loggers', so that writing holds no lock.
    batch: Vec<u8>,
    /// Whether the last write ended inside a line.
    torn: bool,
    clock: Clock,
    reported: Option<Instant>,
    unreported: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, sink: Sink) -> Self {
        Self {
            shared,
            sink,
            batch: Vec::new(),
            torn: false,
            clock: Clock::System,
            reported: None,
            unreported: 0,
        }
    }

    /// Writes until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            let orders = self.next_orders();
            self.write_all_buffers();
            if let Some(sink) = orders.sink {
                self.sink = sink;
                self.torn = false;
            }
            if orders.reopen {
                self.reopen();
            }
            let done = if orders.stop { u64::MAX } else { orders.flushes };
            *self.shared.flushed.lock() = done;
            self.shared.flush_done.notify_all();
            if orders.stop {
                return;
            }
        }
    }

    /// Waits until there is something to do, and gathers lines for a moment.
    fn next_orders(&self) -> Orders {
        let shared = &self.shared;
        let mut orders = shared.orders.lock();
        if orders.is_idle() {
            shared.announce_sleep();
            // A line that came before the announcement has woken nobody.
            if shared.buffers_are_empty() {
                shared.ordered.wait_while(&mut orders, |orders| orders.is_idle());
            }
            shared.announce_wake();
        }
        shared.ordered.wait_while_for(&mut orders, |orders| !orders.is_urgent(), GATHER);
        let flushes = orders.flushes;
        std::mem::replace(&mut *orders, Orders { flushes, ..Orders::default() })
    }

    fn write_all_buffers(&mut self) {
        for index in 0..self.shared.shards.len() {
            self.batch.clear();
            if let Some(shard) = self.shared.shards.get(index) {
                std::mem::swap(&mut shard.lock().buffer, &mut self.batch);
            }
            self.write_batch();
            self.batch.shrink_to(super::KEPT_CAPACITY);
        }
    }

    fn write_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty()
            && let Err((error, rest)) = self.try_write(&batch)
        {
            let lost = rest.iter().filter(|byte| **byte == b'\n').count();
            if rest.len() < batch.len() {
                self.torn = !ends_line(&batch, rest);
            }
            self.shared.stats.write_failed(u64::try_from(lost).unwrap_or(u64::MAX));
            self.report(&error, "the access log cannot be written; lines are lost");
        }
        self.batch = batch;
    }

    /// Writes the batch, or as much of it as can be; returns the rest with the error.
    fn try_write<'a>(&mut self, batch: &'a [u8]) -> Result<(), (io::Error, &'a [u8])> {
        let mut rest = batch;
        while self.torn || !rest.is_empty() {
            let next: &[u8] = if self.torn { b"\n" } else { rest };
            match self.sink.write(next) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), rest)),
                Ok(_) if self.torn => self.torn = false,
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((error, rest)),
            }
        }
        Ok(())
    }

    fn reopen(&mut self) {
        let Sink::Path { path, .. } = &self.sink else { return };
        match path.to_str().map(Sink::open) {
            Some(Ok(sink)) => {
                self.sink = sink;
                self.torn = false;
            }
            Some(Err(error)) => {
                self.reported = None;
                self.report(&error, "the access log cannot be reopened; the old file is kept");
            }
            None => {}
        }
    }

    /// Warns, but not for every batch of a disk that stays full.
    fn report(&mut self, error: &io::Error, what: &'static str) {
        let now = self.clock.now();
        if self.reported.is_some_and(|last| now.saturating_duration_since(last) < REPORT_EVERY) {
            self.unreported += 1;
            return;
        }
        warn!(%error, repeated = self.unreported, "{what}");
        self.reported = Some(now);
        self.unreported = 0;
    }
}

/// Whether what was written of the batch ends a line.
fn ends_line(batch: &[u8], rest: &[u8]) -> bool {
    let written = batch.len().saturating_sub(rest.len());
    batch.get(..written).is_some_and(|written| written.ends_with(b"\n"))
}
