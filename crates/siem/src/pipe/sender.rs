//! The task that sends batches, again and again until they are taken.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{PipeOptions, Shared};
use crate::backoff::Backoff;
use crate::deliver::{Deliver, DeliverError, Delivered, Then};
use crate::record::{Key, Record};
use crate::spool::{Batch, Spool};
use crate::stats::{Dropped, Stats};

/// How often a spool is searched for what a process left that has ended.
const ADOPT_EVERY: Duration = Duration::from_secs(2);

/// A receiver cannot have us wait longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after a failure when all is to end.
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// So many records in a row that a receiver refuses are not the records' fault, but the
/// receiver's or the configuration's: from then on each is tried again before it is dropped.
const SUSPICIOUS: u32 = 3;

/// So often a record is tried while all are refused.
const TRIES: u32 = 8;

/// A batch that failed so often is halved: a record in it may be what breaks the connection, or
/// what something before the receiver does not let pass.
const HALVE_AFTER: u32 = 5;

/// A record that alone failed so often, with others taken in between each time, is at fault.
const MISSES: u32 = 3;

/// What speaks against a record that failed again and again alone, and waits behind the others.
#[derive(Clone, Copy)]
struct Suspicion {
    /// How often records had been taken when it failed last.
    taken: u64,
    /// How often it failed after others had been taken.
    misses: u32,
}

/// The task's own state.
pub(super) struct Sender {
    shared: Arc<Shared>,
    options: PipeOptions,
    sink: Box<dyn Deliver>,
    backoff: Backoff,
    adopted_at: Instant,
    /// Records that were refused since one was taken.
    refused_in_row: u32,
    /// How often records were taken.
    taken: u64,
    /// Records that were put back at the end of the queue, since they never passed.
    suspects: HashMap<Key, Suspicion>,
}

/// Where records come from.
enum Taken {
    Memory(Vec<Record>),
    Disk(Batch),
}

/// What became of a batch but for what was taken.
#[derive(Default)]
struct Gone {
    refused: usize,
    /// So many are at the end of the queue again.
    put_back: usize,
}

/// Records that are sent together, and how often that failed.
struct Part {
    records: Vec<Record>,
    failures: u32,
    /// For a record that waits behind the others.
    suspicion: Option<Suspicion>,
}

