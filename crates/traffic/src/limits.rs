//! Circuit limits: how much may be on a pool and on each endpoint at the same time. What comes
//! beyond is refused at once rather than kept waiting.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

/// How much may be on an upstream at the same time.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct LimitSettings {
    /// Requests on all endpoints together, retries and hedges included. Over HTTP/1.1 each has a
    /// connection of its own, so that this bounds the busy connections too. Default: no limit. A
    /// reload applies it.
    pub requests: Option<NonZeroU32>,
    /// Those of them that wait for the head of their response. Default: no limit. A reload applies
    /// it.
    pub pending: Option<NonZeroU32>,
    /// Requests on one endpoint; beyond it, another one is chosen. Default: no limit. A reload
    /// applies it.
    pub endpoint_requests: Option<NonZeroU32>,
}
