//! Between appenders and the log's two threads: records wait here for the writer of the
//! write-ahead log, and groups that are synced for the tiler. What waits is bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use thiserror::Error;
use tidegate_core::Clock;

use super::fault::Fault;
use super::frame::Frame;
use super::options::{Durability, Notice, Observer, Options, Published};
use super::stats::{Counters, Health, Stats};
use super::ticket::{Lost, Slot, Ticket};
use crate::bundle::MAX_ENTRY;

/// What a record costs in memory beside its bytes.
const OVERHEAD: usize = 64;

/// A group is closed at this size, in bytes, and the rest waits for the next.
const GROUP: usize = 4 << 20;

/// How long records are refused after the disk was full, before one of them tries again.
const REST: Duration = Duration::from_secs(1);

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
    /// The log stopped, and stays stopped until it is opened again.
    #[error("the audit log stopped: {0}")]
    Failed(Arc<str>),
    /// The disk does not keep up: `max_pending` bytes wait.
    #[error("the audit log waits for its disk")]
    Full,
    /// The disk is full.
    #[error("no space for the audit log: {0}")]
    NoSpace(Arc<str>),
    /// Longer than an entry of the log can be.
    #[error("a record of {0} bytes; at most {MAX_ENTRY} fit")]
    TooLarge(usize),
}

/// What appenders and threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    jobs: Mutex<VecDeque<Job>>,
    more_jobs: Condvar,
    limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    published: Mutex<Published>,
    observers: Vec<Observer>,
}

#[derive(Debug)]
struct Limits {
    checkpoint_every: Duration,
    group_window: Duration,
    max_pending: usize,
}

#[derive(Debug)]
struct Queue {
    state: State,
    pending: VecDeque<Pending>,
    /// Bytes of `pending`, as they count against the limit of a group.
    waiting: usize,
    /// Bytes that count against `max_pending`: `waiting`, and what the tiler has not taken yet.
    held: usize,
    /// When the next group is to be written.
    due: Option<Instant>,
    barriers: Vec<Arc<Slot>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Full { until: Instant, why: Arc<str> },
    Failed(Arc<str>),
    Closing,
}

/// A record that waits for its sync.
#[derive(Debug)]
struct Pending {
    record: Vec<u8>,
    slot: Arc<Slot>,
    at: Instant,
}

/// What is written with one sync.
#[derive(Debug)]
pub(crate) struct Batch {
    records: Vec<Pending>,
    barriers: Vec<Arc<Slot>>,
}

/// What the tiler has to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Take a synced group.
    Group(Frame),
    /// Sign a checkpoint now, and say so.
    Checkpoint(Vec<Arc<Slot>>),
    /// Sign the last checkpoint.
    Close,
}

impl Shared {
    pub(crate) fn new(options: &Options, clock: Clock, published: Published) -> Self {
        let queue = Queue {
            state: State::Open,
            pending: VecDeque::new(),
            waiting: 0,
            held: 0,
            due: None,
            barriers: Vec::new(),
        };
        let limits = Limits {
            checkpoint_every: options.checkpoint_every,
            group_window: options.group_window,
            max_pending: options.max_pending.max(1 << 20),
        };
        Self {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            jobs: Mutex::default(),
            more_jobs: Condvar::new(),
            limits,
            clock,
            counters: Counters::default(),
            published: Mutex::new(published),
            observers: options.observers.clone(),
        }
    }

    /// Takes a record, or says why not; never waits for the disk.
    pub(crate) fn append(
        &self,
        record: Vec<u8>,
        durability: Durability,
    ) -> Result<Ticket, Refused> {
        let taken = self.take(record, durability);
        if taken.is_err() {
            self.counters.refused.fetch_add(1, Relaxed);
        }
        taken
    }

    fn take(&self, record: Vec<u8>, durability: Durability) -> Result<Ticket, Refused> {
        if record.len() > MAX_ENTRY {
            return Err(Refused::TooLarge(record.len()));
        }
        let at = self.clock.now();
        let wait = match durability {
            Durability::BeforeResponse => Duration::ZERO,
            Durability::Grouped => self.limits.group_window,
            Durability::No => self.limits.checkpoint_every,
        };
        let cost = record.len() + OVERHEAD;
        let slot = Slot::new();
        let mut queue = self.queue.lock();
        queue.admit(at)?;
        if queue.held + cost > self.limits.max_pending {
            return Err(Refused::Full);
        }
        queue.held += cost;
        queue.waiting += cost;
        queue.pending.push_back(Pending { record, slot: Arc::clone(&slot), at });
        let due = at + wait;
        let sooner = queue.due.is_none_or(|before| due < before);
        if sooner {
            queue.due = Some(due);
        }
        let wake = sooner || queue.waiting >= GROUP;
        drop(queue);
        if wake {
            self.work.notify_one();
        }
        Ok(Ticket(slot))
    }

