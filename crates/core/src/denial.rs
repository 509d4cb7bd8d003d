//! A refusal: what the pipeline returns instead of letting a request pass.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::Reason;

/// A refused request. `proxy/respond.rs` turns it into a response, in one place; its evidence goes
/// to the logs and never to the client.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The status of the answer; [`Reason::status`] unless a policy chose another.
    pub status: StatusCode,
    /// When the client may come back; always sent with 429 and 503 (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
    /// Further response fields that the stage owes the client, such as `RateLimit` or `Allow`.
    pub headers: HeaderMap,
    /// What was found, for the logs. Keep secrets out of it.
    pub evidence: Option<String>,
}

impl Denial {
    /// A refusal with the reason's own status and no evidence.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            status: reason.status(),
            retry_after: None,
            headers: HeaderMap::new(),
            evidence: None,
        }
    }

    /// Adds what was found, for the logs.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }

    /// Says when the client may come back.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }
}