impl Part {
    fn new(records: Vec<Record>, failures: u32) -> Self {
        Self { records, failures, suspicion: None }
    }
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, options: PipeOptions, sink: Box<dyn Deliver>) -> Self {
        let backoff = Backoff::new(options.retry.0, options.retry.1, shared.queue.origin());
        let adopted_at = shared.clock.now();
        Self {
            shared,
            options,
            sink,
            backoff,
            adopted_at,
            refused_in_row: 0,
            taken: 0,
            suspects: HashMap::new(),
        }
    }

    /// Sends until nothing is left and nothing more comes, or until it is replaced: then what is
    /// just being sent is left to the next.
    pub(super) async fn run(mut self, mut replaced: watch::Receiver<bool>) {
        loop {
            let taken = tokio::select! {
                biased;
                _ = replaced.wait_for(|replaced| *replaced) => return,
                taken = self.next() => taken,
            };
            let Some(taken) = taken else { return };
            let (records, count) = match &taken {
                Taken::Memory(records) => (records.clone(), records.len()),
                Taken::Disk(batch) => (batch.records.clone(), batch.records.len()),
            };
            self.shared.stats.sending(records.first().map(|record| record.time));
            let gone = tokio::select! {
                biased;
                _ = replaced.wait_for(|replaced| *replaced) => return,
                sent = self.send(records) => sent,
            };
            self.done(taken, count, gone).await;
        }
    }

    async fn next(&mut self) -> Option<Taken> {
        if self.shared.place.is_none() {
            return self.next_in_memory().await.map(Taken::Memory);
        }
        let spool = self.shared.opened().await?;
        self.next_on_disk(&spool).await.map(Taken::Disk)
    }

    async fn next_in_memory(&self) -> Option<Vec<Record>> {
        let (queue, options) = (&self.shared.queue, &self.options);
        self.shared.stats.sending(None);
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

    async fn next_on_disk(&mut self, spool: &Arc<Spool>) -> Option<Batch> {
        let mut waited = false;
        loop {
            // Asked before reading, so that nothing is written between the answers.
            let last = self.shared.queue.is_closed() && self.shared.queue.is_empty();
            match self.read(spool).await? {
                Ok(Some(batch)) if waited && batch.records.len() < self.options.batch.records => {
                    waited = false;
                    drop(batch);
                    self.shared.pause(self.options.wait).await;
                }
                Ok(Some(batch)) => return Some(batch),
                Ok(None) if last => {
                    self.shared.stats.sending(None);
                    return None;
                }
                Ok(None) => {
                    self.shared.stats.sending(None);
                    let (Ok(()) | Err(_)) = timeout(ADOPT_EVERY, spool.arrived()).await;
                    waited = true;
                }
                Err(error) => {
                    self.failed(&format!("the spool cannot be read: {error}"), None).await;
                }
            }
        }
    }

    /// Reads the next batch, after a look for what others left, if that is due; `None` if the
    /// process ends.
    async fn read(&mut self, spool: &Arc<Spool>) -> Option<std::io::Result<Option<Batch>>> {
        let now = self.shared.clock.now();
        let adopt = now.saturating_duration_since(self.adopted_at) >= ADOPT_EVERY;
        if adopt {
            self.adopted_at = now;
        }
        let (spool, limits) = (Arc::clone(spool), self.options.batch);
        let read = spawn_blocking(move || {
            if adopt {
                spool.adopt()?;
            }
            spool.peek(limits)
        });
        read.await.ok()
    }

    async fn done(&self, taken: Taken, count: usize, Gone { refused, put_back }: Gone) {
        let stats = &self.shared.stats;
        Stats::add(&stats.sent, count - refused - put_back);
        stats.dropped(Dropped::Refused, refused);
        match taken {
            Taken::Memory(_) => self.shared.queue.done(count),
            Taken::Disk(batch) => {
                let Some(spool) = self.shared.opened().await else { return };
                let count = count + self.damaged(batch.damaged);
                if spool.is_own(&batch) {
                    stats.left_disk(count);
                } else {
                    Stats::add(&stats.recovered, count);
                }
                self.note(spool, batch).await;
            }
        }
    }

    /// Counts records that were damaged in the spool.
    fn damaged(&self, damaged: u64) -> usize {
        let damaged = usize::try_from(damaged).unwrap_or(usize::MAX);
        if damaged > 0 {
            tracing::warn!(sink = &*self.options.name, damaged, "records of a spool are damaged");
            self.shared.stats.dropped(Dropped::Damaged, damaged);
        }
        damaged
    }

    /// Notes in the spool that a batch was sent.
    async fn note(&self, spool: Arc<Spool>, batch: Batch) {
        let noted = spawn_blocking(move || spool.done(&batch)).await;
        if let Ok(Err(error)) = noted {
            // The place is kept in memory: only after a crash are they sent again.
            tracing::warn!(sink = &*self.options.name, %error, "a spool's cursor cannot be kept");
        }
    }

    /// Sends records until each is taken, refused or put back.
    async fn send(&mut self, records: Vec<Record>) -> Gone {
        let mut refused = 0;
        let mut parts = self.parts(records);
        while let Some(part) = parts.pop_front() {
            if part.records.is_empty() {
                continue;
            }
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.sink.reopen();
            }
            let attempt = timeout(self.options.timeout, self.sink.deliver(&part.records)).await;
            match attempt.unwrap_or_else(|_elapsed| Err(DeliverError::again("no answer in time"))) {
                Ok(delivered) => refused += self.delivered(part, delivered, &mut parts).await,
                Err(error) => refused += self.undelivered(part, error, &mut parts).await,
            }
            if let Some(put_back) = self.put_back(&parts) {
                return Gone { refused, put_back };
            }
        }
        Gone { refused, put_back: 0 }
    }

    /// All in one, but for those that wait behind the others.
    fn parts(&mut self, records: Vec<Record>) -> VecDeque<Part> {
        let (suspects, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| self.suspects.contains_key(&record.key));
        let waiting = suspects.into_iter().map(|record| {
            let suspicion = self.suspects.remove(&record.key);
            Part { records: vec![record], failures: TRIES, suspicion }
        });
        std::iter::once(Part::new(others, 0)).chain(waiting).collect()
    }

    /// If all that is left waits for others to be taken, others have to come: it goes to the end of
    /// the queue. Answers how many records did.
    fn put_back(&mut self, parts: &VecDeque<Part>) -> Option<usize> {
        let waits = |part: &Part| part.suspicion.filter(|it| it.taken == self.taken);
        let suspicions: Vec<_> = parts.iter().map_while(waits).collect();
        if suspicions.is_empty() || suspicions.len() < parts.len() {
            return None;
        }
        let records = parts.iter().flat_map(|part| part.records.iter().cloned()).collect();
        // A queue that is closed takes nothing: then the rest of the time is theirs.
        let keys = self.shared.queue.put_back(records).ok()?;
        let count = keys.len();
        self.suspects.extend(keys.into_iter().zip(suspicions));
        Some(count)
    }

    /// After an answer; returns how many records are given up.
    async fn delivered(
        &mut self,
        part: Part,
        delivered: Delivered,
        parts: &mut VecDeque<Part>,
    ) -> usize {
        let why = delivered.why.as_deref().unwrap_or("no reason is given");
        let refused = delivered.refused.len();
        if refused > 0 && refused == part.records.len() {
            // All of a batch is hardly the records' fault: each is looked at alone.
            return self.undelivered(part, DeliverError::split(why), parts).await;
        }
        self.tell_refused(refused, why);
        if delivered.again.len() + refused < part.records.len() {
            self.taken += 1;
            self.refused_in_row = 0;
        }
        if delivered.again.is_empty() {
            self.succeeded();
            return refused;
        }
        if delivered.again.len() == part.records.len() {
            return self.undelivered(part, DeliverError::again(why), parts).await;
        }
        let again = delivered.again.iter().filter_map(|index| part.records.get(*index).cloned());
        self.failed(why, None).await;
        parts.push_front(Part::new(again.collect(), 0));
        refused
    }

    /// After a failure; returns how many records are given up.
    async fn undelivered(
        &mut self,
        part: Part,
        error: DeliverError,
        parts: &mut VecDeque<Part>,
    ) -> usize {
        let Part { records, failures, suspicion } = part;
        let alone = records.len() == 1;
        match error.then {
            Then::GiveUp => {
                let count = records.len();
                self.failed(&error.message, None).await;
                self.tell_refused(count, &error.message);
                return count;
            }
            Then::Split if alone && self.believes(failures) => {
                self.tell_refused(1, &error.message);
                return 1;
            }
            Then::Split if alone => {
                self.failed(&error.message, None).await;
                parts.push_front(Part::new(records, failures + 1));
            }
            Then::Split => halve(records, 0, parts),
            Then::Again(after) => {
                self.failed(&error.message, after).await;
                if alone && failures + 1 >= TRIES {
                    let missed = suspicion.is_some_and(|it| self.taken > it.taken);
                    let misses = suspicion.map_or(0, |it| it.misses) + u32::from(missed);
                    if misses >= MISSES {
                        self.tell_refused(1, &error.message);
                        return 1;
                    }
                    let suspicion = Some(Suspicion { taken: self.taken, misses });
                    parts.push_back(Part { records, failures: TRIES, suspicion });
                } else if !alone && failures + 1 >= HALVE_AFTER {
                    halve(records, failures, parts);
                } else {
                    parts.push_front(Part::new(records, failures + 1));
                }
            }
        }
        0
    }

    /// Whether a receiver that refuses a record is believed that the record is at fault.
    fn believes(&mut self, failures: u32) -> bool {
        let believed = self.refused_in_row < SUSPICIOUS || failures + 1 >= TRIES;
        if believed {
            self.refused_in_row = self.refused_in_row.saturating_add(1);
        }
        believed
    }

    fn tell_refused(&self, count: usize, why: &str) {
        if count > 0 && self.shared.refused.lock().fails(self.shared.clock.now()) {
            tracing::warn!(sink = &*self.options.name, count, why, "a receiver refuses records");
            self.shared.refused.lock().works();
        }
    }

    /// Counts and tells a failure, and waits before the next attempt.
    async fn failed(&mut self, why: &str, after: Option<Duration>) {
        let shared = &self.shared;
        Stats::add(&shared.stats.failures, 1);
        shared.fails(why);
        let pause = self.backoff.failed().max(after.unwrap_or_default()).min(LONGEST_PAUSE);
        if shared.is_ending() {
            tokio::time::sleep(pause.min(LAST_PAUSE)).await;
        } else {
            shared.pause(pause).await;
        }
    }

    fn succeeded(&mut self) {
        self.backoff.succeeded();
        self.shared.works();
    }
}

fn halve(mut records: Vec<Record>, failures: u32, parts: &mut VecDeque<Part>) {
    let rest = records.split_off(records.len() / 2);
    parts.push_front(Part::new(rest, failures));
    parts.push_front(Part::new(records, failures));
}
