//! The settings of a cookie that the proxy sets.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::units::Span;
use tidegate_core::{Secret, SettingsError};

/// A signed cookie.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct CookieSettings {
    /// Its name, which the application must not use itself. A reload applies it.
    pub cookie: String,
    /// How long it holds; a client that comes again within the second half gets a new one.
    /// Default: until the browser is closed. A reload applies it.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// What it is signed with, at least 16 bytes: `${env:NAME}` or `${file:path}`, or a list of
    /// which the first one signs and all are accepted, so that secrets can be changed. Default: a
    /// random one, which no other process knows and a restart forgets. A reload applies it.
    #[serde(default)]
    pub secret: Secrets,
    /// The attribute `Path`. Default: `/`. A reload applies it.
    #[serde(default = "root")]
    pub path: String,
    /// The attribute `Secure`. Default: whether the client's connection is encrypted. A reload
    /// applies it.
    #[serde(default)]
    pub secure: Option<bool>,
    /// The attribute `HttpOnly`. Default: true. A reload applies it.
    #[serde(default = "yes")]
    pub http_only: bool,
    /// The attribute `SameSite`: `lax`, `strict` or `none`, which implies `Secure`. Default:
    /// `lax`. A reload applies it.
    #[serde(default)]
    pub same_site: SameSite,
}

fn root() -> String {
    "/".to_owned()
}

const fn yes() -> bool {
    true
}

/// On which requests from other sites a browser sends a cookie (RFC 6265bis §5.4.7).
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// When the user follows a link.
    #[default]
    Lax,
    /// On all of them.
    None,
    /// On none.
    Strict,
}

impl SameSite {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::None => "None",
            Self::Strict => "Strict",
        }
    }
}

/// Secrets to sign with; the first one signs, all are accepted. None means a random one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(pub Vec<Secret>);

/// Shorter secrets can be guessed.
const MIN_SECRET: usize = 16;

impl CookieSettings {
    /// A cookie with this name and the defaults.
    #[must_use]
    pub fn named(cookie: &str) -> Self {
        Self {
            cookie: cookie.to_owned(),
            ttl: None,
            secret: Secrets::default(),
            path: root(),
            secure: None,
            http_only: true,
            same_site: SameSite::Lax,
        }
    }

    pub(super) fn check(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        if self.cookie.is_empty() || !self.cookie.bytes().all(is_token) {
            let message = format!("`{}` is not a cookie name", self.cookie);
            errors.push(
                SettingsError::new(["cookie"], message)
                    .with_hint("write letters, digits, hyphens and underscores"),
            );
        }
        let wants_secure = self.cookie.starts_with("__Secure-");
        if wants_secure && self.secure == Some(false) {
            let message = "browsers refuse the prefix `__Secure-` without Secure";
            errors.push(SettingsError::new(["secure"], message));
        }
        if self.ttl.is_some_and(|ttl| ttl.0.as_secs() == 0) {
            errors.push(
                SettingsError::new(["ttl"], "a cookie lives for at least a second")
                    .with_hint("remove the key for a cookie that lives as long as the browser"),
            );
        }
        if !self.path.starts_with('/')
            || !self.path.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b';')
        {
            let message = format!("`{}` is not a path", self.path);
            errors.push(SettingsError::new(["path"], message).with_hint("write `/` or `/app`"));
        }
        if self.same_site == SameSite::None && self.secure == Some(false) {
            let message = "browsers refuse `same_site: none` without Secure";
            errors.push(SettingsError::new(["secure"], message));
        }
        for secret in &self.secret.0 {
            if secret.reveal().len() < MIN_SECRET {
                let message = format!("a secret shorter than {MIN_SECRET} bytes can be guessed");
                errors.push(
                    SettingsError::new(["secret"], message)
                        .with_hint("make one with `openssl rand -hex 32`"),
                );
            }
        }
        errors
    }
}

/// A character of a token (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretsVisitor)
    }
}

struct SecretsVisitor;

impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = Secrets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret such as `${env:NAME}`, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secrets, E> {
        Ok(Secrets(vec![Secret::from(text.to_owned())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Secrets, A::Error> {
        let mut secrets = Vec::new();
        while let Some(secret) = list.next_element()? {
            secrets.push(secret);
        }
        Ok(Secrets(secrets))
    }
}

impl JsonSchema for Secrets {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secrets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Secret>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
