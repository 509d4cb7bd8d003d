//! The life of the process in the log: starts and stops, configurations, keys, and what is asked
//! of the admin listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_audit::log::Durability;
use tidegate_audit::redact::clean;
use tidegate_audit::settings::AuditSettings;
use tidegate_audit::{Kind, Record};
use tidegate_core::SettingsError;
use tidegate_engine::Snapshot;
use tidegate_observe::BuildInfo;
use tokio::time::sleep;

use super::changes::{self, hash};
use super::keys::Fingerprints;
use super::{Auditor, LOOK, Unkept};
use crate::edge::Edge;
use crate::happened;

/// How long requests that are no key events may still be recorded after a hand-over.
const RELEASE: Duration = Duration::from_secs(2);

/// Who asked for something, and how.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// A request of the admin listener.
    Admin(Option<SocketAddr>),
    /// A signal.
    Signal(&'static str),
}

impl By {
    fn details(&self, record: Record) -> Record {
        match self {
            Self::Admin(peer) => {
                let peer = peer.map(|peer| peer.to_string());
                record.with("by", "admin").with("peer", peer)
            }
            Self::Signal(name) => record.with("by", *name),
        }
    }
}

impl Edge {
    /// The log, if the life of the process is recorded.
    fn administration(&self) -> Option<&Auditor> {
        let live = self.live();
        let wanted = |settings: &AuditSettings| settings.administration;
        let wanted = live.snapshot.settings().audit.as_ref().is_some_and(wanted);
        self.audit().filter(|_| wanted)
    }

