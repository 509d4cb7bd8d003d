//! The log's two threads. One writes groups to the write-ahead log and tells the appenders; the
//! other makes tiles and checkpoints of what is synced. The second never holds up the first, until
//! `max_pending` bytes wait for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::frame::Frame;
use super::options::Notice;
use super::queue::{Job, Shared};
use super::ticket::{Lost, Slot};
use super::tiler::Tiler;
use super::wal::Wal;

/// How long the tiler waits for room on the disk before it tries again.
const REST: Duration = Duration::from_secs(1);

/// Both threads.
#[derive(Debug)]
pub(crate) struct Threads {
    writer: JoinHandle<()>,
    tiler: JoinHandle<()>,
}

impl Threads {
    /// Starts them.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        wal: Wal,
        tiler: Tiler,
        checkpoint_every: Duration,
    ) -> io::Result<Self> {
        let ours = Arc::clone(shared);
        let writer = thread::Builder::new().name("audit-wal".to_owned());
        let writer = writer.spawn(move || write(&ours, wal))?;
        let ours = Arc::clone(shared);
        let keeper = Keeper { shared: ours, tiler, every: checkpoint_every };
        let spawned = thread::Builder::new().name("audit-tiles".to_owned());
        match spawned.spawn(move || keeper.run()) {
            Ok(tiler) => Ok(Self { writer, tiler }),
            Err(error) => {
                shared.fail("no thread for its tiles", None);
                Err(error)
            }
        }
    }

    /// Waits for their end. The log was closed, or stopped.
    pub(crate) fn join(self) {
        for (name, thread) in [("writer", self.writer), ("tiler", self.tiler)] {
            if thread.join().is_err() {
                tracing::error!(name, "a thread of the audit log panicked");
            }
        }
    }
}

fn write(shared: &Shared, mut wal: Wal) {
    while let Some(batch) = shared.next_batch() {
        if batch.is_empty() {
            shared.pass_on(batch.into_barriers());
            continue;
        }
        let written = Shared::frame(&batch).and_then(|mut frame| {
            wal.commit(&mut frame)?;
            Ok(frame)
        });
        match written {
            Ok(frame) => shared.committed(batch, frame),
            Err(Fault::NoSpace(why)) => shared.had_no_space(batch, &why),
            Err(Fault::Broken(why)) => shared.fail(&why, Some(batch)),
        }
    }
    shared.give(Job::Close);
}

struct Keeper {
    shared: Arc<Shared>,
    tiler: Tiler,
    every: Duration,
}

impl Keeper {
    fn run(mut self) {
        let mut next = self.shared.clock.now() + self.every;
        while self.shared.failure().is_none() {
            let wait = next.saturating_duration_since(self.shared.clock.now());
            let done = match self.shared.next_job(wait) {
                Some(Job::Group(frame)) => self.take(&frame),
                Some(Job::Checkpoint(slots)) => self.answer(&slots),
                Some(Job::Close) => {
                    if self.shared.failure().is_none() {
                        self.stop_if_broken(Self::checkpoint);
                    }
                    return;
                }
                None => Ok(()),
            };
            if let Err(fault) = done {
                self.note(&fault);
            }
            self.checkpoint_when_due(&mut next);
        }
    }

    fn take(&mut self, frame: &Frame) -> Result<(), Fault> {
        let mut taken = self.tiler.apply(frame.first(), frame.payload());
        while let Err(Fault::NoSpace(why)) = &taken {
            self.shared.note_no_space(&why.as_str().into());
            if self.shared.is_closing() || self.shared.failure().is_some() {
                // The write-ahead log has it: the next start goes on from there.
                return Ok(());
            }
            thread::sleep(REST);
            taken = self.tiler.write_full();
        }
        self.shared.release(frame);
        taken
    }

    fn answer(&mut self, slots: &[Arc<Slot>]) -> Result<(), Fault> {
        let done = self.checkpoint();
        let outcome = match &done {
            Ok(()) => Ok(self.tiler.size()),
            Err(Fault::NoSpace(why)) => Err(Lost::NoSpace(why.as_str().into())),
            Err(Fault::Broken(why)) => Err(Lost::Failed(why.as_str().into())),
        };
        slots.iter().for_each(|slot| slot.resolve(outcome.clone()));
        done
    }

    fn checkpoint_when_due(&mut self, next: &mut Instant) {
        let now = self.shared.clock.now();
        if now >= *next && self.shared.failure().is_none() {
            *next = now + self.every;
            self.stop_if_broken(Self::checkpoint);
        }
    }

    fn checkpoint(&mut self) -> Result<(), Fault> {
        if let Some(published) = self.tiler.checkpoint()? {
            self.shared.publish(published);
        }
        if let Some(minimum) = self.tiler.prune()? {
            self.shared.counters.minimum.store(minimum, Relaxed);
            self.shared.tell(&Notice::Pruned(minimum));
        }
        Ok(())
    }

    fn stop_if_broken(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Fault>) {
        if let Err(fault) = act(self) {
            self.note(&fault);
        }
    }

    fn note(&self, fault: &Fault) {
        match fault {
            Fault::NoSpace(why) => self.shared.note_no_space(&why.as_str().into()),
            Fault::Broken(why) => self.shared.fail(why, None),
        }
    }
}
