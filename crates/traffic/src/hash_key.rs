//! What a hash is taken of, for balancers that keep a key on its endpoint and splits that keep a
//! client on its side.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::Request;

use crate::cookies;
use crate::random::hash_bytes;

/// What a hash is taken of. A request that lacks it is hashed by its client address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The value of this cookie.
    Cookie(Box<str>),
    /// The value of this header field.
    Header(HeaderName),
    /// The canonical path.
    Path,
    /// The value of this parameter in the query, as sent.
    Query(Box<str>),
}

impl HashKey {
    /// The hash of the request's key. It allocates nothing.
    #[must_use]
    pub fn hash(&self, request: &Request<'_>) -> u64 {
        let value = match self {
            Self::ClientIp => None,
            Self::Cookie(name) => cookies::find(request.headers(), name).next(),
            Self::Header(name) => request.headers().get(name).map(http::HeaderValue::as_bytes),
            Self::Path => Some(request.path.as_bytes()),
            Self::Query(name) => parameter(request, name),
        };
        value.map_or_else(|| client_hash(request), hash_bytes)
    }
}

fn parameter<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let value = request.query()?.split('&').find_map(|pair| {
        pair.split_once('=').and_then(|(key, value)| (key == name).then_some(value))
    })?;
    Some(value.as_bytes())
}

fn client_hash(request: &Request<'_>) -> u64 {
    match request.client {
        IpAddr::V4(ip) => hash_bytes(&ip.octets()),
        IpAddr::V6(ip) => hash_bytes(&ip.octets()),
    }
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HashKeyVisitor)
    }
}

struct HashKeyVisitor;

impl<'de> Visitor<'de> for HashKeyVisitor {
    type Value = HashKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client_ip, path, or a map such as `{ header: x-user }`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<HashKey, E> {
        match name {
            "client_ip" => Ok(HashKey::ClientIp),
            "path" => Ok(HashKey::Path),
            "cookie" => Err(E::custom("cookie needs a name, such as `{ cookie: session }`")),
            "header" => Err(E::custom("header needs a name, such as `{ header: x-user }`")),
            "query" => Err(E::custom("query needs a name, such as `{ query: user }`")),
            _ => Err(E::unknown_variant(name, &["client_ip", "path", "cookie", "header", "query"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HashKey, A::Error> {
        match Named::deserialize(MapAccessDeserializer::new(map))? {
            Named { cookie: Some(name), header: None, query: None } if !name.is_empty() => {
                Ok(HashKey::Cookie(name))
            }
            Named { cookie: None, header: Some(name), query: None } => {
                parse_header(&name).map(HashKey::Header)
            }
            Named { cookie: None, header: None, query: Some(name) } if !name.is_empty() => {
                Ok(HashKey::Query(name))
            }
            _ => Err(de::Error::custom("write one of `cookie`, `header` and `query`, with a name")),
        }
    }
}

/// A field name of the configuration.
pub(crate) fn parse_header<E: de::Error>(name: &str) -> Result<HeaderName, E> {
    name.parse().map_err(|_error| E::custom(format_args!("`{name}` is not a header name")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    cookie: Option<Box<str>>,
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    query: Option<Box<str>>,
}

impl JsonSchema for HashKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HashKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let named = |key: &str| {
            json_schema!({
                "type": "object", "additionalProperties": false, "required": [key],
                "properties": { key: { "type": "string" } },
            })
        };
        json_schema!({
            "description": "What the hash is taken of; a request that lacks it is hashed by its \
                client address.",
            "anyOf": [
                { "enum": ["client_ip", "path"] },
                named("cookie"), named("header"), named("query"),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RequestParts;

    fn key(json: &str) -> HashKey {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let request = http::Request::get("https://a.example/x?u=7&user=8&e=")
            .header("x-user", "9")
            .header("cookie", "sid=10; b=c");
        let parts = RequestParts::new(request);
        let expected = expected
            .map_or_else(|| hash_bytes(&[192, 0, 2, 1]), |text| hash_bytes(text.as_bytes()));
        assert_eq!(key(json).hash(&parts.request()), expected, "{json}");
    }

    #[test]
    fn the_key_is_hashed_or_else_the_client() {
        check(r#""client_ip""#, None);
        check(r#""path""#, Some("/x"));
        check(r#"{"query":"user"}"#, Some("8"));
        check(r#"{"query":"e"}"#, Some(""));
        check(r#"{"query":"us"}"#, None);
        check(r#"{"header":"X-User"}"#, Some("9"));
        check(r#"{"header":"x-other"}"#, None);
        check(r#"{"cookie":"sid"}"#, Some("10"));
        check(r#"{"cookie":"id"}"#, None);
    }

    #[track_caller]
    fn check_refused(json: &str, part: &str) {
        let error = serde_json::from_str::<HashKey>(json).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        check_refused(r#""cookie""#, "cookie needs a name");
        check_refused(r#""ip""#, "unknown variant");
        check_refused(r#"{"header":"a b"}"#, "`a b` is not a header name");
        check_refused(r#"{"header":"a","cookie":"b"}"#, "write one of");
        check_refused(r#"{"cookie":""}"#, "write one of");
        check_refused("{}", "write one of");
        check_refused("7", "expected client_ip");
    }
}
