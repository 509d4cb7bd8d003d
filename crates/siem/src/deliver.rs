//! What a sink does with a batch, and the words for how that went.

use std::time::Duration;

use async_trait::async_trait;

use crate::record::Record;

/// Sends records somewhere. One task owns it and calls it again and again; it may keep a
/// connection. A call may be given up at any time, and the same records come again.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Sends a batch of at least one record, and returns when the receiver has taken it, as far as
    /// its protocol says so.
    ///
    /// # Errors
    /// Nothing is known to have been taken.
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError>;

    /// Opens files anew, after a rotation by others.
    fn reopen(&mut self) {}
}

/// What became of a batch, as far as not all of it was taken: positions in the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// To be sent again.
    pub again: Vec<usize>,
    /// Never taken, whatever is tried.
    pub refused: Vec<usize>,
    /// Why not all was taken, for the log.
    pub why: Option<String>,
}

impl Delivered {
    /// The receiver took all.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeliverError {
    /// One sentence, without secrets.
    pub message: String,
    /// What to do.
    pub then: Then,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Send the same again, at the earliest after the time that the receiver names.
    Again(Option<Duration>),
    /// Nothing: the protocol forbids to send the same again. The records are dropped.
    GiveUp,
    /// Something in the batch is not acceptable: send its halves; a record that is refused alone
    /// is dropped.
    Split,
}

impl DeliverError {
    /// A failure that may be over the next time.
    #[must_use]
    pub fn again(message: impl Into<String>) -> Self {
        Self { message: message.into(), then: Then::Again(None) }
    }

    /// A failure after which the protocol forbids to try again.
    #[must_use]
    pub fn give_up(message: impl Into<String>) -> Self {
        Self { message: message.into(), then: Then::GiveUp }
    }

    /// A failure that is the records' own.
    #[must_use]
    pub fn split(message: impl Into<String>) -> Self {
        Self { message: message.into(), then: Then::Split }
    }
}
