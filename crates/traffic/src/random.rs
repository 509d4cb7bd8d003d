//! Pseudo-random numbers for choices that need no secrecy: balancing and jitter.
//!
//! Decisions take their number as an argument; [`next`] is where live callers get one.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

/// Spreads the bits of `value` over the whole word: the finaliser of SplitMix64 (Steele, Lea and
/// Flood, 2014). It is a bijection, so that distinct inputs stay distinct.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The increment of SplitMix64: the golden ratio in 64 bits.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next number of this thread's own SplitMix64 sequence, seeded from the system once. It takes
/// no lock and allocates nothing.
#[must_use]
pub fn next() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u64));
    }
    STATE.with(|state| {
        let value = state.get().wrapping_add(GOLDEN);
        state.set(value);
        mix(value)
    })
}

/// A number below `bound` from a random word, without the bias and cost of a division; 0 if
/// `bound` is 0.
#[must_use]
pub fn below(random: u64, bound: usize) -> usize {
    let scaled = (u128::from(random) * bound as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

/// A number from 0 to 1, exclusive, from a random word.
#[must_use]
pub fn unit(random: u64) -> f64 {
    let bits = u32::try_from(random >> 32).unwrap_or_default();
    f64::from(bits) / 4_294_967_296.0
}

/// Hashes a balancing key. The result is the same in every process and on every machine, so that a
/// fleet of proxies agrees where a key goes; it is not made to resist collisions on purpose.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = GOLDEN ^ (bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0_u8; 8];
        for (slot, byte) in word.iter_mut().zip(chunk) {
            *slot = *byte;
        }
        hash = mix(hash.wrapping_add(GOLDEN) ^ u64::from_le_bytes(word));
    }
    mix(hash)
}

/// Sixteen octets, those of IPv4 addresses mapped (RFC 4291 §2.5.5.2).
pub(crate) fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The hash of an endpoint's address, the same in every process.
pub(crate) fn hash_address(address: SocketAddr) -> u64 {
    mix(hash_bytes(&octets(address.ip())) ^ u64::from(address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_cover_it() {
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[below(next(), 7)] += 1;
        }
        assert!(seen.iter().all(|count| (700..1300).contains(count)), "{seen:?}");
        assert_eq!(below(u64::MAX, 0), 0);
        assert_eq!(below(u64::MAX, 7), 6);
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        assert_eq!(hash_bytes(b""), hash_bytes(b""));
        assert_ne!(hash_bytes(b"a"), hash_bytes(b"a\0"));
        assert_ne!(hash_bytes(b"12345678"), hash_bytes(b"123456789"));
    }
}
