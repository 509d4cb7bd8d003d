//! Opaque tokens: what an endpoint said about them (RFC 7662), remembered for a while. The proxy
//! makes the calls.

use std::fmt;
use std::sync::Arc;

use tidegate_core::SettingsError;

use crate::cache::TokenCache;
use crate::identity::{Identity, Method};
use crate::issuer::{address_error, identify};
use crate::json::{self, Json};
use crate::settings::IntrospectionSettings;

/// An endpoint, and its answers.
#[derive(Debug)]
pub struct Introspector {
    name: Arc<str>,
    settings: IntrospectionSettings,
    /// Who it is, or that the token is not active.
    answers: Arc<TokenCache<[u8; 32], Option<Arc<Identity>>>>,
}

/// A token that has to be asked about. It is not printed.
#[derive(Clone)]
pub struct Question {
    /// Whom to ask.
    pub introspector: Arc<Introspector>,
    /// The token.
    pub token: Box<str>,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("at", &self.introspector.name).finish_non_exhaustive()
    }
}

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// No strict JSON object.
    #[error("not an introspection response: {0}")]
    Json(#[from] serde_json::Error),
    /// Whether the token is active is not said (RFC 7662 §2.2).
    #[error("not an introspection response: no usable `active`")]
    Active,
}

impl Introspector {
    /// Compiles an endpoint; answers are taken over from `previous` if nothing changed.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(
        name: &str,
        settings: &IntrospectionSettings,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors: Vec<_> =
            address_error(&settings.url, settings.insecure_http, "url").into_iter().collect();
        if settings.client_id.is_empty() {
            errors.push(SettingsError::new(["client_id"], "the endpoint has to know who asks"));
        }
        if settings.timeout.0.is_zero() {
            errors.push(SettingsError::new(["timeout"], "zero would let nothing pass"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let same = previous.filter(|previous| previous.settings == *settings);
        let answers = same.map_or_else(
            || Arc::new(TokenCache::new(settings.cache_size.as_usize())),
            |previous| Arc::clone(&previous.answers),
        );
        Ok(Self { name: name.into(), settings: settings.clone(), answers })
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &IntrospectionSettings {
        &self.settings
    }

    /// What tells it from another one of its name for as long as either is kept: a reload that
    /// changes nothing keeps it.
    #[must_use]
    pub fn instance(&self) -> usize {
        Arc::as_ptr(&self.answers).addr()
    }

    /// What is known about a token: nothing, that it is not active, or whose it is.
    pub(crate) fn recall(&self, digest: &[u8; 32], now: u64) -> Option<Option<Arc<Identity>>> {
        let (answer, until) = self.answers.find(digest)?;
        if now <= until {
            return Some(answer);
        }
        self.answers.forget(digest);
        None
    }

    /// Remembers what the endpoint answered about a token.
    ///
    /// # Errors
    /// It is no answer; nothing is remembered then.
    pub fn learn(&self, digest: [u8; 32], answer: &[u8], now: u64) -> Result<(), AnswerError> {
        let answer = json::object(answer)?;
        let Some(Json::Bool(active)) = answer.member("active") else {
            return Err(AnswerError::Active);
        };
        let identity = if *active { self.identity(answer, now) } else { None };
        let seconds = |span: tidegate_core::units::Span| span.0.as_secs();
        let (identity, bytes, until) = match identity {
            None => (None, 0, now.saturating_add(seconds(self.settings.negative_cache))),
            Some(identity) => {
                let ends = identity.expires_at.map_or(u64::MAX, |ends| ends.saturating_sub(1));
                let until = now.saturating_add(seconds(self.settings.cache)).min(ends);
                (Some(Arc::new(identity.clone())), identity.footprint(), until)
            }
        };
        self.answers.put(digest, (identity, bytes), until, now);
        Ok(())
    }

    /// Whose an active token is; `None` if it is over or for somebody else all the same.
    fn identity(&self, answer: json::Object, now: u64) -> Option<Identity> {
        let holds = |name: &str, holds: &dyn Fn(u64) -> bool| match answer.member(name) {
            None | Some(Json::Null) => true,
            // A time that is none ends nothing, so that it must not begin anything either.
            Some(time) => time.as_seconds().is_some_and(holds),
        };
        if !holds("exp", &|ends| now < ends) || !holds("nbf", &|begins| begins <= now) {
            return None;
        }
        if !self.settings.audience.is_empty() {
            let audience = answer.member("aud")?.strings()?;
            let own = |own: &String| audience.contains(&own.as_str());
            if !self.settings.audience.iter().any(own) {
                return None;
            }
        }
        identify(Method::Introspection, &self.name, &self.settings.names, answer).ok()
    }
}
