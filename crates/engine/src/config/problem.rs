//! One thing that is wrong, while the configuration is still a tree; [`super::ConfigErrors`] is
//! what people see.

use super::path::Path;
use super::tree::Mark;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) mark: Mark,
    pub(crate) path: Path,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn at(mark: Mark, message: impl Into<String>) -> Self {
        Self { mark, path: Path::default(), message: message.into(), hint: None }
    }

    pub(crate) fn with_path(self, path: Path) -> Self {
        Self { path, ..self }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
