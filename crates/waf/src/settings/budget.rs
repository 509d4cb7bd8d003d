//! What the inspection of one request may cost.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::Span;

/// What one request may cost, and what happens to one that costs more.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct BudgetSettings {
    /// The work, 1ms to 1s. It is counted in steps of about a nanosecond and not by the clock, so
    /// that a request costs the same on a busy machine. Default: 12ms. A reload applies it.
    pub work: Option<Span>,
    /// What happens to a request that spends its work, or has more values than are looked at:
    /// `block` refuses it (in block mode), `pass` lets it go on without a further look. Both are
    /// counted and in the access log. Default: `block`. A reload applies it.
    pub on_exceeded: Option<OnExceeded>,
}

/// What happens to a request that was not looked at to its end.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnExceeded {
    /// It is refused in block mode, and reported in detect mode.
    #[default]
    Block,
    /// What the rules found until then decides.
    Pass,
}
