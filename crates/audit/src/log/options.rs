//! What a log is opened with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::hash::Hash;
use crate::note::VerifyingKey;

/// What a log is opened with. Its origin is the name of the key that signs.
#[derive(Debug)]
pub struct Options {
    /// The log's directory; it is made when it is missing.
    pub path: PathBuf,
    /// The file with the last checkpoint that was signed, best on another disk than `path`: what
    /// tells a restored backup from the log.
    pub head: PathBuf,
    /// How often a checkpoint is signed while records arrive.
    pub checkpoint_every: Duration,
    /// How long a record with [`Durability::Grouped`] waits at most before its sync begins.
    pub group_window: Duration,
    /// Bytes that may be held in memory: records that are not synced or not in tiles yet, each
    /// with 64 bytes of its own. At least 1 MiB.
    pub max_pending: usize,
    /// A segment of the write-ahead log is followed by a new one at this size, in bytes.
    pub segment: u64,
    /// What is removed, and when.
    pub retention: Retention,
    /// Keys that signed earlier checkpoints of this log, after a change of the key.
    pub earlier_keys: Vec<VerifyingKey>,
    /// To go on, under the new origin that the key names, with a directory that is another log's
    /// or an older copy. Without it such a directory is refused.
    pub succession: Option<Succession>,
    /// Who is told; they are called on the log's threads and should be quick.
    pub observers: Vec<Observer>,
}

/// What is removed from the beginning of a log, whole bundles of 256 records at a time. Without
/// either limit nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Bundles that were written longer ago go.
    pub max_age: Option<Duration>,
    /// The oldest go when records and hashes take more, in bytes.
    pub max_size: Option<u64>,
}

/// When the sync that a record waits for begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At once, or as soon as the one that is running ends.
    BeforeResponse,
    /// Within [`Options::group_window`].
    Grouped,
    /// With the next one that others wait for, or within [`Options::checkpoint_every`].
    No,
}

/// What happened in a log.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A checkpoint is durable and can be shown to others.
    Checkpoint(Published),
    /// The log stopped.
    Failed(Arc<str>),
    /// The disk is full: records are refused, or checkpoints wait.
    NoSpace(Arc<str>),
    /// Records below this index were removed.
    Pruned(u64),
}

/// Who is told of what happens in a log.
#[derive(Clone)]
pub struct Observer(pub Arc<dyn Fn(&Notice) + Send + Sync>);

/// A checkpoint that was signed and is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// How many records it covers.
    pub size: u64,
    /// The hash over them.
    pub root: Hash,
    /// The signed note, as it stands in the file `checkpoint`.
    pub note: Arc<str>,
    /// When it was signed; after a start, when the log was opened.
    pub at: SystemTime,
}

/// How a log goes on under a new origin, visibly.
pub struct Succession {
    /// Makes the record with which the successor begins, from what is known of its predecessor.
    pub record: SuccessionRecord,
}

/// Makes a record of what a log goes on from.
pub type SuccessionRecord = Box<dyn FnOnce(&Predecessor) -> Vec<u8> + Send>;

/// The log that a successor goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its origin.
    pub origin: String,
    /// The last checkpoint that it is known to have signed: the note of the head file.
    pub head: Option<String>,
    /// How many of its records are there.
    pub size: u64,
    /// The hash over those.
    pub root: Hash,
    /// What kept later records of its write-ahead log from being read.
    pub damage: Option<String>,
}

impl Options {
    /// Checkpoints every 2 seconds, a window of 5 milliseconds, 64 MiB in memory, segments of
    /// 16 MiB, and nothing is ever removed.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, head: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            head: head.into(),
            checkpoint_every: Duration::from_secs(2),
            group_window: Duration::from_millis(5),
            max_pending: 64 << 20,
            segment: 16 << 20,
            retention: Retention::default(),
            earlier_keys: Vec::new(),
            succession: None,
            observers: Vec::new(),
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl fmt::Debug for Succession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Succession")
    }
}
