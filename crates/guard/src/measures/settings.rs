//! What the configuration says about how measures are carried out.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::{Rate, Span};

/// The bucket that a throttled target has.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ThrottleSettings {
    /// How fast it refills. Default: `1/s`. A reload applies it.
    pub rate: Rate,
    /// How many requests a full one allows at once. Default: 5. A reload applies it.
    pub burst: NonZeroU32,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        let one = NonZeroU32::MIN;
        let rate = Rate { count: one, period: std::time::Duration::from_secs(1) };
        Self { rate, burst: one.saturating_add(4) }
    }
}

/// How answers are held back.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct TarpitSettings {
    /// How long a request is held before anything is done about it. Default: 5s. A reload applies
    /// it.
    pub delay: Span,
    /// How many are held at once; further ones are refused with 429. Default: 1000. A reload applies
    /// it.
    pub max_held: NonZeroU32,
}

impl Default for TarpitSettings {
    fn default() -> Self {
        Self { delay: Span::seconds(5), max_held: NonZeroU32::MIN.saturating_add(999) }
    }
}

impl TarpitSettings {
    /// The longest delay: connections should not look dead to what stands before us.
    const MAX_DELAY: Span = Span::seconds(60);

    /// What is wrong with them.
    #[must_use]
    pub fn errors(&self) -> Vec<SettingsError> {
        if self.delay <= Self::MAX_DELAY {
            return Vec::new();
        }
        let message = format!("{} is longer than {}", self.delay, Self::MAX_DELAY);
        vec![SettingsError::new(["delay"], message)]
    }
}

/// Where isolated requests go.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct IsolateSettings {
    /// The upstream that gets them in place of the route's: a quarantine or a honeypot. A reload
    /// applies it.
    pub to: String,
}
