//! One way to show who one is: a credential becomes an identity, or a refusal.

use std::sync::Arc;

use tidegate_core::Request;

use crate::api_keys::{self, ApiKeys};
use crate::bearer::Shown;
use crate::dpop::{Dpop, ProofError};
use crate::fingerprint::fingerprint;
use crate::identity::{Authenticated, Caller, Certificate, Confirmation, Identity, Method};
use crate::introspection::{Introspector, Question};
use crate::issuer::{Checked, Issuer, TokenError};
use crate::jose::{Token, sha256};
use crate::json::Object;
use crate::waited::{Need, Waited};

/// A way, compiled.
#[derive(Debug)]
pub(crate) enum Way {
    /// By an API key.
    ApiKey(Arc<ApiKeys>),
    /// By a token that an endpoint knows about.
    Introspection(Arc<Introspector>),
    /// By a JWT access token of one of these issuers.
    Jwt(Vec<Arc<Issuer>>),
    /// By a client certificate.
    Mtls(Mtls),
}

/// Certificates that may pass.
#[derive(Debug)]
pub(crate) struct Mtls {
    pub(crate) dns: Option<Vec<String>>,
    pub(crate) uri: Option<Vec<String>>,
    pub(crate) scopes: Box<[Box<str>]>,
    pub(crate) provider: Arc<str>,
}

/// What a way looks at.
pub(crate) struct Look<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) caller: &'a Caller<'a>,
    pub(crate) waited: &'a Waited,
    pub(crate) shown: Shown<'a>,
    pub(crate) dpop: &'a Dpop,
    /// Whether another way of the route takes tokens that are no JWT.
    pub(crate) opaque_elsewhere: bool,
    /// Whether only tokens that are bound to their sender pass.
    pub(crate) bound: bool,
}

/// What came of a way.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its credential is not there.
    Absent,
    /// The credential holds.
    Known(Authenticated),
    /// Something has to be fetched first.
    Wait(Need),
    /// The credential does not hold.
    Refused(String),
    /// The token may hold; the proof beside it does not.
    BadProof(ProofError),
    /// Whether it holds cannot be found out.
    Unavailable(String),
}

impl Way {
    /// Looks for the way's credential and checks it.
    pub(crate) fn check(&self, look: &Look<'_>) -> Outcome {
        match self {
            Self::ApiKey(keys) => match keys.check(look.request.headers(), look.caller.seconds()) {
                api_keys::Shown::Nothing => Outcome::Absent,
                api_keys::Shown::Known(who) => Outcome::Known(Authenticated::new(who)),
                api_keys::Shown::Wrong(what) => {
                    Outcome::Refused(format!("{what} (`{}`)", keys.name()))
                }
            },
            Self::Mtls(mtls) => match look.caller.certificate {
                None => Outcome::Absent,
                Some(certificate) => mtls.check(certificate),
            },
            Self::Introspection(introspector) => match look.shown.token() {
                None => Outcome::Absent,
                Some(token) => look.confirm(token, check_opaque(introspector, token, look)),
            },
            Self::Jwt(issuers) => match look.shown.token() {
                Some(token) if !look.opaque_elsewhere || is_jwt(token) => {
                    look.confirm(token, check_jwt(issuers, token, look))
                }
                _ => Outcome::Absent,
            },
        }
    }

    /// Whether its credential is a token in `Authorization`.
    pub(crate) fn takes_tokens(&self) -> bool {
        matches!(self, Self::Introspection(_) | Self::Jwt(_))
    }
}

impl Mtls {
    fn check(&self, certificate: &Certificate) -> Outcome {
        let named = |wanted: &Option<Vec<String>>, has: &[Box<str>]| {
            let one = |name: &String| has.iter().any(|own| **own == **name);
            wanted.as_ref().is_none_or(|wanted| wanted.iter().any(one))
        };
        if !named(&self.dns, &certificate.dns_names) || !named(&self.uri, &certificate.uris) {
            return Outcome::Refused("the certificate's names may not pass here".to_owned());
        }
        let names = certificate.uris.iter().chain(&certificate.dns_names);
        let subject = names.chain(&certificate.common_name).next().cloned();
        Outcome::Known(Authenticated::new(Arc::new(Identity {
            method: Method::Mtls,
            provider: Arc::clone(&self.provider),
            client: subject.clone(),
            subject,
            scopes: self.scopes.clone(),
            roles: Box::default(),
            claims: Object::default(),
            token_id: None,
            issued_at: None,
            expires_at: None,
            confirmation: None,
        })))
    }
}

