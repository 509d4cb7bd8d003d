//! Keyed hashes, so that nobody outside can aim at a place in a table, and the numbers that stand
//! for chance. The same seed gives the same, which lets a simulation replay.

use std::hash::{Hash, Hasher};

/// The secret of a policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret(u64, u64);

impl Secret {
    pub(super) fn new(seed: u64) -> Self {
        Self(mixed(seed), mixed(seed ^ 0x5bf0_3635_dcf2_9a4b))
    }

    /// The hash of a value of this kind; those of different kinds have nothing in common.
    pub(super) fn hash(self, kind: u8, value: &(impl Hash + ?Sized)) -> u64 {
        let mut hasher = keyed(self.0, self.1);
        hasher.write_u8(kind);
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// A number from -1 to 1 that depends on nothing that somebody outside knows.
    pub(super) fn chance(self, of: u64) -> f64 {
        let bits = u32::try_from(self.hash(CHANCE, &of) >> 32).unwrap_or(0);
        f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

const CHANCE: u8 = 255;

#[expect(deprecated, reason = "of std's hashers the one whose key can be given: SipHash-2-4")]
fn keyed(first: u64, second: u64) -> impl Hasher {
    std::hash::SipHasher::new_with_keys(first, second)
}

/// Spreads a seed over 64 bits (the finaliser of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_and_the_kind_decide() {
        let (one, other) = (Secret::new(1), Secret::new(2));
        assert_eq!(one.hash(0, "x"), Secret::new(1).hash(0, "x"));
        assert_ne!(one.hash(0, "x"), other.hash(0, "x"));
        assert_ne!(one.hash(0, "x"), one.hash(1, "x"));
        let chances: Vec<f64> = (0..1_000).map(|n| one.chance(n)).collect();
        assert!(chances.iter().all(|chance| (-1.0..=1.0).contains(chance)));
        assert!(chances.iter().sum::<f64>().abs() < 60.0, "{}", chances.iter().sum::<f64>());
    }
}
