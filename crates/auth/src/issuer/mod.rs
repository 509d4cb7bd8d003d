//! One issuer of JWT access tokens: what its tokens must say (RFC 7519 §4, RFC 8725, RFC 9068 §4).

use std::sync::Arc;

use tidegate_core::SettingsError;

use crate::cache::TokenCache;
use crate::fingerprint::Fingerprint;
use crate::identity::{Confirmation, Identity, Method};
use crate::jose::{Algorithm, Key, KeySet, Malformed, Thumbprint, Token};
use crate::json::{Json, Object};
use crate::key_store::KeyStore;
use crate::settings::{ClaimNames, IssuerSettings, KeySource, Names};

mod compile;
mod metadata;

pub use self::compile::read_file;
pub(crate) use self::compile::{address_error, read_up_to};
pub use self::metadata::{MetadataError, metadata, metadata_addresses};

/// How many keys are tried for a token that does not say which, or says what several are called.
const MAX_TRIES: usize = 4;

/// An issuer, ready to check its tokens.
#[derive(Debug)]
pub struct Issuer {
    name: Arc<str>,
    settings: IssuerSettings,
    keys: Arc<KeyStore>,
    /// Tokens that hold, and the keys that signed them.
    verified: Arc<TokenCache<Fingerprint, (Arc<Identity>, Thumbprint)>>,
}

/// Why a token is refused; it is told to the log.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It has another form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is larger than the limit.
    #[error("the token is larger than {0} bytes")]
    TooLarge(u64),
    /// Another issuer made it.
    #[error("another issuer's token")]
    Issuer,
    /// Its algorithm is not one that this issuer may use.
    #[error("the issuer may not use {}", .0.name())]
    Algorithm(Algorithm),
    /// Its `typ` is not the one of access tokens.
    #[error("the token's `typ` is {}", .0.as_deref().unwrap_or("not there"))]
    Kind(Option<Box<str>>),
    /// No key has its `kid`, or fits its algorithm.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// The signature is not one of the key's.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing, or of the wrong type.
    #[error("no usable claim `{0}`")]
    Claim(Box<str>),
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token expired {0} s ago")]
    Expired(u64),
    /// Its time has not come.
    #[error("the token is not valid for another {0} s")]
    TooEarly(u64),
    /// It was made too long ago.
    #[error("the token is older than the limit")]
    TooOld,
}

/// What came of a token.
#[derive(Debug)]
pub(crate) enum Checked {
    /// It holds.
    Verified(Arc<Identity>),
    /// Its key is not known, and may be fetched.
    NeedsKeys,
    /// No keys are known at all.
    NoKeys,
    /// It does not hold.
    Refused(TokenError),
}

impl Issuer {
    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<KeyStore> {
        &self.keys
    }

    /// Whether the keys stand in the configuration and never change.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self.settings.keys, KeySource::Inline(_))
    }

    /// Whether the keys have to be fetched from somewhere.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.settings.keys, KeySource::Discover | KeySource::Url(_))
    }

    /// How many seconds pass between two fetches that unknown keys cause.
    #[must_use]
    pub fn cool_down(&self) -> u64 {
        self.settings.cool_down.0.as_secs()
    }

    /// How many verified tokens are remembered, and in about how many bytes.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        self.verified.size()
    }

    /// A token that was verified before and holds still.
    pub(crate) fn recall(&self, digest: &Fingerprint, now: u64) -> Option<Arc<Identity>> {
        let ((identity, key), until) = self.verified.find(digest)?;
        let keys = self.keys.keys(now);
        if now <= until && keys.is_some_and(|keys| keys.contains(&key)) {
            return Some(identity);
        }
        self.verified.forget(digest);
        None
    }

    /// Checks a token, the signature before all claims but `iss`. `may_wait` says whether the
    /// answer may be that keys have to be fetched.
    pub(crate) fn check(
        &self,
        token: Token<'_>,
        digest: Fingerprint,
        now: u64,
        may_wait: bool,
    ) -> Checked {
        let algorithm = token.header.algorithm;
        if !self.settings.algorithms.contains(&algorithm) {
            return Checked::Refused(TokenError::Algorithm(algorithm));
        }
        let kinds = &self.settings.types;
        if !kinds.is_empty() && !kinds.iter().any(|kind| token.header.is_kind(kind)) {
            return Checked::Refused(TokenError::Kind(token.header.kind));
        }
        let Some(keys) = self.keys.keys(now) else {
            return if may_wait { Checked::NeedsKeys } else { Checked::NoKeys };
        };
        let key = match signer(&keys, &token) {
            Ok(key) => *key.thumbprint(),
            Err(TokenError::UnknownKey) if may_wait && self.is_remote() => {
                return Checked::NeedsKeys;
            }
            Err(error) => return Checked::Refused(error),
        };
        match self.identity(token.claims, now) {
            Ok((identity, until)) => {
                let identity = Arc::new(identity);
                let value = (Arc::clone(&identity), key);
                self.verified.put(digest, (value, identity.footprint()), until, now);
                Checked::Verified(identity)
            }
            Err(error) => Checked::Refused(error),
        }
    }

    /// What the claims say, and until when.
    fn identity(&self, claims: Object, now: u64) -> Result<(Identity, u64), TokenError> {
        let settings = &self.settings;
        if claims.text("iss") != Some(&settings.issuer) {
            return Err(TokenError::Issuer);
        }
        let until = self.check_times(&claims, now)?;
        let audience = claims.member("aud").and_then(Json::strings);
        let audience = audience.ok_or_else(|| TokenError::Claim("aud".into()))?;
        if !settings.audience.iter().any(|own| audience.contains(&own.as_str())) {
            return Err(TokenError::Audience);
        }
        for name in &settings.required {
            if claims.at(name).is_none_or(|claim| *claim == Json::Null) {
                return Err(TokenError::Claim(name.as_str().into()));
            }
        }
        let method = Method::Jwt;
        let mut identity = identify(method, &self.name, &settings.names, claims)?;
        identity.expires_at = Some(until.saturating_sub(settings.skew.0.as_secs()));
        Ok((identity, until))
    }

    /// Looks at `exp`, `nbf` and `iat`; returns the last second in which the token holds.
    fn check_times(&self, claims: &Object, now: u64) -> Result<u64, TokenError> {
        let skew = self.settings.skew.0.as_secs();
        let time = |name: &str| match claims.member(name) {
            None => Ok(None),
            Some(claim) => {
                claim.as_seconds().map(Some).ok_or_else(|| TokenError::Claim(name.into()))
            }
        };
        let ends = time("exp")?.ok_or_else(|| TokenError::Claim("exp".into()))?;
        // RFC 7519 §4.1.4: on or after `exp` it is over.
        let mut until = ends.saturating_add(skew).saturating_sub(1);
        if now > until {
            return Err(TokenError::Expired(now.saturating_sub(ends)));
        }
        let issued = time("iat")?;
        for begins in [time("nbf")?, issued].into_iter().flatten() {
            if begins > now.saturating_add(skew) {
                return Err(TokenError::TooEarly(begins - now));
            }
        }
        if let Some(longest) = self.settings.max_age {
            let issued = issued.ok_or_else(|| TokenError::Claim("iat".into()))?;
            let last = issued.saturating_add(longest.0.as_secs()).saturating_add(skew);
            if now > last {
                return Err(TokenError::TooOld);
            }
            until = until.min(last);
        }
        Ok(until)
    }
}

