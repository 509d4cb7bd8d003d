//! `rx` and `rxGlobal`: regular expressions over bytes, as libmodsecurity gives them to PCRE: the
//! dot takes line ends, and `^` and `$` stand at lines, too. The engine is linear, so lookaround
//! and backreferences are refused.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use super::Argument;
use crate::operators::{Captures, Operator};
use crate::prefilter::{self, Required};
use crate::seclang::pattern::{PatternError, translate};

/// The compiled program of one pattern may not take more memory than this.
const SIZE_LIMIT: usize = 4 << 20;

#[derive(Debug)]
struct Rx {
    regex: Regex,
    required: Required,
    /// Whether the groups of all matches are captured, one after the other.
    global: bool,
}

pub(super) fn build(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    built(argument, false)
}

pub(super) fn build_global(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    built(argument, true)
}

fn built(argument: &Argument<'_>, global: bool) -> Result<Box<dyn Operator>, String> {
    let (regex, required) = compile(argument.text)?;
    Ok(Box::new(Rx { regex, required, global }))
}

/// A pattern ready to search, and what its matches need.
pub(super) fn compile(pattern: &[u8]) -> Result<(Regex, Required), String> {
    let pattern = translate(&text(pattern)).map_err(|error| match error {
        PatternError::Broken(message) => message,
        PatternError::Unsupported(message) => {
            format!("{message}; the engine is linear, without backreferences and lookaround")
        }
    })?;
    let regex = RegexBuilder::new(&pattern)
        .unicode(false)
        .dot_matches_new_line(true)
        .multi_line(true)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| last_line(&error.to_string()))?;
    let required =
        prefilter::required_by_pattern(&pattern).map_err(|error| last_line(&error.to_string()))?;
    Ok((regex, required))
}

/// The last line of the engine's message; those above it draw the pattern.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// The pattern as text: bytes that are no UTF-8 become escapes.
fn text(pattern: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(pattern) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    for chunk in pattern.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(out)
}

impl Operator for Rx {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        self.regex.find(bytes).map(|found| found.range())
    }

    fn matches(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
        // Most values do not match, and to know that costs much less than to capture.
        let whole = self.regex.find(bytes)?;
        if self.regex.captures_len() == 1 && !self.global {
            captures.set(0, whole.range());
            return Some(whole.range());
        }
        let mut first = None;
        let mut before = 0;
        for found in self.regex.captures_iter(bytes) {
            // Beyond the first, an empty match captures nothing.
            if first.is_some() && found.get(0).is_some_and(|whole| whole.is_empty()) {
                continue;
            }
            for (number, group) in found.iter().enumerate() {
                if let Some(group) = group {
                    captures.set(before + number, group.range());
                }
            }
            first = first.or_else(|| found.get(0).map(|whole| whole.range()));
            before += found.len();
            if !self.global || before >= crate::operators::MAX_GROUPS {
                break;
            }
        }
        first
    }

    fn required(&self) -> Required {
        self.required.clone()
    }
}

/// How many patterns with expanded macros a thread keeps compiled.
const KEPT: usize = 16;

type Compiled = (Box<[u8]>, Option<Regex>);

thread_local! {
    static EXPANDED: RefCell<Vec<Compiled>> = const { RefCell::new(Vec::new()) };
}

/// Searches with a pattern that was expanded from macros; one that does not compile finds nothing.
pub(super) fn search(pattern: &[u8], value: &[u8]) -> Option<Range<usize>> {
    EXPANDED.with_borrow_mut(|known| {
        let at = known.iter().position(|(known, _)| **known == *pattern).unwrap_or_else(|| {
            if known.len() >= KEPT {
                known.remove(0);
            }
            known.push((pattern.into(), compile(pattern).ok().map(|(regex, _)| regex)));
            known.len() - 1
        });
        let regex = known.get(at)?.1.as_ref()?;
        regex.find(value).map(|found| found.range())
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn built(pattern: &[u8], global: bool) -> Result<Box<dyn Operator>, String> {
        let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        super::built(&Argument { text: pattern, base: Path::new(""), read: &read }, global)
    }

    #[test]
    fn bytes_are_matched() {
        assert_eq!(built(br"^\x{bc}[^>]*$", false).unwrap().find(b"a\n\xbc1"), Some(2..4));
        assert!(built("[\u{bf}]".as_bytes(), false).unwrap().matches(b"\xbf"));
        assert!(built(br"a(?=b)", false).unwrap_err().contains("look-around"));
        assert_eq!(search(b"b+", b"abb"), Some(1..3));
        assert_eq!(search(b"(", b"("), None);
    }

    #[test]
    fn groups_are_captured() {
        let groups = |pattern: &[u8], global, value: &[u8]| {
            let mut captures = Captures::default();
            built(pattern, global).unwrap().capture(value, &mut captures).unwrap();
            let text = |(_, group): (usize, &[u8])| String::from_utf8(group.into()).unwrap();
            captures.iter(value).map(text).collect::<Vec<_>>()
        };
        assert_eq!(groups(b"(a)(x)?(b)", false, b"-ab"), ["ab", "a", "b"]);
        assert_eq!(groups(b"(a|b)c", true, b"ac bc"), ["ac", "a", "bc", "b"]);
    }
}
