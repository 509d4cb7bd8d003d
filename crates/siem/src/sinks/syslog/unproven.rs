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
    sent: VecDeque<Sent>,
    bytes: usize,
}

struct Sent {
    at: Instant,
    record: Record,
    /// Whether that was not the first time.
    again: bool,
}

impl Unproven {
    /// These were sent now, together with all that were unproven on another connection if `anew`.
    pub(super) fn sent(&mut self, batch: &[Record], now: Instant, anew: bool) {
        if anew {
            for sent in &mut self.sent {
                (sent.at, sent.again) = (now, true);
            }
        }
        for record in batch {
            self.bytes += record.cost();
            self.sent.push_back(Sent { at: now, record: record.clone(), again: false });
        }
        while self.bytes > MOST {
            self.forget_first();
        }
    }

    /// The connection is well: what is older than the kernel's patience has arrived.
    pub(super) fn forget(&mut self, now: Instant, patience: Duration) {
        let is_old = |sent: &Sent| now.saturating_duration_since(sent.at) > patience;
        while self.sent.front().is_some_and(is_old) {
            self.forget_first();
        }
    }

    /// The connection broke. Unless that was the end of the kernel's patience, what is older than
    /// that had arrived; and if the other end closed it, what it got twice is not sent a third time:
    /// it may close each one early.
    pub(super) fn broke(&mut self, error: &io::Error, now: Instant, patience: Duration) {
        if error.kind() != io::ErrorKind::TimedOut {
            self.forget(now, patience);
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            while self.sent.front().is_some_and(|sent| sent.again) {
                self.forget_first();
            }
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.sent.iter().map(|sent| &sent.record)
    }

    fn forget_first(&mut self) {
        if let Some(sent) = self.sent.pop_front() {
            self.bytes -= sent.record.cost();
        }
    }
}
