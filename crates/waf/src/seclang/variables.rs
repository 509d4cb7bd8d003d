//! The first word of a rule: `ARGS|!ARGS:/^x/|&TX:a|XML:/*`.

use regex::bytes::RegexBuilder;

use super::ast::{Selector, Variable};
use super::error::unknown;
use super::names;

/// Reads a list of variables.
pub(super) fn parse(text: &str) -> Result<Vec<Variable>, Vec<String>> {
    let mut variables = Vec::new();
    let mut errors = Vec::new();
    for part in split(text) {
        match variable(part) {
            Ok(variable) => variables.push(variable),
            Err(error) => errors.push(error),
        }
    }
    if variables.is_empty() && errors.is_empty() {
        errors.push("there is no variable to look at".to_owned());
    }
    if errors.is_empty() { Ok(variables) } else { Err(errors) }
}

/// Reads one variable.
pub(super) fn variable(text: &str) -> Result<Variable, String> {
    let text = text.trim();
    let (excluded, rest) = prefixed(text, '!');
    let (counted, rest) = prefixed(rest, '&');
    let (name, selector) = match rest.split_once(':') {
        Some((name, selector)) => (name.trim(), Some(selector.trim())),
        None => (rest.trim(), None),
    };
    if excluded && counted {
        return Err(format!("`{text}` both excludes and counts"));
    }
    let Some(name) = names::variable(name) else {
        return Err(unknown("variable", name, names::variables()));
    };
    let selector = match selector {
        None => Selector::All,
        Some("") => return Err(format!("`{text}` has a colon and no name behind it")),
        Some(path) if name == "XML" => Selector::Path(path.into()),
        Some(selector) => self::selector(unquoted(selector))?,
    };
    Ok(Variable { name, selector, excluded, counted })
}

fn selector(text: &str) -> Result<Selector, String> {
    let Some(pattern) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) else {
        return Ok(Selector::Name(text.into()));
    };
    let pattern = pattern.replace("\\/", "/");
    match RegexBuilder::new(&pattern).unicode(false).case_insensitive(true).build() {
        Ok(_) => Ok(Selector::Pattern(pattern.into())),
        Err(error) => {
            let what = error.to_string();
            let what = what.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Err(format!("the pattern `{pattern}` does not compile: {what}"))
        }
    }
}

fn prefixed(text: &str, prefix: char) -> (bool, &str) {
    text.strip_prefix(prefix).map_or((false, text), |rest| (true, rest.trim_start()))
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(text)
}

/// The parts between `|` and `,`, but not within quotes or slashes that begin a selector.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut before = ' ';
    let mut closing = None;
    let mut escaped = false;
    let xpath = |start: usize| {
        let name = text.get(start..).unwrap_or_default().trim_start_matches(['!', '&', ' ']);
        name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("xml:"))
    };
    for (at, c) in text.char_indices() {
        match closing {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(end) if c == end => closing = None,
            Some(_) => {}
            None if c == '|' || c == ',' => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            None if before == ':' && (c == '\'' || c == '/' && !xpath(start)) => closing = Some(c),
            None => {}
        }
        before = c;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts.retain(|part| !part.trim().is_empty());
    parts
}
