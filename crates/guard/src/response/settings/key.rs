//! Who is counted apart.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Who is counted apart, and whom a decision is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeySettings {
    /// The id of the API key that was shown.
    ApiKey,
    /// The client that acts, such as the `client_id` of a token.
    Client,
    /// The client's address, IPv6 by /64.
    #[default]
    ClientIp,
    /// The endpoint of an upstream that answered or failed last.
    Endpoint,
    /// The value of a request header; a decision is about the address whose event was too many.
    Header(HeaderName),
    /// The client's network.
    Prefix {
        /// How many leading bits of an IPv4 address count.
        ipv4: u8,
        /// How many leading bits of an IPv6 address count.
        ipv6: u8,
    },
    /// The route.
    Route,
    /// Who asks.
    Subject,
    /// The token that was shown.
    Token,
    /// The zone of the endpoint that answered or failed last.
    Zone,
}

impl KeySettings {
    /// Whether a decision is about an upstream's part and not about somebody.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        matches!(self, Self::Endpoint | Self::Zone)
    }
}

const WORDS: &[&str] =
    &["api_key", "client", "client_ip", "endpoint", "route", "subject", "token", "zone"];

impl<'de> Deserialize<'de> for KeySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeySettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of `{}`, `{{prefix: ..}}` or `{{header: ..}}`", WORDS.join("`, `"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<KeySettings, E> {
        Ok(match text {
            "api_key" => KeySettings::ApiKey,
            "client" => KeySettings::Client,
            "client_ip" => KeySettings::ClientIp,
            "endpoint" => KeySettings::Endpoint,
            "route" => KeySettings::Route,
            "subject" => KeySettings::Subject,
            "token" => KeySettings::Token,
            "zone" => KeySettings::Zone,
            other => return Err(E::unknown_variant(other, WORDS)),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeySettings, A::Error> {
        let map = KeyMap::deserialize(de::value::MapAccessDeserializer::new(map))?;
        match map {
            KeyMap { header: Some(header), prefix: None } => {
                header.parse().map(KeySettings::Header).map_err(|_error| {
                    de::Error::custom(format_args!("`{header}` is not the name of a header"))
                })
            }
            KeyMap { header: None, prefix: Some(Prefix { ipv4, ipv6 }) } => {
                Ok(KeySettings::Prefix { ipv4, ipv6 })
            }
            KeyMap { .. } => Err(de::Error::custom("a key is either `header` or `prefix`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct KeyMap {
    header: Option<String>,
    prefix: Option<Prefix>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Prefix {
    ipv4: u8,
    ipv6: u8,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { ipv4: 24, ipv6: 48 }
    }
}

impl JsonSchema for KeySettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResponseKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let header = json_schema!({
            "type": "object",
            "properties": {
                "header": { "type": "string", "description": "The name of a request header." },
            },
            "required": ["header"],
            "additionalProperties": false,
        });
        let bits = |most: u8, default: u8| {
            json_schema!({
                "type": "integer", "minimum": 1, "maximum": most, "default": default,
                "description": "How many leading bits of an address count.",
            })
        };
        let prefix = json_schema!({
            "type": "object",
            "properties": {
                "prefix": {
                    "type": "object",
                    "description": "The client's network.",
                    "properties": { "ipv4": bits(32, 24), "ipv6": bits(128, 48) },
                    "additionalProperties": false,
                },
            },
            "required": ["prefix"],
            "additionalProperties": false,
        });
        json_schema!({ "anyOf": [{ "type": "string", "enum": WORDS }, header, prefix] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<&KeySettings, &str>) {
        match (serde_json::from_str::<KeySettings>(json), expected) {
            (Ok(read), Ok(expected)) => assert_eq!(&read, expected, "{json}"),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{json}: {error}");
            }
            (read, _) => panic!("{json}: {read:?}"),
        }
    }

    #[test]
    fn a_key_is_a_word_a_prefix_or_a_header() {
        check("\"client_ip\"", Ok(&KeySettings::ClientIp));
        check("\"zone\"", Ok(&KeySettings::Zone));
        check("{\"prefix\": {}}", Ok(&KeySettings::Prefix { ipv4: 24, ipv6: 48 }));
        check("{\"prefix\": {\"ipv4\": 16}}", Ok(&KeySettings::Prefix { ipv4: 16, ipv6: 48 }));
        let header = KeySettings::Header(HeaderName::from_static("x-user"));
        check("{\"header\": \"X-User\"}", Ok(&header));
        check("{\"header\": \"a b\"}", Err("not the name of a header"));
        check("{}", Err("either `header` or `prefix`"));
        check("{\"cookie\": \"x\"}", Err("unknown field `cookie`"));
        check("\"ip\"", Err("unknown variant `ip`"));
    }
}
