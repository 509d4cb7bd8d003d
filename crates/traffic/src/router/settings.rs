//! What a route matches, as it stands in the configuration: host, path, methods, scheme, headers
//! and query.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Which requests a route takes. Absent parts match everything. A reload applies it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RouteMatch {
    /// The route's name in logs, metrics and errors; unique. Default: derived from what it
    /// matches.
    pub id: Option<String>,
    /// A host, or a list of them: `api.example.com`, or `*.example.com` for one or more labels in
    /// front. Default: any host.
    pub host: Option<Hosts>,
    /// A path prefix by whole segments, or `{exact: ..}`, `{prefix: ..}` or `{regex: ..}`.
    /// Default: `/`, every path.
    pub path: Option<PathMatch>,
    /// The methods that the route takes, in upper case. Default: all.
    pub methods: Option<Vec<String>>,
    /// `http` or `https`: how the client's request came. Default: both.
    pub scheme: Option<Scheme>,
    /// Conditions on header fields, by name; all must hold. Of a repeated field the first value
    /// counts.
    pub headers: BTreeMap<String, ValueMatch>,
    /// Conditions on query parameters, by name; all must hold. Of a repeated parameter the first
    /// value counts, percent-decoded.
    pub query: BTreeMap<String, ValueMatch>,
}

impl RouteMatch {
    /// The id that was given, or one derived from what the route matches, such as
    /// `api.example.com/pay POST`. It does not depend on the route's place in the file, so that
    /// state carried over a reload finds it again.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        match &self.id {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.derived_id()),
        }
    }

    fn derived_id(&self) -> String {
        let host = self.host.as_ref().map(|hosts| hosts.0.join(",")).unwrap_or_default();
        let path = self.path.as_ref().map_or("/", |path| path.text());
        let mut id = format!("{host}{path}");
        if let Some(PathMatch::Exact(_)) = self.path {
            id.push_str(" exact");
        }
        if let Some(methods) = &self.methods {
            id.push_str(&format!(" {}", methods.join(",")));
        }
        if let Some(scheme) = self.scheme {
            id.push_str(&format!(" {}", scheme.name()));
        }
        for (name, value) in self.headers.iter().chain(&self.query) {
            id.push_str(&format!(" {name}{value}"));
        }
        id
    }
}

/// How the client's request came.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Unencrypted.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it is written in a URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The hosts of a route: a string, or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(pub Vec<String>);

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostsVisitor)
    }
}

struct HostsVisitor;

impl<'de> Visitor<'de> for HostsVisitor {
    type Value = Hosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host such as api.example.com or \"*.example.com\", or a list of hosts")
    }

    fn visit_str<E: de::Error>(self, host: &str) -> Result<Hosts, E> {
        Ok(Hosts(vec![host.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Hosts, A::Error> {
        let mut hosts = Vec::new();
        while let Some(host) = seq.next_element()? {
            hosts.push(host);
        }
        Ok(Hosts(hosts))
    }
}

impl JsonSchema for Hosts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Hosts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
            "examples": ["api.example.com", "*.example.com"],
        })
    }
}

/// How a route matches the canonical path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path and no other.
    Exact(String),
    /// This path and everything below it, by whole segments: `/pay` takes `/pay` and `/pay/1`, not
    /// `/payments`. A slash at the end changes nothing.
    Prefix(String),
    /// A regular expression that is anchored at the start with `^`.
    Regex(String),
}

impl PathMatch {
    /// The path or pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => text,
        }
    }
}

impl<'de> Deserialize<'de> for PathMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathMatchVisitor)
    }
}

struct PathMatchVisitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathMatchMap {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

impl<'de> Visitor<'de> for PathMatchVisitor {
    type Value = PathMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path prefix, or a map with one of `exact`, `prefix`, `regex`")
    }

    fn visit_str<E: de::Error>(self, prefix: &str) -> Result<PathMatch, E> {
        Ok(PathMatch::Prefix(prefix.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PathMatch, A::Error> {
        let map = PathMatchMap::deserialize(MapAccessDeserializer::new(map))?;
        match (map.exact, map.prefix, map.regex) {
            (Some(path), None, None) => Ok(PathMatch::Exact(path)),
            (None, Some(path), None) => Ok(PathMatch::Prefix(path)),
            (None, None, Some(pattern)) => Ok(PathMatch::Regex(pattern)),
            _ => Err(de::Error::custom("a path takes exactly one of `exact`, `prefix`, `regex`")),
        }
    }
}

impl JsonSchema for PathMatch {
    fn schema_name() -> Cow<'static, str> {
        "PathMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path prefix by whole segments, or one of `exact`, `prefix`, `regex`.",
            "anyOf": [
                { "type": "string", "pattern": "^/" },
                { "type": "object", "additionalProperties": false, "minProperties": 1,
                  "maxProperties": 1, "properties": {
                    "exact": { "type": "string", "pattern": "^/",
                        "description": "This path and no other." },
                    "prefix": { "type": "string", "pattern": "^/",
                        "description": "This path and everything below it, by whole segments." },
                    "regex": { "type": "string",
                        "description": "A regular expression, anchored at the start with `^`." },
                } },
            ],
            "examples": ["/pay/"],
        })
    }
}

/// How a route matches the value of a header field or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// The value is this, byte by byte.
    Exact(String),
    /// The name is there, with whatever value; or it is not there.
    Present(bool),
    /// A regular expression finds something in the value.
    Regex(String),
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => write!(f, "={value}"),
            Self::Present(true) => f.write_str("=*"),
            Self::Present(false) => f.write_str("!"),
            Self::Regex(pattern) => write!(f, "~{pattern}"),
        }
    }
}

impl<'de> Deserialize<'de> for ValueMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueMatchVisitor)
    }
}

struct ValueMatchVisitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueMatchMap {
    exact: Option<String>,
    present: Option<bool>,
    regex: Option<String>,
}

impl<'de> Visitor<'de> for ValueMatchVisitor {
    type Value = ValueMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string (in quotes), or a map with one of `exact`, `present`, `regex`")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<ValueMatch, E> {
        Ok(ValueMatch::Exact(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ValueMatch, A::Error> {
        let map = ValueMatchMap::deserialize(MapAccessDeserializer::new(map))?;
        match (map.exact, map.present, map.regex) {
            (Some(value), None, None) => Ok(ValueMatch::Exact(value)),
            (None, Some(present), None) => Ok(ValueMatch::Present(present)),
            (None, None, Some(pattern)) => Ok(ValueMatch::Regex(pattern)),
            _ => {
                let message = "a condition takes exactly one of `exact`, `present`, `regex`";
                Err(de::Error::custom(message))
            }
        }
    }
}

impl JsonSchema for ValueMatch {
    fn schema_name() -> Cow<'static, str> {
        "ValueMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The exact value, or one of `exact`, `present`, `regex`.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "additionalProperties": false, "minProperties": 1,
                  "maxProperties": 1, "properties": {
                    "exact": { "type": "string", "description": "The value is this." },
                    "present": { "type": "boolean",
                        "description": "The name is there (true) or is not there (false)." },
                    "regex": { "type": "string",
                        "description": "A regular expression finds something in the value." },
                } },
            ],
        })
    }
}
