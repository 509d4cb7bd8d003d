//! The hash that networks are found by: a multiplication or two under a secret. Attackers choose
//! addresses that get banned, and must not choose where they land.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// Two secret numbers.
#[derive(Clone, Copy)]
pub(super) struct Secret(u64, u64);

impl Default for Secret {
    fn default() -> Self {
        let random = RandomState::new();
        // An even factor would lose bits.
        Self(random.hash_one(0), random.hash_one(1) | 1)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Secret {
    /// The hash of a number of 64 bits.
    pub(super) fn hash(self, number: u64) -> u64 {
        self.fold(self.0, number)
    }

    /// The hash of two such numbers.
    pub(super) fn hash_pair(self, first: u64, second: u64) -> u64 {
        self.fold(self.fold(self.0, first), second)
    }

    /// Multiplies to twice the width and folds the halves.
    fn fold(self, state: u64, number: u64) -> u64 {
        let [low, high] = halves(u128::from(state ^ number) * u128::from(self.1));
        low ^ high
    }
}

/// The lower and the upper one.
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
pub(super) const fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}
