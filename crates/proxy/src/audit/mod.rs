//! What is recorded in the audit log, and when: key events of routes ([`trail`]), refusals
//! ([`refusals`]), and the life of the process ([`process`]). How the log keeps it is
//! `tidegate-audit`'s.
//!
//! Nothing here blocks a request on the disk but what its route says: a record goes into the
//! log's bounded buffer, and only a route with `durable: before_response` waits for its fsync.

mod anchors;
mod changes;
mod decisions;
mod keys;
mod opening;
mod pages;
mod process;
mod refusals;
mod sample;
mod trail;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tidegate_audit::log::{
    Durability, Health, Log, Lost, OpenError, Options, Refused, Retention, Ticket,
};
use tidegate_audit::note::SigningKey;
use tidegate_audit::redact::{Pseudonyms, Redactor, Subjects};
use tidegate_audit::settings::{AuditSettings, Durable};
use tidegate_audit::{Kind, Record};
use tidegate_core::{Clock, SettingsError};
use tokio::time::{sleep, timeout};

use self::anchors::AnchorStates;
pub(crate) use self::anchors::Anchors;
pub(crate) use self::keys::Fingerprints;
use self::opening::Opening;
pub(crate) use self::pages::read as page;
pub(crate) use self::process::By;
use self::refusals::Refusals;
pub(crate) use self::refusals::summaries;
pub(crate) use self::trail::{Trail, answered, begin, end, redirect, refused, settle};
pub(crate) use self::values::decoded;
use crate::upgrade;

/// How often a successor looks whether the log is free.
const LOOK: Duration = Duration::from_millis(20);
/// A segment of the write-ahead log.
const SEGMENT: u64 = 16 << 20;

/// The open log, with what is needed to write to it.
pub(crate) struct Auditor {
    log: Opening,
    node: Box<str>,
    redactor: ArcSwap<Redactor>,
    refusals: Refusals,
    anchors: AnchorStates,
    counts: Counts,
    clock: Clock,
    /// Key events whose outcome is not recorded yet.
    running: Arc<()>,
    stopped: AtomicBool,
}

/// What was not recorded.
#[derive(Debug, Default)]
struct Counts {
    /// Records that could not be kept.
    lost: AtomicU64,
    /// Records whose fsync took longer than a request may wait.
    late: AtomicU64,
    /// Requests that were refused for it.
    refused: AtomicU64,
}