    /// Asks for a checkpoint over all that was appended before.
    pub(crate) fn barrier(&self) -> Result<Ticket, Refused> {
        let slot = Slot::new();
        let mut queue = self.queue.lock();
        queue.admit(self.clock.now())?;
        queue.barriers.push(Arc::clone(&slot));
        drop(queue);
        self.work.notify_one();
        Ok(Ticket(slot))
    }

    /// Lets nothing in any more; what waits is still written.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        if !matches!(queue.state, State::Failed(_)) {
            queue.state = State::Closing;
        }
        drop(queue);
        self.work.notify_one();
    }

    /// Waits until a group is to be written; `None` when there will be no more.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let mut queue = self.queue.lock();
        loop {
            let now = self.clock.now();
            let closing = queue.state == State::Closing;
            if matches!(queue.state, State::Failed(_)) {
                return None;
            }
            let ready = queue.due.is_some_and(|due| due <= now) || queue.waiting >= GROUP;
            if ready || closing || !queue.barriers.is_empty() {
                let batch = queue.batch(now);
                return (!batch.records.is_empty() || !batch.barriers.is_empty()).then_some(batch);
            }
            match queue.due {
                Some(due) => {
                    self.work.wait_for(&mut queue, due.saturating_duration_since(now));
                }
                None => self.work.wait(&mut queue),
            }
        }
    }

    /// What a batch looks like on the disk.
    pub(crate) fn frame(batch: &Batch) -> Result<Frame, Fault> {
        let bytes = batch.records.iter().map(|pending| pending.record.len() + 2).sum();
        let mut frame = Frame::with_capacity(bytes);
        for pending in &batch.records {
            // Longer ones were refused: there is no other error.
            frame.push(&pending.record).map_err(|error| Fault::Broken(error.to_string()))?;
        }
        Ok(frame)
    }

    /// Tells the appenders of a group that it is synced, and gives it to the tiler.
    pub(crate) fn committed(&self, batch: Batch, frame: Frame) {
        let now = self.clock.now();
        let bytes: usize = batch.records.iter().map(|pending| pending.record.len()).sum();
        let counters = &self.counters;
        counters.size.store(frame.end(), Relaxed);
        counters.records.fetch_add(u64::from(frame.count()), Relaxed);
        counters.bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Relaxed);
        counters.groups.fetch_add(1, Relaxed);
        for (index, pending) in (frame.first()..).zip(batch.records) {
            counters.committed_after(now.saturating_duration_since(pending.at));
            pending.slot.resolve(Ok(index));
        }
        self.give(Job::Group(frame));
        self.pass_on(batch.barriers);
    }

    /// A batch without records: nothing to write.
    pub(crate) fn pass_on(&self, barriers: Vec<Arc<Slot>>) {
        if !barriers.is_empty() {
            self.give(Job::Checkpoint(barriers));
        }
    }

    /// Tells the appenders of a group that the disk was full, and refuses others for a moment.
    pub(crate) fn had_no_space(&self, batch: Batch, why: &str) {
        let why: Arc<str> = why.into();
        let until = self.clock.now() + REST;
        {
            let mut queue = self.queue.lock();
            queue.held -= batch.cost().min(queue.held);
            if queue.state != State::Closing {
                queue.state = State::Full { until, why: Arc::clone(&why) };
            }
        }
        self.note_no_space(&why);
        self.lose(batch.records, &Lost::NoSpace(why));
        self.pass_on(batch.barriers);
    }

    pub(crate) fn note_no_space(&self, why: &Arc<str>) {
        self.counters.no_space.fetch_add(1, Relaxed);
        self.tell(&Notice::NoSpace(Arc::clone(why)));
    }

    /// Stops the log: all that wait learn of it, and both threads end.
    pub(crate) fn fail(&self, why: &str, batch: Option<Batch>) {
        let why: Arc<str> = why.into();
        let mut queue = self.queue.lock();
        let first = !matches!(queue.state, State::Failed(_));
        if first {
            queue.state = State::Failed(Arc::clone(&why));
        }
        let mut pending = std::mem::take(&mut queue.pending);
        let mut barriers = std::mem::take(&mut queue.barriers);
        (queue.waiting, queue.held, queue.due) = (0, 0, None);
        drop(queue);
        let jobs = std::mem::take(&mut *self.jobs.lock());
        for job in jobs {
            if let Job::Checkpoint(slots) = job {
                barriers.extend(slots);
            }
        }
        if let Some(batch) = batch {
            pending.extend(batch.records);
            barriers.extend(batch.barriers);
        }
        self.work.notify_all();
        self.more_jobs.notify_all();
        if first {
            self.tell(&Notice::Failed(Arc::clone(&why)));
        }
        let lost = Lost::Failed(why);
        self.lose(pending, &lost);
        barriers.iter().for_each(|slot| slot.resolve(Err(lost.clone())));
    }

    /// Why it stopped, if it did.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        match &self.queue.lock().state {
            State::Failed(why) => Some(Arc::clone(why)),
            State::Open | State::Full { .. } | State::Closing => None,
        }
    }

    /// The next job, or `None` when none came in this time or the log stopped.
    pub(crate) fn next_job(&self, within: Duration) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        if jobs.is_empty() && self.failure().is_none() {
            self.more_jobs.wait_for(&mut jobs, within);
        }
        jobs.pop_front()
    }

    /// Whether the last job was given.
    pub(crate) fn is_closing(&self) -> bool {
        self.queue.lock().state == State::Closing
    }

    pub(crate) fn give(&self, job: Job) {
        let mut jobs = self.jobs.lock();
        match (self.failure(), job) {
            (None, job) => jobs.push_back(job),
            // Nobody would answer any more.
            (Some(why), Job::Checkpoint(slots)) => {
                slots.iter().for_each(|slot| slot.resolve(Err(Lost::Failed(Arc::clone(&why)))));
            }
            (Some(_why), Job::Group(_) | Job::Close) => {}
        }
        drop(jobs);
        self.more_jobs.notify_one();
    }

    /// The tiler has taken a group: its bytes are not held any more.
    pub(crate) fn release(&self, frame: &Frame) {
        let records = usize::try_from(frame.count()).unwrap_or(0);
        // A bundle has two bytes more for each record, which were not counted.
        let cost = frame.payload().len() + records * (OVERHEAD - 2);
        let mut queue = self.queue.lock();
        queue.held -= cost.min(queue.held);
    }

    /// Notes a new checkpoint and tells of it.
    pub(crate) fn publish(&self, published: Published) {
        *self.published.lock() = published.clone();
        self.tell(&Notice::Checkpoint(published));
    }

    pub(crate) fn published(&self) -> Published {
        self.published.lock().clone()
    }

    pub(crate) fn tell(&self, notice: &Notice) {
        self.observers.iter().for_each(|observer| observer.0(notice));
    }

    fn lose(&self, pending: impl IntoIterator<Item = Pending>, lost: &Lost) {
        for pending in pending {
            self.counters.lost.fetch_add(1, Relaxed);
            pending.slot.resolve(Err(lost.clone()));
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let (health, records, bytes, oldest) = self.queue.lock().summary();
        let now = self.clock.now();
        let counters = &self.counters;
        Stats {
            health,
            size: counters.size.load(Relaxed),
            records: counters.records.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            lost: counters.lost.load(Relaxed),
            groups: counters.groups.load(Relaxed),
            pending_records: records,
            pending_bytes: bytes,
            pending_for: oldest.map(|at| now.saturating_duration_since(at)),
            commit_latency: counters.latency(),
            no_space: counters.no_space.load(Relaxed),
            checkpoint: self.published(),
            minimum: counters.minimum.load(Relaxed),
        }
    }
}

