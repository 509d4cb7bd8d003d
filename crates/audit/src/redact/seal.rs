//! Sealed values: AES-256-GCM under a subject's key, as a small object in the record.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The name of the algorithm in a sealed value (RFC 7518 §5.3).
const ALGORITHM: &str = "A256GCM";

/// Why a value cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed under another key, or for another subject or field, or changed since.
    #[error("the value was not sealed with this key for this subject and field")]
    Different,
    /// The system gives no random numbers, or the key is none.
    #[error("cannot encrypt")]
    Encrypt,
    /// It is no sealed value.
    #[error("this is no sealed value")]
    Shape,
}

/// A key that seals, with the name that sealed values call it by.
pub(super) struct Sealer {
    id: String,
    key: LessSafeKey,
}

impl Sealer {
    pub(super) fn new(id: &[u8], key: &[u8]) -> Result<Self, SealError> {
        let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_error| SealError::Encrypt)?;
        let mut text = String::new();
        push_hex(&mut text, id);
        Ok(Self { id: text, key: LessSafeKey::new(unbound) })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Seals a value for one field of one subject; elsewhere it does not open.
    pub(super) fn seal(
        &self,
        subject: &str,
        field: &str,
        value: &Value,
    ) -> Result<Value, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_error| SealError::Encrypt)?;
        let mut data = value.to_string().into_bytes();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(place(subject, field)), &mut data)
            .map_err(|_error| SealError::Encrypt)?;
        Ok(json!({
            "sealed": ALGORITHM,
            "key": self.id,
            "nonce": STANDARD.encode(nonce),
            "data": STANDARD.encode(data),
        }))
    }

    /// Opens what [`Self::seal`] made.
    pub(super) fn open(
        &self,
        subject: &str,
        field: &str,
        sealed: &Value,
    ) -> Result<Value, SealError> {
        if !is_sealed(sealed) {
            return Err(SealError::Shape);
        }
        let bytes = |name: &str| {
            let text = sealed.get(name).and_then(Value::as_str).ok_or(SealError::Shape)?;
            STANDARD.decode(text).map_err(|_error| SealError::Shape)
        };
        let nonce = Nonce::try_assume_unique_for_key(&bytes("nonce")?)
            .map_err(|_error| SealError::Shape)?;
        let mut data = bytes("data")?;
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(place(subject, field)), &mut data)
            .map_err(|_error| SealError::Different)?;
        serde_json::from_slice(opened).map_err(|_error| SealError::Shape)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.id)
    }
}

/// Whether a value of a record is a sealed one.
#[must_use]
pub fn is_sealed(value: &Value) -> bool {
    value.get("sealed").and_then(Value::as_str) == Some(ALGORITHM)
}

fn place(subject: &str, field: &str) -> Vec<u8> {
    ["tidegate audit 1", subject, field].join("\0").into_bytes()
}

/// Appends bytes as hexadecimal digits.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
}
