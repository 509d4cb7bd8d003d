//! The settings of the audit log and of what a route records, as users write them.

mod anchor;
mod check;
mod route;
mod source;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Secret;
use tidegate_core::units::{ByteSize, Rate, Span};

pub use self::anchor::{Anchor, AnchorSettings};
pub use self::check::check;
pub use self::route::{Durable, FieldSettings, OnFailure, Redaction, RouteAuditSettings};
pub use self::source::{ParseSourceError, Source};

/// The audit log: entries in a Merkle tree, with signed checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct AuditSettings {
    /// The folder that the log lives in; it is made if it is not there. One process writes to it.
    /// Needs a restart.
    pub path: PathBuf,
    /// The log's name: the first line of each checkpoint, and the name of its key. What stands
    /// before the first slash names this node in the records. Needs a restart.
    pub origin: String,
    /// The file with the key that signs checkpoints, made by `tidegate audit keygen`. Needs a
    /// restart.
    pub key: PathBuf,
    /// A file with the last signed checkpoint. Keep it on another file system than `path`, so that
    /// a log that was restored from a backup is noticed at start. Default: `path` with `.head`
    /// behind it. Needs a restart.
    #[serde(default)]
    pub head: Option<PathBuf>,
    /// How often a checkpoint is signed while there are new records. Default: 2s. Needs a restart.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: Span,
    /// The longest time between a record of a `durable: grouped` route and its fsync, as long as
    /// the disk keeps up. Default: 5ms. Needs a restart.
    #[serde(default = "group_window")]
    pub group_window: Span,
    /// How many bytes of records wait for the disk at most; what comes then is refused or counted,
    /// as its route says. Default: 64MiB. Needs a restart.
    #[serde(default = "max_pending")]
    pub max_pending: ByteSize,
    /// How long a request waits for the fsync of its record before its route's `on_failure`
    /// applies. Default: 5s. A reload applies it.
    #[serde(default = "commit_timeout")]
    pub commit_timeout: Span,
    /// How long records are kept. Default: for ever. Needs a restart.
    #[serde(default)]
    pub retention: RetentionSettings,
    /// What becomes of personal and secret data before it is written.
    #[serde(default)]
    pub redaction: RedactionSettings,
    /// Where checkpoints are sent, so that nobody can rewrite the log unnoticed. Default: nowhere.
    /// A reload applies it.
    #[serde(default)]
    pub anchors: Vec<AnchorSettings>,
    /// What is recorded of refused requests.
    #[serde(default)]
    pub security_events: SecurityEventSettings,
    /// Record configurations, keys and what is asked of the admin listener; starts and stops are
    /// recorded always. Default: true. A reload applies it.
    #[serde(default = "yes")]
    pub administration: bool,
}

/// How long records are kept. What is pruned stays part of the tree: later records verify as
/// before, and the log states its minimum index.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RetentionSettings {
    /// Records older than this are removed, in whole files. Default: none. Needs a restart.
    pub max_age: Option<Span>,
    /// The oldest records are removed when the log is larger than this. Default: none. Needs a
    /// restart.
    pub max_size: Option<ByteSize>,
}

/// What becomes of personal and secret data before it is written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RedactionSettings {
    /// The key of hashes and of subjects' pseudonyms, as `${file:path}` or `${env:NAME}`, at least
    /// 16 bytes. Another key gives other pseudonyms. Default: none; needed for `subject` and
    /// `redact: hash`. A reload applies it.
    pub key: Option<Secret>,
    /// The folder with one key per subject, for `redact: encrypt`. Keep it out of backups that
    /// outlive an erasure. Default: none. Needs a restart.
    pub subjects: Option<PathBuf>,
}

/// What is recorded of requests that policy refused.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct SecurityEventSettings {
    /// Record refusals. Default: true. A reload applies it.
    pub refusals: bool,
    /// How many are written out; those beyond are counted by reason, and each ten seconds one
    /// record says how many. Default: 500/s. A reload applies it.
    pub rate: Rate,
}

impl Default for SecurityEventSettings {
    fn default() -> Self {
        let rate = Rate {
            count: std::num::NonZeroU32::new(500).unwrap_or(std::num::NonZeroU32::MIN),
            period: std::time::Duration::from_secs(1),
        };
        Self { refusals: true, rate }
    }
}

impl AuditSettings {
    /// How long a request waits for its record, unless the settings say otherwise.
    pub const COMMIT_TIMEOUT: Span = Span::seconds(5);

    /// The file with the last signed checkpoint.
    #[must_use]
    pub fn head_file(&self) -> PathBuf {
        self.head.clone().unwrap_or_else(|| {
            let mut beside = self.path.clone().into_os_string();
            beside.push(".head");
            beside.into()
        })
    }

    /// The name of this node in records.
    #[must_use]
    pub fn node(&self) -> &str {
        self.origin.split('/').next().unwrap_or_default()
    }
}

fn checkpoint_every() -> Span {
    Span::seconds(2)
}

fn group_window() -> Span {
    Span::millis(5)
}

fn max_pending() -> ByteSize {
    ByteSize::mib(64)
}

fn commit_timeout() -> Span {
    AuditSettings::COMMIT_TIMEOUT
}

fn yes() -> bool {
    true
}
