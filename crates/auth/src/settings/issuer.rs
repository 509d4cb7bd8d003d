//! One issuer of JWT access tokens.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::units::{ByteSize, Span};

use super::claims::Names;
use crate::jose::Algorithm;

/// An issuer of JWT access tokens: whose tokens are taken, and what they must say.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct IssuerSettings {
    /// The issuer's identifier: the tokens' `iss`, letter by letter. A reload applies it.
    pub issuer: String,
    /// Whom the tokens must be for: one of these has to be in `aud`. A reload applies it.
    pub audience: Vec<String>,
    /// Where the public keys come from: `discover` (the issuer's metadata, RFC 8414 or OpenID
    /// Connect), `{ url: … }`, `{ file: … }` or `{ inline: … }` with a JWK set as JSON. Default:
    /// `discover`. A reload applies it.
    #[serde(default)]
    pub keys: KeySource,
    /// The signature algorithms that the issuer may use; each key is bound to those that fit it,
    /// whatever a token says. Default: `[EdDSA, ES256, PS256, RS256]`. A reload applies it.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The tokens' `typ`, one of these, so that no other kind of token passes as an access token.
    /// Issuers that do not follow RFC 9068 need `[JWT]`; an empty list takes any, and none.
    /// Default: `[at+jwt]`. A reload applies it.
    #[serde(default = "default_types")]
    pub types: Vec<String>,
    /// How far clocks may differ, for `exp`, `nbf` and `iat`; at most 5m. Default: 30s. A reload
    /// applies it.
    #[serde(default = "default_skew")]
    pub skew: Span,
    /// The longest time since `iat`. Default: no limit but `exp`. A reload applies it.
    pub max_age: Option<Span>,
    /// Claims that must be there, beside `iss`, `aud` and `exp`. Default: none. A reload applies
    /// it.
    #[serde(default)]
    pub required: Vec<String>,
    /// In which claims the issuer says what. A reload applies it.
    #[serde(default)]
    pub names: ClaimNames,
    /// The largest token. Default: 8KiB. A reload applies it.
    #[serde(default = "default_max_token")]
    pub max_token: ByteSize,
    /// Memory for tokens that were verified already. Default: 32MiB. A reload applies it.
    #[serde(default = "default_cache")]
    pub cache: ByteSize,
    /// How often the keys are fetched again. Default: 10m. A reload applies it.
    #[serde(default = "default_refresh")]
    pub refresh: Span,
    /// At most so often they are fetched because a token names an unknown key; at least 10s.
    /// Default: 10s. A reload applies it.
    #[serde(default = "default_cool_down")]
    pub cool_down: Span,
    /// For how long the last keys are used while the issuer cannot be reached. Default: 1d. A
    /// reload applies it.
    #[serde(default = "default_max_stale")]
    pub max_stale: Span,
    /// For one fetch of metadata or keys, and for a request that waits for it. Default: 3s. A
    /// reload applies it.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Certificates of the authorities that the issuer's own is checked against. Default: the
    /// system's. A reload applies it.
    pub ca: Option<PathBuf>,
    /// Fetch keys without TLS, from other machines than this one too. Whoever is in between makes
    /// tokens then. Default: false. A reload applies it.
    #[serde(default)]
    pub insecure_http: bool,
}

/// The claims that say who it is and what they may do; the first that is there counts.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ClaimNames {
    /// The subject. Default: `sub`.
    pub subject: Names,
    /// The client. Default: `client_id`, `azp`.
    pub client: Names,
    /// The scopes: a string with spaces between them, or a list. Default: `scope`, `scp`.
    pub scopes: Names,
    /// The roles: a list, or one string. Dots lead into objects. Default: `roles`,
    /// `realm_access.roles`.
    pub roles: Names,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            subject: Names::of(&["sub"]),
            client: Names::of(&["client_id", "azp"]),
            scopes: Names::of(&["scope", "scp"]),
            roles: Names::of(&["roles", "realm_access.roles"]),
        }
    }
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::EdDsa, Algorithm::Es256, Algorithm::Ps256, Algorithm::Rs256]
}

fn default_types() -> Vec<String> {
    vec!["at+jwt".to_owned()]
}

fn default_skew() -> Span {
    Span::seconds(30)
}

fn default_max_token() -> ByteSize {
    ByteSize::kib(8)
}

fn default_cache() -> ByteSize {
    ByteSize::mib(32)
}

fn default_refresh() -> Span {
    Span::seconds(600)
}

fn default_cool_down() -> Span {
    Span::seconds(10)
}

fn default_max_stale() -> Span {
    Span::seconds(86_400)
}

fn default_timeout() -> Span {
    Span::seconds(3)
}

/// Where an issuer's public keys come from.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum KeySource {
    /// From the address that the issuer's metadata names.
    #[default]
    Discover,
    /// From a file, which is read again when it changes.
    File(PathBuf),
    /// They stand in the configuration.
    Inline(String),
    /// From this address.
    Url(String),
}

/// The map that a [`KeySource`] may be written as.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum KeyMap {
    /// A file with a JWK set.
    File(PathBuf),
    /// A JWK set as JSON text.
    Inline(String),
    /// The address of a JWK set.
    Url(String),
}

impl<'de> Deserialize<'de> for KeySource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeySourceVisitor)
    }
}

struct KeySourceVisitor;

impl<'de> Visitor<'de> for KeySourceVisitor {
    type Value = KeySource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`discover`, `{ url: … }`, `{ file: … }` or `{ inline: … }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<KeySource, E> {
        match text {
            "discover" => Ok(KeySource::Discover),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeySource, A::Error> {
        Ok(match KeyMap::deserialize(MapAccessDeserializer::new(map))? {
            KeyMap::File(path) => KeySource::File(path),
            KeyMap::Inline(text) => KeySource::Inline(text),
            KeyMap::Url(url) => KeySource::Url(url),
        })
    }
}

impl JsonSchema for KeySource {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "KeySource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "const": "discover" }, generator.subschema_for::<KeyMap>()],
        })
    }
}
