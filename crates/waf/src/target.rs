//! Which parts of a request a rule looks at: kinds of values ([`Target`]), sets of them, and
//! selectors such as `query:q`, in rules as in exclusions.

use std::fmt;

/// A kind of value. Its number is its bit in a [`TargetSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Body,
    BodyName,
    Cookie,
    CookieName,
    File,
    FileName,
    Finding,
    Header,
    HeaderName,
    Method,
    Path,
    Query,
    QueryName,
    RawBody,
    Uri,
}

impl Target {
    pub(crate) const COUNT: usize = ROWS.len();
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Body,
        Self::BodyName,
        Self::Cookie,
        Self::CookieName,
        Self::File,
        Self::FileName,
        Self::Finding,
        Self::Header,
        Self::HeaderName,
        Self::Method,
        Self::Path,
        Self::Query,
        Self::QueryName,
        Self::RawBody,
        Self::Uri,
    ];

    fn row(self) -> Option<&'static (&'static str, &'static str)> {
        ROWS.get(self as usize)
    }

    /// The word that rules and exclusions use.
    pub(crate) fn name(self) -> &'static str {
        self.row().map_or("", |(name, _)| name)
    }
}

/// In the order of [`Target`]: the word, and what it is.
const ROWS: [(&str, &str); 15] = [
    ("body", "values of a form, JSON or multipart body; JSON names look like json.items.0.id"),
    ("body_name", "names in a form, JSON or multipart body"),
    ("cookie", "cookie values"),
    ("cookie_name", "cookie names"),
    ("file", "contents of uploaded files"),
    ("file_name", "names of uploaded files"),
    ("finding", "what the parsers objected to, such as finding:json"),
    ("header", "header values, cookies apart"),
    ("header_name", "header names"),
    ("method", "the method"),
    ("path", "the canonical path, percent-decoded once"),
    ("query", "values of the query string, decoded once"),
    ("query_name", "names in the query string, decoded once"),
    ("raw_body", "a text body of another type, or one that could not be parsed"),
    ("uri", "the request target as it was sent"),
];

/// Words for several kinds at once.
const GROUPS: [(&str, &str, &[Target]); 2] = [
    ("args", "query and body values", &[Target::Query, Target::Body]),
    ("arg_names", "query and body names", &[Target::QueryName, Target::BodyName]),
];

/// Every target that a rule can name, with its summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROWS.into_iter().chain(GROUPS.into_iter().map(|(name, summary, _)| (name, summary)))
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetSet(u32);

impl TargetSet {
    pub(crate) fn insert(&mut self, target: Target) {
        self.0 |= 1 << target as u32;
    }

    pub(crate) fn contains(self, target: Target) -> bool {
        self.0 >> target as u32 & 1 == 1
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
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
        let mut targets = TargetSet::default();
        if let Some(target) = Target::ALL.into_iter().find(|target| target.name() == kind) {
            targets.insert(target);
        } else if let Some((_, _, group)) = GROUPS.iter().find(|(group, _, _)| *group == kind) {
            group.iter().for_each(|target| targets.insert(*target));
        } else {
            return Err(SelectorError::UnknownKind(kind.to_owned()));
        }
        if name == Some("") {
            return Err(SelectorError::EmptyName(text.to_owned()));
        }
        // Field names are case-insensitive (RFC 9110 §5.1); all other names are not.
        let fold = targets.contains(Target::Header) || targets.contains(Target::HeaderName);
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

    #[test]
    fn the_rows_are_in_the_order_of_the_enum() {
        for (index, target) in Target::ALL.into_iter().enumerate() {
            assert_eq!(target as usize, index);
        }
    }

    #[track_caller]
    fn check(selector: &str, target: Target, name: &str, selected: bool) {
        let parsed = Selector::parse(selector).unwrap();
        assert_eq!(parsed.selects(target, name.as_bytes()), selected, "{selector} {name}");
    }

    #[test]
    fn a_selector_takes_a_kind_and_a_name() {
        check("query", Target::Query, "q", true);
        check("query", Target::Body, "q", false);
        check("args", Target::Body, "q", true);
        check("query:q", Target::Query, "q", true);
        check("query:q", Target::Query, "Q", false);
        check("header:X-Note", Target::Header, "x-note", true);
        check("body:json.*.text", Target::Body, "json.items.0.text", true);
        check("body:json.*.text", Target::Body, "json.text", false);
        check("body:json.*", Target::Body, "json.", true);
        check("body:*a*b", Target::Body, "xaxab", true);
        check("body:ab*ba", Target::Body, "aba", false);
    }

    #[test]
    fn a_wrong_selector_says_what_is_known() {
        let error = Selector::parse("qery:q").unwrap_err().to_string();
        assert!(error.contains("`qery` is no part of a request") && error.contains("query"));
        assert!(Selector::parse("query:").is_err());
    }
}