impl Look<'_> {
    /// Whether a token comes from whom it is bound to.
    fn confirm(&self, token: &str, outcome: Outcome) -> Outcome {
        let Outcome::Known(who) = outcome else { return outcome };
        let refused = |evidence: &str| Outcome::Refused(evidence.to_owned());
        match (who.identity().confirmation, self.shown) {
            (None, Shown::Dpop(_)) => refused("the token is bound to no key"),
            (None, _) if self.bound => refused("the token is bound to nobody"),
            (None, _) => Outcome::Known(who),
            (Some(Confirmation::Certificate(thumbprint)), _) => match self.caller.certificate {
                Some(certificate) if certificate.thumbprint == thumbprint => Outcome::Known(who),
                Some(_) => refused("the token is bound to another certificate"),
                None => refused("the token is bound to a certificate, and none was shown"),
            },
            (Some(Confirmation::Key(key)), Shown::Dpop(_)) => {
                let digest = sha256(token.as_bytes());
                let when = (self.caller.seconds(), !self.waited.proof_was_seen());
                match self.dpop.check(self.request, &digest, &key, when) {
                    Ok(()) => Outcome::Known(who),
                    Err(error) => Outcome::BadProof(error),
                }
            }
            (Some(Confirmation::Key(_)), _) => {
                refused("the token is bound to a key, and came without the scheme DPoP")
            }
            (Some(Confirmation::Unknown), _) => refused("the token is bound by something unknown"),
        }
    }
}

fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn check_opaque(introspector: &Arc<Introspector>, token: &str, look: &Look<'_>) -> Outcome {
    let limit = introspector.settings().max_token.0;
    if token.len() as u64 > limit {
        return Outcome::Refused(TokenError::TooLarge(limit).to_string());
    }
    let digest = sha256(token.as_bytes());
    match introspector.recall(&digest, look.caller.seconds()) {
        Some(Some(who)) => Outcome::Known(Authenticated::new(who)),
        Some(None) => Outcome::Refused(format!("not active (`{}`)", introspector.name())),
        None if look.waited.for_introspection => {
            Outcome::Unavailable(format!("no answer from `{}`", introspector.name()))
        }
        None => {
            let introspector = Arc::clone(introspector);
            Outcome::Wait(Need::Introspect(Question { introspector, token: token.into(), digest }))
        }
    }
}

fn check_jwt(issuers: &[Arc<Issuer>], text: &str, look: &Look<'_>) -> Outcome {
    let largest = issuers.iter().map(|issuer| issuer.settings().max_token.0).max().unwrap_or(0);
    if text.len() as u64 > largest {
        return Outcome::Refused(TokenError::TooLarge(largest).to_string());
    }
    let now = look.caller.seconds();
    let digest = fingerprint(text);
    let mut remembered = issuers.iter().filter_map(|issuer| issuer.recall(&digest, now));
    if let Some(identity) = remembered.next() {
        return Outcome::Known(Authenticated::new(identity));
    }
    let token = match Token::read(text) {
        Ok(token) => token,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let named = token.claims.text("iss");
    let Some(issuer) = issuers.iter().find(|issuer| named == Some(&issuer.settings().issuer))
    else {
        return Outcome::Refused(TokenError::Issuer.to_string());
    };
    if text.len() as u64 > issuer.settings().max_token.0 {
        return Outcome::Refused(TokenError::TooLarge(issuer.settings().max_token.0).to_string());
    }
    let may_wait = !look.waited.for_keys && may_fetch(issuer, now);
    match issuer.check(token, digest, now, may_wait) {
        Checked::Verified(identity) => Outcome::Known(Authenticated::new(identity)),
        Checked::NeedsKeys => Outcome::Wait(Need::Keys(Arc::clone(issuer))),
        Checked::NoKeys => Outcome::Unavailable(format!("no keys of `{}`", issuer.name())),
        Checked::Refused(error) => {
            Outcome::Refused(format!("{error} (issuer `{}`)", issuer.name()))
        }
    }
}

/// Whether keys may be fetched on this request's behalf. While nobody has any, everybody waits for
/// the fetch that runs anyway.
fn may_fetch(issuer: &Issuer, now: u64) -> bool {
    issuer.is_remote()
        && (issuer.keys().keys(now).is_none() || issuer.keys().has_cooled(now, issuer.cool_down()))
}
