//! Which events a sink gets: its filter, then its sampling. Both cost a few comparisons, since
//! they are asked for every request.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use tidegate_core::notice::{NoticeKind, Severity};
use tidegate_core::{Event, Notice, Reason};

use crate::settings::{ChosenEvents, EventsSettings, SeveritySettings, SinkSettings};

/// A sink's filter and sampling, compiled.
#[derive(Debug)]
pub(crate) struct Gate {
    filter: Filter,
    /// In hundredths of a percent.
    sample: u32,
    /// Collects the sampled share: an ordinary request passes whenever it reaches a whole one.
    due: AtomicU32,
}

#[derive(Debug)]
enum Filter {
    All,
    Security,
    Chosen(Box<Chosen>),
}

#[derive(Debug)]
struct Chosen {
    /// By `reason as usize`.
    reasons: Option<Vec<bool>>,
    routes: Option<BTreeSet<Box<str>>>,
    /// By `kind as usize`.
    notices: Option<Vec<bool>>,
    severity: Severity,
}

/// A hundred percent.
const ALL: u32 = 10_000;

impl Gate {
    pub(crate) fn new(settings: &SinkSettings) -> Self {
        let filter = match &settings.events {
            EventsSettings::All => Filter::All,
            EventsSettings::Security => Filter::Security,
            EventsSettings::Chosen(chosen) => Filter::Chosen(Box::new(Chosen::new(chosen))),
        };
        let sample = u32::from(settings.sample.basis_points());
        Self { filter, sample, due: AtomicU32::new(0) }
    }

    /// Whether the sink gets what became of this request.
    pub(crate) fn takes(&self, event: &Event<'_>) -> bool {
        let security = event.is_about_security();
        let wanted = match &self.filter {
            Filter::All => true,
            Filter::Security => security,
            Filter::Chosen(chosen) => chosen.takes(event),
        };
        let ordinary = !security && event.reason.is_none() && event.status < 500;
        wanted && (!ordinary || self.samples())
    }

    /// Whether the sink gets this notice.
    pub(crate) fn takes_notice(&self, notice: &Notice) -> bool {
        match &self.filter {
            Filter::All | Filter::Security => true,
            Filter::Chosen(chosen) => {
                let kind = |kinds: &Vec<bool>| kinds.get(notice.kind as usize) == Some(&true);
                notice.severity >= chosen.severity && chosen.notices.as_ref().is_none_or(kind)
            }
        }
    }

    /// Every so many-th call says yes.
    fn samples(&self) -> bool {
        if self.sample >= ALL {
            return true;
        }
        let before = self.due.fetch_add(self.sample, Ordering::Relaxed);
        before / ALL != before.wrapping_add(self.sample) / ALL
    }
}

impl Chosen {
    fn new(settings: &ChosenEvents) -> Self {
        let reasons = settings.reasons.as_ref().map(|names| {
            let named = |reason: &Reason| names.iter().any(|name| name == reason.code());
            Reason::ALL.iter().map(named).collect()
        });
        let notices = settings.notices.as_ref().map(|names| {
            let named = |kind: &NoticeKind| names.iter().any(|name| name == kind.code());
            NoticeKind::ALL.iter().map(named).collect()
        });
        let routes = settings.routes.as_ref();
        Self {
            reasons,
            routes: routes.map(|routes| routes.iter().map(|route| route.as_str().into()).collect()),
            notices,
            severity: settings.severity.into(),
        }
    }

    fn takes(&self, event: &Event<'_>) -> bool {
        let reason = |reasons: &Vec<bool>| {
            event.reason.is_some_and(|reason| reasons.get(reason as usize) == Some(&true))
        };
        let route = |routes: &BTreeSet<Box<str>>| event.route.is_some_and(|id| routes.contains(id));
        event.severity() >= self.severity
            && self.reasons.as_ref().is_none_or(reason)
            && self.routes.as_ref().is_none_or(route)
    }
}

impl From<SeveritySettings> for Severity {
    fn from(settings: SeveritySettings) -> Self {
        match settings {
            SeveritySettings::Critical => Self::Critical,
            SeveritySettings::High => Self::High,
            SeveritySettings::Informational => Self::Informational,
            SeveritySettings::Low => Self::Low,
            SeveritySettings::Medium => Self::Medium,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn gate(json: &str) -> Gate {
        Gate::new(&serde_json::from_str(json).unwrap())
    }

    fn ordinary() -> Event<'static> {
        Event { status: 200, route: Some("shop"), ..Event::default() }
    }

    fn blocked() -> Event<'static> {
        Event { status: 403, reason: Some(Reason::WafBlocked), ..ordinary() }
    }

    fn failed() -> Event<'static> {
        Event { status: 502, reason: Some(Reason::UpstreamReset), ..ordinary() }
    }

    #[track_caller]
    fn check(json: &str, expected: [bool; 3]) {
        let gate = gate(json);
        assert_eq!([ordinary(), blocked(), failed()].map(|event| gate.takes(&event)), expected);
    }

    #[test]
    fn a_sink_gets_what_its_filter_lets_pass() {
        check("{}", [false, true, false]);
        check(r#"{"events": "all"}"#, [true, true, true]);
        check(r#"{"events": {}}"#, [true, true, true]);
        check(r#"{"events": {"reasons": ["upstream_reset"]}}"#, [false, false, true]);
        check(r#"{"events": {"routes": ["shop"]}}"#, [true, true, true]);
        check(r#"{"events": {"routes": ["other"]}}"#, [false, false, false]);
        check(r#"{"events": {"severity": "high"}}"#, [false, true, false]);
    }

    #[test]
    fn sampling_spares_what_is_not_ordinary() {
        let gate = gate(r#"{"events": "all", "sample": "10%"}"#);
        let taken = |event: Event<'_>| (0..1000).filter(|_| gate.takes(&event)).count();
        assert_eq!([taken(ordinary()), taken(blocked()), taken(failed())], [100, 1000, 1000]);
    }

    #[test]
    fn notices_pass_by_kind_and_severity() {
        let notice = |kind| Notice::new(SystemTime::UNIX_EPOCH, kind, "x");
        let takes = |json: &str, kind| gate(json).takes_notice(&notice(kind));
        assert!(takes("{}", NoticeKind::ConfigApplied));
        assert!(takes(r#"{"events": {"routes": ["a"]}}"#, NoticeKind::ConfigApplied));
        assert!(!takes(r#"{"events": {"notices": ["decided"]}}"#, NoticeKind::ConfigApplied));
        assert!(takes(r#"{"events": {"notices": ["decided"]}}"#, NoticeKind::Decided));
        assert!(!takes(r#"{"events": {"notices": []}}"#, NoticeKind::Decided));
        assert!(!takes(r#"{"events": {"severity": "high"}}"#, NoticeKind::ConfigApplied));
        assert!(takes(r#"{"events": {"severity": "high"}}"#, NoticeKind::PanicOn));
    }
}
