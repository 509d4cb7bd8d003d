//! The `hedge` of a route.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::Span;

/// Send a GET or HEAD to a second endpoint when the first takes longer than most do; the first
/// good answer wins, and the other request is canceled. A policy field; a reload applies it to new
/// requests. Hedges come out of `retries.budget`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct HedgeSettings {
    /// Which share of the requests, in percent, is usually answered before the second is sent: 50
    /// to 99. Counted over the last 10 to 20 seconds of the route. Default: 95.
    #[schemars(range(min = 50, max = 99))]
    pub percentile: u8,
    /// The shortest wait before the second request. Default: 5ms.
    pub min_delay: Span,
    /// The longest wait before the second request, and the wait while fewer than 50 answers were
    /// seen. Default: 1s.
    pub max_delay: Span,
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self { percentile: 95, min_delay: Span::millis(5), max_delay: Span::seconds(1) }
    }
}

/// What makes no sense in the settings.
pub(super) fn check(settings: &HedgeSettings) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    if !(50..=99).contains(&settings.percentile) {
        let message = format!("the percentile {} is not from 50 to 99", settings.percentile);
        errors.push(
            SettingsError::new(["percentile"], message)
                .with_hint("a lower one would double the load"),
        );
    }
    if settings.max_delay < settings.min_delay {
        let message = "the longest wait is shorter than the shortest one";
        errors.push(SettingsError::new(["max_delay"], message));
    }
    errors
}
