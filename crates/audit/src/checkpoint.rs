//! Checkpoints: what a log says of itself, signed (C2SP tlog-checkpoint): its name, its size and
//! the hash over all its entries.

use std::fmt;

use thiserror::Error;

use crate::hash::Hash;
use crate::note::{Note, NoteError, SigningKey, VerifyingKey};
use crate::tile::decimal;

/// A log at a size. Whether the log ever said so is another question: see [`Signed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: the first line.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The hash over them.
    pub root: Hash,
}

/// A checkpoint whose signature by the log was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why a checkpoint was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not a note, or not signed by the log's key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note of something else.
    #[error("it is not the name, the size and the root of a log")]
    Shape,
    /// Signed by the key, for another log.
    #[error("it is of the log {found}, not of {expected}")]
    Origin {
        /// The log whose key was given.
        expected: String,
        /// The log that it names.
        found: String,
    },
}

impl Checkpoint {
    /// Signs it; the key's name has to be the origin, as [`Signed::open`] will ask for it.
    ///
    /// # Errors
    /// When the origin is no line, or not the key's name.
    pub fn sign(self, key: &SigningKey) -> Result<Signed, CheckpointError> {
        self.check_origin(key.verifying_key())?;
        let mut note = Note::new(self.to_string())?;
        note.sign(key);
        Ok(Signed { checkpoint: self, note })
    }

    /// Reads the text of a note. Lines after the third (extensions) are let through unread, as
    /// the specification asks.
    ///
    /// # Errors
    /// [`CheckpointError::Shape`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        Self::from_lines(text).ok_or(CheckpointError::Shape)
    }

    fn from_lines(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty())?.to_owned();
        let size = decimal(lines.next()?)?;
        let root = Hash::from_base64(lines.next()?)?;
        let sound = lines.all(|extension| !extension.is_empty())
            && (size > 0 || root == Hash::of_empty_tree());
        sound.then_some(Self { origin, size, root })
    }

    fn check_origin(&self, key: &VerifyingKey) -> Result<(), CheckpointError> {
        if self.origin == key.name() {
            return Ok(());
        }
        let (expected, found) = (key.name().to_owned(), self.origin.clone());
        Err(CheckpointError::Origin { expected, found })
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

impl Signed {
    /// Reads a checkpoint and verifies that it is the log's whose key is given.
    ///
    /// # Errors
    /// When it is none, not signed by the key, or of another log.
    pub fn open(bytes: &[u8], key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        note.verify(key)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        checkpoint.check_origin(key)?;
        Ok(Self { checkpoint, note })
    }

    /// What was signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all its signatures: those of witnesses too.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Adds a witness's signature; verify it first, with [`Note::verify`].
    pub fn add(&mut self, cosignature: crate::note::Signature) {
        self.note.add(cosignature);
    }
}

/// The form in which it is stored and sent.
impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SigningKey {
        SigningKey::from_seed(name, [3; 32]).unwrap()
    }

    fn checkpoint(origin: &str) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size: 3, root: Hash::of_leaf(b"x") }
    }

    #[test]
    fn what_the_log_signed_opens() {
        let signed = checkpoint("edge/audit").sign(&key("edge/audit")).unwrap();
        let text = signed.to_string();
        let opened = Signed::open(text.as_bytes(), key("edge/audit").verifying_key()).unwrap();
        assert_eq!(opened, signed);
        assert_eq!(opened.checkpoint().size, 3);
    }

    #[test]
    fn a_checkpoint_of_another_log_does_not() {
        let key = key("edge/audit");
        assert!(matches!(checkpoint("other").sign(&key), Err(CheckpointError::Origin { .. })));
        let mut note = Note::new(checkpoint("other").to_string()).unwrap();
        note.sign(&key);
        let opened = Signed::open(note.to_string().as_bytes(), key.verifying_key());
        assert!(matches!(opened, Err(CheckpointError::Origin { .. })), "{opened:?}");
    }

    #[track_caller]
    fn check(text: &str, size: Option<u64>) {
        assert_eq!(Checkpoint::parse(text).ok().map(|c| c.size), size, "{text:?}");
    }

    #[test]
    fn the_text_is_read_strictly() {
        let root = Hash::of_leaf(b"x").to_string();
        let empty = Hash::of_empty_tree().to_string();
        check(&format!("a\n7\n{root}\n"), Some(7));
        check(&format!("a\n7\n{root}\nextension\n"), Some(7));
        check(&format!("a\n0\n{empty}\n"), Some(0));
        check(&format!("a\n0\n{root}\n"), None);
        check(&format!("a\n7\n{root}"), None);
        check(&format!("a\n7\n{root}\n\n"), None);
        check(&format!("a\n07\n{root}\n"), None);
        check(&format!("a\n+7\n{root}\n"), None);
        check(&format!("a\n\n{root}\n"), None);
        check(&format!("a\n18446744073709551616\n{root}\n"), None);
        check(&format!("\n7\n{root}\n"), None);
        check("a\n7\nAAAA\n", None);
        check("a\n7\n", None);
        check("", None);
    }
}
