//! SecLang, ModSecurity's language of rules: from the text of files to typed and resolved rules
//! ([`ast`]), with every mistake of every file at once.
//!
//! 1. `lexer` makes directives of a text, `loader` follows its includes.
//! 2. `directives` makes items of directives, unread yet (`raw`), and notes what is to change.
//! 3. `updates` removes and changes items as the files say.
//! 4. `rule` understands what is left.

mod actions;
pub(crate) mod ast;
mod defaults;
mod directives;
mod engine;
mod error;
mod glob;
mod lexer;
mod loader;
mod names;
pub(crate) mod pattern;
mod raw;
mod rule;
mod sources;
mod template;
#[cfg(test)]
mod tests;
mod updates;
mod variables;

use std::path::Path;

use rustc_hash::FxHashMap;

use self::ast::{Item, Place, Rules};
use self::directives::Reader;
use self::error::start_of;
use self::loader::Loader;
pub(crate) use self::loader::files_of;
use self::raw::RawItem;
pub use self::sources::{CrsSource, SecLangSources};
use crate::footprint::Footprint;
use crate::rules::{RuleErrors, RuleFile};

/// Rules, and what was seen of the file system on the way to them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) rules: Rules,
    pub(crate) footprint: Footprint,
}

/// Reads all files that the sources name, in their order.
///
/// # Errors
/// Every mistake of every file.
pub(crate) fn load(sources: &SecLangSources) -> Result<Loaded, RuleErrors> {
    let mut reader = Reader::default();
    let mut loader = Loader::new(&mut reader, true);
    sources.read(&mut loader);
    let footprint = loader.footprint;
    finish(reader).map(|rules| Loaded { rules, footprint })
}

/// Reads one text, which includes nothing.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn parse(name: &Path, text: &str) -> Result<Rules, RuleErrors> {
    let mut reader = Reader::default();
    reader.items.push(RawItem::Settings);
    Loader::new(&mut reader, false).text(name, text);
    finish(reader)
}

/// Reads a file of SecLang without running it, and says what in it has no effect here.
///
/// # Errors
/// Every mistake in it; an `Include` is one, since there is only this text.
pub fn check_seclang(file: &RuleFile) -> Result<Vec<String>, RuleErrors> {
    let rules = parse(Path::new(&file.name), &file.text)?;
    Ok(rules.notes.iter().map(ToString::to_string).collect())
}

/// Reads one variable as it stands in an exclusion: `ARGS:comment`.
///
/// # Errors
/// What it should have been.
pub(crate) fn variable(text: &str) -> Result<ast::Variable, String> {
    let variable = variables::variable(text)?;
    if variable.excluded || variable.counted {
        return Err(format!("`{text}` is no part of a request"));
    }
    Ok(variable)
}

fn finish(reader: Reader) -> Result<Rules, RuleErrors> {
    let Reader { mut report, mut items, updates, engine, .. } = reader;
    updates::apply(&updates, &mut items, &mut report);
    let mut rules = Rules { engine, ..Rules::default() };
    let mut seen: FxHashMap<u32, Place> = FxHashMap::default();
    for item in items {
        match item {
            RawItem::Marker { label } => rules.items.push(Item::Marker { label }),
            RawItem::Settings => rules.items.push(Item::Settings),
            RawItem::Rule(raw) => {
                let place = raw.links.first().map(|link| link.place.clone());
                let place = place.unwrap_or_else(|| start_of(Path::new("")));
                if raw.id > 0
                    && let Some(other) = seen.insert(raw.id, place.clone())
                {
                    let message =
                        format!("its id is used in {}:{} already", other.file, other.line);
                    report.rule_error(&place, Some(raw.id), message);
                }
                if let Some(rule) = rule::understand(&raw, &mut report) {
                    rules.items.push(Item::Rule(Box::new(rule)));
                }
            }
        }
    }
    if !report.errors.is_empty() {
        return Err(RuleErrors(report.errors));
    }
    rules.notes = report.notes;
    Ok(rules)
}