impl Queue {
    fn admit(&mut self, now: Instant) -> Result<(), Refused> {
        match &self.state {
            State::Open => Ok(()),
            State::Full { until, why } if now < *until => Err(Refused::NoSpace(Arc::clone(why))),
            State::Full { .. } => {
                self.state = State::Open;
                Ok(())
            }
            State::Failed(why) => Err(Refused::Failed(Arc::clone(why))),
            State::Closing => Err(Refused::Closed),
        }
    }

    /// Takes out what fits into a group; what is left is due at once.
    fn batch(&mut self, now: Instant) -> Batch {
        let (mut count, mut bytes) = (0, 0);
        for pending in &self.pending {
            if bytes >= GROUP {
                break;
            }
            bytes += pending.cost();
            count += 1;
        }
        let records: Vec<_> = self.pending.drain(..count).collect();
        self.waiting -= bytes;
        self.due = (!self.pending.is_empty()).then_some(now);
        let last = self.pending.is_empty();
        let barriers = if last { std::mem::take(&mut self.barriers) } else { Vec::new() };
        Batch { records, barriers }
    }

    fn summary(&self) -> (Health, u64, u64, Option<Instant>) {
        let health = match &self.state {
            State::Open => Health::Good,
            State::Full { .. } => Health::NoSpace,
            State::Failed(why) => Health::Failed(Arc::clone(why)),
            State::Closing => Health::Closed,
        };
        let number = |n| u64::try_from(n).unwrap_or(u64::MAX);
        let oldest = self.pending.front().map(|pending| pending.at);
        (health, number(self.pending.len()), number(self.held), oldest)
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn into_barriers(self) -> Vec<Arc<Slot>> {
        self.barriers
    }

    fn cost(&self) -> usize {
        self.records.iter().map(Pending::cost).sum()
    }
}

impl Pending {
    fn cost(&self) -> usize {
        self.record.len() + OVERHEAD
    }
}
