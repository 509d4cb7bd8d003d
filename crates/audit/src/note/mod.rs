//! Signed notes: a text, a blank line, and lines of signatures (C2SP signed-note). What the text
//! says is not looked at here; of the kinds of signatures those made with Ed25519 are verified,
//! others are carried.

mod key;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

pub use key::{Algorithm, KeyError, SigningKey, VerifyingKey};

/// The longest note that is read, in bytes.
pub const MAX_NOTE: usize = 64 * 1024;

/// Most signatures that are read; signed-note asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

const MARK: &str = "\u{2014} ";

/// A text with its signatures. That it was parsed says nothing about who signed it:
/// see [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// The notes in a file to which they were appended one after another, each with an empty line
/// behind it, as an anchor does. Their texts have no empty lines, as those of checkpoints.
#[must_use]
pub fn appended(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(bytes) else { return vec![bytes.to_owned()] };
    let parts: Vec<_> = text.trim_end_matches('\n').split("\n\n").collect();
    let notes = parts.chunks(2).map(|note| format!("{}\n", note.join("\n\n")).into_bytes());
    notes.collect()
}

/// A line of a note: who says to have signed, with which key, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// The first bytes of a hash over name and key: tells keys of one name apart.
    pub key_id: [u8; 4],
    /// The signature; its form is the algorithm's.
    pub bytes: Vec<u8>,
}

/// Why a note was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Not UTF-8, or with control characters.
    #[error("it is not a text")]
    NotText,
    /// Larger than any note of ours.
    #[error("it is longer than {MAX_NOTE} bytes or has more than {MAX_SIGNATURES} signatures")]
    TooLarge,
    /// No blank line between text and signatures, or none of either.
    #[error("it is not a text, a blank line and signatures")]
    Shape,
    /// A line that has to be a signature is none.
    #[error("line {0} of the signatures is none")]
    SignatureLine(usize),
    /// The key asked for did not sign it.
    #[error("no signature by the key")]
    NotSigned,
    /// The key asked for is named, and its signature is false.
    #[error("the signature by the key is false")]
    BadSignature,
}

impl Note {
    /// A note nobody has signed yet. The text has to be of whole lines.
    ///
    /// # Errors
    /// When it is no text for a note.
    pub fn new(text: String) -> Result<Self, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Shape);
        }
        check_text(&text)?;
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// When it is none, or too large; nothing is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(bytes).map_err(|_not_utf8| NoteError::NotText)?;
        check_text(note)?;
        let split = note.rfind("\n\n").ok_or(NoteError::Shape)?;
        let (text, rest) = note.split_at_checked(split + 1).ok_or(NoteError::Shape)?;
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(NoteError::Shape)?;
        let mut signatures = Vec::new();
        for (number, line) in lines.split('\n').enumerate() {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooLarge);
            }
            let signature = Signature::parse(line).ok_or(NoteError::SignatureLine(number + 1))?;
            signatures.push(signature);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What is signed: whole lines, with the last line's end.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature, made by whoever.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.push(signature);
    }

    /// Signs the text.
    pub fn sign(&mut self, key: &SigningKey) {
        let bytes = key.sign(self.text.as_bytes());
        let (name, key_id) = (key.name().to_owned(), key.verifying_key().id());
        self.add(Signature { name, key_id, bytes });
    }

    /// That the holder of `key` signed this text.
    ///
    /// # Errors
    /// When there is no signature by the key, or a false one.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), NoteError> {
        let mut found = Err(NoteError::NotSigned);
        for signature in self.signatures_by(key) {
            if !key.verifies_note(&self.text, &signature.bytes) {
                return Err(NoteError::BadSignature);
            }
            found = Ok(());
        }
        found
    }

    /// The lines that say to be signed by `key`.
    pub fn signatures_by(&self, key: &VerifyingKey) -> impl Iterator<Item = &Signature> {
        self.signatures.iter().filter(|s| s.name == key.name() && s.key_id == key.id())
    }
}

/// The form in which it is stored and sent.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl Signature {
    /// Reads a line, without its end.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(MARK)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (key_id, bytes) = decoded.split_first_chunk()?;
        let sound = key::is_name(name) && !bytes.is_empty();
        sound.then(|| Self { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_owned() })
    }
}

/// The line, without its end.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(f, "{MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let plain = text.bytes().all(|byte| byte >= b' ' || byte == b'\n');
    if plain { Ok(()) } else { Err(NoteError::NotText) }
}

#[cfg(test)]
mod tests;
