//! A consistent hash ring (Karger et al. 1997, in the manner of ketama): each endpoint owns many
//! points on a circle of 32-bit hashes, and a key belongs to the next point clockwise.
//!
//! Points depend on the endpoint's address only, so that keys move only from or to endpoints that
//! leave or join, and all proxies of a fleet agree. A directory over the hashes' leading bits makes
//! a lookup constant on average, whatever the size of the ring.

use super::{Algorithm, Balancer, Candidates, Choice, WEIGHT_ONE};
use crate::random::{GOLDEN, hash_address, mix};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "hash",
    summary: "The same key goes to the same endpoint, as long as that is available.",
    build: |candidates| Box::new(Ring::new(candidates)),
};

/// Points of an endpoint of weight 1. The load of endpoints then differs by about 1/√160 = 8 %.
const POINTS: u64 = 160;
/// More points than this are thinned out by halves, which moves keys only when it happens.
const MAX_POINTS: u64 = 1 << 19;
/// How far a pick walks clockwise past points of endpoints that it may not choose.
const MAX_STEPS: usize = 1_024;

#[derive(Debug)]
struct Ring {
    /// In ascending order of their hashes.
    points: Box<[Point]>,
    /// For each value of the leading bits: the first point at or above it.
    directory: Box<[u32]>,
    /// 32 less the number of leading bits.
    shift: u32,
}

/// Eight bytes, so that the ring of a large pool stays in the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u32,
    index: u32,
}

impl Ring {
    fn new(candidates: &Candidates<'_>) -> Self {
        let points = |weight: u32| u64::from(weight) * POINTS / u64::from(WEIGHT_ONE);
        let total = candidates.weights.iter().map(|weight| points(*weight)).sum::<u64>();
        let thinning = (0..63).find(|by| total >> by <= MAX_POINTS).unwrap_or(63);
        let counts = candidates.weights.iter().map(|weight| (points(*weight) >> thinning).max(1));
        let mut points = Vec::new();
        for ((index, endpoint), count) in (0_u32..).zip(candidates.endpoints).zip(counts) {
            let seed = hash_address(endpoint.address());
            points.extend((1..=count).map(|nth| {
                let hash = on_circle(mix(seed.wrapping_add(GOLDEN.wrapping_mul(nth))));
                Point { hash, index }
            }));
        }
        points.sort_unstable();
        let (directory, shift) = directory(&points);
        Self { points: points.into_boxed_slice(), directory, shift }
    }

    /// The place of the first point at or after `hash`, which may be one past the last.
    fn place(&self, hash: u32) -> usize {
        let slot = usize::try_from(hash >> self.shift).unwrap_or(usize::MAX);
        let start = self.directory.get(slot).map_or(0, |start| *start as usize);
        let ahead = self.points.iter().skip(start).take_while(|point| point.hash < hash).count();
        start + ahead
    }
}

impl Balancer for Ring {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        let place = self.place(on_circle(mix(choice.key)));
        let (before, after) = self.points.split_at_checked(place)?;
        after
            .iter()
            .chain(before)
            .take(MAX_STEPS)
            .map(|point| point.index as usize)
            .find(|index| choice.accepts(*index))
    }
}

/// About as many slots as points, so that a slot holds one point on average.
fn directory(points: &[Point]) -> (Box<[u32]>, u32) {
    let bits = points.len().next_power_of_two().trailing_zeros().clamp(1, 20);
    let shift = 32 - bits;
    let mut directory = Vec::with_capacity(1 << bits);
    let mut place = 0_u32;
    let mut rest = points.iter().peekable();
    for slot in 0..1_u32 << bits {
        while rest.next_if(|point| point.hash >> shift < slot).is_some() {
            place += 1;
        }
        directory.push(place);
    }
    (directory.into_boxed_slice(), shift)
}

/// The place of a hash on the circle: its upper half.
fn on_circle(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::algorithms::Balance;
    use crate::algorithms::testing::{choice, endpoints, tally};
    use crate::endpoint::Endpoint;
    use std::sync::Arc;

    fn ring(endpoints: &[Arc<Endpoint>]) -> Ring {
        let weights: Vec<u32> = endpoints.iter().map(|e| e.weight() * WEIGHT_ONE).collect();
        Ring::new(&Candidates { endpoints, weights: &weights, balance: &Balance::RoundRobin })
    }

    fn owners(endpoints: &[Arc<Endpoint>], keys: u64) -> Vec<SocketAddr> {
        let (ring, turns) = (ring(endpoints), AtomicU64::new(0));
        (0..keys)
            .map(|key| {
                let choice = choice(endpoints, &turns, key, 0);
                endpoints[ring.pick(&choice).unwrap()].address()
            })
            .collect()
    }

    #[track_caller]
    fn check_leaving(count: usize) {
        let all = endpoints(&vec![1; count]);
        let mut fewer = all.clone();
        let gone = fewer.swap_remove(count / 2).address();
        let keys = 40_000;
        let (before, after) = (owners(&all, keys), owners(&fewer, keys));
        let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
        let owned = before.iter().filter(|owner| **owner == gone).count();
        assert_eq!(moved, owned, "only the keys of the one that left move");
        let share = 40_000.0 / f64::from(u32::try_from(count).unwrap());
        assert!(f64::from(u32::try_from(moved).unwrap()) < share * 1.4, "{count}: {moved}");
    }

    #[test]
    fn keys_move_only_from_the_endpoint_that_leaves() {
        check_leaving(2);
        check_leaving(3);
        check_leaving(10);
        check_leaving(100);
    }

    #[test]
    fn shares_follow_the_weights() {
        let endpoints = endpoints(&[1, 2, 5]);
        let counts = tally(&ring(&endpoints), &endpoints, 80_000);
        for (count, wanted) in counts.iter().zip([10_000_u32, 20_000, 50_000]) {
            assert!(count.abs_diff(wanted) < wanted / 5, "{counts:?}");
        }
    }

    #[test]
    fn a_lookup_finds_the_next_point_clockwise() {
        let ring = ring(&endpoints(&[1; 50]));
        for key in 0..10_000 {
            let hash = on_circle(mix(key));
            assert_eq!(ring.place(hash), ring.points.partition_point(|point| point.hash < hash));
        }
        assert_eq!(ring.place(0), 0);
        assert_eq!(ring.place(u32::MAX), ring.points.len());
    }

    #[test]
    fn an_unavailable_owner_hands_its_keys_to_the_next() {
        let all = endpoints(&[1; 10]);
        let (ring, turns) = (ring(&all), AtomicU64::new(0));
        let mut heirs = std::collections::BTreeSet::new();
        for key in 0..2_000 {
            let tried = [all[3].address()];
            let choice = choice(&all, &turns, key, 0);
            let owner = ring.pick(&choice).unwrap();
            let heir = ring.pick(&Choice { tried: &tried, ..choice }).unwrap();
            assert!(heir != 3 && (owner == heir || owner == 3));
            if owner == 3 {
                heirs.insert(heir);
            }
        }
        assert!(heirs.len() >= 7, "{heirs:?}");
    }
}
