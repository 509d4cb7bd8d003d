//! The routes of one host by their paths: what the analysis reads and the table is made of.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use regex::bytes::Regex;
use regex_syntax::hir::{Hir, HirKind, Look};
use tidegate_core::SettingsError;

use super::compile::ParsedRoute;
use super::settings::PathMatch;
use crate::path;
use crate::pattern;

/// A route's path, parsed.
#[derive(Clone, Debug)]
pub(super) enum ParsedPath {
    Exact(String),
    /// Without a slash at the end; empty for `/`.
    Prefix(String),
    Regex(Box<Pattern>),
}

/// A regex and what is known about the paths that it matches.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// What every match begins with.
    pub(super) literal: String,
    /// The closed segments of `literal`: up to its last slash, exclusive.
    pub(super) below: String,
    /// The routes that have it; once sorted, those of one rank.
    pub(super) routes: Vec<usize>,
}

/// The routes of one host, by path.
#[derive(Debug, Default)]
pub(super) struct HostPaths {
    pub(super) exact: BTreeMap<String, Vec<usize>>,
    pub(super) prefix: BTreeMap<String, Vec<usize>>,
    pub(super) regex: Vec<Pattern>,
}

impl ParsedPath {
    pub(super) fn parse(path: Option<&PathMatch>) -> Result<Self, SettingsError> {
        match path {
            None => Ok(Self::Prefix(String::new())),
            Some(PathMatch::Exact(text)) => {
                path::check(text).map_err(|error| error.at(["path"]))?;
                Ok(Self::Exact(text.clone()))
            }
            Some(PathMatch::Prefix(text)) => {
                path::check(text).map_err(|error| error.at(["path"]))?;
                Ok(Self::Prefix(text.strip_suffix('/').unwrap_or(text).to_owned()))
            }
            Some(PathMatch::Regex(pattern)) => {
                Pattern::parse(pattern).map(|pattern| Self::Regex(Box::new(pattern)))
            }
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        let (regex, hir) = pattern::compile("path", text)?;
        let literal = literal_beginning(&hir);
        let below = literal.rsplit_once('/').map_or("", |(below, _)| below).to_owned();
        Ok(Self { regex, literal, below, routes: Vec::new() })
    }

    /// Whether no path can match both, since they begin differently.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        !self.literal.starts_with(&other.literal) && !other.literal.starts_with(&self.literal)
    }
}

/// The literal after the anchor; shorter than could be known for involved patterns.
fn literal_beginning(hir: &Hir) -> String {
    let HirKind::Concat(parts) = hir.kind() else { return String::new() };
    let [anchor, literal, ..] = parts.as_slice() else { return String::new() };
    match (anchor.kind(), literal.kind()) {
        (HirKind::Look(Look::Start), HirKind::Literal(literal)) => {
            String::from_utf8(literal.0.to_vec()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

impl HostPaths {
    pub(super) fn insert(&mut self, path: &ParsedPath, route: usize) {
        match path {
            ParsedPath::Exact(path) => self.exact.entry(path.clone()).or_default().push(route),
            ParsedPath::Prefix(path) => self.prefix.entry(path.clone()).or_default().push(route),
            ParsedPath::Regex(pattern) => {
                self.regex.push(Pattern { routes: vec![route], ..(**pattern).clone() });
            }
        }
    }

    /// Brings everything into the order of precedence. Of the regexes, those that are equal in
    /// pattern and rank become one.
    pub(super) fn sort(&mut self, routes: &[ParsedRoute]) {
        let rank = |at: &usize| Reverse(routes.get(*at).map(|route| route.conditions.rank()));
        let lists = self.exact.values_mut().chain(self.prefix.values_mut());
        lists.for_each(|routes| routes.sort_by_key(rank));
        let first_rank = |pattern: &Pattern| pattern.routes.first().map(rank);
        self.regex.sort_by(|one, other| {
            let key = |p: &Pattern| (Reverse(p.regex.as_str().len()), first_rank(p));
            let by_text = || one.regex.as_str().cmp(other.regex.as_str());
            key(one).cmp(&key(other)).then_with(by_text)
        });
        self.regex.dedup_by(|next, kept| {
            let same = next.regex.as_str() == kept.regex.as_str();
            let same = same && first_rank(next) == first_rank(kept);
            if same {
                kept.routes.append(&mut next.routes);
            }
            same
        });
    }
}
