//! Why a head was refused: small enough to travel by value through every check.

use http::StatusCode;

use crate::{Denial, Reason};

/// A refused head. It becomes a [`Denial`] at the border of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason code.
    pub reason: Reason,
    /// The status of the answer; [`Reason::status`] but for 417.
    pub status: StatusCode,
    /// What was wrong, for the logs; a constant, so that no input reaches them unescaped.
    pub evidence: &'static str,
}

impl Refusal {
    /// A refusal with the reason's own status.
    #[must_use]
    pub const fn new(reason: Reason, evidence: &'static str) -> Self {
        Self { reason, status: reason.status(), evidence }
    }

    /// The message breaks HTTP's grammar.
    pub(super) const fn malformed(evidence: &'static str) -> Self {
        Self::new(Reason::MalformedRequest, evidence)
    }

    /// Two readers could disagree on what the message says.
    pub(super) const fn ambiguous(evidence: &'static str) -> Self {
        Self::new(Reason::AmbiguousRequest, evidence)
    }

    /// An expectation that we cannot meet (RFC 9110 §15.5.18).
    pub(super) const fn expectation() -> Self {
        Self {
            reason: Reason::MalformedRequest,
            status: StatusCode::EXPECTATION_FAILED,
            evidence: "Expect is not 100-continue",
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        let mut denial = Self::new(refusal.reason).with_evidence(refusal.evidence);
        denial.status = refusal.status;
        denial
    }
}
