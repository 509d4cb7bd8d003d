//! Rules as they were written: words split, nothing understood yet, so that directives can still
//! remove and change them. A rule that is removed may hold what is not supported here.

use std::path::PathBuf;
use std::sync::Arc;

use super::ast::Place;
use super::defaults::Defaults;

/// One step of the program, before it is understood.
#[derive(Debug)]
pub(super) enum RawItem {
    Marker { label: Box<str> },
    Rule(Box<RawRule>),
    Settings,
}

/// A rule with its chain.
#[derive(Debug)]
pub(super) struct RawRule {
    /// 0 if it has none that can be read; that is told when the rule is understood.
    pub(super) id: u32,
    pub(super) links: Vec<RawLink>,
    /// What `SecDefaultAction` said where the rule stands.
    pub(super) defaults: Arc<Defaults>,
    /// Whether it comes with a rule set that its user did not write: what is not supported then
    /// leaves the rule out, and is no mistake.
    pub(super) foreign: bool,
}

/// A `SecRule` or `SecAction`.
#[derive(Debug)]
pub(super) struct RawLink {
    pub(super) place: Place,
    pub(super) folder: Arc<PathBuf>,
    /// `None` for a `SecAction`.
    pub(super) condition: Option<RawCondition>,
    pub(super) actions: Vec<RawAction>,
}

#[derive(Debug)]
pub(super) struct RawCondition {
    pub(super) variables: String,
    /// Added by directives, after the place that says so.
    pub(super) more: Vec<String>,
    pub(super) operator: String,
}

/// `name`, or `name:value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawAction {
    /// In lower case.
    pub(super) name: String,
    pub(super) value: Option<String>,
}

impl RawLink {
    pub(super) fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|known| known.name == action)
    }

    /// The last action of that name.
    pub(super) fn value(&self, action: &str) -> Option<&str> {
        self.values(action).last()
    }

    pub(super) fn values(&self, action: &str) -> impl Iterator<Item = &str> {
        let named = self.actions.iter().filter(move |known| known.name == action);
        named.filter_map(|known| known.value.as_deref())
    }
}

/// The actions of a list such as `id:1,msg:'a, b',pass`.
pub(super) fn actions(text: &str) -> Result<Vec<RawAction>, String> {
    let mut actions = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (action, after) = one_action(rest)?;
        actions.extend(action);
        rest = after;
    }
    Ok(actions)
}

fn one_action(text: &str) -> Result<(Option<RawAction>, &str), String> {
    let end = text.find([':', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim().to_ascii_lowercase();
    if let Some(rest) = rest.strip_prefix(':') {
        let (value, rest) = value(rest.trim_start(), &name)?;
        return Ok((Some(RawAction { name, value: Some(value) }), rest));
    }
    let rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    // A comma too many, as ModSecurity lets pass.
    let action = (!name.is_empty()).then_some(RawAction { name, value: None });
    Ok((action, rest))
}

/// A value in quotes, or up to the next comma; and what follows that comma.
fn value<'t>(text: &'t str, name: &str) -> Result<(String, &'t str), String> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (value, rest) = text.split_once(',').unwrap_or((text, ""));
        return Ok((value.trim_end().to_owned(), rest.trim_start()));
    };
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && chars.peek().is_some_and(|(_, next)| *next == quote) {
            value.push(quote);
            chars.next();
        } else if c == quote {
            let rest = text.get(at + 1..).unwrap_or_default().trim_start();
            return match rest.strip_prefix(',') {
                Some(rest) => Ok((value, rest.trim_start())),
                None if rest.is_empty() => Ok((value, rest)),
                None => Err(format!("the closing quote of `{name}` is followed by more text")),
            };
        } else {
            value.push(c);
        }
    }
    Err(format!("the quote of `{name}` is never closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let found = actions(text).unwrap();
        let found: Vec<_> = found.iter().map(|a| (a.name.as_str(), a.value.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_splits_at_commas_outside_quotes() {
        check("id:1,pass", &[("id", Some("1")), ("pass", None)]);
        check(
            "ID:'1' , msg:'a, \\'b\\'', t:none,",
            &[("id", Some("1")), ("msg", Some("a, 'b'")), ("t", Some("none"))],
        );
        check("setvar:tx.a=b:c,,nolog", &[("setvar", Some("tx.a=b:c")), ("nolog", None)]);
        check("", &[]);
    }

    #[test]
    fn open_quotes_are_told() {
        assert!(actions("msg:'a").unwrap_err().contains("never closed"));
        assert!(actions("msg:'a'b").unwrap_err().contains("followed by"));
    }
}