    /// Records that the process serves, and waits for the disk: a log that cannot be written is
    /// found out now and not by the first payment. A successor does so when it gets the log.
    ///
    /// # Errors
    /// The record cannot be kept.
    pub(crate) async fn audit_start(
        self: &Arc<Self>,
        build: BuildInfo,
    ) -> Result<(), SettingsError> {
        let Some(auditor) = self.audit() else { return Ok(()) };
        if auditor.log().is_some() {
            return self.audit_serving(build).await;
        }
        let edge = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = edge.succeed(build).await {
                tracing::error!(%error, "the audit log of the process before this one stays closed");
            }
        });
        Ok(())
    }

    async fn succeed(&self, build: BuildInfo) -> Result<(), SettingsError> {
        let live = self.live();
        if let (Some(auditor), Some(settings)) = (self.audit(), &live.snapshot.settings().audit) {
            auditor.succeed(settings).await?;
        }
        self.audit_serving(build).await
    }

    async fn audit_serving(&self, build: BuildInfo) -> Result<(), SettingsError> {
        let Some(auditor) = self.audit() else { return Ok(()) };
        let live = self.live();
        let listeners = live.snapshot.settings().listeners.iter();
        let listeners: Vec<_> = listeners.map(|listener| listener.address.to_string()).collect();
        let record = auditor
            .record(self.clock().wall(), Kind::Start, "serving")
            .with("version", build.version)
            .with("revision", build.revision)
            .with("pid", std::process::id())
            .with("config", hash(live.snapshot.effective().as_bytes()))
            .with("listeners", listeners)
            .with("keys", Fingerprints::of(&live.snapshot).to_json());
        let wrong = |error: Unkept| SettingsError::new(["audit"], error.to_string());
        let ticket = auditor.append(&record, Durability::BeforeResponse).map_err(wrong)?;
        ticket.await.map(|_index| ()).map_err(|lost| wrong(lost.into()))
    }

    /// Lets go of the log for a successor, when no connection is left, or no key event runs and
    /// the others had their time.
    pub(crate) async fn audit_release(&self) {
        let Some(auditor) = self.audit() else { return };
        let since = self.clock().now();
        loop {
            let waited = self.clock().now().saturating_duration_since(since);
            let idle = Arc::strong_count(&auditor.running) == 1 && waited > RELEASE;
            if self.connections().total() == 0 || idle {
                return tokio::task::block_in_place(|| self.audit_stop("successor"));
            }
            sleep(LOOK).await;
        }
    }

    /// Records that the process ends, and closes the log with a last checkpoint.
    pub(crate) fn audit_stop(&self, why: &str) {
        let Some(auditor) = self.audit() else { return };
        let Some(log) = auditor.log() else { return };
        if auditor.stopped.swap(true, Ordering::Relaxed) {
            return;
        }
        auditor.summarise(self.clock().wall());
        let record = auditor
            .record(self.clock().wall(), Kind::Stop, why)
            .with("pid", std::process::id())
            .with("connections_left", self.connections().total());
        auditor.note(&record);
        if let Err(error) = log.close() {
            tracing::error!(%error, "the audit log did not end well");
        }
    }

    /// Records a configuration that was put in force: what changed, and by whom.
    pub(crate) fn audit_config(
        &self,
        by: &By,
        before: &Snapshot,
        (old_keys, keys): (&Fingerprints, &Fingerprints),
    ) {
        let Some(auditor) = self.administration() else { return };
        let live = self.live();
        let after = &live.snapshot;
        let record = auditor
            .record(self.clock().wall(), Kind::Config, "loaded")
            .with("before", hash(before.effective().as_bytes()))
            .with("after", hash(after.effective().as_bytes()))
            .with("changes", changes::between(before.effective(), after.effective()))
            .with("secrets_changed", secrets_changed(before, after));
        auditor.note(&by.details(record));
        let changed = old_keys.changes(keys);
        if !changed.is_empty() {
            let record = auditor.record(self.clock().wall(), Kind::Key, "reloaded");
            auditor.note(&by.details(record).with("changed", changed));
        }
    }

    /// Records a configuration that was refused.
    pub(crate) fn audit_config_refused(&self, by: &By, errors: &str) {
        let Some(auditor) = self.administration() else { return };
        let record = auditor
            .record(self.clock().wall(), Kind::Config, "refused")
            .with("in_force", hash(self.live().snapshot.effective().as_bytes()))
            .with("errors", clean(errors));
        auditor.note(&by.details(record));
    }

    /// Records what was asked of the admin listener: all that could change something, and all that
    /// was refused.
    pub(crate) fn audit_admin(
        &self,
        peer: Option<SocketAddr>,
        (method, target): (&Method, &str),
        status: StatusCode,
    ) {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let Some(auditor) = self.administration().filter(|_| !reads || denied) else { return };
        let (path, query) = happened::of_target(target);
        let mut record = auditor.record(self.clock().wall(), Kind::Admin, &path);
        record.client = peer.map(|peer| peer.ip().to_string());
        record.method = Some(method.to_string());
        record.status = Some(status.as_u16());
        auditor.note(&record.with("query", query));
    }

    /// Destroys a subject's key and records that; the record is on the disk when this returns.
    ///
    /// # Errors
    /// There is no store or no such key, or it cannot be destroyed or recorded.
    pub(crate) async fn audit_erase(
        &self,
        subject: &str,
        peer: Option<SocketAddr>,
    ) -> Result<Value, (StatusCode, String)> {
        let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
        let Some(auditor) = self.audit() else {
            return Err((StatusCode::NOT_FOUND, "there is no audit log\n".to_owned()));
        };
        let redactor = auditor.redactor.load_full();
        let Some(subjects) = redactor.subjects() else {
            let message = "audit.redaction.subjects is not set\n".to_owned();
            return Err((StatusCode::NOT_FOUND, message));
        };
        let pseudonym = match subject.starts_with("hmac:") {
            true => Some(subject.to_owned()),
            false => redactor.pseudonym(subject),
        };
        let Some(pseudonym) = pseudonym else {
            let message = "audit.redaction.key is not set\n".to_owned();
            return Err((StatusCode::NOT_FOUND, message));
        };
        let erased = tokio::task::block_in_place(|| subjects.erase(&pseudonym));
        let Some(erasure) = erased.map_err(|error| failed(format!("{error}\n")))? else {
            return Err((StatusCode::NOT_FOUND, "this subject has no key\n".to_owned()));
        };
        let mut record = auditor
            .record(self.clock().wall(), Kind::Erasure, "erased")
            .with("key", erasure.key.as_str())
            .with("peer", peer.map(|peer| peer.to_string()));
        record.subject = Some(pseudonym.clone());
        let done = auditor.append(&record, Durability::BeforeResponse);
        let recorded = match done {
            Ok(ticket) => ticket.await.map_err(Unkept::from),
            Err(error) => Err(error),
        };
        match recorded {
            Ok(index) => Ok(json!({ "erased": pseudonym, "key": erasure.key, "index": index })),
            Err(error) => {
                auditor.lost(&error);
                Err(failed(format!("the key is destroyed, and that is not recorded: {error}\n")))
            }
        }
    }
}

/// Whether something differs that is printed as `<secret>`.
fn secrets_changed(before: &Snapshot, after: &Snapshot) -> bool {
    before.effective() == after.effective() && before.settings() != after.settings()
}
