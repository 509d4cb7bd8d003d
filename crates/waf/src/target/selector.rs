//! The words of YAML rules and exclusions for kinds of values, and selectors such as `query:q`.

use std::fmt;

use super::{Target, TargetSet};

/// The word, what it is, and the kinds that it stands for.
type Row = (&'static str, &'static str, &'static [Target]);

const ROWS: [Row; 17] = [
    ("args", "query and body values", &[Target::ArgsGet, Target::ArgsPost, Target::ArgsJson]),
    ("arg_names", "query and body names", &[Target::ArgsGetNames, Target::BodyName]),
    (
        "body",
        "values of a form, JSON or multipart body; JSON names look like json.items.array_0.id",
        &[Target::ArgsPost, Target::ArgsJson],
    ),
    ("body_name", "names in a form, JSON or multipart body", &[Target::BodyName]),
    ("cookie", "cookie values", &[Target::RequestCookies]),
    ("cookie_name", "cookie names", &[Target::RequestCookiesNames]),
    ("file", "contents of uploaded files", &[Target::FilesTmpContent]),
    ("file_name", "names of uploaded files", &[Target::Files]),
    ("finding", "what the parsers objected to, such as finding:json", &[Target::Finding]),
    ("header", "header values, cookies apart", &[Target::RequestHeaders]),
    ("header_name", "header names", &[Target::RequestHeadersNames]),
    ("method", "the method", &[Target::RequestMethod]),
    ("path", "the canonical path, percent-decoded once", &[Target::Path]),
    ("query", "values of the query string, decoded once", &[Target::ArgsGet]),
    ("query_name", "names in the query string, decoded once", &[Target::ArgsGetNames]),
    (
        "raw_body",
        "a text body of another type, or one that could not be parsed",
        &[Target::RawBody],
    ),
    ("uri", "the request target as it was sent", &[Target::RequestUriRaw]),
];

/// Every target that a YAML rule can name, with its summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROWS.into_iter().map(|(name, summary, _)| (name, summary))
}

/// The most particular word for a kind.
pub(super) fn word(target: Target) -> Option<&'static str> {
    let rows = ROWS.iter().filter(|(_, _, targets)| targets.contains(&target));
    rows.min_by_key(|(_, _, targets)| targets.len()).map(|(name, _, _)| *name)
}

/// A kind, or several, and optionally the name of one value: `query`, `args:id`, `body:json.*.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) targets: TargetSet,
    name: Option<NamePattern>,
}

impl Selector {
    /// Reads a selector; the error says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
            None => (text.trim(), None),
        };
        let Some((_, _, targets)) = ROWS.iter().find(|(word, _, _)| *word == kind) else {
            return Err(SelectorError::UnknownKind(kind.to_owned()));
        };
        let targets = TargetSet::of(targets);
        if name == Some("") {
            return Err(SelectorError::EmptyName(text.to_owned()));
        }
        // Field names are case-insensitive (RFC 9110 §5.1); all other names are not.
        let fold = targets.contains(Target::RequestHeaders)
            || targets.contains(Target::RequestHeadersNames);
        Ok(Self { targets, name: name.map(|name| NamePattern::new(name, fold)) })
    }

    pub(crate) fn selects(&self, target: Target, name: &[u8]) -> bool {
        self.targets.contains(target) && self.takes_name(name)
    }

    fn takes_name(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

/// A selector that nobody can mean.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorError {
    #[error("`{0}` has a colon and no name behind it")]
    EmptyName(String),
    #[error("`{0}` is no part of a request; known are {known}", known = Known)]
    UnknownKind(String),
}

struct Known;

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, _)) in reference().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A name in which `*` stands for any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamePattern {
    /// What stands between the stars; one piece means that there is none.
    pieces: Vec<Box<[u8]>>,
    fold: bool,
}

impl NamePattern {
    fn new(text: &str, fold: bool) -> Self {
        let pieces = text.split('*').map(|piece| piece.as_bytes().into()).collect();
        Self { pieces, fold }
    }

    fn matches(&self, name: &[u8]) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else {
            return name.len() == first.len() && self.starts(name, first);
        };
        if !self.starts(name, first) {
            return false;
        }
        let mut left = name.get(first.len()..).unwrap_or_default();
        for piece in middle {
            let Some(at) = (0..=left.len())
                .find(|at| left.get(*at..).is_some_and(|tail| self.starts(tail, piece)))
            else {
                return false;
            };
            left = left.get(at + piece.len()..).unwrap_or_default();
        }
        left.len()
            .checked_sub(last.len())
            .and_then(|at| left.get(at..))
            .is_some_and(|tail| self.starts(tail, last))
    }

    fn starts(&self, text: &[u8], piece: &[u8]) -> bool {
        text.get(..piece.len()).is_some_and(|head| {
            if self.fold { head.eq_ignore_ascii_case(piece) } else { head == piece }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, target: Target, name: &str, selected: bool) {
        let parsed = Selector::parse(selector).unwrap();
        assert_eq!(parsed.selects(target, name.as_bytes()), selected, "{selector} {name}");
    }

    #[test]
    fn a_selector_takes_a_kind_and_a_name() {
        check("query", Target::ArgsGet, "q", true);
        check("query", Target::ArgsPost, "q", false);
        check("args", Target::ArgsPost, "q", true);
        check("query:q", Target::ArgsGet, "q", true);
        check("query:q", Target::ArgsGet, "Q", false);
        check("header:X-Note", Target::RequestHeaders, "x-note", true);
        check("body:json.*.text", Target::ArgsPost, "json.items.array_0.text", true);
        check("body:json.*.text", Target::ArgsPost, "json.text", false);
        check("body:json.*", Target::ArgsPost, "json.", true);
        check("body:*a*b", Target::ArgsPost, "xaxab", true);
        check("body:ab*ba", Target::ArgsPost, "aba", false);
    }

    #[test]
    fn a_wrong_selector_says_what_is_known() {
        let error = Selector::parse("qery:q").unwrap_err().to_string();
        assert!(error.contains("`qery` is no part of a request") && error.contains("query"));
        assert!(Selector::parse("query:").is_err());
    }
}
