//! Bans as text: the file that keeps them over a restart (a JSON object a line), and lists that
//! others publish (an address or a network a line, `#` or `;` begins a comment).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::Network;

use super::Ban;
use super::target::Written;

/// The version of the lines. The first had no number, and networks only.
const VERSION: u8 = 2;

/// A line that is not a ban.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// The file's text.
#[must_use]
pub fn write<'a>(bans: impl IntoIterator<Item = &'a Ban>) -> String {
    let mut text = String::new();
    for ban in bans {
        let kept = Kept { v: VERSION, ..Kept::from(ban) };
        // Strings and numbers always become JSON.
        if let Ok(line) = serde_json::to_string(&kept) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// Reads what [`write`] wrote, now or before there were other measures than refusing. A line that
/// is no ban is reported and does not hurt the others.
#[must_use]
pub fn read(text: &str) -> (Vec<Ban>, Vec<BadLine>) {
    // Neighbours mostly have one source and reason.
    let mut last: [Arc<str>; 2] = Default::default();
    parse(text, |line| {
        let kept: Kept = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if kept.v > VERSION {
            return Err(format!("version {} of bans is not known", kept.v));
        }
        let [source, reason] = &mut last;
        share(source, &kept.source);
        share(reason, &kept.reason);
        Ok(Some(Ban {
            target: kept.written.target().map_err(|error| error.to_string())?,
            measure: kept.measure,
            until: kept.until,
            since: kept.since,
            source: Arc::clone(source),
            reason: Arc::clone(reason),
        }))
    })
}

fn share(last: &mut Arc<str>, text: &str) {
    if **last != *text {
        *last = text.into();
    }
}

/// Reads a list as block lists are published; its bans come from `source`, begin at `since` and
/// last until `until`.
#[must_use]
pub fn read_list(
    text: &str,
    source: &str,
    since: u64,
    until: Option<u64>,
) -> (Vec<Ban>, Vec<BadLine>) {
    let (source, reason): (Arc<str>, Arc<str>) = (source.into(), "".into());
    parse(text, |line| {
        let entry = line.split(['#', ';']).next().unwrap_or_default().trim();
        if entry.is_empty() {
            return Ok(None);
        }
        let network: Network = entry.parse().map_err(|error| format!("`{entry}` is {error}"))?;
        let (target, measure) = (Target::Network(network), Measure::Block);
        let (source, reason) = (Arc::clone(&source), Arc::clone(&reason));
        Ok(Some(Ban { target, measure, until, since, source, reason }))
    })
}

/// A ban as a line of the file has it.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "is_zero")]
    v: u8,
    #[serde(flatten)]
    written: Written,
    #[serde(default = "block")]
    measure: Measure,
    until: Option<u64>,
    since: u64,
    source: Box<str>,
    reason: Box<str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(version: &u8) -> bool {
    *version == 0
}

fn block() -> Measure {
    Measure::Block
}

impl From<&Ban> for Kept {
    fn from(ban: &Ban) -> Self {
        Self {
            v: 0,
            written: Written::from(&ban.target),
            measure: ban.measure,
            until: ban.until,
            since: ban.since,
            source: (*ban.source).into(),
            reason: (*ban.reason).into(),
        }
    }
}

/// A ban as programs read it: the words for its target, and what else there is to say.
impl Serialize for Ban {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Kept::from(self).serialize(serializer)
    }
}

fn parse(
    text: &str,
    mut read: impl FnMut(&str) -> Result<Option<Ban>, String>,
) -> (Vec<Ban>, Vec<BadLine>) {
    let (mut bans, mut bad) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match read(line) {
            Ok(ban) => bans.extend(ban),
            Err(what) => bad.push(BadLine { line: index + 1, what }),
        }
    }
    (bans, bad)
}
