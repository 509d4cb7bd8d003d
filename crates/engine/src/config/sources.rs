//! The files that a configuration was read from, kept to quote from them.

use std::path::PathBuf;

use super::tree::Mark;

/// All sources, in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
}

/// One file, or a text that was given as one.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As the user named it, or as found from there.
    pub(crate) name: String,
    /// Its canonical path; `None` for a text that is no file.
    pub(crate) path: Option<PathBuf>,
    pub(crate) text: String,
}

impl Sources {
    /// Adds a source and returns its index for [`Mark::file`].
    pub(crate) fn add(&mut self, source: Source) -> u32 {
        self.files.push(source);
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// The name of the file that a mark points into.
    pub(crate) fn name(&self, mark: Mark) -> &str {
        self.source(mark).map_or("", |source| &source.name)
    }

    /// The line that a mark points at; a line ends with a line feed, a carriage return, or both
    /// (YAML 1.2.2 §5.4).
    pub(crate) fn line(&self, mark: Mark) -> Option<&str> {
        let line = usize::try_from(mark.line.checked_sub(1)?).ok()?;
        let mut lines = self
            .source(mark)?
            .text
            .split('\n')
            .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
        lines.nth(line)
    }

    /// Whether a file is among them.
    pub(crate) fn position(&self, path: &std::path::Path) -> Option<u32> {
        let position = self.files.iter().position(|file| file.path.as_deref() == Some(path))?;
        u32::try_from(position).ok()
    }

    fn source(&self, mark: Mark) -> Option<&Source> {
        self.files.get(usize::try_from(mark.file).ok()?)
    }
}
