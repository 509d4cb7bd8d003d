//! Token exchange, and what becomes of a credential, as users write them.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::Secret;
use tidegate_core::units::{ByteSize, Span};

use super::claims::Names;

/// A token endpoint that gives a token for the upstream in exchange for the caller's (RFC 8693).
/// Name at least one of `audience`, `resource` and `scopes`. A reload applies every field.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ExchangeSettings {
    /// The token endpoint's address.
    pub url: String,
    /// Who we are there.
    pub client_id: String,
    /// How we show it.
    pub client_secret: Secret,
    /// Where the secret goes: `basic` (HTTP Basic) or `post` (into the form). Default: `basic`.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// For which services the token shall be, by the names that the endpoint has for them.
    /// Default: none.
    #[serde(default)]
    pub audience: Names,
    /// For which services the token shall be, by their addresses. Default: none.
    #[serde(default)]
    pub resource: Names,
    /// The scopes that the token shall have. Default: what the endpoint gives.
    #[serde(default)]
    pub scopes: Names,
    /// What the caller's token is called there: `access_token` or `jwt`. Default: `access_token`.
    #[serde(default)]
    pub subject_token_type: TokenKind,
    /// For how long a token is used, at most until it or the caller's ends; one of which the
    /// endpoint does not say when it ends is used by the requests that wait for it. Default: 5m.
    #[serde(default = "five_minutes")]
    pub cache: Span,
    /// For how long a caller's token stays refused that the endpoint refused. Default: 5s.
    #[serde(default = "five_seconds")]
    pub negative_cache: Span,
    /// Memory for tokens. Default: 16MiB.
    #[serde(default = "sixteen_mib")]
    pub cache_size: ByteSize,
    /// For one call. Without a token nobody passes. Default: 2s.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
    /// The largest token that is taken from the endpoint. Default: 8KiB.
    #[serde(default = "eight_kib")]
    pub max_token: ByteSize,
    /// Certificates of the authorities that the endpoint's own is checked against. Default: the
    /// system's.
    pub ca: Option<PathBuf>,
    /// Call without TLS, on other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// Where a client's secret goes (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Into `Authorization`.
    #[default]
    Basic,
    /// Into the form.
    Post,
}

/// What a token is called at a token endpoint (RFC 8693 §3).
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// An access token, of any form.
    #[default]
    AccessToken,
    /// A JWT.
    Jwt,
}

impl TokenKind {
    /// The identifier.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// What becomes of the credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenPassing {
    /// It ends here.
    #[default]
    Drop,
    /// The upstream gets another one, by this entry of `auth.exchange`.
    Exchange(String),
    /// The upstream gets it as it came.
    Keep,
}

/// The map that a [`TokenPassing`] may be written as.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct ExchangeMap {
    /// The name of an entry of `auth.exchange`.
    exchange: String,
}

impl<'de> Deserialize<'de> for TokenPassing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PassingVisitor)
    }
}

struct PassingVisitor;

impl<'de> Visitor<'de> for PassingVisitor {
    type Value = TokenPassing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`drop`, `keep` or `{ exchange: <name> }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TokenPassing, E> {
        match text {
            "drop" => Ok(TokenPassing::Drop),
            "keep" => Ok(TokenPassing::Keep),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TokenPassing, A::Error> {
        let ExchangeMap { exchange } = ExchangeMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TokenPassing::Exchange(exchange))
    }
}

impl JsonSchema for TokenPassing {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TokenPassing".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "enum": ["drop", "keep"] }, generator.subschema_for::<ExchangeMap>()],
        })
    }
}

fn five_minutes() -> Span {
    Span::seconds(300)
}

fn five_seconds() -> Span {
    Span::seconds(5)
}

fn two_seconds() -> Span {
    Span::seconds(2)
}

fn sixteen_mib() -> ByteSize {
    ByteSize::mib(16)
}

fn eight_kib() -> ByteSize {
    ByteSize::kib(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_ends_goes_on_or_is_exchanged() {
        let read = |text: &str| serde_json::from_str::<TokenPassing>(text);
        assert_eq!(read(r#""drop""#).unwrap(), TokenPassing::Drop);
        assert_eq!(read(r#""keep""#).unwrap(), TokenPassing::Keep);
        let exchange = TokenPassing::Exchange("corp".to_owned());
        assert_eq!(read(r#"{"exchange":"corp"}"#).unwrap(), exchange);
        for wrong in [r#""exchange""#, "{}", r#"{"exchange":1}"#, r#"{"trade":"corp"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
