//! Who may pass a route, as users write it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::claims::{AllOrAny, ClaimSettings, Names};
use super::exchange::TokenPassing;
use super::others::MtlsSettings;

/// Who may pass: everybody (`none`), or who shows what is required.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AccessSettings {
    /// Everybody.
    None,
    /// Who shows it.
    Require(Box<RequireSettings>),
}

/// Who may pass: by which way clients show who they are, and what they must be allowed to do. Over
/// policies it merges key by key. A reload applies it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RequireSettings {
    /// By a JWT access token of this issuer, or of one of these (`auth.issuers`).
    pub jwt: Option<Names>,
    /// By a token that this endpoint knows (`auth.introspection`).
    pub introspection: Option<String>,
    /// By an API key of this list (`auth.api_keys`).
    pub api_key: Option<String>,
    /// By a client certificate; `{}` takes any that the listener verified.
    pub mtls: Option<MtlsSettings>,
    /// By one of several ways: the first of them whose credential is there decides.
    pub any: Option<Vec<WaySettings>>,
    /// Scopes that must have been granted: a list of which all, or `{ all: […], any: […] }`.
    /// Default: none.
    pub scopes: Option<AllOrAny>,
    /// Roles that the client must have, in the same form. Default: none.
    pub roles: Option<AllOrAny>,
    /// Claims and what each must be: a value or a list of which one. Dots lead into objects.
    /// Default: none.
    pub claims: Option<BTreeMap<String, ClaimSettings>>,
    /// What is demanded in addition per method; `*` stands for all that are not named. A method
    /// that is not named then is refused; HEAD counts as GET. Default: the same for all methods.
    pub methods: Option<BTreeMap<String, DemandSettings>>,
    /// Whether only tokens that are bound to their sender pass, by DPoP (RFC 9449) or a certificate
    /// (RFC 8705). Default: false; a token that is bound is checked always.
    pub bound: Option<bool>,
    /// The policy service that has the last word (`auth.authorizers`). Without a way beside it, it
    /// alone decides. Default: none.
    pub external: Option<String>,
    /// What the upstream is told of the client.
    pub forward: Option<ForwardSettings>,
}

/// One way to show who one is; it names one provider.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct WaySettings {
    /// By a JWT access token of this issuer, or of one of these.
    pub jwt: Option<Names>,
    /// By a token that this endpoint knows.
    pub introspection: Option<String>,
    /// By an API key of this list.
    pub api_key: Option<String>,
    /// By a client certificate; `{}` takes any that the listener verified.
    pub mtls: Option<MtlsSettings>,
}

impl RequireSettings {
    /// The way that is named beside `any`.
    #[must_use]
    pub fn own_way(&self) -> WaySettings {
        WaySettings {
            jwt: self.jwt.clone(),
            introspection: self.introspection.clone(),
            api_key: self.api_key.clone(),
            mtls: self.mtls.clone(),
        }
    }
}

/// What a client must be allowed to do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct DemandSettings {
    /// Scopes that must have been granted.
    pub scopes: Option<AllOrAny>,
    /// Roles that the client must have.
    pub roles: Option<AllOrAny>,
    /// Claims and what each must be.
    pub claims: Option<BTreeMap<String, ClaimSettings>>,
}

/// What the upstream is told of the client. The fields that any route names are removed from what
/// clients send, on every route.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ForwardSettings {
    /// Fields and the claim that each carries; `subject`, `client`, `scopes`, `roles` and
    /// `provider` stand for what was made of the claims. Default: none.
    pub headers: BTreeMap<String, String>,
    /// What becomes of the credential: `drop`, `keep` (the upstream gets it as it came), or
    /// `{ exchange: <name> }` (the upstream gets another token, by `auth.exchange`). Default:
    /// `drop`.
    pub token: TokenPassing,
}

impl AccessSettings {
    /// Whether it is complete: everybody, or by a way.
    #[must_use]
    pub fn names_a_way(&self) -> bool {
        match self {
            Self::None => true,
            Self::Require(settings) => {
                let ways = settings.own_way() != WaySettings::default();
                ways || settings.any.is_some() || settings.external.is_some()
            }
        }
    }
}

impl<'de> Deserialize<'de> for AccessSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AccessVisitor)
    }
}

struct AccessVisitor;

impl<'de> Visitor<'de> for AccessVisitor {
    type Value = AccessSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`none`, or a map such as `{ jwt: corp, scopes: [pay:write] }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AccessSettings, E> {
        match text {
            "none" => Ok(AccessSettings::None),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AccessSettings, A::Error> {
        let settings = RequireSettings::deserialize(MapAccessDeserializer::new(map))?;
        Ok(AccessSettings::Require(Box::new(settings)))
    }
}

impl JsonSchema for AccessSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Access".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "const": "none" }, generator.subschema_for::<RequireSettings>()],
        })
    }
}
