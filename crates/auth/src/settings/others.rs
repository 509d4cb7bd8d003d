//! Providers beside issuers: introspection, API keys, certificates, policy services; and what else
//! is looked at.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Secret;
use tidegate_core::units::{ByteSize, Span};

use super::claims::Names;
use super::issuer::ClaimNames;

/// An endpoint that knows about opaque tokens (RFC 7662). A reload applies every field.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct IntrospectionSettings {
    /// The endpoint's address.
    pub url: String,
    /// Who we are there.
    pub client_id: String,
    /// How we show it, by HTTP Basic.
    pub client_secret: Secret,
    /// Whom the tokens must be for: one of these has to be in `aud`. Default: what the endpoint
    /// answers is enough.
    #[serde(default)]
    pub audience: Vec<String>,
    /// For how long an answer is believed, at most until the token's `exp`; a token that is revoked
    /// may pass for so long. Default: 30s.
    #[serde(default = "thirty_seconds")]
    pub cache: Span,
    /// For how long a token stays refused that the endpoint does not know. Default: 5s.
    #[serde(default = "five_seconds")]
    pub negative_cache: Span,
    /// Memory for answers. Default: 16MiB.
    #[serde(default = "sixteen_mib")]
    pub cache_size: ByteSize,
    /// For one call. Without an answer nobody passes. Default: 2s.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
    /// The largest token. Default: 4KiB.
    #[serde(default = "four_kib")]
    pub max_token: ByteSize,
    /// In which members the endpoint says what. Roles and scopes are as in tokens.
    #[serde(default)]
    pub names: ClaimNames,
    /// Certificates of the authorities that the endpoint's own is checked against. Default: the
    /// system's.
    pub ca: Option<PathBuf>,
    /// Call without TLS, on other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// A list of API keys. A reload applies every field; a changed file is read within seconds.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ApiKeySettings {
    /// A JSON file: `{"keys": [{"id": "shop", "sha256": "<hex>", "scopes": ["pay:read"], "roles":
    /// [], "expires": 1900000000}]}`. It holds no key, only its SHA-256; two with one id may stand
    /// side by side while a key is changed.
    pub file: PathBuf,
    /// The field that clients put their key in. Default: `X-Api-Key`.
    #[serde(default = "x_api_key")]
    pub header: String,
}

/// Client certificates that may pass. A listener with `tls.client_auth` verifies them; here is
/// said who of them. A reload applies it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct MtlsSettings {
    /// DNS names, of which the certificate must have one. Default: any name.
    pub dns: Option<Names>,
    /// URIs such as SPIFFE ids, of which the certificate must have one. Default: any.
    pub uri: Option<Names>,
    /// Scopes that such a certificate stands for. Default: none.
    pub scopes: Vec<String>,
}

/// Proofs of possession (RFC 9449). A reload applies every field; proofs that were seen stay seen.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct DpopSettings {
    /// How old a proof may be, and how far its clock may differ. Default: 60s.
    pub max_age: Span,
    /// How many proofs are remembered, so that none passes twice; beyond, nobody passes. Default:
    /// 100000.
    pub max_proofs: u32,
    /// Whether a proof must carry a nonce of ours, which makes proofs from the future useless.
    /// Default: false.
    pub nonce: bool,
}

impl Default for DpopSettings {
    fn default() -> Self {
        Self { max_age: Span::seconds(60), max_proofs: 100_000, nonce: false }
    }
}

/// Tokens, subjects and clients that pass no longer. A reload applies it; a changed file is read
/// within seconds.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RevocationSettings {
    /// A file with one JSON object per line: `{"jti": "…"}`, `{"sub": "…"}` or `{"client": "…"}`,
    /// with `before` (tokens issued until that second) and `until` (the entry's own end), in seconds
    /// since 1970, if wanted. The admin listener adds lines.
    pub file: PathBuf,
}

/// A policy service that is asked about each request that would pass. Without its word nobody
/// passes. A reload applies every field.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct AuthorizerSettings {
    /// Its address.
    pub url: String,
    /// What it speaks: `forward_auth` (a GET with `X-Forwarded-Method`, `-Uri` and others, as
    /// Traefik and nginx send; 2xx lets pass) or `opa` (a POST of `{"input": …}`, answered by
    /// `{"result": true}` or `{"result": {"allow": true}}`). Default: `forward_auth`.
    #[serde(default)]
    pub dialect: Dialect,
    /// Fields of the request that it gets to see. Default: `authorization`, `cookie`.
    #[serde(default = "seen_fields")]
    pub request_headers: Vec<String>,
    /// Fields of its answer that the upstream gets; clients may not send them. Default: none.
    #[serde(default)]
    pub response_headers: Vec<String>,
    /// For one call. Default: 1s.
    #[serde(default = "one_second")]
    pub timeout: Span,
    /// Certificates of the authorities that its own is checked against. Default: the system's.
    pub ca: Option<PathBuf>,
    /// Call without TLS, on other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// What a policy service speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// A GET that repeats the request's head.
    #[default]
    ForwardAuth,
    /// Open Policy Agent's data API.
    Opa,
}

fn thirty_seconds() -> Span {
    Span::seconds(30)
}

fn five_seconds() -> Span {
    Span::seconds(5)
}

fn two_seconds() -> Span {
    Span::seconds(2)
}

fn one_second() -> Span {
    Span::seconds(1)
}

fn sixteen_mib() -> ByteSize {
    ByteSize::mib(16)
}

fn four_kib() -> ByteSize {
    ByteSize::kib(4)
}

fn x_api_key() -> String {
    "X-Api-Key".to_owned()
}

fn seen_fields() -> Vec<String> {
    vec!["authorization".to_owned(), "cookie".to_owned()]
}
