//! A serde `Deserializer` over the tree, whose error keeps what it knows: path, place, message and
//! what was probably meant.
//!
//! A transparent entry (its key in parentheses, see [`super::policy`]) adds no step to the path.

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor, value::StrDeserializer,
};
use serde::forward_to_deserialize_any;

use super::tree::{Entry, Node, Value};
use super::tree_error::{Kind, TreeError, found_words, list_of, number_in_quotes, unexpected};

/// Reads a value out of the tree; stops at the first error.
pub(crate) fn from_tree<T: de::DeserializeOwned>(root: &Node) -> Result<T, TreeError> {
    T::deserialize(NodeDeserializer { node: root })
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
            Value::Empty => {
                let hint = "give it a value, or remove the key; `~` takes back an inherited one";
                Err(TreeError::new(Kind::Value, "the value is missing".to_owned())
                    .with_hint(Some(hint.to_owned())))
            }
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
        seed.deserialize(NodeDeserializer { node }).map(Some).map_err(|error| error.at_index(index))
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
