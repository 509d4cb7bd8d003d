//! The settings of this crate, as users write them: who vouches (`auth` at the top level) and who
//! may pass (`auth` in a policy).

mod access;
mod claims;
mod exchange;
mod issuer;
mod others;
mod report;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Secret;

pub use self::access::{
    AccessSettings, DemandSettings, ForwardSettings, RequireSettings, WaySettings,
};
pub use self::claims::{AllOrAny, ClaimSettings, Names};
pub use self::exchange::{ClientAuth, ExchangeSettings, TokenKind, TokenPassing};
pub use self::issuer::{ClaimNames, IssuerSettings, KeySource};
pub use self::others::{
    ApiKeySettings, AuthorizerSettings, Dialect, DpopSettings, IntrospectionSettings, MtlsSettings,
    RevocationSettings,
};
pub use self::report::ReportSettings;

/// Who vouches for clients. Once a provider stands here, every route says by `auth` who may pass,
/// if only `auth: none`. A reload applies it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct AuthSettings {
    /// Issuers of JWT access tokens (RFC 7519, RFC 9068), by name.
    pub issuers: BTreeMap<String, IssuerSettings>,
    /// Endpoints that know about opaque tokens (RFC 7662), by name.
    pub introspection: BTreeMap<String, IntrospectionSettings>,
    /// Lists of API keys, by name.
    pub api_keys: BTreeMap<String, ApiKeySettings>,
    /// Policy services that have a say, by name.
    pub authorizers: BTreeMap<String, AuthorizerSettings>,
    /// Endpoints that give a token for the upstream in exchange for the caller's (RFC 8693), by
    /// name.
    pub exchange: BTreeMap<String, ExchangeSettings>,
    /// Proofs that a token is its sender's (RFC 9449).
    pub dpop: DpopSettings,
    /// Tokens, subjects and clients that pass no longer. Default: none.
    pub revocations: Option<RevocationSettings>,
    /// Which scopes clients were granted, and which they used, for `tidegate report scopes`.
    /// Default: not recorded.
    pub report: Option<ReportSettings>,
    /// How the access log names subjects: `hashed` (by a keyed hash), `plain` or `off`. Default:
    /// `hashed`.
    pub log_subject: LogSubject,
    /// The key of these hashes, at least 16 characters. Default: one that lasts as long as the
    /// process, so that its log lines can be joined and no others.
    pub log_key: Option<Secret>,
    /// The protected resource's own description (RFC 9728), served to clients that ask how to get
    /// a token. Default: none.
    pub resource: Option<ResourceSettings>,
}

/// How the access log names subjects.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogSubject {
    /// By a keyed hash: lines of one subject can be joined, and say not who it is.
    #[default]
    Hashed,
    /// Not at all.
    Off,
    /// As it is.
    Plain,
}

impl AuthSettings {
    /// Whether a provider is named.
    #[must_use]
    pub fn names_a_provider(&self) -> bool {
        !self.issuers.is_empty() || !self.introspection.is_empty() || !self.api_keys.is_empty()
    }

    /// Whether identities can have this provider: one that is named, or client certificates.
    #[must_use]
    pub fn vouches_as(&self, provider: &str) -> bool {
        self.issuers.contains_key(provider)
            || self.introspection.contains_key(provider)
            || self.api_keys.contains_key(provider)
            || provider == "mtls"
    }
}

/// What clients are told about this resource (RFC 9728), at
/// `/.well-known/oauth-protected-resource`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ResourceSettings {
    /// The resource's identifier, an `https` URL without a fragment, such as
    /// `https://api.example.com`. The document is served for its host.
    pub identifier: String,
    /// A name for people.
    pub name: Option<String>,
    /// Where developers find documentation.
    pub documentation: Option<String>,
}
