//! The keys of notes, in the text forms that Go's `golang.org/x/mod/sumdb/note` reads and writes:
//! `name+id+base64(algorithm ‖ key)`, and `PRIVATE+KEY+` before a signing one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

const PRIVATE: &str = "PRIVATE+KEY+";
const KEY_LEN: usize = 32;

/// What a key signs with, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 over the text (type 0x01): a log's.
    Ed25519,
    /// Ed25519 over a time and the text (type 0x04, C2SP tlog-cosignature): a witness's.
    Cosignature,
}

/// What verifies: public.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    algorithm: Algorithm,
    key: [u8; KEY_LEN],
}

/// What signs: secret. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey {
    seed: [u8; KEY_LEN],
    pair: Arc<Ed25519KeyPair>,
    public: VerifyingKey,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// An empty name, or one with spaces, control characters or `+`.
    #[error("a key's name has at least a character, and no space and no `+`")]
    Name,
    /// Not of three parts between `+`, or not in hexadecimal and base64.
    #[error("it is not `name+id+key`")]
    Shape,
    /// A signing key was expected and a verifying one found.
    #[error("it does not begin with `{PRIVATE}`: a verifying key, perhaps")]
    NotPrivate,
    /// A verifying key was expected and a signing one found.
    #[error("it is a private key; only the log's owner may have it")]
    Private,
    /// The id is not that of name and key.
    #[error("its id is not that of its name and key: mistyped or cut")]
    Id,
    /// The system gave no random bytes.
    #[error("the system has no randomness")]
    Randomness,
    /// Not Ed25519.
    #[error("an algorithm other than Ed25519")]
    Algorithm,
}

impl VerifyingKey {
    /// Puts a key together.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, algorithm: Algorithm, key: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        let named = is_name(name).then(|| name.to_owned());
        Ok(Self { name: named.ok_or(KeyError::Name)?, algorithm, key })
    }

    /// Reads the text form, `name+id+key`.
    ///
    /// # Errors
    /// When it is none, or one of another algorithm.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(PRIVATE) {
            return Err(KeyError::Private);
        }
        let (name, id, algorithm, key) = parts(text)?;
        let parsed = Self::new(name, algorithm, key)?;
        if hex(parsed.id()) == id { Ok(parsed) } else { Err(KeyError::Id) }
    }

    /// The key's name; for a log it is the first line of each checkpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 32 bytes of the key (RFC 8032).
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.key
    }

    /// Tells keys of one name apart: SHA-256(name ‖ 0x0A ‖ type ‖ key), its first four bytes.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        id(&self.name, self.algorithm, &self.key)
    }

    /// Whether `signature` is this key's over exactly `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(message, signature).is_ok()
    }

    /// Whether `signature` is this key's over a note's text, in the form of its algorithm.
    pub(super) fn verifies_note(&self, text: &str, signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => self.verifies(text.as_bytes(), signature),
            Algorithm::Cosignature => crate::cosignature::verify(self, text, signature).is_some(),
        }
    }
}

/// The text form.
impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.name, self.id(), self.algorithm, &self.key))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`KeyError::Name`], or the system has no randomness.
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        let mut seed = [0; KEY_LEN];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_unspecified| KeyError::Randomness)?;
        Self::from_seed(name, seed)
    }

    /// The key that 32 random bytes are.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        Self::with(name, Algorithm::Ed25519, seed)
    }

    /// A witness's key.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn for_cosignatures(name: &str, seed: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        Self::with(name, Algorithm::Cosignature, seed)
    }

    /// Reads the text form, `PRIVATE+KEY+name+id+seed`; space around it, as files have it, is
    /// left out.
    ///
    /// # Errors
    /// When it is none, or one of another algorithm.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().strip_prefix(PRIVATE).ok_or(KeyError::NotPrivate)?;
        let (name, id, algorithm, seed) = parts(text)?;
        let key = Self::with(name, algorithm, seed)?;
        // The id is the public key's: a seed that was mistyped does not fit to it.
        if hex(key.public.id()) == id { Ok(key) } else { Err(KeyError::Id) }
    }

    fn with(name: &str, algorithm: Algorithm, seed: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_rejected| KeyError::Shape)?;
        let mut public = [0; KEY_LEN];
        public.copy_from_slice(pair.public_key().as_ref());
        let public = VerifyingKey::new(name, algorithm, public)?;
        Ok(Self { seed, pair: Arc::new(pair), public })
    }

    /// The key's name; for a log it is the first line of each checkpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        self.public.name()
    }

    /// What the others verify with.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// The 64 bytes of a signature over exactly `message` (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// The text form, with the secret: for the file in which it is kept.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let key = &self.public;
        format!("{PRIVATE}{}", encode(&key.name, key.id(), key.algorithm, &self.seed))
    }
}

/// Only what is public.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public)
    }
}

impl Algorithm {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// Whether a key may have this name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

fn parts(text: &str) -> Result<(&str, &str, Algorithm, [u8; KEY_LEN]), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Shape)?;
    let (id, key) = rest.split_once('+').ok_or(KeyError::Shape)?;
    let key = STANDARD.decode(key).map_err(|_not_base64| KeyError::Shape)?;
    let (&algorithm, key) = key.split_first().ok_or(KeyError::Shape)?;
    let algorithm = match algorithm {
        1 => Algorithm::Ed25519,
        4 => Algorithm::Cosignature,
        _ => return Err(KeyError::Algorithm),
    };
    Ok((name, id, algorithm, key.try_into().map_err(|_length| KeyError::Shape)?))
}

fn encode(name: &str, id: [u8; 4], algorithm: Algorithm, key: &[u8]) -> String {
    let mut bytes = vec![algorithm.byte()];
    bytes.extend_from_slice(key);
    format!("{name}+{}+{}", hex(id), STANDARD.encode(bytes))
}

fn id(name: &str, algorithm: Algorithm, key: &[u8; KEY_LEN]) -> [u8; 4] {
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend_from_slice(&[b'\n', algorithm.byte()]);
    bytes.extend_from_slice(key);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}
