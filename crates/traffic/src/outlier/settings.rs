//! The `outlier` setting.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::{Percent, Span};

/// Takes endpoints out that fail or lag where others do not. The defaults are Envoy's.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct OutlierSettings {
    /// `false` only says in the log which endpoints would be taken out. Default: true. A reload
    /// applies it.
    pub enforce: bool,
    /// Answers from 500 to 599, or none at all, in a row; 0 switches this off. Default: 5. A
    /// reload applies it.
    pub consecutive_5xx: u32,
    /// Answers 502, 503 and 504, or none at all, in a row; 0 switches this off. Default: 5. A
    /// reload applies it.
    pub consecutive_gateway_failures: u32,
    /// How often rates are compared and ejections end. Default: 10s. A reload applies it.
    pub interval: Span,
    /// How long an endpoint stays out, times how often it was out lately. Default: 30s. A reload
    /// applies it.
    pub ejection_time: Span,
    /// The longest that an endpoint stays out. Default: 300s. A reload applies it.
    pub max_ejection_time: Span,
    /// The share of endpoints that may be out at the same time; one always may, unless it is the
    /// last. Default: 10%. A reload applies it.
    pub max_ejected: Percent,
    /// Endpoints that succeed clearly less often than the others; `~` switches this off. Default:
    /// on. A reload applies it.
    pub success_rate: Option<SuccessRateSettings>,
    /// Endpoints that fail more often than this; `~` switches this off. Default: on. A reload
    /// applies it.
    pub failure_percentage: Option<FailurePercentageSettings>,
    /// Endpoints that take clearly longer than the others. Default: off. A reload applies it.
    pub latency: Option<LatencySettings>,
}

/// Endpoints whose rate of success is so many standard deviations below the mean of all.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct SuccessRateSettings {
    /// Endpoints with enough requests, without which nothing is compared. Default: 5.
    pub min_endpoints: u32,
    /// Requests in an interval that make an endpoint count. Default: 100.
    pub min_requests: u32,
    /// In standard deviations. Default: 1.9.
    pub deviations: f64,
}

/// Endpoints that fail so often, whatever the others do.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct FailurePercentageSettings {
    /// Endpoints with enough requests, without which nothing is compared. Default: 5.
    pub min_endpoints: u32,
    /// Requests in an interval that make an endpoint count. Default: 50.
    pub min_requests: u32,
    /// The share of failures. Default: 85%.
    pub threshold: Percent,
}

/// Endpoints whose mean latency is so many times that of the median endpoint.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct LatencySettings {
    /// Endpoints with enough requests, without which nothing is compared. Default: 3.
    pub min_endpoints: u32,
    /// Requests in an interval that make an endpoint count. Default: 20.
    pub min_requests: u32,
    /// How many times the median. Default: 5.
    pub factor: f64,
    /// Nobody who is quicker than this is slow. Default: 100ms.
    pub at_least: Span,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            enforce: true,
            consecutive_5xx: 5,
            consecutive_gateway_failures: 5,
            interval: Span::seconds(10),
            ejection_time: Span::seconds(30),
            max_ejection_time: Span::seconds(300),
            max_ejected: Percent::new(10),
            success_rate: Some(SuccessRateSettings::default()),
            failure_percentage: Some(FailurePercentageSettings::default()),
            latency: None,
        }
    }
}

impl Default for SuccessRateSettings {
    fn default() -> Self {
        Self { min_endpoints: 5, min_requests: 100, deviations: 1.9 }
    }
}

impl Default for FailurePercentageSettings {
    fn default() -> Self {
        Self { min_endpoints: 5, min_requests: 50, threshold: Percent::new(85) }
    }
}

impl Default for LatencySettings {
    fn default() -> Self {
        Self { min_endpoints: 3, min_requests: 20, factor: 5.0, at_least: Span::millis(100) }
    }
}

impl OutlierSettings {
    /// What cannot be used, with paths relative to `outlier`.
    pub(crate) fn check(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        let spans = [
            ("interval", self.interval),
            ("ejection_time", self.ejection_time),
            ("max_ejection_time", self.max_ejection_time),
        ];
        for (name, span) in spans {
            if span.0.is_zero() {
                errors.push(SettingsError::new([name], format!("{name} must be longer than 0")));
            }
        }
        if self.max_ejection_time.0 < self.ejection_time.0 {
            let message = "max_ejection_time is shorter than ejection_time";
            errors.push(SettingsError::new(["max_ejection_time"], message));
        }
        let deviations = self.success_rate.map_or(1.0, |rate| rate.deviations);
        if !(deviations.is_finite() && deviations > 0.0) {
            let path = ["success_rate", "deviations"];
            errors.push(SettingsError::new(path, "deviations must be above 0"));
        }
        let factor = self.latency.map_or(2.0, |latency| latency.factor);
        if !(factor.is_finite() && factor > 1.0) {
            let path = ["latency", "factor"];
            errors.push(SettingsError::new(path, "a factor must be above 1"));
        }
        errors
    }
}
