//! Changes the path, and the host if asked, before a request goes upstream. The query stays.

use std::borrow::Cow;

use http::HeaderValue;
use regex::bytes::{Captures, Regex};
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;

use crate::path;
use crate::pattern;

/// How the path is changed on its way upstream. A reload applies it to new requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RewriteSettings {
    /// What replaces the part of the path that the route matched.
    pub prefix: Option<String>,
    /// A regular expression, anchored with `^`; needs `with`. A path that it does not match stays
    /// as it is.
    pub regex: Option<String>,
    /// What replaces the match of `regex`; `$1` or `${name}` stand for its groups, `$$` for a
    /// dollar sign.
    pub with: Option<String>,
    /// The host to send. Default: the client's.
    pub host: Option<String>,
}

/// A compiled rewrite.
#[derive(Clone, Debug)]
pub struct Rewrite {
    path: Option<PathRewrite>,
    host: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
enum PathRewrite {
    /// Without a slash at the end.
    Prefix(Box<str>),
    Regex(Regex, Box<[Piece]>),
}

/// A part of what replaces a match.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Group(usize),
    Literal(String),
}

/// A rewrite made a path that cannot be sent, such as one with dot segments. The request that led
/// to it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rewritten path is not a valid path")]
pub struct InvalidPath;

impl Rewrite {
    /// Compiles the settings.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other, and paths, patterns or hosts that cannot be used.
    pub fn compile(settings: &RewriteSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let path = compile_path(settings).map_err(|error| errors.push(error));
        let host = settings.host.as_ref().and_then(|host| {
            let value = compile_host(host);
            if value.is_none() {
                errors.push(SettingsError::new(["host"], format!("`{host}` is not a host")));
            }
            value
        });
        match path {
            Ok(None) if settings.host.is_none() => {
                let nothing = SettingsError::new([] as [&str; 0], "the rewrite changes nothing");
                Err(vec![nothing.with_hint("give it a `prefix`, a `regex` or a `host`")])
            }
            Ok(path) if errors.is_empty() => Ok(Self { path, host }),
            _ => Err(errors),
        }
    }

    /// The path to send for the canonical `path`, of which the route matched `matched_len` bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] if the outcome is not safe to send.
    pub fn path<'p>(&self, path: &'p str, matched_len: usize) -> Result<Cow<'p, str>, InvalidPath> {
        let rewritten = match &self.path {
            None => return Ok(Cow::Borrowed(path)),
            Some(PathRewrite::Prefix(prefix)) => {
                let rest = path.get(matched_len..).unwrap_or_default();
                join(prefix, rest)
            }
            Some(PathRewrite::Regex(regex, pieces)) => match regex.captures(path.as_bytes()) {
                None => return Ok(Cow::Borrowed(path)),
                Some(captures) => expand(path, &captures, pieces),
            },
        };
        if path::is_safe(&rewritten) { Ok(Cow::Owned(rewritten)) } else { Err(InvalidPath) }
    }

    /// The host to send, if it is not the client's.
    #[must_use]
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }
}

/// A prefix without a slash at its end, and what follows it.
pub(super) fn join(prefix: &str, rest: &str) -> String {
    match rest.strip_prefix('/') {
        None if rest.is_empty() && !prefix.is_empty() => prefix.to_owned(),
        None => format!("{prefix}/{rest}"),
        Some(rest) => format!("{prefix}/{rest}"),
    }
}

fn expand(path: &str, captures: &Captures<'_>, pieces: &[Piece]) -> String {
    let mut expanded = String::with_capacity(path.len());
    for piece in pieces {
        expanded.push_str(match piece {
            Piece::Group(group) => {
                captures.get(*group).and_then(|found| path.get(found.range())).unwrap_or_default()
            }
            Piece::Literal(text) => text,
        });
    }
    let end = captures.get(0).map_or(0, |found| found.end());
    expanded.push_str(path.get(end..).unwrap_or_default());
    expanded
}

fn compile_path(settings: &RewriteSettings) -> Result<Option<PathRewrite>, SettingsError> {
    match (&settings.prefix, &settings.regex, &settings.with) {
        (None, None, None) => Ok(None),
        (Some(prefix), None, None) => {
            path::check(prefix).map_err(|error| error.at(["prefix"]))?;
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            Ok(Some(PathRewrite::Prefix(prefix.into())))
        }
        (None, Some(pattern), Some(with)) => {
            let (regex, _) = pattern::compile("regex", pattern)?;
            let pieces = parse_template(with, &regex)?;
            Ok(Some(PathRewrite::Regex(regex, pieces.into_boxed_slice())))
        }
        (Some(_), _, _) => {
            let message = "a rewrite takes either `prefix` or `regex` and `with`";
            Err(SettingsError::new(["prefix"], message))
        }
        (None, Some(_), None) => Err(SettingsError::new(["regex"], "regex needs `with`")),
        (None, None, Some(_)) => Err(SettingsError::new(["with"], "with needs `regex`")),
    }
}

