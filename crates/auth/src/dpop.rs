//! Proofs of possession (RFC 9449): that who sends a token has the key that it is bound to.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::uri::Scheme;
use http::{Uri, header};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tidegate_core::Request;

use crate::jose::{Algorithm, Key, Malformed, Token, sha256};
use crate::json::Json;
use crate::providers::process_key;
use crate::settings::DpopSettings;

/// How far in the future a proof may be dated, in seconds.
const FUTURE: u64 = 5;
/// Larger proofs are none.
const MAX_PROOF: usize = 4_096;

/// Checks proofs, and remembers those that it saw.
#[derive(Debug)]
pub(crate) struct Dpop {
    settings: DpopSettings,
    memory: Arc<Memory>,
}

/// What a reload keeps.
struct Memory {
    seen: Mutex<Seen>,
    nonces: hmac::Key,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// Proofs of the present and the last span of time, by the first half of a SHA-256.
#[derive(Debug, Default)]
struct Seen {
    now: FxHashSet<[u8; 16]>,
    before: FxHashSet<[u8; 16]>,
    turned_at: u64,
}

/// Why a proof does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error("no proof beside the token")]
    Absent,
    #[error("several proofs beside the token")]
    Several,
    #[error("the proof: {0}")]
    Malformed(#[from] Malformed),
    #[error("the proof is not of the type dpop+jwt")]
    Kind,
    #[error("the proof's key cannot be used")]
    Key,
    #[error("the proof's signature is wrong")]
    Signature,
    #[error("the proof is by another key than the token is bound to")]
    Stranger,
    #[error("no usable `{0}` in the proof")]
    Claim(&'static str),
    #[error("the proof is for another {0}")]
    Another(&'static str),
    #[error("the proof is too old or from the future")]
    Time,
    #[error("the proof was used before")]
    Replayed,
    #[error("a nonce of ours is needed")]
    Nonce,
    #[error("too many proofs at once")]
    Full,
}

impl Dpop {
    pub(crate) fn new(settings: &DpopSettings, previous: Option<&Self>) -> Self {
        let fresh = || {
            // A nonce limits when a proof can be made; it opens nothing without the key.
            let nonces = process_key();
            Arc::new(Memory { seen: Mutex::default(), nonces })
        };
        let memory = previous.map_or_else(fresh, |previous| Arc::clone(&previous.memory));
        Self { settings: settings.clone(), memory }
    }

    /// The nonce that a proof needs now.
    pub(crate) fn nonce(&self, now: u64) -> String {
        self.nonce_of(now / self.span())
    }

    /// Checks the proof that comes with a token, which is bound to a key (RFC 9449 §4.3).
    /// `first` says that it was not looked at before, for the same request.
    pub(crate) fn check(
        &self,
        request: &Request<'_>,
        token: &[u8; 32],
        bound_to: &[u8; 32],
        (now, first): (u64, bool),
    ) -> Result<(), ProofError> {
        let mut proofs = request.headers().get_all("dpop").iter();
        let proof = proofs.next().ok_or(ProofError::Absent)?;
        if proofs.next().is_some() {
            return Err(ProofError::Several);
        }
        let text = proof.to_str().ok().filter(|text| text.len() <= MAX_PROOF);
        let proof = Token::read(text.ok_or(ProofError::Claim("form"))?)?;
        if !proof.header.is_kind("dpop+jwt") {
            return Err(ProofError::Kind);
        }
        let jwk = proof.header.members.member("jwk").and_then(Json::as_object);
        let key = Key::from_jwk(jwk.ok_or(ProofError::Key)?, &[proof.header.algorithm]);
        let key = key.map_err(|_unfit| ProofError::Key)?;
        if !key.verifies(proof.header.algorithm, proof.signed, &proof.signature) {
            return Err(ProofError::Signature);
        }
        if key.thumbprint() != bound_to {
            return Err(ProofError::Stranger);
        }
        self.check_claims(&proof, request, token, now)?;
        let id = proof.claims.text("jti").filter(|id| !id.is_empty());
        let id = id.ok_or(ProofError::Claim("jti"))?;
        if first { self.remember(bound_to, id, now) } else { Ok(()) }
    }

    fn check_claims(
        &self,
        proof: &Token<'_>,
        request: &Request<'_>,
        token: &[u8; 32],
        now: u64,
    ) -> Result<(), ProofError> {
        let text = |name| proof.claims.text(name).ok_or(ProofError::Claim(name));
        if text("htm")? != request.method().as_str() {
            return Err(ProofError::Another("method"));
        }
        if !is_for(text("htu")?, request) {
            return Err(ProofError::Another("address"));
        }
        if text("ath")? != URL_SAFE_NO_PAD.encode(token) {
            return Err(ProofError::Another("token"));
        }
        let made = proof.claims.member("iat").and_then(Json::as_seconds);
        let made = made.ok_or(ProofError::Claim("iat"))?;
        if made > now + FUTURE || made + self.span() < now {
            return Err(ProofError::Time);
        }
        if self.settings.nonce {
            let (given, bucket) = (proof.claims.text("nonce"), now / self.span());
            let ours = [self.nonce_of(bucket), self.nonce_of(bucket.saturating_sub(1))];
            if !given.is_some_and(|given| ours.iter().any(|own| own == given)) {
                return Err(ProofError::Nonce);
            }
        }
        Ok(())
    }

    fn remember(&self, key: &[u8; 32], id: &str, now: u64) -> Result<(), ProofError> {
        let digest = sha256(&[key, id.as_bytes()].concat());
        let mut half = [0; 16];
        half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let mut seen = self.memory.seen.lock();
        // A proof is remembered for one to two spans, and taken within one.
        let span = self.span() + FUTURE;
        // `now` is when the request came: one that waited is no clock that was set back.
        if now >= seen.turned_at + span || now.saturating_add(span) < seen.turned_at {
            let idle = now >= seen.turned_at + 2 * span;
            let last = std::mem::take(&mut seen.now);
            seen.before = if idle { FxHashSet::default() } else { last };
            seen.turned_at = now;
        }
        if seen.before.contains(&half) || seen.now.contains(&half) {
            return Err(ProofError::Replayed);
        }
        if seen.now.len() + seen.before.len() >= self.settings.max_proofs as usize {
            return Err(ProofError::Full);
        }
        seen.now.insert(half);
        Ok(())
    }

    fn span(&self) -> u64 {
        self.settings.max_age.0.as_secs().max(1)
    }

    fn nonce_of(&self, bucket: u64) -> String {
        let tag = hmac::sign(&self.memory.nonces, &bucket.to_be_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..16).unwrap_or_default())
    }
}

/// The algorithms that a proof may use, for challenges.
pub(crate) fn algorithms() -> String {
    let names: Vec<&str> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
    names.join(" ")
}

/// Whether `htu` is the request's address (RFC 9449 §4.3 number 9): host and path, and a scheme
/// that is not weaker. Behind a proxy that ends TLS the scheme is not known here.
fn is_for(htu: &str, request: &Request<'_>) -> bool {
    let Ok(uri) = htu.parse::<Uri>() else { return false };
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    if !tls && (request.secure || uri.scheme() != Some(&Scheme::HTTP)) {
        return false;
    }
    let (Some(authority), true) = (uri.authority(), uri.query().is_none()) else { return false };
    let port = |port: Option<u16>| port.unwrap_or(if tls { 443 } else { 80 });
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let own = request.head.uri.authority().map(|own| own.as_str()).or(named);
    let own = own.and_then(|own| own.parse::<http::uri::Authority>().ok());
    let same_port = own.is_none_or(|own| port(own.port_u16()) == port(authority.port_u16()));
    let path = uri.path();
    authority.host().eq_ignore_ascii_case(request.host)
        && same_port
        && (path == request.path || path == request.head.uri.path())
}
