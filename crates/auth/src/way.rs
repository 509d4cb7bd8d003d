//! One way to show who one is: a credential becomes an identity, or a refusal.

use std::sync::Arc;

use crate::access::{Need, Waited};
use crate::bearer::Shown;
use crate::identity::{Authenticated, Caller, Confirmation, Identity};
use crate::issuer::{Checked, Issuer, TokenError};
use crate::jose::{Malformed, Token, sha256};

/// A way, compiled.
#[derive(Debug)]
pub(crate) enum Way {
    /// By a JWT access token of one of these issuers.
    Jwt(Vec<Arc<Issuer>>),
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
    /// Whether it holds cannot be found out.
    Unavailable(String),
}

impl Way {
    /// Looks for the way's credential and checks it.
    pub(crate) fn check(&self, shown: Shown<'_>, caller: &Caller<'_>, waited: &Waited) -> Outcome {
        let Self::Jwt(issuers) = self;
        let Shown::Bearer(token) = shown else { return Outcome::Absent };
        match check_jwt(issuers, token, caller, waited) {
            Outcome::Known(who) => match confirm(who.identity(), caller) {
                Ok(()) => Outcome::Known(who),
                Err(evidence) => Outcome::Refused(evidence.to_owned()),
            },
            other => other,
        }
    }
}

fn check_jwt(issuers: &[Arc<Issuer>], text: &str, caller: &Caller<'_>, waited: &Waited) -> Outcome {
    let largest = issuers.iter().map(|issuer| issuer.settings().max_token.0).max().unwrap_or(0);
    if text.len() as u64 > largest {
        return Outcome::Refused(TokenError::TooLarge(largest).to_string());
    }
    let now = caller.seconds();
    let digest = sha256(text.as_bytes());
    let mut remembered = issuers.iter().filter_map(|issuer| issuer.recall(&digest, now));
    if let Some(identity) = remembered.next() {
        return Outcome::Known(Authenticated::new(identity));
    }
    let token = match Token::read(text) {
        Ok(token) => token,
        Err(error) => return refused_as(&error),
    };
    let named = token.claims.text("iss");
    let Some(issuer) = issuers.iter().find(|issuer| named == Some(&issuer.settings().issuer))
    else {
        return Outcome::Refused(TokenError::Issuer.to_string());
    };
    if text.len() as u64 > issuer.settings().max_token.0 {
        return Outcome::Refused(TokenError::TooLarge(issuer.settings().max_token.0).to_string());
    }
    let may_wait = !waited.for_keys && may_fetch(issuer, now);
    match issuer.check(&token, digest, now, may_wait) {
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

fn refused_as(error: &Malformed) -> Outcome {
    Outcome::Refused(error.to_string())
}

/// Whether a bound token comes from whom it is bound to.
fn confirm(who: &Identity, caller: &Caller<'_>) -> Result<(), &'static str> {
    match who.confirmation {
        None => Ok(()),
        Some(Confirmation::Certificate(thumbprint)) => match caller.certificate {
            Some(certificate) if certificate.thumbprint == thumbprint => Ok(()),
            Some(_) => Err("the token is bound to another certificate"),
            None => Err("the token is bound to a certificate, and none was shown"),
        },
        Some(Confirmation::Key(_)) => Err("the token is bound to a key, and no proof was shown"),
        Some(Confirmation::Unknown) => Err("the token is bound by something unknown"),
    }
}
