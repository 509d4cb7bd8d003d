//! Files and their includes, in the order in which they take effect.
//!
//! A path is relative to the folder of the file that names it, and may hold `*`, `?` and `[..]` in
//! any of its parts; what a pattern finds is taken in the order of the names. A file that includes
//! itself, over however many others, is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ast::Place;
use super::directives::Reader;
use super::error::start_of;
use super::glob;
use super::lexer::{Token, tokens};
use crate::footprint::Footprint;

/// Larger ones are no rule files.
const MAX_FILE: u64 = 16 << 20;
/// More files are a mistake.
const MAX_FILES: usize = 10_000;

/// Reads files into `reader`.
pub(super) struct Loader<'r> {
    pub(super) reader: &'r mut Reader,
    /// The files that are being read, each included by the one before it.
    pub(super) open: Vec<PathBuf>,
    /// What was seen of the file system.
    pub(super) footprint: Footprint,
    /// How many files were read.
    read: usize,
    /// Whether a text may include files.
    includes: bool,
}

/// The files that a path or pattern names.
pub(crate) fn files_of(pattern: &Path) -> Vec<PathBuf> {
    if glob::is_pattern(&pattern.to_string_lossy()) {
        glob::find(pattern)
    } else if pattern.exists() {
        vec![pattern.to_owned()]
    } else {
        Vec::new()
    }
}

impl<'r> Loader<'r> {
    pub(super) fn new(reader: &'r mut Reader, includes: bool) -> Self {
        Self { reader, open: Vec::new(), footprint: Footprint::default(), read: 0, includes }
    }

    /// Reads the files that a path or pattern names; `place` is who names it.
    pub(super) fn include(&mut self, pattern: &Path, optional: bool, place: &Place) {
        let shown = pattern.display().to_string();
        if !self.includes {
            return self.reader.report.error(place, "a text that is no file includes nothing");
        }
        let found = files_of(pattern);
        self.footprint.note_found(pattern, &found);
        if found.is_empty() && !optional {
            let message = format!("there is no file `{shown}`; `IncludeOptional` takes that");
            self.reader.report.error(place, message);
        }
        for file in found {
            self.file(&file, place);
        }
    }

    /// Reads one file.
    pub(super) fn file(&mut self, file: &Path, place: &Place) {
        let canonical = file.canonicalize().unwrap_or_else(|_error| file.to_owned());
        if self.open.contains(&canonical) {
            let message = format!("`{}` includes itself", file.display());
            return self.reader.report.error(place, message);
        }
        if self.read >= MAX_FILES {
            return self.reader.report.error(place, "there are too many rule files");
        }
        match read(file) {
            Ok(text) => {
                self.footprint.note(file, Some(text.as_bytes()));
                self.read += 1;
                self.open.push(canonical);
                self.text(file, &text);
                self.open.pop();
            }
            Err(message) => self.reader.report.error(place, message),
        }
    }

    /// Reads a text as the file of that name.
    pub(super) fn text(&mut self, file: &Path, text: &str) {
        let name: Arc<str> = start_of(file).file;
        let folder = Arc::new(file.parent().map(Path::to_owned).unwrap_or_default());
        let at = |line| Place { file: Arc::clone(&name), line };
        for token in tokens(text) {
            match token {
                Token::Wrong { line, message } => {
                    self.reader.break_chain();
                    self.reader.report.error(&at(line), message);
                }
                Token::Swallowed { line } => self.reader.report.note(
                    &at(line),
                    "this line belongs to the comment above it, which ends in a backslash",
                ),
                Token::Directive(directive) => {
                    let place = at(directive.line);
                    let optional = directive.name.eq_ignore_ascii_case("IncludeOptional");
                    if optional || directive.name.eq_ignore_ascii_case("Include") {
                        match directive.words.as_slice() {
                            [path] => self.include(&folder.join(path), optional, &place),
                            _ => self.reader.report.error(&place, "it takes one path"),
                        }
                    } else {
                        self.reader.directive(directive, &place, &folder);
                    }
                }
            }
        }
        self.reader.end_of_file();
    }
}

fn read(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let wrong = |error: std::io::Error| format!("`{shown}` cannot be read: {error}");
    let about = std::fs::metadata(file).map_err(wrong)?;
    if about.is_dir() {
        return Err(format!("`{shown}` is a folder; `{shown}/*.conf` takes the files in it"));
    }
    if about.len() > MAX_FILE {
        return Err(format!("`{shown}` is too large for a rule file"));
    }
    let bytes = std::fs::read(file).map_err(wrong)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        format!("`{shown}` is not UTF-8, in line {line}")
    })
}