/// Splits `/b/$1/${name}` into its pieces.
fn parse_template(with: &str, regex: &Regex) -> Result<Vec<Piece>, SettingsError> {
    let refused = |message: String| SettingsError::new(["with"], message);
    if !with.starts_with('/') && !with.starts_with('$') {
        let message = format!("`{with}` does not start with a slash");
        return Err(refused(message).with_hint(format!("write `/{with}`")));
    }
    let mut pieces = Vec::new();
    let mut rest = with;
    while let Some((before, after)) = rest.split_once('$') {
        push_literal(&mut pieces, before);
        if let Some(after) = after.strip_prefix('$') {
            push_literal(&mut pieces, "$");
            rest = after;
            continue;
        }
        let (name, after) = split_group(after);
        let group = name.parse().ok().filter(|group| *group < regex.captures_len());
        let group = group.or_else(|| regex.capture_names().position(|known| known == Some(name)));
        let Some(group) = group else {
            let hint = "write `${1}` if letters or digits follow, and `$$` for a dollar sign";
            return Err(refused(format!("the regex has no group `{name}`")).with_hint(hint));
        };
        pieces.push(Piece::Group(group));
        rest = after;
    }
    push_literal(&mut pieces, rest);
    let literal = |piece: &Piece| match piece {
        Piece::Literal(text) => text.bytes().all(|byte| path::is_plain(byte) || byte == b'%'),
        Piece::Group(_) => true,
    };
    if !pieces.iter().all(literal) {
        let hint = "percent-encode it; the query stays as it is";
        return Err(refused(format!("`{with}` has what a path cannot carry")).with_hint(hint));
    }
    Ok(pieces)
}

/// The name of a group, in braces or as far as letters, digits and underscores go.
fn split_group(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return (name, after);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Literal(last)) => last.push_str(text),
        _ => pieces.push(Piece::Literal(text.to_owned())),
    }
}

/// A host with or without a port, as a header carries it.
pub(super) fn compile_host(host: &str) -> Option<HeaderValue> {
    let authority: http::uri::Authority = host.parse().ok()?;
    let plain = !host.contains('@') && !authority.host().is_empty();
    HeaderValue::from_str(host).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> RewriteSettings {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check(json: &str, path: &str, matched_len: usize, expected: Result<&str, InvalidPath>) {
        let rewrite = Rewrite::compile(&settings(json)).unwrap();
        assert_eq!(
            rewrite.path(path, matched_len).as_deref(),
            expected.as_deref(),
            "{json} {path}"
        );
    }

    #[test]
    fn a_prefix_replaces_what_the_route_matched() {
        check(r#"{"prefix":"/"}"#, "/pay/1", 4, Ok("/1"));
        check(r#"{"prefix":"/"}"#, "/pay", 4, Ok("/"));
        check(r#"{"prefix":"/"}"#, "/pay/", 4, Ok("/"));
        check(r#"{"prefix":"/v2/"}"#, "/pay/1", 4, Ok("/v2/1"));
        check(r#"{"prefix":"/v2"}"#, "/pay", 4, Ok("/v2"));
        check(r#"{"prefix":"/v2"}"#, "/pay/", 4, Ok("/v2/"));
        check(r#"{"prefix":"/v2"}"#, "/pay/1", 0, Ok("/v2/pay/1"));
        check(r#"{"prefix":"/v2"}"#, "/v1/x", 4, Ok("/v2/x"));
        check(r#"{"prefix":"/x"}"#, "/pay", 99, Ok("/x"));
    }

    #[test]
    fn a_regex_replaces_its_match() {
        check(r#"{"regex":"^/a/(.*)","with":"/b/$1"}"#, "/a/x/y", 0, Ok("/b/x/y"));
        check(r#"{"regex":"^/a/(.*)","with":"/b/$1"}"#, "/c", 0, Ok("/c"));
        check(r#"{"regex":"^/(?<v>v[0-9])/","with":"/${v}x/$$/"}"#, "/v1/y", 0, Ok("/v1x/$/y"));
        check(r#"{"regex":"^/(a)?b","with":"/${1}c"}"#, "/b/y", 0, Ok("/c/y"));
    }

    #[test]
    fn an_unsafe_outcome_is_refused() {
        check(r#"{"regex":"^/f(.*)x","with":"/$1"}"#, "/f..x/y", 0, Err(InvalidPath));
        check(r#"{"regex":"^/f(.*)","with":"/$1"}"#, "/f/evil.example", 0, Err(InvalidPath));
        check(r#"{"regex":"^/f(.*)","with":"$1"}"#, "/fevil", 0, Err(InvalidPath));
    }

    #[track_caller]
    fn check_refused(json: &str, expected: &str) {
        let errors = Rewrite::compile(&settings(json)).unwrap_err();
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), expected);
    }

    #[test]
    fn settings_say_what_is_wrong() {
        check_refused("{}", "the rewrite changes nothing");
        check_refused(r#"{"regex":"^/a"}"#, "regex: regex needs `with`");
        check_refused(r#"{"with":"/a"}"#, "with: with needs `regex`");
        check_refused(
            r#"{"prefix":"/a","with":"/b"}"#,
            "prefix: a rewrite takes either `prefix` or `regex` and `with`",
        );
        check_refused(
            r#"{"prefix":"a"}"#,
            "prefix: `a` is not a path, since it does not start with a slash",
        );
        check_refused(
            r#"{"regex":"/a","with":"/b"}"#,
            "regex: the regex `/a` is not anchored at the start of the path",
        );
        check_refused(r#"{"regex":"^/(a)","with":"/$2"}"#, "with: the regex has no group `2`");
        check_refused(r#"{"regex":"^/(a)","with":"/$1b"}"#, "with: the regex has no group `1b`");
        check_refused(r#"{"regex":"^/a","with":"b"}"#, "with: `b` does not start with a slash");
        check_refused(
            r#"{"regex":"^/a","with":"/b?x=1"}"#,
            "with: `/b?x=1` has what a path cannot carry",
        );
        check_refused(r#"{"host":"a b"}"#, "host: `a b` is not a host");
        check_refused(r#"{"host":"u@b"}"#, "host: `u@b` is not a host");
    }

    #[test]
    fn the_host_can_be_changed_alone() {
        let rewrite = Rewrite::compile(&settings(r#"{"host":"internal:8080"}"#)).unwrap();
        assert_eq!(rewrite.host().unwrap(), "internal:8080");
        assert_eq!(rewrite.path("/x", 1), Ok("/x".into()));
    }
}
