//! One running delivery: a bounded queue, maybe a spool behind it, and the task that sends.
//!
//! Without a spool the sender takes from the queue. With one, a second task moves the queue's
//! records to the disk, and the sender takes from there: all go through the disk, so that a crash
//! loses no more than what was in memory at that moment.

mod sender;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

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

/// How often a spool is looked for that is not open yet.
const LOOK: Duration = Duration::from_millis(20);

/// A running delivery.
#[derive(Debug)]
pub struct Pipe {
    shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    /// With what tells it to leave the rest to another.
    sender: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    writer: Option<JoinHandle<()>>,
}

/// What a pipe's tasks share with those who use it.
#[derive(Debug)]
pub(crate) struct Shared {
    name: Arc<str>,
    kind: &'static str,
    queue: Queue,
    place: Option<Place>,
    stats: Stats,
    reopen: AtomicBool,
    /// Whether all is to be sent now, without pauses.
    ending: watch::Sender<bool>,
    notices: mpsc::Sender<Notice>,
    clock: Clock,
    /// What is told of sending, of writing to the spool, and of refused records.
    sending: Mutex<Told>,
    writing: Mutex<Told>,
    refused: Mutex<Told>,
}

/// Where the spool is, once it could be opened.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    max: AtomicU64,
    opened: OnceLock<Arc<Spool>>,
    /// Nobody tries to open it any more.
    given_up: AtomicBool,
}

/// What the world was told, so that it is not told with every attempt.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Whether the world thinks that it fails.
    fails: bool,
}

/// What fails and recovers again and again is told of at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Told {
    /// It fails: whether that is to be told.
    fn fails(&mut self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < TELL_EVERY;
        if self.fails || self.at.is_some_and(lately) {
            return false;
        }
        *self = Self { at: Some(now), fails: true };
        true
    }

    /// It works: whether that is to be told.
    fn works(&mut self) -> bool {
        std::mem::take(&mut self.fails)
    }
}

impl Pipe {
    /// Starts to deliver, with a spool if one is given; until that can be opened, records wait in
    /// memory. What the pipe has to tell goes to `notices`. `origin` must be random: it tells the
    /// records from those of all other queues. Call it inside a runtime.
    #[must_use]
    pub fn start(
        options: &PipeOptions,
        origin: u64,
        spool: Option<(&Path, u64)>,
        sink: Box<dyn Deliver>,
        (notices, clock): (mpsc::Sender<Notice>, Clock),
    ) -> Self {
        let place = spool.map(|(path, max)| Place {
            path: path.to_owned(),
            max: AtomicU64::new(max),
            opened: OnceLock::new(),
            given_up: AtomicBool::new(false),
        });
        let shared = Arc::new(Shared {
            name: Arc::clone(&options.name),
            kind: options.kind,
            queue: Queue::new(origin, options.queue),
            place,
            stats: Stats::default(),
            reopen: AtomicBool::new(false),
            ending: watch::Sender::new(false),
            notices,
            clock,
            sending: Mutex::default(),
            writing: Mutex::default(),
            refused: Mutex::default(),
        });
        let pipe = Self { shared, tasks: Mutex::default() };
        if pipe.shared.place.is_some() {
            let writer = writer::run(Arc::clone(&pipe.shared), options.retry);
            pipe.tasks.lock().writer = Some(tokio::spawn(writer));
        }
        pipe.send_with(options, sink);
        pipe
    }

