//! What became of a request, or of what a notice tells, in one word. Every format says it in its
//! own terms.

use tidegate_core::decision::{Decision, Standing};
use tidegate_core::notice::NoticeKind;
use tidegate_core::{Event, Fault, Measure, Notice, Reason};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It passed, and people are told.
    Alerted,
    /// It passed.
    Allowed,
    /// It was refused.
    Blocked,
    /// It passed, and would not have, were a limit not in dry-run.
    Counted,
    /// It was held back.
    Delayed,
    /// It passed, and something was found in it.
    Detected,
    /// It did not work out, by nobody's decision.
    Failed,
    /// It went to where it does no harm.
    Isolated,
    /// Nobody waited for its end.
    Left,
    /// What was sent cannot be served.
    Rejected,
    /// Who asked may not.
    Unauthorized,
}

impl Outcome {
    pub(super) fn of(event: &Event<'_>) -> Self {
        if let Some(applied) = event.measure {
            return match applied.measure {
                Measure::Alert => Self::Alerted,
                Measure::Isolate => Self::Isolated,
                _ if event.reason.is_some() => Self::Blocked,
                Measure::Throttle | Measure::Tarpit => Self::Delayed,
                Measure::Block => Self::Blocked,
            };
        }
        match event.reason {
            Some(reason) => Self::of_reason(reason),
            None if event.waf.is_some_and(|waf| !waf.matches.is_empty()) => Self::Detected,
            None if !event.dry_run_limits.is_empty() => Self::Counted,
            None => Self::Allowed,
        }
    }

    fn of_reason(reason: Reason) -> Self {
        match reason {
            Reason::ClientClosed => Self::Left,
            Reason::Unauthenticated
            | Reason::InvalidToken
            | Reason::InvalidAuthRequest
            | Reason::InsufficientScope
            | Reason::AccessDenied => Self::Unauthorized,
            _ => match reason.fault() {
                Fault::Client => Self::Rejected,
                Fault::Policy => Self::Blocked,
                Fault::Gateway | Fault::Upstream => Self::Failed,
            },
        }
    }

    pub(super) fn of_notice(notice: &Notice) -> Self {
        match notice.kind {
            NoticeKind::Decided => notice.decision.as_deref().map_or(Self::Detected, Self::decided),
            NoticeKind::BanAdded | NoticeKind::ConnectionRefused => Self::Blocked,
            NoticeKind::EndpointEjected | NoticeKind::ZoneIsolated => Self::Isolated,
            NoticeKind::EnforcementCapped | NoticeKind::PanicOn => Self::Alerted,
            NoticeKind::EndpointSuspected => Self::Detected,
            NoticeKind::ConfigRefused => Self::Rejected,
            NoticeKind::AuditFailing
            | NoticeKind::EndpointDown
            | NoticeKind::NameUnresolved
            | NoticeKind::ProviderFailing
            | NoticeKind::SinkFailing
            | NoticeKind::TlsFailed
            | NoticeKind::UpstreamDown => Self::Failed,
            _ => Self::Allowed,
        }
    }

    fn decided(decision: &Decision) -> Self {
        match (decision.standing, decision.measure) {
            (Standing::Enforced, Measure::Alert) => Self::Alerted,
            (Standing::Enforced, Measure::Throttle | Measure::Tarpit) => Self::Delayed,
            (Standing::Enforced, Measure::Isolate) => Self::Isolated,
            (Standing::Enforced, Measure::Block) => Self::Blocked,
            _ => Self::Detected,
        }
    }

    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alerted => "alerted",
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::Counted => "counted",
            Self::Delayed => "delayed",
            Self::Detected => "detected",
            Self::Failed => "failed",
            Self::Isolated => "isolated",
            Self::Left => "left",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
        }
    }

    /// Whether somebody was kept from what they wanted by a decision of ours.
    pub(super) const fn is_denied(self) -> bool {
        matches!(self, Self::Blocked | Self::Rejected | Self::Unauthorized)
    }
}
