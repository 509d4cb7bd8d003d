//! [`TreeError`]: why a tree is not the wanted value, in the words of YAML instead of Rust.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use tidegate_core::suggest;

use super::path::{Path, Segment};
use super::policy;
use super::problem::Problem;
use super::tree::{Entry, Mark, Node, Value};

/// Why a tree is not the wanted value.
#[derive(Debug)]
pub(crate) struct TreeError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    mark: Option<Mark>,
    /// From the error outwards.
    steps: Vec<Segment>,
}

/// What kind of error it is, as far as that decides what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The map lacks this key.
    MissingKey(&'static str),
    /// The map has a key that it should not have; with the known ones.
    UnknownKey(Vec<&'static str>),
    /// Anything else.
    Value,
}

impl TreeError {
    pub(super) fn new(kind: Kind, message: String) -> Self {
        Self(Box::new(Inner { kind, message, hint: None, mark: None, steps: Vec::new() }))
    }

    pub(super) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.0.hint = hint;
        self
    }

    /// The error happened at this place, unless a deeper one is known.
    pub(super) fn at(mut self, node: &Node) -> Self {
        if self.0.mark.is_none() {
            self.0.mark = Some(node.mark);
            if let (true, Value::String(text)) = (node.secret, &node.value) {
                self.0.message = self.0.message.replace(text.as_str(), "<secret>");
            }
        }
        self
    }

    pub(super) fn at_key(mut self, entry: &Entry) -> Self {
        self.0.mark.get_or_insert(entry.key_mark);
        self.under(entry)
    }

    /// The same error seen from the map around it.
    pub(super) fn under(mut self, entry: &Entry) -> Self {
        if !policy::is_transparent(&entry.key) {
            self.0.steps.push(Segment::Key(entry.key.clone()));
        }
        self
    }

    /// The same error seen from the list around it.
    pub(super) fn at_index(mut self, index: usize) -> Self {
        self.0.steps.push(Segment::Index(index));
        self
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// As the rest of the loader reports it.
    pub(crate) fn into_problem(self) -> Problem {
        let Inner { message, hint, mark, mut steps, .. } = *self.0;
        steps.reverse();
        Problem { mark: mark.unwrap_or_default(), path: Path(steps), message, hint }
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for TreeError {}

impl de::Error for TreeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Value, message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(&found, expected);
        let hint = match (&found, wanted.as_str()) {
            (
                Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_),
                "a string",
            )
            | (Unexpected::Bool(_), "a string") => Some("put it in quotes".to_owned()),
            (Unexpected::Str(text), "a list") => Some(format!("write `[{text}]`")),
            (Unexpected::Unit, _) => Some("give it a value, or remove the key".to_owned()),
            _ => None,
        };
        Self::new(Kind::Value, format!("expected {wanted}, found {}", found_words(&found)))
            .with_hint(hint)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(&found, expected);
        Self::new(Kind::Value, format!("expected {wanted}, found {}", found_words(&found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(Kind::Value, format!("expected {expected}, found {length} elements"))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let list = list_of(known);
        Self::new(Kind::Value, format!("unknown value `{found}`, expected {list}"))
            .with_hint(suggest::hint(found, known.iter().copied()))
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        let known = policy::visible(known);
        let hint = suggest::hint(found, known.iter().copied()).or_else(|| match known.len() {
            0 => None,
            _ if known.contains(&"defaults") && policy::policy_fields().contains(&found) => {
                Some("it stands in `defaults`, in a policy or in a route".to_owned())
            }
            _ => Some(format!("known here: {}", known.join(", "))),
        });
        Self::new(Kind::UnknownKey(known), format!("unknown key `{found}`")).with_hint(hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::MissingKey(field), format!("the key `{field}` is missing"))
    }
}

pub(super) fn list_of(known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// What a visitor expects, in the words of YAML instead of Rust.
fn wanted(found: &Unexpected<'_>, expected: &dyn Expected) -> String {
    let text = expected.to_string();
    if let Some(largest) = largest(&text) {
        return match found {
            Unexpected::Signed(_) => "a whole number of at least 0".to_owned(),
            Unexpected::Unsigned(_) => format!("a whole number of at most {largest}"),
            _ => "a whole number".to_owned(),
        };
    }
    match text.as_str() {
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "path string" => "a file name".to_owned(),
        text if text.starts_with("a nonzero") => "a whole number of at least 1".to_owned(),
        text if text.starts_with("struct ") => "a map".to_owned(),
        _ => text,
    }
}

/// The largest number of an unsigned type.
fn largest(name: &str) -> Option<u64> {
    match name {
        "u8" => Some(u8::MAX.into()),
        "u16" => Some(u16::MAX.into()),
        "u32" => Some(u32::MAX.into()),
        "u64" | "usize" => Some(u64::MAX),
        _ => None,
    }
}

/// `1.3` is a number where `"1.3"` is the name of a version.
pub(super) fn number_in_quotes(value: &Value, names: &[&str]) -> Option<String> {
    let text = match value {
        Value::Bool(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        _ => return None,
    };
    names.contains(&text.as_str()).then(|| format!("put it in quotes: \"{text}\""))
}

pub(super) fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Float(value) => Unexpected::Float(*value),
        Value::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
            (Ok(value), _) => Unexpected::Unsigned(value),
            (_, Ok(value)) => Unexpected::Signed(value),
            _ => Unexpected::Other("a number"),
        },
        Value::Map(_) => Unexpected::Map,
        Value::Empty | Value::Null | Value::Pruned => Unexpected::Unit,
        Value::Seq(_) => Unexpected::Seq,
        Value::String(text) => Unexpected::Str(text),
    }
}

/// What was found, in the words of YAML.
pub(super) fn found_words(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(value) => format!("the string `{}`", shorten(value)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        _ => found.to_string(),
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
