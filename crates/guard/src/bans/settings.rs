//! What the configuration says about bans.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::net::Network;

/// Addresses that are refused for a while, whatever they ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BansSettings {
    /// The file that keeps bans over a restart, one JSON object a line; it is written within a
    /// second of a change. Default: none, so a restart forgets them. Needs a restart.
    pub file: Option<PathBuf>,
    /// Block lists that others publish: an address or a network a line, `#` or `;` begins a
    /// comment. Default: none. A reload reads them again.
    pub lists: Vec<PathBuf>,
    /// How many bans there may be, those of lists not counted; further ones are refused. Default:
    /// 1000000. A reload applies it.
    pub max: NonZeroU32,
    /// Who is never banned, whatever a list or a policy says, beside loopback and
    /// `trusted_proxies`: your monitoring, your own networks. Default: nobody. A reload applies it.
    pub never: Vec<Network>,
}

impl BansSettings {
    /// How many bans there may be.
    #[must_use]
    pub fn max(&self) -> usize {
        usize::try_from(self.max.get()).unwrap_or(usize::MAX)
    }
}

impl Default for BansSettings {
    fn default() -> Self {
        let max = const { NonZeroU32::new(1_000_000).unwrap() };
        Self { file: None, lists: Vec::new(), max, never: Vec::new() }
    }
}
