//! The form of the write-ahead log: segments of frames, a frame per group of records.
//!
//! ```text
//! segment  "TGWAL" 0 0 1, then frames without a gap
//! frame    length of the payload u32 · records u32 · index of the first u64 · digest · payload
//! payload  the records as a bundle has them: length u16, bytes
//! ```
//!
//! Numbers are big-endian. The digest is SHA-256 over the index with which the segment begins, the
//! frame's place in it, the three numbers and the payload: no frame is taken for one that stood
//! elsewhere. It does not depend on other frames, so that what stands behind a damaged frame is
//! still recognised, and damage is told from a torn end.

use aws_lc_rs::digest::{Context, SHA256};

use crate::bundle;

/// How a segment begins; the last byte is the format's version.
pub(crate) const MAGIC: &[u8; 8] = b"TGWAL\0\0\x01";

const DIGEST: usize = 32;
pub(crate) const HEADER: usize = 4 + 4 + 8 + DIGEST;

/// Where a frame stands: the index with which its segment begins, and its offset in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: usize,
}

/// A group of records as it stands in a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    first: u64,
    count: u32,
}

impl Frame {
    /// An empty one, with room for a payload of so many bytes.
    pub(crate) fn with_capacity(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + payload);
        bytes.resize(HEADER, 0);
        Self { bytes, first: 0, count: 0 }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &[u8]) -> Result<(), bundle::BundleError> {
        bundle::push(&mut self.bytes, record)?;
        self.count += 1;
        Ok(())
    }

    /// Gives the frame its place; nothing is added any more.
    pub(crate) fn seal(&mut self, first: u64, place: Place) {
        self.first = first;
        let length = u32::try_from(self.payload().len()).unwrap_or(u32::MAX);
        let Some((header, payload)) = self.bytes.split_first_chunk_mut::<HEADER>() else { return };
        let numbers = numbers(length, self.count, first);
        header.copy_from_slice(&[&numbers, digest(place, &numbers, payload).as_slice()].concat());
    }

    /// The records, as a bundle.
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The whole of it, as it is written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The index of the first record.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// How many records.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// The index after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// A frame that was found whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    /// The index of its first record.
    pub(crate) first: u64,
    /// The index after its last.
    pub(crate) end: u64,
    /// Its records, as a bundle.
    pub(crate) payload: &'a [u8],
}

/// The frame that begins at `place` in a segment's bytes, when a whole one does.
pub(crate) fn read(segment: &[u8], place: Place) -> Option<Found<'_>> {
    let (header, rest) = segment.get(place.offset..)?.split_first_chunk::<HEADER>()?;
    let (numbers, expected) = header.split_at_checked(HEADER - DIGEST)?;
    let (length, more) = numbers.split_first_chunk()?;
    let (count, first) = more.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let count = u32::from_be_bytes(*count);
    let first = u64::from_be_bytes(first.try_into().ok()?);
    // Cheap first: this is tried at every byte behind a damaged frame.
    let sound = count > 0 && first >= place.segment && length / 2 >= usize::try_from(count).ok()?;
    let payload = rest.get(..length).filter(|_| sound)?;
    let whole = digest(place, numbers, payload) == expected;
    whole.then_some(Found { first, end: first.checked_add(u64::from(count))?, payload })
}

fn numbers(length: u32, count: u32, first: u64) -> [u8; HEADER - DIGEST] {
    let value = u128::from(length) << 96 | u128::from(count) << 64 | u128::from(first);
    value.to_be_bytes()
}

fn digest(place: Place, numbers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(&place.segment.to_be_bytes());
    context.update(&u64::try_from(place.offset).unwrap_or(u64::MAX).to_be_bytes());
    context.update(numbers);
    context.update(payload);
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(place: Place) -> Frame {
        let mut frame = Frame::with_capacity(16);
        frame.push(b"one").unwrap();
        frame.push(b"").unwrap();
        frame.seal(7, place);
        frame
    }

    #[test]
    fn a_frame_is_read_only_where_it_was_written_and_only_whole() {
        let place = Place { segment: 5, offset: 3 };
        let mut segment = b"...".to_vec();
        segment.extend_from_slice(frame(place).as_bytes());
        let found = read(&segment, place).unwrap();
        assert_eq!((found.first, found.end, found.payload), (7, 9, b"\0\x03one\0\0".as_slice()));
        assert!(read(&segment, Place { segment: 4, ..place }).is_none());
        for end in 3..segment.len() {
            assert!(read(&segment[..end], place).is_none(), "cut at {end}");
        }
        for byte in 3..segment.len() {
            let mut flipped = segment.clone();
            flipped[byte] ^= 1;
            assert!(read(&flipped, place).is_none(), "flipped at {byte}");
        }
        let moved = [b".", segment.as_slice()].concat();
        assert!(read(&moved, Place { offset: 4, ..place }).is_none());
    }
}
