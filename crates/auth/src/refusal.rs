//! Refusals as clients see them: RFC 6750 §3 challenges on a [`Denial`]. What exactly was wrong is
//! evidence for the log.

use http::{HeaderValue, header};
use tidegate_core::{Denial, Reason};

use crate::bearer::Shown;
use crate::dpop;

/// What every challenge says of the resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenge {
    /// Where its metadata is (RFC 9728 §5.1).
    pub(crate) metadata: Option<Box<str>>,
}

/// The scheme that a challenge asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    ApiKey,
    Bearer,
    Dpop,
}

impl Scheme {
    /// The scheme that a token came with.
    pub(crate) const fn of(shown: Shown<'_>) -> Self {
        match shown {
            Shown::Dpop(_) => Self::Dpop,
            Shown::Bearer(_) | Shown::Nothing => Self::Bearer,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "ApiKey",
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

impl Challenge {
    /// No credential came: 401 without an error code (RFC 6750 §3.1).
    pub(crate) fn missing(&self, scheme: Scheme) -> Box<Denial> {
        let algorithms = dpop::algorithms();
        let parameters = [("algs", algorithms.as_str())];
        let shown = if scheme == Scheme::Dpop { &parameters[..] } else { &[] };
        Box::new(self.refuse(Reason::Unauthenticated, scheme, shown))
    }

    /// The credential does not hold.
    pub(crate) fn invalid(&self, scheme: Scheme, evidence: impl Into<String>) -> Box<Denial> {
        let parameters = [("error", "invalid_token")];
        let shown = if scheme == Scheme::ApiKey { &[] } else { &parameters[..] };
        Box::new(self.refuse(Reason::InvalidToken, scheme, shown).with_evidence(evidence))
    }

    /// The proof beside a token does not hold (RFC 9449 §7.1); `nonce` is what it needs, if that is
    /// what is wrong (§9).
    pub(crate) fn bad_proof(
        &self,
        nonce: Option<&str>,
        evidence: impl Into<String>,
    ) -> Box<Denial> {
        let error = if nonce.is_some() { "use_dpop_nonce" } else { "invalid_dpop_proof" };
        let mut denial = self.refuse(Reason::InvalidToken, Scheme::Dpop, &[("error", error)]);
        if let Some(Ok(nonce)) = nonce.map(HeaderValue::from_str) {
            denial.headers.insert("dpop-nonce", nonce);
        }
        Box::new(denial.with_evidence(evidence))
    }

    /// The request shows its credential in a way that may not be.
    pub(crate) fn malformed(&self, evidence: impl Into<String>) -> Box<Denial> {
        let shown = [("error", "invalid_request")];
        let denial = self.refuse(Reason::InvalidAuthRequest, Scheme::Bearer, &shown);
        Box::new(denial.with_evidence(evidence))
    }

    /// The token was not granted the scopes that this needs.
    pub(crate) fn insufficient(&self, scopes: &str, evidence: impl Into<String>) -> Box<Denial> {
        let parameters = [("error", "insufficient_scope"), ("scope", scopes)];
        let shown = if scopes.is_empty() { parameters.get(..1) } else { Some(&parameters[..]) };
        let shown = shown.unwrap_or_default();
        let denial = self.refuse(Reason::InsufficientScope, Scheme::Bearer, shown);
        Box::new(denial.with_evidence(evidence))
    }

    fn refuse(&self, reason: Reason, scheme: Scheme, parameters: &[(&str, &str)]) -> Denial {
        let mut denial = Denial::new(reason);
        let mut challenge = scheme.name().to_owned();
        let metadata = self.metadata.as_deref().map(|url| ("resource_metadata", url));
        for (index, (name, value)) in parameters.iter().copied().chain(metadata).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            challenge.push_str(&format!("{comma} {name}=\"{value}\""));
        }
        // Scopes and addresses were checked when the configuration was compiled.
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            denial.headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        denial
    }
}

/// Who it is cannot be found out now: closed, and the client may come back.
pub(crate) fn unavailable(evidence: impl Into<String>) -> Box<Denial> {
    Box::new(Denial::new(Reason::AuthUnavailable).with_evidence(evidence))
}

/// Whoever it is, they may not; another token of the same client would not help.
pub(crate) fn forbidden(evidence: impl Into<String>) -> Box<Denial> {
    Box::new(Denial::new(Reason::AccessDenied).with_evidence(evidence))
}
