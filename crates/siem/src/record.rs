//! What is queued for a sink: an event in the sink's format, with what its envelope says.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use tidegate_core::notice::Severity;

/// The kind of records that are about one request.
pub const REQUEST: &str = "request";

/// One event in the format of its sink, and what the envelope needs. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Tells it from every other, also when it is sent twice.
    pub key: Key,
    /// When it happened.
    pub time: SystemTime,
    /// How bad it is.
    pub severity: Severity,
    /// `request`, or the code of a notice.
    pub kind: &'static str,
    /// The event, without a line end.
    pub body: Bytes,
}

/// A record that has no key yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// When it happened.
    pub time: SystemTime,
    /// How bad it is.
    pub severity: Severity,
    /// `request`, or the code of a notice.
    pub kind: &'static str,
    /// The event, without a line end.
    pub body: Bytes,
}

/// The idempotency key of a record: which queue of which process took it, and as which. It is the
/// same whenever the record is sent, so that receivers can tell a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// A random number for each queue of each process.
    pub origin: u64,
    /// Counts the records of the queue, from 1, without a gap.
    pub sequence: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.origin, self.sequence)
    }
}

impl Record {
    /// What it costs in memory beside its body: itself in a ring that may be half empty, and the
    /// allocation.
    pub(crate) const OVERHEAD: usize = 2 * size_of::<Self>() + 64;

    pub(crate) fn new(key: Key, draft: Draft) -> Self {
        let Draft { time, severity, kind, body } = draft;
        Self { key, time, severity, kind, body }
    }

    /// What it counts against bounds of memory, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.body.len() + Self::OVERHEAD
    }
}
