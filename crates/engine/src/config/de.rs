//! A serde `Deserializer` over the tree, whose error keeps what it knows: path, place, message and
//! what was probably meant.
//!
//! A transparent entry (its key in parentheses, see [`super::policy`]) adds no step to the path.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor, value::StrDeserializer,
};
use serde::forward_to_deserialize_any;

use super::path::{Path, Segment};
use super::policy;
use super::problem::Problem;
use super::suggest;
use super::tree::{Entry, Mark, Node, Value};

/// Reads a value out of the tree; stops at the first error.
pub(crate) fn from_tree<T: de::DeserializeOwned>(root: &Node) -> Result<T, TreeError> {
    T::deserialize(NodeDeserializer { node: root })
}

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
    fn new(kind: Kind, message: String) -> Self {
        Self(Box::new(Inner { kind, message, hint: None, mark: None, steps: Vec::new() }))
    }

    fn with_hint(mut self, hint: Option<String>) -> Self {
        self.0.hint = hint;
        self
    }

    /// The error happened at this place, unless a deeper one is known.
    fn at(mut self, node: &Node) -> Self {
        if self.0.mark.is_none() {
            self.0.mark = Some(node.mark);
            if let (true, Value::String(text)) = (node.secret, &node.value) {
                self.0.message = self.0.message.replace(text.as_str(), "<secret>");
            }
        }
        self
    }

    fn at_key(mut self, entry: &Entry) -> Self {
        self.0.mark.get_or_insert(entry.key_mark);
        self.under(entry)
    }

    /// The same error seen from the map around it.
    fn under(mut self, entry: &Entry) -> Self {
        if !policy::is_transparent(&entry.key) {
            self.0.steps.push(Segment::Key(entry.key.clone()));
        }
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
            _ => Some(format!("known here: {}", known.join(", "))),
        });
        Self::new(Kind::UnknownKey(known), format!("unknown key `{found}`")).with_hint(hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::MissingKey(field), format!("the key `{field}` is missing"))
    }
}

fn list_of(known: &[&str]) -> String {
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
fn number_in_quotes(value: &Value, names: &[&str]) -> Option<String> {
    let text = match value {
        Value::Bool(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        _ => return None,
    };
    names.contains(&text.as_str()).then(|| format!("put it in quotes: \"{text}\""))
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Float(value) => Unexpected::Float(*value),
        Value::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
            (Ok(value), _) => Unexpected::Unsigned(value),
            (_, Ok(value)) => Unexpected::Signed(value),
            _ => Unexpected::Other("a number"),
        },
        Value::Map(_) => Unexpected::Map,
        Value::Null | Value::Pruned => Unexpected::Unit,
        Value::Seq(_) => Unexpected::Seq,
        Value::String(text) => Unexpected::Str(text),
    }
}

/// What was found, in the words of YAML.
fn found_words(found: &Unexpected<'_>) -> String {
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

struct NodeDeserializer<'de> {
    node: &'de Node,
}

impl<'de> NodeDeserializer<'de> {
    fn visit<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, TreeError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Int(value) => visit_int(*value, visitor),
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
            Value::Null | Value::Pruned => visitor.visit_unit(),
            Value::Seq(items) => visitor.visit_seq(Items { rest: items.iter().enumerate() }),
            Value::String(text) => visitor.visit_borrowed_str(text),
        }
    }

    /// A number or boolean that came out of the environment is still text.
    fn visit_substituted<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, TreeError> {
        match (&self.node.value, self.node.secret) {
            (Value::String(text), true) => match super::scalar::resolve(text) {
                Value::Int(value) => visit_int(value, visitor),
                Value::Float(value) => visitor.visit_f64(value),
                Value::Bool(value) => visitor.visit_bool(value),
                _ => self.visit(visitor),
            },
            _ => self.visit(visitor),
        }
    }
}