/// Why a record is not safe.
#[derive(Clone, Debug, thiserror::Error)]
enum Unkept {
    #[error("the fsync took longer than {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("the log is still that of the process before this one")]
    NotOpen,
    #[error("{0}")]
    Redaction(String),
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Auditor {
    /// Opens the log. Where a predecessor still has it, [`Self::succeed`] does that later.
    ///
    /// # Errors
    /// What hinders it, with its path in the configuration.
    pub(crate) fn open(settings: &AuditSettings, clock: &Clock) -> Result<Self, SettingsError> {
        let subjects = settings.redaction.subjects.as_deref().map(Subjects::open).transpose();
        let subjects = subjects.map_err(|error| wrong("redaction", error.to_string()))?;
        let log = match open_log(settings, clock)? {
            Err(OpenError::Locked(_)) if upgrade::has_predecessor() => None,
            opened => Some(opened.map_err(|error| wrong("path", error.to_string()))?),
        };
        Ok(Self {
            log: Opening::new(log),
            node: settings.node().into(),
            redactor: ArcSwap::from_pointee(redactor(settings, subjects.map(Arc::new))),
            refusals: Refusals::default(),
            anchors: AnchorStates::default(),
            counts: Counts::default(),
            clock: clock.clone(),
            running: Arc::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Waits until the predecessor lets go of the log, and opens it.
    ///
    /// # Errors
    /// It cannot be opened then.
    async fn succeed(&self, settings: &AuditSettings) -> Result<(), SettingsError> {
        while self.log.get().is_none() {
            match tokio::task::block_in_place(|| open_log(settings, &self.clock))? {
                Ok(log) => {
                    let lost = self.log.open(log);
                    self.counts.lost.fetch_add(lost as u64, Ordering::Relaxed);
                }
                Err(OpenError::Locked(_)) => sleep(LOOK).await,
                Err(error) => return Err(wrong("path", error.to_string())),
            }
        }
        Ok(())
    }

    /// Takes over what a reload may change.
    pub(crate) fn apply(&self, settings: &AuditSettings) {
        let subjects = self.redactor.load().subjects().cloned();
        self.redactor.store(Arc::new(redactor(settings, subjects)));
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn log(&self) -> Option<&Log> {
        self.log.get()
    }

    fn record(&self, time: SystemTime, kind: Kind, event: &str) -> Record {
        Record::new(time, &self.node, kind, event)
    }

    /// Gives a record to the log, without waiting.
    fn append(&self, record: &Record, durability: Durability) -> Result<Ticket, Unkept> {
        let log = self.log.get().ok_or(Unkept::NotOpen)?;
        Ok(log.append(record.encode(), durability)?)
    }

    /// Records something that nobody waits for; a loss is counted.
    fn note(&self, record: &Record) {
        match self.append(record, Durability::Grouped) {
            Err(Unkept::NotOpen) if self.log.keep_early(record.encode()) => {}
            Err(error) => self.lost(&error),
            Ok(_nobody_waits) => {}
        }
    }

    /// Records something as safely as a route promises.
    async fn keep(
        &self,
        record: &Record,
        durable: Durable,
        patience: Duration,
    ) -> Result<(), Unkept> {
        self.log.within(patience).await.ok_or(Unkept::NotOpen)?;
        match durable {
            Durable::BeforeResponse => {
                let ticket = self.append(record, Durability::BeforeResponse)?;
                match timeout(patience, ticket).await {
                    Ok(kept) => Ok(kept.map(|_index| ())?),
                    Err(_elapsed) => Err(Unkept::Late(patience)),
                }
            }
            Durable::Grouped => self.append(record, Durability::Grouped).map(drop),
            Durable::No => self.append(record, Durability::No).map(drop),
        }
    }

    /// How many records were lost or late so far.
    pub(crate) fn losses(&self) -> u64 {
        let counts = [&self.counts.late, &self.counts.lost];
        counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Whether the log takes records, as far as is known: one that is not open yet, or was closed in
    /// order, has not failed.
    pub(crate) fn takes_records(&self) -> bool {
        let health = self.log.get().map(|log| log.stats().health);
        !matches!(health, Some(Health::NoSpace | Health::Failed(_)))
    }

    /// Counts a record that is not safe, and says so now and then.
    fn lost(&self, error: &Unkept) {
        let count = match error {
            Unkept::Late(_) => &self.counts.late,
            Unkept::Lost(_) | Unkept::NotOpen | Unkept::Redaction(_) | Unkept::Refused(_) => {
                &self.counts.lost
            }
        };
        // The first, and then each time the number doubles.
        if (count.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two() {
            tracing::error!(%error, "an audit record could not be kept");
        }
    }
}

/// Whether a reload may go from one to the other, or what needs a restart.
pub(crate) fn check_reload(
    before: Option<&AuditSettings>,
    after: Option<&AuditSettings>,
) -> Result<(), SettingsError> {
    let fixed = |settings: &AuditSettings| AuditSettings {
        commit_timeout: AuditSettings::COMMIT_TIMEOUT,
        anchors: Vec::new(),
        security_events: tidegate_audit::settings::SecurityEventSettings::default(),
        administration: true,
        redaction: tidegate_audit::settings::RedactionSettings {
            key: None,
            subjects: settings.redaction.subjects.clone(),
        },
        ..settings.clone()
    };
    if before.map(fixed) == after.map(fixed) {
        return Ok(());
    }
    Err(SettingsError::new(["audit"], "where and how the audit log is kept needs a restart")
        .with_hint("keep these settings until then; keys that a reload applies say so"))
}

fn wrong(field: &str, message: String) -> SettingsError {
    SettingsError::new(["audit", field], message)
}

/// Opens the log; the outer error is one of the key.
fn open_log(
    settings: &AuditSettings,
    clock: &Clock,
) -> Result<Result<Log, OpenError>, SettingsError> {
    let text = std::fs::read_to_string(&settings.key)
        .map_err(|error| wrong("key", format!("{}: {error}", settings.key.display())))?;
    let key = SigningKey::parse(text.trim()).map_err(|error| wrong("key", error.to_string()))?;
    Ok(Log::open(options(settings), &key, clock.clone()).map(|(log, recovered)| {
        tracing::info!(path = %settings.path.display(), ?recovered, "the audit log is open");
        log
    }))
}

fn options(settings: &AuditSettings) -> Options {
    let mut options = Options::new(&settings.path, settings.head_file());
    options.checkpoint_every = settings.checkpoint_every.0;
    options.group_window = settings.group_window.0;
    options.max_pending = settings.max_pending.as_usize();
    options.segment = SEGMENT;
    options.retention = Retention {
        max_age: settings.retention.max_age.map(|span| span.0),
        max_size: settings.retention.max_size.map(|size| size.0),
    };
    options
}

fn redactor(settings: &AuditSettings, subjects: Option<Arc<Subjects>>) -> Redactor {
    let key = settings.redaction.key.as_ref();
    let pseudonyms = key.and_then(|key| Pseudonyms::new(key.reveal().as_bytes()));
    Redactor::new(pseudonyms.map(Arc::new), subjects)
}