    fn send_with(&self, options: &PipeOptions, sink: Box<dyn Deliver>) {
        let sender = Sender::new(Arc::clone(&self.shared), options.clone(), sink);
        let mut tasks = self.tasks.lock();
        let before = tasks.sender.take();
        let (replace, replaced) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Some((replace, before)) = before {
                replace.send_replace(true);
                // However it ended: what it did not note is sent again.
                let (Ok(()) | Err(_)) = before.await;
            }
            sender.run(replaced).await;
        });
        tasks.sender = Some((replace, task));
    }

    /// Goes on with other options and another receiver; nothing that waits is lost. What is just
    /// being sent may be sent to both.
    pub fn change(&self, options: &PipeOptions, spool_max: Option<u64>, sink: Box<dyn Deliver>) {
        self.shared.queue.set_limit(options.queue);
        if let (Some(place), Some(max)) = (&self.shared.place, spool_max) {
            place.max.store(max, Ordering::Relaxed);
            if let Some(spool) = place.opened.get() {
                spool.set_max(max);
            }
        }
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

    /// Takes nothing more, sends what waits with the usual pauses, and ends.
    pub async fn drain(&self) {
        let shared = &self.shared;
        shared.queue.close();
        let spool = || shared.place.as_ref().and_then(|place| place.opened.get());
        if let Some(spool) = spool() {
            spool.wake();
        }
        let (replace, sender) = self.tasks.lock().sender.take().unzip();
        let writer = self.tasks.lock().writer.take();
        for task in writer.into_iter().chain(sender) {
            // A task that ends in whatever way has ended.
            let (Ok(()) | Err(_)) = task.await;
        }
        drop(replace);
        if let Some(spool) = spool() {
            spool.leave();
        }
    }

    /// Has a [`Pipe::drain`] make no more pauses.
    pub fn hurry(&self) {
        self.shared.ending.send_replace(true);
    }

    /// Sends what waits, and ends; after `within` it gives up. What is left in memory then is
    /// dropped and counted, what is in the spool stays there.
    pub async fn finish(&self, within: Duration, why: Dropped) {
        let shared = &self.shared;
        shared.queue.close();
        shared.ending.send_replace(true);
        let (replace, sender) = self.tasks.lock().sender.take().unzip();
        let mut tasks: Vec<_> = self.tasks.lock().writer.take().into_iter().chain(sender).collect();
        let ended = timeout(within, async {
            for task in &mut tasks {
                // A task that ends in whatever way has ended.
                let (Ok(()) | Err(_)) = task.await;
            }
        });
        if ended.await.is_err() {
            tasks.iter().for_each(JoinHandle::abort);
        }
        drop(replace);
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
        if let Some(spool) = shared.place.as_ref().and_then(|place| place.opened.get()) {
            spool.leave();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let tasks = self.tasks.lock();
        tasks.writer.iter().for_each(JoinHandle::abort);
        tasks.sender.iter().for_each(|(_, sender)| sender.abort());
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
            spool_bytes: self.place.as_ref().map(|place| match place.opened.get() {
                Some(spool) => spool.bytes(),
                None => 0,
            }),
            lag: oldest.map_or(Duration::ZERO, |t| now.duration_since(t).unwrap_or_default()),
            ..sample
        }
    }

    /// The spool, once it is open; `None` if all ends before it could be.
    async fn opened(&self) -> Option<Arc<Spool>> {
        let place = self.place.as_ref()?;
        loop {
            if let Some(spool) = place.opened.get() {
                return Some(Arc::clone(spool));
            }
            if place.given_up.load(Ordering::Acquire) {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Notes that an attempt failed, and tells it unless that was told.
    fn fails(&self, why: &str) {
        self.stats.failing.store(true, Ordering::Relaxed);
        if self.sending.lock().fails(self.clock.now()) {
            let summary = format!("the sink {} does not take what it is sent", self.name);
            self.tell(NoticeKind::SinkFailing, summary, Some(why));
        } else {
            tracing::debug!(sink = &*self.name, why, "a sink fails");
        }
    }

    /// Notes that an attempt succeeded.
    fn works(&self) {
        self.stats.failing.store(false, Ordering::Relaxed);
        if self.sending.lock().works() {
            let summary = format!("the sink {} takes what it is sent again", self.name);
            self.tell(NoticeKind::SinkRecovered, summary, None);
        }
    }

    /// Tells that the spool cannot be written, unless that was told.
    fn cannot_write(&self, why: &str) {
        if self.writing.lock().fails(self.clock.now()) {
            let summary = format!("the spool of the sink {} cannot be written", self.name);
            self.tell(NoticeKind::SinkFailing, summary, Some(why));
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
