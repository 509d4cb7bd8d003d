//! The task that sends batches, again and again until they are taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidegate_core::notice::NoticeKind;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{PipeOptions, Shared};
use crate::backoff::Backoff;
use crate::deliver::{Deliver, DeliverError, Then};
use crate::record::Record;
use crate::spool::{Batch, Spool};
use crate::stats::{Dropped, Stats};

/// How often a spool is searched for what a process left that has ended.
const ADOPT_EVERY: Duration = Duration::from_secs(2);

/// A sink that keeps failing and recovering is told of at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A receiver cannot have us wait longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after a failure when all is to end.
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// The task's own state.
pub(super) struct Sender {
    shared: Arc<Shared>,
    options: PipeOptions,
    sink: Box<dyn Deliver>,
    backoff: Backoff,
    adopted_at: Instant,
    told_at: Option<Instant>,
    /// Whether the world thinks that it fails.
    told: bool,
}

/// Where records come from.
enum Taken {
    Memory(Vec<Record>),
    Disk(Batch),
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, options: PipeOptions, sink: Box<dyn Deliver>) -> Self {
        let backoff = Backoff::new(options.retry.0, options.retry.1, shared.queue.origin());
        let adopted_at = shared.clock.now();
        Self { shared, options, sink, backoff, adopted_at, told_at: None, told: false }
    }

    /// Sends until nothing is left and nothing more comes.
    pub(super) async fn run(mut self) {
        loop {
            let taken = match self.shared.spool.clone() {
                None => self.from_memory().await.map(Taken::Memory),
                Some(spool) => self.from_disk(&spool).await.map(Taken::Disk),
            };
            let Some(taken) = taken else { return };
            let (records, count) = match &taken {
                Taken::Memory(records) => (records.clone(), records.len()),
                Taken::Disk(batch) => (batch.records.clone(), batch.records.len()),
            };
            self.shared.stats.sending(records.first().map(|record| record.time));
            let refused = self.send(records).await;
            self.done(taken, count, refused).await;
            self.shared.stats.sending(None);
        }
    }

    async fn from_memory(&self) -> Option<Vec<Record>> {
        let (queue, options) = (&self.shared.queue, &self.options);
        if !queue.wait().await {
            return None;
        }
        for _slice in 0..8 {
            if queue.has_batch(options.batch) || queue.is_closed() {
                break;
            }
            self.shared.pause(options.wait / 8).await;
        }
        Some(queue.peek(options.batch))
    }

    async fn from_disk(&mut self, spool: &Arc<Spool>) -> Option<Batch> {
        let mut waited = false;
        loop {
            let now = self.shared.clock.now();
            let adopt = now.saturating_duration_since(self.adopted_at) >= ADOPT_EVERY;
            if adopt {
                self.adopted_at = now;
            }
            let (from, limits) = (Arc::clone(spool), self.options.batch);
            let read = spawn_blocking(move || {
                if adopt {
                    from.adopt()?;
                }
                from.peek(limits)
            });
            // Asked before reading, so that nothing is written between the answers.
            let last = self.shared.is_ending() && self.shared.queue.is_empty();
            match read.await {
                Ok(Ok(Some(batch)))
                    if waited && batch.records.len() < self.options.batch.records =>
                {
                    waited = false;
                    drop(batch);
                    self.shared.pause(self.options.wait).await;
                }
                Ok(Ok(Some(batch))) => return Some(batch),
                Ok(Ok(None)) if last => return None,
                Ok(Ok(None)) => {
                    let (Ok(()) | Err(_)) = timeout(ADOPT_EVERY, spool.arrived()).await;
                    waited = true;
                }
                Ok(Err(error)) => {
                    self.failed(&format!("the spool cannot be read: {error}"), None).await;
                }
                Err(_ended) => return None,
            }
        }
    }

    async fn done(&self, taken: Taken, count: usize, refused: usize) {
        let stats = &self.shared.stats;
        Stats::add(&stats.sent, count - refused);
        stats.dropped(Dropped::Refused, refused);
        let batch = match taken {
            Taken::Memory(_) => return self.shared.queue.done(count),
            Taken::Disk(batch) => batch,
        };
        let Some(spool) = self.shared.spool.clone() else { return };
        let damaged = usize::try_from(batch.damaged).unwrap_or(usize::MAX);
        if damaged > 0 {
            tracing::warn!(sink = &*self.options.name, damaged, "records of a spool are damaged");
            stats.dropped(Dropped::Damaged, damaged);
        }
        if spool.is_own(&batch) {
            stats.on_disk.fetch_sub((count + damaged) as u64, Ordering::Relaxed);
        } else {
            Stats::add(&stats.recovered, count + damaged);
        }
        let noted = spawn_blocking(move || spool.done(&batch)).await;
        if let Ok(Err(error)) = noted {
            // The place is kept in memory: only after a crash are they sent again.
            tracing::warn!(sink = &*self.options.name, %error, "a spool's cursor cannot be kept");
        }
    }

    /// Sends records until each is taken or refused; returns how many were refused.
    async fn send(&mut self, records: Vec<Record>) -> usize {
        let mut refused = 0;
        let mut parts = VecDeque::from([records]);
        while let Some(mut part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.sink.reopen();
            }
            let attempt = timeout(self.options.timeout, self.sink.deliver(&part)).await;
            match attempt.unwrap_or_else(|_elapsed| Err(DeliverError::again("no answer in time"))) {
                Ok(delivered) => {
                    refused += delivered.refused.len();
                    let why = delivered.why.as_deref().unwrap_or("no reason is given");
                    if !delivered.refused.is_empty() {
                        self.refused(delivered.refused.len(), why);
                    }
                    if delivered.again.is_empty() {
                        self.succeeded();
                    } else {
                        self.failed(why, None).await;
                        let again = |index: &usize| part.get(*index).cloned();
                        parts.push_front(delivered.again.iter().filter_map(again).collect());
                    }
                }
                Err(DeliverError { message, then: Then::Split }) if part.len() == 1 => {
                    refused += 1;
                    self.refused(1, &message);
                }
                Err(DeliverError { then: Then::Split, .. }) => {
                    let rest = part.split_off(part.len() / 2);
                    parts.push_front(rest);
                    parts.push_front(part);
                }
                Err(DeliverError { message, then: Then::Again(after) }) => {
                    self.failed(&message, after).await;
                    parts.push_front(part);
                }
            }
        }
        refused
    }

    fn refused(&self, count: usize, why: &str) {
        tracing::warn!(sink = &*self.options.name, count, why, "a receiver refuses records");
    }

    /// Counts and tells a failure, and waits before the next attempt.
    async fn failed(&mut self, why: &str, after: Option<Duration>) {
        let shared = &self.shared;
        Stats::add(&shared.stats.failures, 1);
        shared.stats.failing.store(true, Ordering::Relaxed);
        let now = shared.clock.now();
        let lately = |at: Instant| now.saturating_duration_since(at) < TELL_EVERY;
        if !self.told && !self.told_at.is_some_and(lately) {
            (self.told, self.told_at) = (true, Some(now));
            let summary = format!("the sink {} does not take what it is sent", shared.name);
            shared.tell(NoticeKind::SinkFailing, summary, Some(why));
        } else {
            tracing::debug!(sink = &*shared.name, why, "a sink fails");
        }
        let pause = self.backoff.failed().max(after.unwrap_or_default()).min(LONGEST_PAUSE);
        if shared.is_ending() {
            tokio::time::sleep(pause.min(LAST_PAUSE)).await;
        } else {
            shared.pause(pause).await;
        }
    }

    fn succeeded(&mut self) {
        self.backoff.succeeded();
        self.shared.stats.failing.store(false, Ordering::Relaxed);
        if std::mem::take(&mut self.told) {
            let summary = format!("the sink {} takes what it is sent again", self.shared.name);
            self.shared.tell(NoticeKind::SinkRecovered, summary, None);
        }
    }
}
