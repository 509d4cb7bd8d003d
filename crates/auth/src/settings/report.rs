//! The report of scopes, as users write it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::Span;

/// What is recorded of the scopes that clients were granted and used. A reload applies every field;
/// another file is read, and what was recorded stays in the old one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ReportSettings {
    /// The file that keeps it over restarts; written every ten seconds, when the process begins to
    /// drain, and at its end unless a successor has the file by then. Default: none, so that a
    /// restart begins anew.
    pub file: Option<PathBuf>,
    /// Whether subjects whose tokens name no client have a row each, named as `log_subject` says;
    /// else there is one for all of a provider's. Default: false.
    pub subjects: bool,
    /// The most clients, and subjects. Passes of further ones are only counted. Lower limits leave
    /// what is there until a restart. Default: 10000.
    pub max_clients: u32,
    /// The most scopes of one client. Default: 100.
    pub max_scopes: u32,
    /// The most routes of one client's scope. Default: 100.
    pub max_routes: u32,
    /// The most of all that together: scopes that were granted, and routes on which they were used;
    /// each takes 150 bytes and its names, which have 256 at most. Default: 200000.
    pub max_entries: u32,
    /// For how long it is kept that a client was there, a scope granted or used. Default: 90d.
    pub keep: Span,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            file: None,
            subjects: false,
            max_clients: 10_000,
            max_scopes: 100,
            max_routes: 100,
            max_entries: 200_000,
            keep: Span::seconds(90 * 86_400),
        }
    }
}
