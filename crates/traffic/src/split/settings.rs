//! The `to: { split: … }` setting.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::cookies::CookieSettings;
use crate::hash_key::parse_header;

/// Several upstreams by weight; a client stays on its side.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct SplitSettings {
    /// The share of clients that each upstream gets, relative to the others, at most 65535; 0
    /// takes it out. When weights change, only as many clients change sides as they must. A reload
    /// applies it.
    pub split: BTreeMap<String, u32>,
    /// By what a client is recognised. Default: `client_ip`. A reload applies it.
    #[serde(default)]
    pub by: SplitKey,
    /// Whether clients go to the other sides, those of weight 0 left out, while no endpoint of
    /// theirs can serve. Default: true. A reload applies it.
    #[serde(default = "yes")]
    pub failover: bool,
}

const fn yes() -> bool {
    true
}

/// By what a client is recognised.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SplitKey {
    /// Its address.
    #[default]
    ClientIp,
    /// A signed cookie that names its side: it stays there even when the weights change.
    Cookie(CookieSettings),
    /// The value of this header field, or its address if it lacks the field.
    Header(HeaderName),
}

impl<'de> Deserialize<'de> for SplitKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SplitKeyVisitor)
    }
}

struct SplitKeyVisitor;

impl<'de> Visitor<'de> for SplitKeyVisitor {
    type Value = SplitKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client_ip, or a map such as `{ cookie: side }` or `{ header: x-user }`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<SplitKey, E> {
        match name {
            "client_ip" => Ok(SplitKey::ClientIp),
            "cookie" => Err(E::custom("cookie needs a name, such as `{ cookie: side }`")),
            "header" => Err(E::custom("header needs a name, such as `{ header: x-user }`")),
            _ => Err(E::unknown_variant(name, &["client_ip", "cookie", "header"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SplitKey, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() != Some("header") {
            let map = MapAccessDeserializer::new(PutBack { first, map });
            return CookieSettings::deserialize(map).map(SplitKey::Cookie);
        }
        let name: String = map.next_value()?;
        if let Some(other) = map.next_key::<String>()? {
            return Err(de::Error::unknown_field(&other, &["header"]));
        }
        parse_header(&name).map(SplitKey::Header)
    }
}

/// A map of which the first key was read already.
struct PutBack<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for PutBack<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl JsonSchema for SplitKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SplitKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "enum": ["client_ip"] },
                { "type": "object", "additionalProperties": false, "required": ["header"],
                  "properties": { "header": { "type": "string" } } },
                generator.subschema_for::<CookieSettings>(),
            ],
        })
    }
}
