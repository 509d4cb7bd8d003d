//! The `zones` setting.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::{Percent, Span};

use super::Locality;

/// How load is shared over zones.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ZoneSettings {
    /// `prefer_local`: as much as possible goes to the zone that this process runs in
    /// (`server.zone`), as long as every endpoint gets the same load; or `off`. Default:
    /// `prefer_local`. A reload applies it.
    pub mode: ZoneMode,
    /// With fewer endpoints that can serve, zones make no difference. Default: 6. A reload applies
    /// it.
    pub min_endpoints: u32,
    /// Zones that get no requests: `a`, or `eu-1/a` where regions have zones of one name. A reload
    /// applies it.
    pub drained: Vec<String>,
    /// Takes a whole zone out when many of its endpoints cannot serve, as long as another zone
    /// works. Default: off. A reload applies it.
    pub isolate: Option<IsolateSettings>,
}

/// Whether the local zone comes first.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ZoneMode {
    /// All zones alike.
    Off,
    /// The local one first.
    #[default]
    PreferLocal,
}

/// When a whole zone is taken out.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct IsolateSettings {
    /// The share of its endpoints that are ejected or unhealthy. Default: 50%.
    pub unable: Percent,
    /// Endpoints that a zone must have for this. Default: 2.
    pub min_endpoints: u32,
    /// How long it stays out, and again as long if it cannot serve by then. Default: 60s.
    pub time: Span,
}

impl Default for ZoneSettings {
    fn default() -> Self {
        Self { mode: ZoneMode::PreferLocal, min_endpoints: 6, drained: Vec::new(), isolate: None }
    }
}

impl Default for IsolateSettings {
    fn default() -> Self {
        Self { unable: Percent::new(50), min_endpoints: 2, time: Span::seconds(60) }
    }
}

impl ZoneSettings {
    /// What cannot be used, with paths relative to `zones`, given where each endpoint is.
    pub(crate) fn check(&self, endpoints: &[&Locality]) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        let zoned = endpoints.iter().filter(|locality| locality.zone.is_some());
        let known: BTreeSet<String> = zoned.map(ToString::to_string).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        for (index, zone) in self.drained.iter().enumerate() {
            if !endpoints.iter().any(|locality| locality.is_named(zone)) {
                let path = ["drained".to_owned(), index.to_string()];
                let message = format!("no endpoint is in the zone `{zone}`");
                let hint = match known.as_slice() {
                    [] => "give endpoints a `zone`".to_owned(),
                    known => format!("the endpoints' zones are {}", known.join(", ")),
                };
                errors.push(SettingsError::new(path, message).with_hint(hint));
            }
        }
        let is_drained = |there: &&Locality| self.drained.iter().any(|name| there.is_named(name));
        if !endpoints.is_empty() && endpoints.iter().all(is_drained) {
            let message = "all zones are drained, so that nothing would be served";
            errors.push(SettingsError::new(["drained"], message));
        }
        if self.isolate.is_some_and(|isolate| isolate.time.0.is_zero()) {
            errors.push(SettingsError::new(["isolate", "time"], "time must be longer than 0"));
        }
        errors
    }
}
