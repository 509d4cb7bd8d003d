//! Which events count: conditions that must all hold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::StatusRange;

/// Conditions on an event; all that are given must hold, and of a list one entry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct WhenSettings {
    /// Why the request was refused or failed, by the codes of the access log's `reason`.
    pub reasons: Vec<String>,
    /// The status that was sent: `404`, `5xx` or `400-499`.
    pub status: Vec<StatusRange>,
    /// Ids of routes.
    pub routes: Vec<String>,
    /// Names of upstreams.
    pub upstreams: Vec<String>,
    /// Numbers of firewall rules, of which one matched.
    pub rules: Vec<u32>,
    /// Tags of firewall rules, of which one matched; `attack-*` means all that begin so.
    pub tags: Vec<String>,
    /// The firewall's score, at least.
    pub score: Option<u32>,
    /// A regular expression that the access log's `evidence` matches somewhere.
    pub evidence: Option<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// A regular expression that the path matches somewhere: the canonical one, decoded once, and
    /// without its query.
    pub path: Option<String>,
    /// Regular expressions that the values of these request headers match somewhere.
    pub headers: BTreeMap<String, String>,
    /// Subjects, as the access log tells them.
    pub subjects: Vec<String>,
    /// Countries by their two letters (ISO 3166-1); needs `geo.country`.
    pub countries: Vec<String>,
    /// Numbers of autonomous systems; needs `geo.asn`.
    pub asns: Vec<u32>,
    /// Whether the request was refused or failed here, rather than answered by its upstream.
    pub refused: Option<bool>,
    /// Whether it is known who asks.
    pub identified: Option<bool>,
    /// Kinds of notices, for what happens beside requests, such as `endpoint_ejected`. A rule with
    /// them counts notices and no requests; only `upstreams` may stand beside it.
    pub notices: Vec<String>,
}
