//! Where what happens beside requests is told: one notice becomes one log line, one count and one
//! record for each sink. Whoever sees it happen makes the [`Notice`] and calls [`Edge::announce`].

use tidegate_core::notice::{Notice, Severity};

use crate::edge::Edge;

impl Edge {
    /// Tells everybody who wants to know. It waits for nobody.
    pub(crate) fn announce(&self, notice: &Notice) {
        log(notice);
        self.metrics().noticed(notice);
        self.tell_notice(notice);
        self.respond_to_notice(notice);
    }
}

#[expect(clippy::cognitive_complexity, reason = "each log macro counts as seven branches")]
/// Writes the log line; its message says what kind it is, its fields the rest.
fn log(notice: &Notice) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                notice = notice.kind.code(),
                severity = notice.severity.name(),
                client = notice.client.map(tracing::field::display),
                listener = notice.listener.as_deref(),
                upstream = notice.upstream.as_deref(),
                endpoint = notice.endpoint.map(tracing::field::display),
                by = notice.by.as_deref(),
                details = details(notice),
                "{}",
                notice.summary
            )
        };
    }
    match notice.severity {
        Severity::Informational | Severity::Low => line!(info),
        Severity::Medium => line!(warn),
        Severity::High | Severity::Critical => line!(error),
    }
}

/// What else is known, as `name=value`, separated by spaces.
fn details(notice: &Notice) -> Option<String> {
    if notice.details.is_empty() {
        return None;
    }
    let pairs = notice.details.iter().map(|(name, value)| format!("{name}={value}"));
    Some(pairs.collect::<Vec<_>>().join(" "))
}
