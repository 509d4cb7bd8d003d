//! The policy field `audit`: which event a route's requests are, what is recorded of them, and
//! what is promised.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::Source;

/// A key event: each request of the route is recorded before it is sent on, and what became of it
/// before or after the client has its answer. Needs the key `audit` at the top level.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RouteAuditSettings {
    /// What the event is called in the records, such as `payment`, `settlement` or `wallet`. A
    /// reload applies it.
    pub event: Option<String>,
    /// What is promised about the records. Default: `grouped`. A reload applies it.
    pub durable: Option<Durable>,
    /// What happens when a record cannot be kept. Default: `refuse`, and `continue` with
    /// `durable: no`. A reload applies it.
    pub on_failure: Option<OnFailure>,
    /// Whom the event concerns, such as `claim:sub`; recorded as a pseudonym. Default: nobody. A
    /// reload applies it.
    pub subject: Option<Source>,
    /// What is recorded of request and response, by names of your choosing. Default: nothing. A
    /// reload applies it.
    pub fields: BTreeMap<String, FieldSettings>,
}

/// What is promised about a route's records.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Durable {
    /// The request is on the disk before it is sent on, its outcome before the client gets its
    /// answer.
    BeforeResponse,
    /// The records are in the log's buffer, and on the disk within `audit.group_window`.
    #[default]
    Grouped,
    /// They are written if there is room.
    No,
}

/// What happens when a record cannot be kept.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The request goes on, and the loss is counted.
    Continue,
    /// The request is refused with 503 and the reason `audit_unavailable`.
    Refuse,
}

/// One value that is recorded: where it comes from, or a map that also says what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSettings {
    /// Where it comes from.
    pub from: Source,
    /// What becomes of it before it is written.
    pub redact: Redaction,
}

/// What becomes of a value before it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// Only that it was there is recorded.
    Drop,
    /// It is encrypted under its subject's key; `tidegate audit erase` destroys the key.
    Encrypt,
    /// Its keyed hash is recorded: the same value gives the same hash.
    Hash,
    /// It is recorded as it is, whatever it looks like.
    InsecureKeep,
    /// All but its last four characters are masked, or all of it if it is short.
    Mask,
    /// What looks like a card number, a token or a password is masked, the rest is recorded.
    #[default]
    Scan,
}

impl<'de> Deserialize<'de> for FieldSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct FieldMap {
    /// Where the value comes from. A reload applies it.
    from: Source,
    /// What becomes of it before it is written. Default: `scan`. A reload applies it.
    #[serde(default)]
    redact: Redaction,
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place such as `request.body:/amount`, or a map such as `{ from: request.body:/card, redact: mask }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FieldSettings, E> {
        let from = text.parse().map_err(E::custom)?;
        Ok(FieldSettings { from, redact: Redaction::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSettings, A::Error> {
        let FieldMap { from, redact } = FieldMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(FieldSettings { from, redact })
    }
}

impl JsonSchema for FieldSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AuditField".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let source = generator.subschema_for::<Source>();
        json_schema!({ "anyOf": [source, generator.subschema_for::<FieldMap>()] })
    }
}
