//! Receipts: files that prove something about a log to somebody who has only its public key.
//!
//! An inclusion receipt is a `c2sp.org/tlog-proof@v1`, in which the entry itself stands as the
//! extra data; a consistency receipt is the body that C2SP tlog-witness sends to a witness.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{CheckpointError, Signed};
use crate::hash::Hash;
use crate::note::{MAX_NOTE, VerifyingKey};
use crate::tile::decimal;
use crate::tree::{ProofError, verify_consistency, verify_inclusion};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof: a tree of 2^63 entries has no longer one.
const MAX_PROOF: usize = 63;

/// The longest receipt that is read, in bytes: a note, an entry in base64 and the proof.
pub const MAX_RECEIPT: usize = MAX_NOTE + 128 * 1024;

/// That an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The entry; a receipt from elsewhere may have something else here, or nothing.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The hashes beside the way from the entry to the root.
    pub proof: Vec<Hash>,
    /// The log's checkpoint, as it was.
    pub checkpoint: String,
}

/// That a log at a checkpoint begins with the log at an earlier size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// The earlier size.
    pub old: u64,
    /// The hashes that lead from the earlier root to the later one.
    pub proof: Vec<Hash>,
    /// The later checkpoint, as it was.
    pub checkpoint: String,
}

/// Why a receipt was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// Not in the form of one.
    #[error("it is no receipt: {0}")]
    Shape(&'static str),
    /// The checkpoint is not the log's.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof proves something else.
    #[error("its proof: {0}")]
    Proof(#[from] ProofError),
    /// The earlier checkpoint is of another size than the receipt's.
    #[error("it is for the log at {receipt} entries, and the earlier checkpoint has {given}")]
    Size {
        /// The receipt's earlier size.
        receipt: u64,
        /// The size of the checkpoint given.
        given: u64,
    },
}

impl Inclusion {
    /// Reads one; nothing is verified.
    ///
    /// # Errors
    /// [`ReceiptError::Shape`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let (lines, checkpoint) = split(bytes)?;
        let mut lines = lines.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ReceiptError::Shape("another first line"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.and_then(|line| line.strip_prefix("extra "));
        let extra = extra.map(|text| STANDARD.decode(text)).transpose();
        let extra = extra.map_err(|_no_base64| ReceiptError::Shape("extra data not in base64"))?;
        let index = lines.next().and_then(|line| decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(ReceiptError::Shape("no index"))?;
        Ok(Self { extra, index, proof: hashes(lines)?, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies that `entry` was logged by the log whose key is given, and returns the checkpoint
    /// that says so; its cosignatures are the caller's to ask for.
    ///
    /// # Errors
    /// When the receipt does not prove it.
    pub fn verify(&self, entry: &[u8], key: &VerifyingKey) -> Result<Signed, ReceiptError> {
        let signed = Signed::open(self.checkpoint.as_bytes(), key)?;
        let tree = (signed.checkpoint().size, signed.checkpoint().root);
        verify_inclusion(Hash::of_leaf(entry), self.index, tree, &self.proof)?;
        Ok(signed)
    }
}

/// The file's form.
impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl Consistency {
    /// Reads one; nothing is verified.
    ///
    /// # Errors
    /// [`ReceiptError::Shape`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let (lines, checkpoint) = split(bytes)?;
        let mut lines = lines.split('\n');
        let old = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?));
        let old = old.ok_or(ReceiptError::Shape("no earlier size"))?;
        Ok(Self { old, proof: hashes(lines)?, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies that the log only appended since the checkpoint `earlier`, and returns the later
    /// one.
    ///
    /// # Errors
    /// When the receipt does not prove it.
    pub fn verify(&self, earlier: &Signed, key: &VerifyingKey) -> Result<Signed, ReceiptError> {
        let signed = Signed::open(self.checkpoint.as_bytes(), key)?;
        let (old, new) = (earlier.checkpoint(), signed.checkpoint());
        if old.size != self.old {
            return Err(ReceiptError::Size { receipt: self.old, given: old.size });
        }
        verify_consistency((old.size, old.root), (new.size, new.root), &self.proof)?;
        Ok(signed)
    }
}

/// The file's form, and the body of a witness's `add-checkpoint`.
impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// What stands before the first blank line, and what after.
fn split(bytes: &[u8]) -> Result<(&str, &str), ReceiptError> {
    if bytes.len() > MAX_RECEIPT {
        return Err(ReceiptError::Shape("too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_no_utf8| ReceiptError::Shape("no text"))?;
    text.split_once("\n\n").ok_or(ReceiptError::Shape("no blank line"))
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, ReceiptError> {
    let mut proof = Vec::new();
    for line in lines {
        if proof.len() == MAX_PROOF {
            return Err(ReceiptError::Shape("a proof longer than any"));
        }
        proof.push(Hash::from_base64(line).ok_or(ReceiptError::Shape("a line that is no hash"))?);
    }
    Ok(proof)
}

#[cfg(test)]
mod tests;
