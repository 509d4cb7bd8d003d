//! The configuration as a tree whose every node knows where it stands: file, line and column.
//! [`super::parse`] makes it; what the keys mean is not known here.

use std::sync::Arc;

use serde_json::Value as Json;

use super::path::Path;

/// A place in a source file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    /// Index into the list of sources.
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) mark: Mark,
    /// The text came out of the environment or a file, and is never printed.
    pub(crate) secret: bool,
    /// Set when a policy put the node where it is now.
    pub(crate) origin: Option<Arc<Origin>>,
}

/// Where a node stood before policies were merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) path: Path,
    /// Such as `policy public`.
    pub(crate) label: String,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    /// Nothing is written behind the key, which is a slip more often than meant; `~` is
    /// [`Value::Null`].
    Empty,
    Float(f64),
    Int(i128),
    Map(Vec<Entry>),
    Null,
    /// Taken out because it has an error; readers skip it, and its neighbours keep their indices.
    Pruned,
    Seq(Vec<Node>),
    String(String),
}

/// One key of a map and its value; keys are distinct.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_mark: Mark,
    pub(crate) value: Node,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Node {
    pub(crate) fn new(value: Value, mark: Mark) -> Self {
        Self { value, mark, secret: false, origin: None }
    }

    /// The entries, if it is a map.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of `key`, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Like [`Node::get`], to change it.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => {
                entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
            }
            _ => None,
        }
    }

    /// Whether something was taken out here or below.
    pub(crate) fn has_pruned(&self) -> bool {
        match &self.value {
            Value::Map(entries) => entries.iter().any(|entry| entry.value.has_pruned()),
            Value::Seq(items) => items.iter().any(Self::has_pruned),
            Value::Pruned => true,
            _ => false,
        }
    }

    /// Whether a value of this map was taken out.
    pub(crate) fn has_pruned_child(&self) -> bool {
        self.entries().iter().any(|entry| entry.value.value == Value::Pruned)
    }

    /// The same as JSON; what was taken out is null.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Bool(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => Json::from(value),
                (_, Ok(value)) => Json::from(value),
                _ => Json::Null,
            },
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect()
            }
            Value::Empty | Value::Null | Value::Pruned => Json::Null,
            Value::Seq(items) => items.iter().map(Self::to_json).collect(),
            Value::String(text) => Json::from(text.as_str()),
        }
    }

    /// How many nodes it is, itself included.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.value {
            Value::Map(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
            Value::Seq(items) => items.iter().map(Self::count).sum(),
            _ => 0,
        }
    }
}
