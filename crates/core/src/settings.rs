//! What is wrong with a setting that has the right shape: found when a configuration is compiled.

use std::fmt;

use crate::suggest;

/// So many names can be listed in a hint.
const FEW: usize = 12;

/// A setting that cannot be compiled. The engine adds file and line; all of a configuration's
/// errors are reported together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// Where, relative to the part that was compiled: keys, and indices as numbers.
    pub path: Vec<String>,
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl SettingsError {
    /// An error at `path`, such as `["tls", "cert"]`.
    pub fn new(
        path: impl IntoIterator<Item = impl Into<String>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into_iter().map(Into::into).collect(),
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which of `known` was meant by `word`, if one is close, and else all if they are few.
    #[must_use]
    pub fn meaning<'c>(self, word: &str, known: impl IntoIterator<Item = &'c str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match suggest::hint(word, known.iter().copied()) {
            Some(hint) => self.with_hint(hint),
            None if (1..=FEW).contains(&known.len()) => {
                self.with_hint(format!("write one of {}", known.join(", ")))
            }
            None => self,
        }
    }

    /// The same error seen from further outside: `prefix` comes before its path.
    #[must_use]
    pub fn under(mut self, prefix: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.path.splice(0..0, prefix.into_iter().map(Into::into));
        self
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_what_was_meant() {
        let hint = |known: &[&str]| {
            SettingsError::new(["to"], "unknown").meaning("apo", known.iter().copied()).hint
        };
        assert_eq!(hint(&["web", "api"]).as_deref(), Some("did you mean `api`?"));
        assert_eq!(hint(&["web", "pay"]).as_deref(), Some("write one of web, pay"));
        assert_eq!(hint(&[]), None);
        assert_eq!(hint(&["web"; 13]), None);
    }

    #[test]
    fn an_error_moves_outwards() {
        let error = SettingsError::new(["cert"], "no such file").under(["listeners", "0", "tls"]);
        assert_eq!(error.to_string(), "listeners.0.tls.cert: no such file");
    }
}