/// The key that signed a token.
fn signer<'k>(keys: &'k KeySet, token: &'k Token<'_>) -> Result<&'k Key, TokenError> {
    let mut known = false;
    for key in keys.candidates(&token.header).take(MAX_TRIES) {
        known = true;
        if key.verifies(token.header.algorithm, token.signed, &token.signature) {
            return Ok(key);
        }
    }
    Err(if known { TokenError::Signature } else { TokenError::UnknownKey })
}

/// What a provider's claims say of an identity. Times are left to the caller.
///
/// # Errors
/// A claim has another type than its name says.
pub(crate) fn identify(
    method: Method,
    provider: &Arc<str>,
    names: &ClaimNames,
    claims: Object,
) -> Result<Identity, TokenError> {
    let wrong = |name: &str| TokenError::Claim(name.into());
    let first = |names: &Names| {
        let found = names.0.iter().find_map(|name| Some((name.clone(), claims.at(name)?)));
        found.map(|(name, claim)| match claim {
            Json::String(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(wrong(&name)),
        })
    };
    Ok(Identity {
        method,
        provider: Arc::clone(provider),
        subject: first(&names.subject).transpose()?,
        client: first(&names.client).transpose()?,
        scopes: words(&claims, &names.scopes, true)?,
        roles: words(&claims, &names.roles, false)?,
        token_id: claims.text("jti").map(Into::into),
        issued_at: claims.member("iat").and_then(Json::as_seconds),
        expires_at: claims.member("exp").and_then(Json::as_seconds),
        confirmation: claims.member("cnf").map(confirmation),
        claims,
    })
}

/// The words of the first of these claims that is there, sorted.
fn words(claims: &Object, names: &Names, spaced: bool) -> Result<Box<[Box<str>]>, TokenError> {
    let Some((name, claim)) = names.0.iter().find_map(|name| Some((name, claims.at(name)?))) else {
        return Ok(Box::default());
    };
    let texts = claim.strings().ok_or_else(|| TokenError::Claim(name.as_str().into()))?;
    let mut words: Vec<Box<str>> = match (claim, spaced) {
        (Json::String(text), true) => text.split(' ').map(Into::into).collect(),
        _ => texts.into_iter().map(Into::into).collect(),
    };
    words.retain(|word| !word.is_empty());
    words.sort_unstable();
    words.dedup();
    Ok(words.into())
}

/// To whom a token is bound (RFC 7800 §3.1). What cannot be checked makes the token useless.
fn confirmation(claim: &Json) -> Confirmation {
    let Some(object) = claim.as_object() else { return Confirmation::Unknown };
    let thumbprint = |name| compile::thumbprint(object.text(name)?);
    match (object.member("x5t#S256"), object.member("jkt"), object.members().count()) {
        (Some(_), None, 1) => {
            thumbprint("x5t#S256").map_or(Confirmation::Unknown, Confirmation::Certificate)
        }
        (None, Some(_), 1) => thumbprint("jkt").map_or(Confirmation::Unknown, Confirmation::Key),
        _ => Confirmation::Unknown,
    }
}

/// What is wrong with an issuer's settings, or the issuer.
pub(crate) type Compiled = Result<Issuer, Vec<SettingsError>>;
