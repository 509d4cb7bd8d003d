//! Mistakes in rule files, collected until all files are read.

use std::path::Path;
use std::sync::Arc;

use super::ast::{Note, Place};
use crate::rules::RuleError;

/// What went wrong so far, and what is worth telling.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<RuleError>,
    pub(super) notes: Vec<Note>,
}

impl Report {
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.rule_error(place, None, message);
    }

    pub(super) fn rule_error(
        &mut self,
        place: &Place,
        rule: Option<u32>,
        message: impl Into<String>,
    ) {
        let file = place.file.to_string();
        let message = message.into();
        self.errors.push(RuleError { file, line: place.line, rule, message });
    }

    pub(super) fn note(&mut self, place: &Place, message: impl Into<String>) {
        self.notes.push(Note { place: place.clone(), message: message.into() });
    }
}

/// The start of a file, for what is wrong with all of it.
pub(super) fn start_of(file: &Path) -> Place {
    Place { file: Arc::from(file.display().to_string()), line: 1 }
}

/// "`x` is no operator, did you mean `rx`?"
pub(super) fn unknown<'c>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'c str>,
) -> String {
    let folded = word.to_ascii_lowercase();
    let reach = 1 + word.len() / 4;
    let closest = known
        .into_iter()
        .map(|name| (strsim::osa_distance(&folded, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= reach && *distance < name.len())
        .min_by_key(|(distance, _)| *distance);
    let shown: String = word.chars().take(60).collect();
    match closest {
        Some((_, name)) => format!("`{shown}` is no {what}; did you mean `{name}`?"),
        None => format!("`{shown}` is no {what}"),
    }
}
