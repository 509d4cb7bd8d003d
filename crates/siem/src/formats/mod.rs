//! Events and notices in the formats that others read. Each is one file here; the reference lists
//! every field of each: `docs/reference/events.md`.
//!
//! A record is one text without a line end, so that a line, a frame or an item of a batch can hold
//! it. Encoding does no I/O, keeps no state and fails on nothing that a client can send; what the
//! access log masks is masked here too, since both write with `tidegate_core::record`.

mod cef;
mod ecs;
mod json;
mod leef;
mod ocsf;
mod outcome;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::event::WafMatch;
use tidegate_core::{Event, Notice};

/// How a record looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Common Event Format, one line.
    Cef,
    /// Elastic Common Schema 9, one JSON object.
    Ecs,
    /// What the access log says, one JSON object.
    #[default]
    Json,
    /// Log Event Extended Format 2.0, one line.
    Leef,
    /// Open Cybersecurity Schema Framework 1.8, one JSON object.
    Ocsf,
}

/// Who tells: every record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The machine's name.
    pub host: Box<str>,
    /// The version of the program, such as `0.1.0`.
    pub version: Box<str>,
    /// The process's id.
    pub pid: u32,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Cef, Self::Ecs, Self::Json, Self::Leef, Self::Ocsf];

    /// The stable name: in the configuration and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cef => "cef",
            Self::Ecs => "ecs",
            Self::Json => "json",
            Self::Leef => "leef",
            Self::Ocsf => "ocsf",
        }
    }

    /// Whether a record is a JSON object.
    #[must_use]
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Ecs | Self::Json | Self::Ocsf)
    }

    /// Appends one request's record.
    pub fn event(self, out: &mut Vec<u8>, node: &Node, event: &Event<'_>) {
        match self {
            Self::Cef => cef::event(out, node, event),
            Self::Ecs => ecs::event(out, node, event),
            Self::Json => json::event(out, node, event),
            Self::Leef => leef::event(out, node, event),
            Self::Ocsf => ocsf::event(out, node, event),
        }
    }

    /// Appends one notice's record.
    pub fn notice(self, out: &mut Vec<u8>, node: &Node, notice: &Notice) {
        match self {
            Self::Cef => cef::notice(out, node, notice),
            Self::Ecs => ecs::notice(out, node, notice),
            Self::Json => json::notice(out, node, notice),
            Self::Leef => leef::notice(out, node, notice),
            Self::Ocsf => ocsf::notice(out, node, notice),
        }
    }
}

/// The firewall's match that says most: the rule that decided, or the one with the highest score.
fn decisive<'e>(event: &Event<'e>) -> Option<&'e WafMatch> {
    let waf = event.waf?;
    let decided = waf.matches.iter().find(|found| Some(found.rule) == waf.decided_by);
    decided.or_else(|| waf.matches.iter().rev().max_by_key(|found| found.score))
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
