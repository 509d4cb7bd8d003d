//! The bounded queue between those who have something to tell and the task that sends it.
//!
//! [`Queue::push`] never waits: what finds no room is refused, and the caller counts it. Records
//! stay in the queue until they are [`Queue::done`], so that a task that is stopped halfway loses
//! none.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::record::{Draft, Key, Record};

/// How much is taken out of a queue at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most so many records; at least 1.
    pub records: usize,
    /// At most so many bytes of bodies, unless one record alone has more.
    pub bytes: usize,
}

/// A bounded queue of records.
#[derive(Debug)]
pub struct Queue {
    origin: u64,
    limit: AtomicUsize,
    used: AtomicUsize,
    /// A record found no room since one was removed.
    full: AtomicBool,
    closed: AtomicBool,
    records: Mutex<Ring>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    last: u64,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Queue {
    /// An empty queue for at most `limit` bytes. `origin` becomes part of the records' keys: it
    /// has to differ from that of every other queue, also of other processes.
    #[must_use]
    pub fn new(origin: u64, limit: usize) -> Self {
        Self {
            origin,
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            records: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Which queue this is, in the records' keys.
    #[must_use]
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Changes how much may wait; what waits stays.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.full.store(false, Ordering::Relaxed);
    }

    /// Whether it is of no use to encode a record: one found no room, and none has left since.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Adds a record at the end.
    ///
    /// # Errors
    /// There is no room, or the queue is closed.
    pub fn push(&self, draft: Draft) -> Result<(), Full> {
        let cost = draft.body.len() + Record::OVERHEAD;
        let limit = self.limit.load(Ordering::Relaxed);
        let mut ring = self.records.lock();
        let used = self.used.load(Ordering::Relaxed);
        if self.is_closed() {
            return Err(Full);
        }
        if used + cost > limit {
            // What is too large for an empty queue says nothing of the next.
            self.full.store(used > 0, Ordering::Relaxed);
            return Err(Full);
        }
        self.used.store(used + cost, Ordering::Relaxed);
        ring.last += 1;
        let key = Key { origin: self.origin, sequence: ring.last };
        ring.records.push_back(Record::new(key, draft));
        drop(ring);
        self.arrived.notify_one();
        Ok(())
    }

    /// Adds records that were taken out of it at the end, under new keys; whether there is room or
    /// not, since they had theirs. Answers the keys.
    ///
    /// # Errors
    /// The queue is closed.
    pub(crate) fn put_back(&self, records: Vec<Record>) -> Result<Vec<Key>, Full> {
        let mut ring = self.records.lock();
        if self.is_closed() {
            return Err(Full);
        }
        let mut keys = Vec::with_capacity(records.len());
        for record in records {
            self.used.fetch_add(record.cost(), Ordering::Relaxed);
            ring.last += 1;
            let key = Key { origin: self.origin, sequence: ring.last };
            keys.push(key);
            ring.records.push_back(Record { key, ..record });
        }
        drop(ring);
        self.arrived.notify_one();
        Ok(keys)
    }

    /// Returns when there is a record, or the queue is closed and empty (then `false`). One task
    /// may wait.
    pub async fn wait(&self) -> bool {
        loop {
            if !self.records.lock().records.is_empty() {
                return true;
            }
            if self.closed.load(Ordering::Acquire) {
                return false;
            }
            self.arrived.notified().await;
        }
    }

    /// The first records, which stay.
    #[must_use]
    pub fn peek(&self, limits: BatchLimits) -> Vec<Record> {
        let ring = self.records.lock();
        let mut bytes = 0;
        let fits = |(index, record): &(usize, &Record)| {
            bytes += record.body.len();
            *index == 0 || (*index < limits.records && bytes <= limits.bytes)
        };
        let fitting = ring.records.iter().enumerate().take_while(fits);
        fitting.map(|(_, record)| record.clone()).collect()
    }

    /// Whether as much waits as one batch takes.
    #[must_use]
    pub fn has_batch(&self, limits: BatchLimits) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        used > limits.bytes || self.len() >= limits.records
    }

    /// Removes the first records.
    pub fn done(&self, count: usize) {
        let mut ring = self.records.lock();
        let count = count.min(ring.records.len());
        let freed: usize = ring.records.iter().take(count).map(Record::cost).sum();
        let gone: Vec<Record> = ring.records.drain(..count).collect();
        if ring.records.is_empty() {
            // What a rush needed is given back.
            ring.records.shrink_to(64);
        }
        self.used.fetch_sub(freed, Ordering::Relaxed);
        self.full.store(false, Ordering::Relaxed);
        drop(ring);
        drop(gone);
    }

    /// How many records wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.lock().records.len()
    }

    /// Whether no record waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of the limit are used.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// When the oldest record that waits happened.
    #[must_use]
    pub fn oldest(&self) -> Option<SystemTime> {
        self.records.lock().records.front().map(|record| record.time)
    }

    /// Takes nothing more: [`Queue::wait`] ends when it is empty.
    pub fn close(&self) {
        // Under the lock, so that nothing is added behind the end.
        let ring = self.records.lock();
        self.closed.store(true, Ordering::Release);
        drop(ring);
        self.arrived.notify_one();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_core::notice::Severity;

    use super::*;
    use crate::record::REQUEST;

    fn draft(size: usize) -> Draft {
        Draft {
            time: SystemTime::UNIX_EPOCH,
            severity: Severity::Low,
            kind: REQUEST,
            body: Bytes::from(vec![b'x'; size]),
        }
    }

    fn sequences(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.key.sequence).collect()
    }

    #[test]
    fn a_full_queue_refuses_and_stays_within_its_limit() {
        let queue = Queue::new(7, 10 * (100 + Record::OVERHEAD));
        let taken = (0..100).filter(|_| queue.push(draft(100)).is_ok()).count();
        assert_eq!((taken, queue.len()), (10, 10));
        assert!(queue.is_full());
        queue.done(1);
        assert!(queue.push(draft(100)).is_ok());
        let all = BatchLimits { records: 100, bytes: 1 << 20 };
        // What was refused took no number: the keys of what is sent have no gap.
        assert_eq!(sequences(&queue.peek(all)), (2..=11).collect::<Vec<_>>());
        queue.done(100);
        assert_eq!((queue.used(), queue.is_empty()), (0, true));
    }

    #[test]
    fn a_queue_with_too_little_room_is_full() {
        let queue = Queue::new(7, 3 * (100 + Record::OVERHEAD) / 2);
        assert!(queue.push(draft(100)).is_ok() && !queue.is_full());
        assert!(queue.push(draft(100)).is_err() && queue.is_full());
        queue.done(1);
        assert!(!queue.is_full());
    }

    #[test]
    fn a_batch_is_bounded_by_records_and_by_bytes_and_never_empty() {
        let queue = Queue::new(7, 1 << 20);
        for size in [1000, 10, 10, 10] {
            queue.push(draft(size)).unwrap();
        }
        let peek = |records, bytes| queue.peek(BatchLimits { records, bytes }).len();
        assert_eq!(peek(1, 1 << 20), 1);
        assert_eq!(peek(3, 1 << 20), 3);
        assert_eq!(peek(10, 1015), 2);
        assert_eq!(peek(10, 10), 1, "one that is larger than a batch goes alone");
    }

    #[tokio::test]
    async fn a_closed_queue_is_emptied_before_the_waiting_ends() {
        let queue = Queue::new(7, 1 << 20);
        queue.push(draft(1)).unwrap();
        queue.close();
        assert!(queue.wait().await);
        queue.done(1);
        assert!(!queue.wait().await);
    }
}