fn visit_int<'de, V: Visitor<'de>>(value: i128, visitor: V) -> Result<V::Value, TreeError> {
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => visitor.visit_u64(value),
        (_, Ok(value)) => visitor.visit_i64(value),
        _ => visitor.visit_i128(value),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
            self.visit_substituted(visitor).map_err(|error| error.at(self.node))
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = TreeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        self.visit(visitor).map_err(|error| error.at(self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        match self.node.value {
            Value::Null | Value::Pruned => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        let node = self.node;
        let live = || node.entries().iter().filter(|entry| entry.value.value != Value::Pruned);
        let access = match (&node.value, live().next(), live().nth(1)) {
            (Value::String(name), ..) => Variant { name, entry: None },
            (Value::Map(_), Some(entry), None) => Variant { name: &entry.key, entry: Some(entry) },
            (Value::Map(_), ..) => {
                let message = format!("expected one key: {}", list_of(variants));
                return Err(TreeError::new(Kind::Value, message).at(node));
            }
            _ => {
                let found = unexpected(&node.value);
                let found = found_words(&found);
                let message = format!("expected {}, found {found}", list_of(variants));
                let hint = number_in_quotes(&node.value, variants);
                return Err(TreeError::new(Kind::Value, message).with_hint(hint).at(node));
            }
        };
        visitor.visit_enum(access).map_err(|error| error.at(node))
    }

    /// A list is no map, though serde would take its elements for the fields in their order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        match self.node.value {
            Value::Seq(_) => {
                let error: TreeError = de::Error::invalid_type(Unexpected::Seq, &visitor);
                Err(error.at(self.node))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
        ignored_any
    }
}

struct Items<'de> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = TreeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TreeError> {
        let Some((index, node)) = self.rest.find(|(_, node)| node.value != Value::Pruned) else {
            return Ok(None);
        };
        seed.deserialize(NodeDeserializer { node }).map(Some).map_err(|mut error| {
            error.0.steps.push(Segment::Index(index));
            error
        })
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = TreeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TreeError> {
        let Some(entry) = self.rest.find(|entry| entry.value.value != Value::Pruned) else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key = StrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|error: TreeError| error.at_key(entry))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TreeError> {
        let Some(entry) = self.value.take() else {
            return Err(de::Error::custom("a value was read before its key"));
        };
        seed.deserialize(NodeDeserializer { node: &entry.value })
            .map_err(|error| error.under(entry))
    }
}

/// `name` alone, or `{name: value}`.
struct Variant<'de> {
    name: &'de str,
    entry: Option<&'de Entry>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = TreeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), TreeError> {
        let name = seed.deserialize(StrDeserializer::new(self.name));
        let name = name.map_err(|error: TreeError| match self.entry {
            Some(entry) => error.at_key(entry),
            None => error,
        })?;
        Ok((name, self))
    }
}

impl<'de> Variant<'de> {
    fn value(&self) -> Result<&'de Entry, TreeError> {
        self.entry.ok_or_else(|| {
            let message = format!("`{}` needs a value", self.name);
            let hint = format!("write `{{{}: …}}`", self.name);
            TreeError::new(Kind::Value, message).with_hint(Some(hint))
        })
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = TreeError;

    fn unit_variant(self) -> Result<(), TreeError> {
        match self.entry {
            None => Ok(()),
            Some(entry) if entry.value.value == Value::Null => Ok(()),
            Some(entry) => {
                let message = format!("`{}` takes no value", self.name);
                let hint = format!("write `{}` alone", self.name);
                Err(TreeError::new(Kind::Value, message).with_hint(Some(hint)).at_key(entry))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, TreeError> {
        let entry = self.value()?;
        seed.deserialize(NodeDeserializer { node: &entry.value })
            .map_err(|error| error.under(entry))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        let entry = self.value()?;
        NodeDeserializer { node: &entry.value }
            .deserialize_any(visitor)
            .map_err(|error| error.under(entry))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        self.tuple_variant(0, visitor)
    }
}
