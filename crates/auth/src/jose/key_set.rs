//! A set of public keys (RFC 7517 §5), as issuers publish them.

use rustc_hash::FxHashSet;

use super::key::Thumbprint;
use super::{Algorithm, Header, Key, KeyError};
use crate::json::{self, Json, Object};

/// More keys than anybody publishes.
const MAX_KEYS: usize = 256;

/// The keys of an issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    thumbprints: FxHashSet<Thumbprint>,
    passed_over: Vec<KeyError>,
}

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// No strict JSON object.
    #[error("not a key set: {0}")]
    Json(#[from] serde_json::Error),
    /// `keys` is missing or no list of objects.
    #[error("not a key set: `keys` is no list of objects")]
    Keys,
    /// Too many keys.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// None of the keys can be used; why not the first, if there is one.
    #[error("no usable key{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NoneUsable(Option<KeyError>),
    /// The set holds a private key: whoever can read it can make tokens.
    #[error("a private or symmetric key stands in the key set")]
    Private,
}

impl KeySet {
    /// Reads a JWK set. Keys that are for something else are passed over (RFC 7517 §5).
    ///
    /// # Errors
    /// It is none, none of its keys can be used, or one of them should not be there.
    pub fn read(bytes: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetError> {
        let set = json::object(bytes)?;
        let Some(Json::List(items)) = set.member("keys") else { return Err(KeySetError::Keys) };
        if items.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let jwks: Option<Vec<&Object>> = items.iter().map(Json::as_object).collect();
        let mut read = Self::default();
        for jwk in jwks.ok_or(KeySetError::Keys)? {
            match Key::from_jwk(jwk, allowed) {
                Ok(key) => {
                    read.thumbprints.insert(*key.thumbprint());
                    read.keys.push(key);
                }
                Err(KeyError::Private) => return Err(KeySetError::Private),
                Err(error) => read.passed_over.push(error),
            }
        }
        if read.keys.is_empty() {
            return Err(KeySetError::NoneUsable(read.passed_over.pop()));
        }
        Ok(read)
    }

    /// The keys that a token's header may mean: those with its `kid`, or all if it names none,
    /// that are for its algorithm.
    pub fn candidates<'k>(&'k self, header: &'k Header) -> impl Iterator<Item = &'k Key> {
        let named = |key: &&Key| header.key_id.is_none() || key.id() == header.key_id.as_deref();
        self.keys.iter().filter(named).filter(|key| key.is_for(header.algorithm))
    }

    /// Whether a key is in it.
    #[must_use]
    pub fn contains(&self, thumbprint: &Thumbprint) -> bool {
        self.thumbprints.contains(thumbprint)
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why further keys cannot be used.
    #[must_use]
    pub fn passed_over(&self) -> &[KeyError] {
        &self.passed_over
    }
}
