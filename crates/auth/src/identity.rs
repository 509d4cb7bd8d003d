//! Who asks. An [`Identity`] is a statement; an [`Authenticated`] one was checked, a [`Permitted`]
//! one may do what it asks for. The latter two are made by this crate's checks alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};

use crate::forward::Forwarded;
use crate::json::{Object, allocated};

/// What the connection says about who asks, and when they do.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The wall clock, which tokens are dated by.
    pub time: SystemTime,
    /// The client's certificate, if its connection showed one that the listener's authorities
    /// signed.
    pub certificate: Option<&'a Certificate>,
}

/// A client certificate that was verified by the listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the certificate in DER (RFC 8705 §3.1).
    pub thumbprint: [u8; 32],
    /// The subject's common name.
    pub common_name: Option<Box<str>>,
    /// Subject alternative names: DNS names.
    pub dns_names: Vec<Box<str>>,
    /// Subject alternative names: URIs, such as SPIFFE ids.
    pub uris: Vec<Box<str>>,
}

impl Caller<'_> {
    /// The time in seconds since 1970, as tokens count.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    }
}

/// By which way somebody showed who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// An API key.
    ApiKey,
    /// What a policy service says, and nothing else.
    External,
    /// A token that an endpoint was asked about.
    Introspection,
    /// A JWT access token.
    Jwt,
    /// A client certificate.
    Mtls,
}

impl Method {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::External => "external",
            Self::Introspection => "introspection",
            Self::Jwt => "jwt",
            Self::Mtls => "mtls",
        }
    }
}

/// Who somebody is, by what a provider says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// How they showed it.
    pub method: Method,
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    /// The subject: a person, or the client itself.
    pub subject: Option<Box<str>>,
    /// The client that acts.
    pub client: Option<Box<str>>,
    /// The scopes that were granted, sorted.
    pub scopes: Box<[Box<str>]>,
    /// The roles, sorted.
    pub roles: Box<[Box<str>]>,
    /// All that the provider says.
    pub claims: Object,
    /// The token's own id, `jti`.
    pub token_id: Option<Box<str>>,
    /// When the token was made, in seconds since 1970.
    pub issued_at: Option<u64>,
    /// When it ends, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// To whom the token is bound (RFC 7800).
    pub confirmation: Option<Confirmation>,
}

/// What the sender of a bound token must show (RFC 7800 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `x5t#S256`: the certificate with this thumbprint (RFC 8705 §3.1).
    Certificate([u8; 32]),
    /// `jkt`: a proof by the key with this thumbprint (RFC 9449 §6).
    Key([u8; 32]),
    /// Something that nobody here can check.
    Unknown,
}

impl Identity {
    /// Whether a scope was granted.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.binary_search_by(|own| (**own).cmp(scope)).is_ok()
    }

    /// Whether they have a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|own| (**own).cmp(role)).is_ok()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn footprint(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| allocated(text.len()));
        let list = |items: &[Box<str>]| -> usize {
            let inner: usize = items.iter().map(|item| allocated(item.len())).sum();
            allocated(size_of_val(items)) + inner
        };
        // Beside two counters of references.
        allocated(size_of::<Self>() + 16)
            + text(&self.subject)
            + text(&self.client)
            + text(&self.token_id)
            + list(&self.scopes)
            + list(&self.roles)
            + self.claims.footprint()
    }
}

/// Somebody who showed who they are.
#[derive(Clone, Debug)]
pub struct Authenticated(Arc<Identity>);

impl Authenticated {
    /// To be called where a credential was just checked.
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        Self(identity)
    }

    /// Nobody in particular: a policy service alone decides about the request.
    pub(crate) fn unknown() -> Self {
        Self(Arc::new(Identity {
            method: Method::External,
            provider: "external".into(),
            subject: None,
            client: None,
            scopes: Box::default(),
            roles: Box::default(),
            claims: Object::default(),
            token_id: None,
            issued_at: None,
            expires_at: None,
            confirmation: None,
        }))
    }

    /// Who they are.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0
    }
}

/// Somebody who may do what they ask for. Only [`crate::Access::check`] makes one.
#[derive(Clone, Debug)]
pub struct Permitted {
    who: Authenticated,
    forwarded: Forwarded,
}

impl Permitted {
    pub(crate) fn new(who: Authenticated, forwarded: Forwarded) -> Self {
        Self { who, forwarded }
    }

    /// The same with fields that a policy service gave.
    pub(crate) fn with(mut self, fields: &[(HeaderName, HeaderValue)]) -> Self {
        self.forwarded.add(fields);
        self
    }

    /// The same with the token that the caller's was exchanged for.
    pub(crate) fn with_token(mut self, token: HeaderValue) -> Self {
        self.forwarded.authorize(token);
        self
    }

    /// Them, as the checks found them.
    #[must_use]
    pub fn who(&self) -> &Authenticated {
        &self.who
    }

    /// Who they are.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.who.identity()
    }

    /// What the upstream is told of them.
    #[must_use]
    pub fn forwarded(&self) -> &Forwarded {
        &self.forwarded
    }
}
