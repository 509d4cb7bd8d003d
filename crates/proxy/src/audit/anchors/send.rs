//! Sends one checkpoint to one anchor.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tidegate_audit::log::Published;
use tidegate_audit::settings::{Anchor, AnchorSettings};
use tokio::task::spawn_blocking;

use super::states::AnchorState;
use super::witness::Witness;
use crate::audit::Auditor;
use crate::outbound::{Answer, Call, CallError, Outbound, Trust};
use crate::upstream_peer::authorities;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No answer of an anchor is longer.
const MAX_ANSWER: usize = 64 << 10;

/// What one anchor's task works with.
pub(super) struct Sender {
    pub(super) auditor: Arc<Auditor>,
    anchor: Anchor,
    state: Arc<AnchorState>,
    pub(super) outbound: Arc<Outbound>,
    token: Option<HeaderValue>,
    ca: Option<std::path::PathBuf>,
    witness: Option<Witness>,
}

/// Why an anchor did not take a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("cannot write: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("answered {0}")]
    Status(u16),
    #[error("the authorities: {0}")]
    Trust(String),
    #[error("no consistency proof: {0}")]
    Proof(String),
    #[error(
        "the witness knows a log of {witness} records, ours has {ours}: this is another history"
    )]
    Ahead { witness: u64, ours: u64 },
    #[error("none of the witness's signatures is its own")]
    NotSigned,
    #[error("the witness's key is none")]
    Key,
    #[error("the task ended")]
    Ended,
}

impl Sender {
    pub(super) fn new(
        auditor: Arc<Auditor>,
        anchor: Anchor,
        settings: &AnchorSettings,
        state: Arc<AnchorState>,
        outbound: Arc<Outbound>,
    ) -> Self {
        let bearer = |token: &tidegate_core::Secret| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let token = settings.token.as_ref().and_then(bearer);
        Self { auditor, anchor, state, outbound, token, ca: settings.ca.clone(), witness: None }
    }

    /// Sends the latest checkpoint, unless the anchor has it.
    ///
    /// # Errors
    /// It does not take it.
    pub(super) async fn send_if_new(&mut self) -> Result<(), SendError> {
        let Some(log) = self.auditor.log() else { return Ok(()) };
        let latest = log.latest();
        if latest.size == 0 || self.state.has(latest.size) {
            return Ok(());
        }
        match self.anchor.clone() {
            Anchor::File(path) => append(path, &latest).await?,
            Anchor::Http(url) => {
                let body = Bytes::copy_from_slice(latest.note.as_bytes());
                let answer = self.post(&url, body).await?;
                if !answer.status.is_success() {
                    return Err(SendError::Status(answer.status.as_u16()));
                }
            }
            Anchor::Witness { url, key } => {
                let known = self.witness.take();
                let known = known.or_else(|| Witness::new(log.path(), &key, &self.auditor));
                let Some(mut witness) = known else { return Err(SendError::Key) };
                let added = witness.add(self, &url, &latest).await;
                self.witness = Some(witness);
                added?;
            }
        }
        self.state.taken(latest.size, self.auditor.clock().wall());
        Ok(())
    }

    /// Says that the anchor failed: the first time, and then ever more rarely.
    pub(super) fn report(&self, error: &SendError, failures: u32) {
        self.state.failed();
        match error {
            SendError::Ahead { .. } => report_fork(&self.state.label, error),
            _ if failures.is_power_of_two() => report(&self.state.label, error, failures),
            _ => {}
        }
    }

    pub(super) async fn post(&self, url: &str, body: Bytes) -> Result<Answer, SendError> {
        let mut headers = HeaderMap::new();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        let call = Call {
            method: Method::POST,
            url,
            headers,
            body,
            trust: self.trust()?,
            timeout: TIMEOUT,
            max_body: MAX_ANSWER,
        };
        Ok(self.outbound.call(&call).await?)
    }

    /// Read each time: the file may be renewed while the process runs.
    fn trust(&self) -> Result<Trust, SendError> {
        let Some(path) = &self.ca else { return Ok(Trust::default()) };
        let ca = authorities(path).map_err(|error| SendError::Trust(error.message))?;
        let name = path.as_os_str().as_encoded_bytes().iter();
        let group =
            name.fold(1_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Ok(Trust { ca: Some(ca), identity: None, group })
    }
}

fn report(anchor: &str, error: &SendError, failures: u32) {
    tracing::warn!(anchor, failures, %error, "a checkpoint could not be sent");
}

fn report_fork(anchor: &str, error: &SendError) {
    tracing::error!(anchor, %error, "the audit log is not the one that was witnessed");
}

/// Appends to the file on a thread that may wait: its file system may be far away, or gone.
async fn append(path: std::path::PathBuf, latest: &Published) -> Result<(), SendError> {
    let note = Arc::clone(&latest.note);
    let written = spawn_blocking(move || append_to(&path, &note));
    Ok(written.await.map_err(|_cancelled| SendError::Ended)??)
}

fn append_to(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{note}\n").as_bytes())?;
    file.sync_all()
}
