//! Refused requests: recorded one by one up to a rate, and counted beyond it, so that a flood of
//! attacks fills neither the disk nor the log's buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tidegate_audit::Kind;
use tidegate_audit::settings::SecurityEventSettings;
use tidegate_core::event::WafSummary;
use tidegate_core::reason::Fault;
use tidegate_core::{Event, Reason};
use tokio::time::sleep;

use super::Auditor;
use crate::edge::Edge;

/// How often one record says what was counted.
const SUMMARY: Duration = Duration::from_secs(10);
/// How many of the rules that matched are recorded.
const RULES: usize = 16;

/// How much of the rate is used, and what was counted instead of recorded.
#[derive(Debug)]
pub(super) struct Refusals {
    /// The number of the present period.
    period: AtomicU64,
    used: AtomicU32,
    counted: Vec<AtomicU64>,
    total: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        let counted = Reason::ALL.iter().map(|_reason| AtomicU64::new(0)).collect();
        Self {
            counted,
            period: AtomicU64::new(0),
            used: AtomicU32::new(0),
            total: AtomicU64::new(0),
        }
    }
}

impl Refusals {
    /// Whether one more may be recorded; if not, it is counted.
    fn admit(
        &self,
        reason: Reason,
        settings: &SecurityEventSettings,
        since_start: Duration,
    ) -> bool {
        let periods = since_start.as_nanos() / settings.rate.period.as_nanos().max(1);
        let now = u64::try_from(periods).unwrap_or(u64::MAX) + 1;
        if self.period.swap(now, Ordering::Relaxed) != now {
            self.used.store(0, Ordering::Relaxed);
        }
        if self.used.fetch_add(1, Ordering::Relaxed) < settings.rate.count.get() {
            return true;
        }
        self.total.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.counted.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        false
    }

    /// What was counted since the last time, by reason.
    fn take(&self) -> Map<String, Value> {
        let counts = Reason::ALL.iter().zip(&self.counted);
        let counts = counts.map(|(reason, count)| (reason, count.swap(0, Ordering::Relaxed)));
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.code().to_owned(), count.into()))
            .collect()
    }

    /// How many were counted and not recorded since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

impl Auditor {
    /// Records a request that was refused.
    pub(super) fn note_refusal(&self, edge: &Edge, event: &Event<'_>) {
        let Some(reason) = event.reason.filter(|reason| is_refusal(*reason)) else { return };
        let live = edge.live();
        let Some(settings) = live.snapshot.settings().audit.as_ref() else { return };
        let settings = &settings.security_events;
        let since = event.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if !settings.refusals || !self.refusals.admit(reason, settings, since) {
            return;
        }
        let mut record = self.of_event(event, Kind::Refusal, reason.code());
        record = record.with("peer", event.peer.to_string()).with("listener", event.listener);
        if let Some(agent) = event.user_agent {
            record = record.with("user_agent", tidegate_audit::redact::clean(agent));
        }
        if let Some(waf) = event.waf {
            record = record.with("waf", findings(waf));
        }
        self.note(&record);
    }

    /// Records how many refusals were counted since the last summary, if any.
    pub(super) fn summarise(&self, time: SystemTime) {
        let counts = self.refusals.take();
        if !counts.is_empty() {
            let record = self.record(time, Kind::Summary, "refusals");
            self.note(&record.with("refusals", counts));
        }
    }
}

/// Writes summaries until it is aborted.
pub(crate) async fn summaries(edge: Arc<Edge>) {
    loop {
        sleep(SUMMARY).await;
        if let Some(auditor) = edge.audit() {
            auditor.summarise(edge.clock().wall());
        }
    }
}

/// What a client did or may not do; what happened to us or upstream is no refusal.
fn is_refusal(reason: Reason) -> bool {
    reason != Reason::ClientClosed && matches!(reason.fault(), Fault::Client | Fault::Policy)
        || reason == Reason::AuditUnavailable
}

/// The rules that matched; their pieces are shortened and redacted by the firewall.
fn findings(waf: &WafSummary) -> Value {
    let rule = |found: &tidegate_core::event::WafMatch| {
        serde_json::json!({
            "rule": found.rule,
            "message": tidegate_audit::redact::clean(&found.message),
            "target": tidegate_audit::redact::clean(&found.target),
            "score": found.score,
        })
    };
    serde_json::json!({
        "score": waf.score,
        "rules": waf.matches.iter().take(RULES).map(rule).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_rate_refusals_are_counted_by_reason() {
        let refusals = Refusals::default();
        let mut settings = SecurityEventSettings::default();
        settings.rate.count = std::num::NonZeroU32::new(2).unwrap();
        let admit =
            |reason, millis| refusals.admit(reason, &settings, Duration::from_millis(millis));
        assert!(admit(Reason::WafBlocked, 0) && admit(Reason::WafBlocked, 10));
        assert!(!admit(Reason::WafBlocked, 20) && !admit(Reason::RateLimited, 30));
        assert!(admit(Reason::WafBlocked, 1_000));
        assert_eq!(refusals.total(), 2);
        let counts = refusals.take();
        assert_eq!((&counts["waf_blocked"], &counts["rate_limited"]), (&1.into(), &1.into()));
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn what_happened_upstream_is_no_refusal() {
        for reason in [Reason::WafBlocked, Reason::RateLimited, Reason::MalformedRequest] {
            assert!(is_refusal(reason), "{reason:?}");
        }
        for reason in [Reason::ClientClosed, Reason::UpstreamReset, Reason::Internal] {
            assert!(!is_refusal(reason), "{reason:?}");
        }
    }
}
