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
    pub(crate) const fn range(first: u8, last: u8) -> Self {
        let mut mask = Self::EMPTY;
        let mut byte = first;
        while byte < last {
            mask = mask.with(byte);
            byte += 1;
        }
        mask.with(last)
    }

    /// The bytes of a text, for constants.
    pub(crate) const fn text(mut text: &[u8]) -> Self {
        let mut mask = Self::EMPTY;
        while let [byte, rest @ ..] = text {
            mask = mask.with(*byte);
            text = rest;
        }
        mask
    }

    const fn with(self, byte: u8) -> Self {
        let Self([a, b, c, d]) = self;
        let bit = 1 << (byte & 63);
        match byte >> 6 {
            0 => Self([a | bit, b, c, d]),
            1 => Self([a, b | bit, c, d]),
            2 => Self([a, b, c | bit, d]),
            _ => Self([a, b, c, d | bit]),
        }
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

    pub(crate) const fn union(&self, other: &Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a | e, b | f, c | g, d | h])
    }

    /// The bytes in the set, in ascending order.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().zip([0_u8, 64, 128, 192]).flat_map(|(word, base)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(base + (bit & 63) as u8)
            })
        })
    }

    /// The bytes that are not in `other`.
    pub(crate) const fn without(&self, other: &Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a & !e, b & !f, c & !g, d & !h])
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self.0, [0, 0, 0, 0])
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
