//! The settings of one rate limit, as users write them.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::units::Rate;

/// A token bucket for each key: `rate` refills it, `burst` is its size. A reload applies every
/// field; the buckets are kept unless `key`, a prefix or `max_keys` changes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RateLimitSettings {
    /// The limit's name in the `RateLimit` fields, logs and metrics: letters, digits, `_`, `-`
    /// and `.`. Default: named after its key.
    pub name: Option<String>,
    /// Who shares a bucket: `client_ip` (the default), `route`, `subject` or `client` (who asks, as
    /// the route's `auth` found out), `{header: x-api-key}`, or a list of several, which counts each
    /// combination. A request without the header, or of nobody known, counts by its client address.
    #[serde(default)]
    pub key: RateLimitKey,
    /// How fast a bucket refills, such as `100/s`, `600/m` or `1000/h`; at most a million a
    /// second.
    pub rate: Rate,
    /// How many requests a full bucket allows at once. Default: the rate's number.
    pub burst: Option<NonZeroU32>,
    /// How many leading bits of an IPv6 client address count. Default: 64, what one subscriber
    /// gets.
    #[serde(default = "default_ipv6_prefix")]
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix: u8,
    /// How many leading bits of an IPv4 client address count. Default: 32.
    #[serde(default = "default_ipv4_prefix")]
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix: u8,
    /// How many keys are counted apart, which bounds the memory (about 70 bytes each). Beyond
    /// it, new keys share few buckets until a known one is full again. Default: 100000.
    #[serde(default = "default_max_keys")]
    pub max_keys: NonZeroU32,
    /// Whether to count and log only, and let every request pass. Default: false.
    #[serde(default)]
    pub dry_run: bool,
}

impl RateLimitSettings {
    /// The defaults for a rate: one bucket per client address.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            name: None,
            key: RateLimitKey::default(),
            rate,
            burst: None,
            ipv6_prefix: default_ipv6_prefix(),
            ipv4_prefix: default_ipv4_prefix(),
            max_keys: default_max_keys(),
            dry_run: false,
        }
    }
}

fn default_ipv6_prefix() -> u8 {
    64
}

fn default_ipv4_prefix() -> u8 {
    32
}

fn default_max_keys() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(99_999)
}

/// What a bucket is keyed by: every part together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitKey {
    parts: Vec<KeyPart>,
}

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The client that acts, such as the `client_id` of a token; its address if nobody is known.
    Client,
    /// The client's address, cut to the prefix.
    ClientIp,
    /// The value of a request header; the client's address if it is missing or ambiguous.
    Header(HeaderName),
    /// The route's id.
    Route,
    /// Who asks, such as the `sub` of a token; the client's address if nobody is known.
    Subject,
}

impl RateLimitKey {
    /// A key of these parts.
    #[must_use]
    pub fn new(parts: Vec<KeyPart>) -> Self {
        Self { parts }
    }

    /// Whether it counts by who asks, which is known late.
    #[must_use]
    pub fn needs_identity(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, KeyPart::Client | KeyPart::Subject))
    }

    /// The parts, in the order of the settings.
    #[must_use]
    pub fn parts(&self) -> &[KeyPart] {
        &self.parts
    }
}

impl Default for RateLimitKey {
    fn default() -> Self {
        Self { parts: vec![KeyPart::ClientIp] }
    }
}

impl fmt::Display for RateLimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "." })?;
            match part {
                KeyPart::Client => f.write_str("client")?,
                KeyPart::ClientIp => f.write_str("client_ip")?,
                KeyPart::Header(name) => f.write_str(name.as_str())?,
                KeyPart::Route => f.write_str("route")?,
                KeyPart::Subject => f.write_str("subject")?,
            }
        }
        Ok(())
    }
}

const EXPECTED: &str =
    "`client_ip`, `route`, `subject`, `client`, `{header: <name>}` or a list of them";

impl<'de> Deserialize<'de> for RateLimitKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = RateLimitKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        PartVisitor.visit_str(text).map(|part| RateLimitKey { parts: vec![part] })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        PartVisitor.visit_map(map).map(|part| RateLimitKey { parts: vec![part] })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut parts: Vec<KeyPart> = Vec::new();
        while let Some(part) = list.next_element()? {
            if parts.contains(&part) {
                return Err(de::Error::custom("the key names the same part twice"));
            }
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(de::Error::invalid_length(0, &self));
        }
        Ok(RateLimitKey { parts })
    }
}

impl<'de> Deserialize<'de> for KeyPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = KeyPart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "client_ip" => Ok(KeyPart::ClientIp),
            "client" => Ok(KeyPart::Client),
            "route" => Ok(KeyPart::Route),
            "subject" => Ok(KeyPart::Subject),
            other => {
                let known = &["client_ip", "route", "subject", "client", "header"];
                Err(de::Error::unknown_variant(other, known))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let HeaderKey { header } =
            HeaderKey::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let name = header.parse().map_err(|_error| {
            de::Error::custom(format_args!("`{header}` is not the name of a header"))
        })?;
        Ok(KeyPart::Header(name))
    }
}

/// The map form of a part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderKey {
    header: String,
}

impl JsonSchema for RateLimitKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RateLimitKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<KeyPart>();
        json_schema!({
            "anyOf": [
                part,
                { "type": "array", "items": part, "minItems": 1, "uniqueItems": true },
            ],
        })
    }
}

impl JsonSchema for KeyPart {
    fn schema_name() -> Cow<'static, str> {
        "RateLimitKeyPart".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`client_ip`, `route`, `subject`, `client` or `{header: <name>}`.",
            "anyOf": [
                { "type": "string", "enum": ["client_ip", "route", "subject", "client"] },
                {
                    "type": "object",
                    "properties": { "header": { "type": "string", "description": "The name of a request header." } },
                    "required": ["header"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<RateLimitSettings, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_key(json: &str, expected: Result<&str, &str>) {
        let json = format!(r#"{{"rate": "1/s", "key": {json}}}"#);
        match (settings(&json), expected) {
            (Ok(settings), Ok(expected)) => assert_eq!(settings.key.to_string(), expected),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (actual, expected) => panic!("{json}: {actual:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_key_is_a_word_a_header_or_a_list_of_them() {
        check_key(r#""client_ip""#, Ok("client_ip"));
        check_key(r#""route""#, Ok("route"));
        check_key(r#"{"header": "X-Api-Key"}"#, Ok("x-api-key"));
        check_key(r#"["client_ip", {"header": "x-user"}, "route"]"#, Ok("client_ip.x-user.route"));
        check_key(r#"["subject", "client"]"#, Ok("subject.client"));
        check_key(r#""client_id""#, Err("unknown variant `client_id`"));
        check_key(r#"{"header": "x y"}"#, Err("`x y` is not the name of a header"));
        check_key(r#"{"cookie": "x"}"#, Err("unknown field `cookie`, expected `header`"));
        check_key("{}", Err("missing field `header`"));
        check_key("[]", Err("invalid length 0, expected `client_ip`"));
        check_key(r#"["route", "route"]"#, Err("the same part twice"));
        check_key("7", Err("invalid type: integer `7`, expected `client_ip`"));
    }

    #[test]
    fn the_rest_has_defaults() {
        let settings = settings(r#"{"rate": "100/s"}"#).unwrap();
        assert_eq!(settings, RateLimitSettings::new("100/s".parse().unwrap()));
        assert_eq!(settings.max_keys.get(), 100_000);
    }

    #[test]
    fn the_schema_describes_every_field() {
        let schema = schemars::schema_for!(RateLimitSettings).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 8);
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{name}: {property}");
        }
    }
}
