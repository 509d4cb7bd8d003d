//! What the upstream is told of an identity, and what clients may therefore not say themselves.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use tidegate_core::{Denial, SettingsError};

use crate::bearer::Shown;
use crate::exchange::Exchanger;
use crate::identity::Identity;
use crate::json::Json;
use crate::providers::Auth;
use crate::refusal::forbidden;
use crate::settings::{ForwardSettings, TokenPassing};

/// Fields that decide about the message itself or are written by the gateway; no claim may.
const RESERVED: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-request-id",
];

/// What a route tells its upstream, compiled.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    fields: Vec<(HeaderName, Source)>,
    keeps_credential: bool,
    exchanger: Option<Arc<Exchanger>>,
}

#[derive(Debug)]
enum Source {
    Claim(Box<str>),
    Client,
    Provider,
    Roles,
    Scopes,
    Subject,
}

/// What is written into one request.
#[derive(Clone, Default)]
pub struct Forwarded {
    set: Vec<(HeaderName, HeaderValue)>,
    keeps_credential: bool,
}

impl Forwarded {
    /// The fields that tell the upstream who asks.
    pub fn fields(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.set.iter()
    }

    /// Whether `Authorization` goes on as it came.
    #[must_use]
    pub fn keeps_credential(&self) -> bool {
        self.keeps_credential
    }
}

impl Forwarded {
    /// Sets the token that the caller's was exchanged for.
    pub(crate) fn authorize(&mut self, token: HeaderValue) {
        self.set.push((header::AUTHORIZATION, token));
    }

    /// Adds what a policy service gave.
    pub(crate) fn add(&mut self, fields: &[(HeaderName, HeaderValue)]) {
        self.set.extend_from_slice(fields);
    }
}

/// Without the values, which are about people.
impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.set.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Forwarded").field("fields", &names).finish_non_exhaustive()
    }
}

impl Forward {
    pub(crate) fn compile(
        settings: &ForwardSettings,
        auth: &Auth,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let mut fields = Vec::with_capacity(settings.headers.len());
        for (name, claim) in &settings.headers {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(field) if RESERVED.contains(&field.as_str()) => {
                    let message = format!("`{name}` is not for claims");
                    errors.push(SettingsError::new(["forward", "headers", name], message));
                }
                Ok(field) => fields.push((field, Source::named(claim))),
                Err(_invalid) => {
                    let message = format!("`{name}` is no field name");
                    errors.push(SettingsError::new(["forward", "headers", name], message));
                }
            }
        }
        let exchanger = match &settings.token {
            TokenPassing::Exchange(name) => auth.exchanger(name, errors),
            TokenPassing::Drop | TokenPassing::Keep => None,
        };
        Self { fields, keeps_credential: settings.token == TokenPassing::Keep, exchanger }
    }

    /// Where the caller's token is exchanged, if it is.
    pub(crate) fn exchanger(&self) -> Option<&Arc<Exchanger>> {
        self.exchanger.as_ref()
    }

    /// Forgets what a revoked token was exchanged for.
    pub(crate) fn forget(&self, shown: Shown<'_>) {
        if let (Some(exchanger), Some(token)) = (&self.exchanger, shown.token()) {
            exchanger.forget(token);
        }
    }

    /// The fields that it writes, which clients may not send.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// Writes what is to be told. A claim that is not there is not told.
    ///
    /// # Errors
    /// A claim that no field can carry, or that the upstream could read in two ways.
    pub(crate) fn write(&self, who: &Identity) -> Result<Forwarded, Box<Denial>> {
        let mut set = Vec::with_capacity(self.fields.len());
        for (name, source) in &self.fields {
            let Some(text) = source.text(who)? else { continue };
            let value = HeaderValue::try_from(text).map_err(|_invalid| {
                forbidden(format!("what `{name}` would carry is no field value"))
            })?;
            set.push((name.clone(), value));
        }
        Ok(Forwarded { set, keeps_credential: self.keeps_credential })
    }
}

impl Source {
    fn named(claim: &str) -> Self {
        match claim {
            "client" => Self::Client,
            "provider" => Self::Provider,
            "roles" => Self::Roles,
            "scopes" => Self::Scopes,
            "subject" => Self::Subject,
            claim => Self::Claim(claim.into()),
        }
    }

    fn text(&self, who: &Identity) -> Result<Option<String>, Box<Denial>> {
        Ok(match self {
            Self::Claim(path) => who.claims.at(path).map(written).transpose()?.flatten(),
            Self::Client => who.client.as_deref().map(ToOwned::to_owned),
            Self::Provider => Some((*who.provider).to_owned()),
            Self::Roles => Some(with_commas(who.roles.iter().map(|role| &**role))?),
            Self::Scopes => Some(who.scopes.join(" ")),
            Self::Subject => who.subject.as_deref().map(ToOwned::to_owned),
        })
    }
}

/// A claim as a field's value: texts as they are, lists of texts with commas, the rest as JSON.
fn written(claim: &Json) -> Result<Option<String>, Box<Denial>> {
    Ok(match claim {
        Json::Null => None,
        Json::String(text) => Some(text.to_string()),
        Json::List(items) => match claim.strings() {
            Some(texts) if !items.is_empty() => Some(with_commas(texts.into_iter())?),
            _ => Some(claim.to_string()),
        },
        Json::Bool(_) | Json::Number(_) | Json::Object(_) => Some(claim.to_string()),
    })
}

fn with_commas<'t>(texts: impl Iterator<Item = &'t str>) -> Result<String, Box<Denial>> {
    let texts: Vec<&str> = texts.collect();
    if texts.iter().any(|text| text.contains(',')) {
        return Err(forbidden("an element of a list has a comma in it"));
    }
    Ok(texts.join(","))
}

/// Whether a field that a client sent could be taken for one of the gateway's own: some readers
/// take `_` for `-` (CGI, RFC 3875 §4.1.18), and none minds case.
#[must_use]
pub fn is_twin(sent: &HeaderName, own: &HeaderName) -> bool {
    let same = |b: u8| if b == b'_' { b'-' } else { b };
    let (sent, own) = (sent.as_str().bytes(), own.as_str().bytes());
    sent.len() == own.len() && sent.map(same).eq(own.map(same))
}
