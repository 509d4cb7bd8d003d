//! What was sent over a connection and may not have left this machine yet: syslog has no
//! acknowledgement, and the kernel takes bytes for a peer that is gone until its patience ends.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::record::Record;

/// More is not kept: the oldest are believed to have arrived.
const MOST: usize = 4 << 20;

/// Records that are sent again when their connection breaks.
#[derive(Default)]
pub(super) struct Unproven {
    sent: VecDeque<(Instant, Record)>,
    bytes: usize,
}

impl Unproven {
    /// These were sent now, together with all that were unproven on another connection if `anew`.
    pub(super) fn sent(&mut self, batch: &[Record], now: Instant, anew: bool) {
        if anew {
            self.sent.iter_mut().for_each(|(at, _)| *at = now);
        }
        for record in batch {
            self.bytes += record.cost();
            self.sent.push_back((now, record.clone()));
        }
        while self.bytes > MOST {
            self.forget_first();
        }
    }

    /// The connection is well: what is older than the kernel's patience has arrived.
    pub(super) fn forget(&mut self, now: Instant, patience: Duration) {
        let is_old = |(at, _): &(Instant, Record)| now.saturating_duration_since(*at) > patience;
        while self.sent.front().is_some_and(is_old) {
            self.forget_first();
        }
    }

    /// The connection broke. Unless that was the end of the kernel's patience, what is older than
    /// that had arrived.
    pub(super) fn broke(&mut self, error: &io::Error, now: Instant, patience: Duration) {
        if error.kind() != io::ErrorKind::TimedOut {
            self.forget(now, patience);
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.sent.iter().map(|(_, record)| record)
    }

    fn forget_first(&mut self) {
        if let Some((_, record)) = self.sent.pop_front() {
            self.bytes -= record.cost();
        }
    }
}
