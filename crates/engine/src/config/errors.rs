//! [`ConfigErrors`]: everything that is wrong with a configuration, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::problem::Problem;
use super::sources::Sources;

/// One error, with the place to correct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// The file, as it was named on the command line or found by an include.
    pub file: String,
    /// The line, from 1; 0 if the file itself is the problem.
    pub line: u32,
    /// The column in characters, from 1; 0 if the file itself is the problem.
    pub column: u32,
    /// Where in the configuration, such as `listeners[0].tls.cert`; empty for the whole of it.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line that is quoted below the message.
    #[serde(skip)]
    source: Option<String>,
}

/// All errors of a configuration, by file and line; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The errors, by file and line.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// For programs: a list of `{file, line, column, path, message, hint}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self.errors)
    }

    /// Sorts by place, drops what is said twice and adds the quoted lines.
    pub(crate) fn new(mut problems: Vec<Problem>, sources: &Sources) -> Self {
        problems.sort_by_key(|problem| problem.mark);
        let mut errors: Vec<ConfigError> = Vec::with_capacity(problems.len());
        for problem in problems {
            let error = ConfigError::new(problem, sources);
            let same = |known: &&ConfigError| {
                (known.line, known.column) == (error.line, error.column) && known.file == error.file
            };
            let mut here = errors.iter().rev().take_while(same);
            if !here.any(|known| known.message == error.message) {
                errors.push(error);
            }
        }
        Self { errors }
    }
}

impl ConfigError {
    fn new(problem: Problem, sources: &Sources) -> Self {
        let Problem { mark, path, message, hint } = problem;
        Self {
            file: sources.name(mark).to_owned(),
            line: mark.line,
            column: mark.column,
            path: path.to_string(),
            message,
            hint,
            source: sources.line(mark).map(str::to_owned),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            _ => write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            let (source, carets) = quoted(source, self.column);
            write!(f, "\n{:>5} | {source}\n      | {carets}", self.line)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n      = help: {hint}")?;
        }
        Ok(())
    }
}

/// A line cut to the part around a column, and carets under the word that starts there.
fn quoted(source: &str, column: u32) -> (String, String) {
    const WIDTH: usize = 100;
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let skipped = before.saturating_sub(WIDTH / 2);
    let visible: String = source
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .skip(skipped)
        .take(WIDTH)
        .collect();
    let visible = visible.trim_end().to_owned();
    let word = word_length(visible.chars().skip(before - skipped));
    (visible, format!("{}{}", " ".repeat(before - skipped), "^".repeat(word)))
}

fn word_length(mut text: impl Iterator<Item = char>) -> usize {
    match text.next() {
        None => 1,
        Some(quote @ ('"' | '\'')) => 2 + text.take_while(|c| *c != quote).count(),
        Some('[' | '{' | '-') => 1,
        Some(_) => 1 + text.take_while(|c| !c.is_whitespace() && !",]}:".contains(*c)).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::path::Path;
    use crate::config::sources::Source;
    use crate::config::tree::Mark;

    #[test]
    fn an_error_reads_at_one_glance() {
        let mut sources = Sources::default();
        let text = "listeners:\n  - address: 0.0.0.0:8443\n    tls: { cert: tls.crt, key: a }\n";
        let file = sources.add(Source {
            name: "config/edge.yaml".to_owned(),
            path: None,
            text: text.to_owned(),
        });
        let problem = Problem::at(Mark { file, line: 3, column: 18 }, "no such file `tls.crt`")
            .with_path(Path::default().key("listeners").index(0).key("tls").key("cert"))
            .with_hint("make one");
        let errors = ConfigErrors::new(vec![problem.clone(), problem], &sources);
        let expected = "\
config/edge.yaml:3:18: listeners[0].tls.cert: no such file `tls.crt`
    3 |     tls: { cert: tls.crt, key: a }
      |                  ^^^^^^^
      = help: make one";
        assert_eq!(errors.to_string(), expected);
        let json = errors.to_json();
        assert_eq!(json[0]["column"], 18);
        assert_eq!(json[0]["hint"], "make one");
    }
}
