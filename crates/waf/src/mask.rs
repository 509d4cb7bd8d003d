//! [`ByteMask`]: which of the 256 byte values occur in a value. Most questions that a rule asks of
//! a benign value are answered by it alone.

use std::fmt;

/// A set of byte values.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct ByteMask([u64; 4]);

impl ByteMask {
    pub(crate) const EMPTY: Self = Self([0; 4]);

    /// The bytes that occur in `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut mask = Self::EMPTY;
        for &byte in bytes {
            mask.insert(byte);
        }
        mask
    }

    /// All bytes of the inclusive range.
    pub(crate) fn range(first: u8, last: u8) -> Self {
        let mut mask = Self::EMPTY;
        for byte in first..=last {
            mask.insert(byte);
        }
        mask
    }

    #[inline]
    pub(crate) fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    #[inline]
    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
    }

    #[inline]
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |any, (a, b)| any | (a & b)) != 0
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut union = *self;
        union.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
        union
    }

    /// How many byte values are in the set.
    pub(crate) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether a byte from `first` to 0xff occurs.
    pub(crate) fn has_high_bytes(&self) -> bool {
        let [_, _, c, d] = self.0;
        c | d != 0
    }
}

impl fmt::Debug for ByteMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = (0..=u8::MAX).filter(|byte| self.contains(*byte)).collect();
        write!(f, "ByteMask(\"{}\")", bytes.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_knows_which_bytes_occur() {
        let mask = ByteMask::of(b"a\x00\xff?");
        for byte in 0..=u8::MAX {
            assert_eq!(mask.contains(byte), b"a\x00\xff?".contains(&byte), "{byte}");
        }
        assert_eq!(mask.len(), 4);
        assert!(mask.intersects(&ByteMask::range(b'a', b'z')));
        assert!(!mask.intersects(&ByteMask::range(b'b', b'z')));
        assert!(mask.has_high_bytes());
        assert!(!ByteMask::range(0, 0x7f).has_high_bytes());
    }
}
