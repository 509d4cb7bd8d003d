//! Bodies that are held in memory, within a bound over all requests of the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// How much is held at present, and how much may be.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    used: AtomicUsize,
    limit: AtomicUsize,
}

/// The bound leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// A body, or the part of it that came so far. What it takes is given back when the last of its
/// bytes is dropped, also after [`HeldBody::into_bytes`].
pub(crate) struct HeldBody {
    bytes: Vec<u8>,
    room: Arc<HeldBytes>,
    /// What was taken, which is at least the length.
    taken: usize,
}

impl HeldBytes {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    /// Changes the bound; what is held already stays.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn take(&self, more: usize) -> Result<(), NoRoom> {
        let limit = self.limit.load(Ordering::Relaxed);
        let grown = |used: usize| used.checked_add(more).filter(|used| *used <= limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        taken.map(|_before| ()).map_err(|_before| NoRoom)
    }
}

impl HeldBody {
    pub(crate) fn new(room: &Arc<HeldBytes>) -> Self {
        Self { bytes: Vec::new(), room: Arc::clone(room), taken: 0 }
    }

    /// Takes the room for `length` bytes at once.
    ///
    /// # Errors
    /// There is not so much.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<(), NoRoom> {
        let more = length.saturating_sub(self.taken);
        self.room.take(more)?;
        self.taken += more;
        Ok(())
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// There is no room for it; nothing was added.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        self.reserve(self.bytes.len() + piece.len())?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Forgets the bytes, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The same bytes, to send on.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.bytes.is_empty() { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

impl fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back_with_the_last_byte() {
        let room = Arc::new(HeldBytes::new(10));
        let mut first = HeldBody::new(&room);
        first.push(b"123456").unwrap();
        let mut second = HeldBody::new(&room);
        assert_eq!(second.push(b"12345"), Err(NoRoom));
        second.push(b"1234").unwrap();
        let bytes = first.into_bytes();
        let slice = bytes.slice(..1);
        drop(bytes);
        assert_eq!(second.push(b"5"), Err(NoRoom));
        drop(slice);
        second.push(b"5").unwrap();
        drop(second);
        assert_eq!(room.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn room_is_taken_ahead_once() {
        let room = Arc::new(HeldBytes::new(4));
        let mut body = HeldBody::new(&room);
        body.reserve(4).unwrap();
        body.push(b"1234").unwrap();
        assert_eq!(HeldBody::new(&room).reserve(1), Err(NoRoom));
        room.set_limit(5);
        HeldBody::new(&room).reserve(1).unwrap();
    }
}
