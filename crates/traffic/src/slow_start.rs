//! Slow start: an endpoint that is new, or back, gets a part of its weight that grows to the whole,
//! so that cold caches and pools warm up before the full load comes. As Envoy has it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::{Percent, Span};

use crate::algorithms::WEIGHT_ONE;

/// New and recovered endpoints get their load bit by bit.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct SlowStartSettings {
    /// Until an endpoint has its whole weight. Default: 30s. A reload applies it.
    pub window: Span,
    /// 1 lets the weight grow evenly; above 1 it grows faster in the beginning. Default: 1. A
    /// reload applies it.
    pub aggression: f64,
    /// The part of its weight that it begins with. Default: 10%. A reload applies it.
    pub min_weight: Percent,
}

impl Default for SlowStartSettings {
    fn default() -> Self {
        Self { window: Span::seconds(30), aggression: 1.0, min_weight: Percent::new(10) }
    }
}

impl SlowStartSettings {
    /// What cannot be used, with paths relative to `slow_start`.
    pub(crate) fn check(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        if self.window.0.is_zero() {
            errors.push(SettingsError::new(["window"], "window must be longer than 0"));
        }
        if !(self.aggression.is_finite() && self.aggression > 0.0) {
            errors.push(SettingsError::new(["aggression"], "aggression must be above 0"));
        }
        errors
    }

    /// The part of its weight that an endpoint gets so long after it came, in units of
    /// 1/[`WEIGHT_ONE`].
    pub(crate) fn factor(&self, after: Duration) -> u32 {
        if after >= self.window.0 {
            return WEIGHT_ONE;
        }
        let time = after.as_secs_f64() / self.window.0.as_secs_f64();
        let part = time.powf(1.0 / self.aggression).max(self.min_weight.fraction()).min(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,000")]
        let factor = (part * f64::from(WEIGHT_ONE)) as u32;
        factor.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_grows_to_the_whole() {
        let even = SlowStartSettings::default();
        let quick = SlowStartSettings { aggression: 2.0, ..even };
        let at = |settings: &SlowStartSettings| {
            [0, 3, 6, 15, 29, 30, 90].map(|after| settings.factor(Duration::from_secs(after)))
        };
        assert_eq!(at(&even), [100, 100, 200, 500, 966, 1_000, 1_000]);
        assert_eq!(at(&quick), [100, 316, 447, 707, 983, 1_000, 1_000]);
    }
}
