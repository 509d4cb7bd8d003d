//! One running delivery: a bounded queue, maybe a spool behind it, and the task that sends.
//!
//! Without a spool the sender takes from the queue. With one, a second task moves the queue's
//! records to the disk, and the sender takes from there: all go through the disk, so that a crash
//! loses no more than what was in memory at that moment.

mod sender;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tidegate_core::Clock;
use tidegate_core::notice::{Notice, NoticeKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::sender::Sender;
use crate::deliver::Deliver;
use crate::queue::{BatchLimits, Queue};
use crate::record::Draft;
use crate::spool::Spool;
use crate::stats::{Dropped, SinkSample, Stats};

/// How a pipe delivers.
#[derive(Clone, Debug, PartialEq)]
pub struct PipeOptions {
    /// Its name, in logs, notices and metrics.
    pub name: Arc<str>,
    /// Its kind, such as `syslog`.
    pub kind: &'static str,
    /// Memory for records that wait, in bytes.
    pub queue: usize,
    /// How much is sent at once.
    pub batch: BatchLimits,
    /// How long the first record of a batch may wait for others.
    pub wait: Duration,
    /// The first pause after a failure, and the longest.
    pub retry: (Duration, Duration),
    /// For one attempt.
    pub timeout: Duration,
}

/// A running delivery.
#[derive(Debug)]
pub struct Pipe {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a pipe's tasks share with those who use it.
#[derive(Debug)]
pub(crate) struct Shared {
    name: Arc<str>,
    kind: &'static str,
    queue: Queue,
    spool: Option<Arc<Spool>>,
    stats: Stats,
    reopen: AtomicBool,
    /// Whether all is to be sent now, without pauses.
    ending: watch::Sender<bool>,
    notices: mpsc::Sender<Notice>,
    clock: Clock,
}

impl Pipe {
    /// Starts to deliver, with a spool if one is given. What the pipe has to tell goes to
    /// `notices`. `origin` must be random: it tells the records from those of all other queues.
    /// Call it inside a runtime.
    ///
    /// # Errors
    /// The spool cannot be opened.
    pub fn start(
        options: &PipeOptions,
        origin: u64,
        spool: Option<(&Path, u64)>,
        sink: Box<dyn Deliver>,
        (notices, clock): (mpsc::Sender<Notice>, Clock),
    ) -> std::io::Result<Self> {
        let open = |(path, max)| Spool::open(path, max, origin, clock.clone()).map(Arc::new);
        let shared = Arc::new(Shared {
            name: Arc::clone(&options.name),
            kind: options.kind,
            queue: Queue::new(origin, options.queue),
            spool: spool.map(open).transpose()?,
            stats: Stats::default(),
            reopen: AtomicBool::new(false),
            ending: watch::Sender::new(false),
            notices,
            clock,
        });
        let pipe = Self { shared, tasks: Mutex::default() };
        if let Some(spool) = &pipe.shared.spool {
            let writer = writer::run(Arc::clone(&pipe.shared), Arc::clone(spool), options.retry);
            pipe.tasks.lock().push(tokio::spawn(writer));
        }
        pipe.send_with(options, sink);
        Ok(pipe)
    }

    fn send_with(&self, options: &PipeOptions, sink: Box<dyn Deliver>) {
        let sender = Sender::new(Arc::clone(&self.shared), options.clone(), sink);
        self.tasks.lock().insert(0, tokio::spawn(sender.run()));
    }

    /// Goes on with other options and another receiver; nothing that waits is lost. What is just
    /// being sent may be sent to both.
    pub fn change(&self, options: &PipeOptions, spool_max: Option<u64>, sink: Box<dyn Deliver>) {
        self.shared.queue.set_limit(options.queue);
        if let (Some(spool), Some(max)) = (&self.shared.spool, spool_max) {
            spool.set_max(max);
        }
        let before = self.tasks.lock().remove(0);
        before.abort();
        self.send_with(options, sink);
    }

    /// Whether it is of no use to make a record now. Counts the record that was not made.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = self.shared.queue.is_full();
        if full {
            Stats::add(&self.shared.stats.taken, 1);
            self.shared.lose_one();
        }
        full
    }

    /// Queues a record, or counts it as dropped. It waits for nobody.
    pub fn offer(&self, draft: Draft) {
        Stats::add(&self.shared.stats.taken, 1);
        if self.shared.queue.push(draft).is_err() {
            self.shared.lose_one();
        }
    }

    /// Has files opened anew before the next record.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// How it is, at a time.
    #[must_use]
    pub fn sample(&self, now: SystemTime) -> SinkSample {
        self.shared.sample(now)
    }

    /// Sends what waits, and ends; after `within` it gives up. What is left in memory then is
    /// dropped and counted, what is in the spool stays there.
    pub async fn finish(&self, within: Duration, why: Dropped) {
        let shared = &self.shared;
        shared.queue.close();
        shared.ending.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = timeout(within, async {
            for task in &mut tasks {
                // A task that ends in whatever way has ended.
                let (Ok(()) | Err(_)) = task.await;
            }
        });
        if ended.await.is_err() {
            tasks.iter().for_each(JoinHandle::abort);
        }
        let left = shared.queue.len();
        if left > 0 {
            shared.stats.dropped(why, left);
            shared.queue.done(left);
        }
        let kept = shared.stats.on_disk.load(Ordering::Relaxed);
        if left > 0 || kept > 0 {
            tracing::warn!(
                sink = &*shared.name,
                lost = left,
                kept,
                "a sink ended before all was sent"
            );
        }
        if let Some(spool) = &shared.spool {
            spool.leave();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn lose_one(&self) {
        let spool = self.stats.spool_is_full.load(Ordering::Relaxed);
        self.stats.dropped(if spool { Dropped::SpoolFull } else { Dropped::QueueFull }, 1);
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Waits, or returns at once when all is to end.
    async fn pause(&self, pause: Duration) {
        let mut ending = self.ending.subscribe();
        let changed = async {
            // The sender lives as long as this.
            let (Ok(_) | Err(_)) = ending.wait_for(|ending| *ending).await;
        };
        let (Ok(()) | Err(_)) = timeout(pause, changed).await;
    }

    fn sample(&self, now: SystemTime) -> SinkSample {
        let oldest = [self.stats.sending_since(), self.queue.oldest()];
        let oldest = oldest.into_iter().flatten().min();
        let sample = self.stats.sample();
        SinkSample {
            name: self.name.to_string(),
            kind: self.kind,
            waiting: sample.waiting + self.queue.len() as u64,
            queue_bytes: self.queue.used() as u64,
            spool_bytes: self.spool.as_ref().map(|spool| spool.bytes()),
            lag: oldest.map_or(Duration::ZERO, |t| now.duration_since(t).unwrap_or_default()),
            ..sample
        }
    }

    /// Tells that the sink fails, or works again. When nobody listens any more it is not told.
    fn tell(&self, kind: NoticeKind, summary: String, error: Option<&str>) {
        let mut notice = Notice::new(self.clock.wall(), kind, summary);
        notice.details.push(("sink", (&*self.name).into()));
        if let Some(error) = error {
            notice.details.push(("error", error.into()));
        }
        if let Err(untold) = self.notices.try_send(notice) {
            tracing::warn!(sink = &*self.name, kind = kind.code(), %untold, "a notice was lost");
        }
    }
}
