//! Bans as text: the file that keeps them over a restart (a JSON object a line), and lists that
//! others publish (an address or a network a line, `#` or `;` begins a comment).

use serde::Deserialize;
use tidegate_core::net::Network;

use super::Ban;

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
        // Strings and numbers always become JSON.
        if let Ok(line) = serde_json::to_string(ban) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// Reads what [`write`] wrote. A line that is no ban is reported and does not hurt the others.
#[must_use]
pub fn read(text: &str) -> (Vec<Ban>, Vec<BadLine>) {
    parse(text, |line| {
        let kept: Kept = serde_json::from_str(line).map_err(|error| error.to_string())?;
        Ok(Some(kept.into()))
    })
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
    parse(text, |line| {
        let entry = line.split(['#', ';']).next().unwrap_or_default().trim();
        if entry.is_empty() {
            return Ok(None);
        }
        let network: Network = entry.parse().map_err(|error| format!("`{entry}` is {error}"))?;
        Ok(Some(Ban { network, until, since, source: source.into(), reason: "".into() }))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    network: Network,
    until: Option<u64>,
    since: u64,
    source: Box<str>,
    reason: Box<str>,
}

impl From<Kept> for Ban {
    fn from(kept: Kept) -> Self {
        let Kept { network, until, since, source, reason } = kept;
        Self { network, until, since, source, reason }
    }
}

fn parse(
    text: &str,
    read: impl Fn(&str) -> Result<Option<Ban>, String>,
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
