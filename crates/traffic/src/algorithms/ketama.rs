//! A consistent hash ring (Karger et al. 1997) in the manner of ketama: each endpoint owns many
//! points on a circle of 32-bit hashes, and a key belongs to the next point clockwise.
//!
//! Points depend on the endpoint's address only, so that keys move only from or to endpoints that
//! leave or join, and all proxies of a fleet agree. The number of points is ketama's, 160 for
//! weight 1, where their hashes are ours. Load follows weights within 8 %, the standard deviation of so many random
//! points; `maglev` is more even.
//!
//! The points stand in buckets by their leading bits, eight in a bucket on average, so that a
//! lookup reads one bucket whatever the size of the ring.

use super::hash_pick::{Bounds, Indices};
use super::{Algorithm, Balancer, Candidates, Choice, WEIGHT_ONE};
use crate::random::{GOLDEN, hash_address, mix};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "ketama",
    summary: "The same key goes to the same endpoint, as long as that is available. No key moves \
        that need not when endpoints come or go; shares vary by 8 %.",
    build: |candidates| Box::new(Ketama::new(candidates)),
};

/// Points of an endpoint of weight 1.
const POINTS: f64 = 160.0;
/// Larger rings are thinned out evenly.
const MAX_POINTS: f64 = 524_288.0;

#[derive(Debug)]
struct Ketama {
    /// In ascending order.
    hashes: Box<[u32]>,
    /// For each hash: whose point that is.
    owners: Indices,
    /// For each bucket: its first point; then the number of points.
    buckets: Box<[u32]>,
    /// 32 less the number of bits that tell the bucket.
    shift: u32,
    bounds: Option<Bounds>,
}

impl Ketama {
    fn new(candidates: &Candidates<'_>) -> Self {
        let counts = counts(candidates);
        let total: usize = counts.iter().map(|count| *count as usize).sum();
        let shift = 32 - (total / 8).next_power_of_two().trailing_zeros().clamp(1, 24);
        // Sorted by counting: how many are in each bucket, then each into its bucket.
        let mut buckets = vec![0_u32; (1 << (32 - shift)) + 1];
        for (hash, _) in points(candidates, &counts) {
            if let Some(after) = buckets.get_mut((hash >> shift) as usize + 1) {
                *after += 1;
            }
        }
        let mut sum = 0;
        for bucket in &mut buckets {
            sum += *bucket;
            *bucket = sum;
        }
        let mut ends = buckets.clone();
        let mut sorted = vec![(0, 0); total];
        for point in points(candidates, &counts) {
            let Some(end) = ends.get_mut((point.0 >> shift) as usize) else { continue };
            if let Some(slot) = sorted.get_mut(*end as usize) {
                *slot = point;
            }
            *end += 1;
        }
        for range in buckets.windows(2) {
            let [start, end] = range else { continue };
            if let Some(bucket) = sorted.get_mut(*start as usize..*end as usize) {
                bucket.sort_unstable();
            }
        }
        let mut owners = Indices::new(total, candidates.endpoints.len());
        for (place, (_, index)) in sorted.iter().enumerate() {
            owners.set(place, *index);
        }
        let hashes = sorted.into_iter().map(|(hash, _)| hash).collect();
        let bounds = Bounds::new(candidates);
        Self { hashes, owners, buckets: buckets.into(), shift, bounds }
    }

    /// The place of the first point at or after `hash`, which may be one past the last.
    fn place(&self, hash: u32) -> Option<usize> {
        let bucket = (hash >> self.shift) as usize;
        let (start, end) = (*self.buckets.get(bucket)?, *self.buckets.get(bucket + 1)?);
        let bucket = self.hashes.get(start as usize..end as usize)?;
        Some(start as usize + bucket.iter().filter(|point| **point < hash).count())
    }
}

impl Balancer for Ketama {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        let place = self.place(on_circle(mix(choice.key)))?;
        let place = if place == self.owners.len() { 0 } else { place };
        self.owners.pick(place, self.bounds.as_ref(), choice)
    }
}

/// How many points each endpoint has. Thinned out, each has the same part of its points left,
/// rounded up or down by a threshold of its own: a change of the whole then moves a few keys,
/// rather than many at once when some size is crossed.
fn counts(candidates: &Candidates<'_>) -> Vec<u32> {
    let points = |weight: &u32| f64::from(*weight) * POINTS / f64::from(WEIGHT_ONE);
    let total: f64 = candidates.weights.iter().map(points).sum();
    let part = if total > MAX_POINTS { MAX_POINTS / total } else { 1.0 };
    let count = |(endpoint, weight): (&std::sync::Arc<crate::Endpoint>, &u32)| {
        let threshold = (hash_address(endpoint.address()) >> 32) as f64 / (1_u64 << 32) as f64;
        let count = (points(weight) * part + threshold).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 2^20")]
        let count = count as u32;
        count
    };
    candidates.endpoints.iter().zip(candidates.weights).map(count).collect()
}

/// The points of all endpoints: where on the circle, and whose.
fn points<'a>(
    candidates: &'a Candidates<'_>,
    counts: &'a [u32],
) -> impl Iterator<Item = (u32, u32)> {
    candidates.endpoints.iter().zip(0_u32..).zip(counts).flat_map(|((endpoint, index), count)| {
        let seed = hash_address(endpoint.address());
        (1..=u64::from(*count))
            .map(move |nth| (on_circle(mix(seed.wrapping_add(GOLDEN.wrapping_mul(nth)))), index))
    })
}

/// The place of a hash on the circle: its upper half.
fn on_circle(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::hash_testing::{self as hash, Expected};
    use crate::algorithms::testing::endpoints;

    #[test]
    fn shares_follow_the_weights_roughly() {
        hash::check_shares(ALGORITHM, &[1, 2, 5], 0.15);
        hash::check_shares(ALGORITHM, &[1; 10], 0.25);
        hash::check_shares(ALGORITHM, &[100, 200], 0.02);
    }

    #[test]
    fn keys_move_only_from_the_endpoint_that_leaves() {
        for count in [2, 3, 10, 100, 1_000] {
            hash::check_leaving(ALGORITHM, count, Expected { needless: 0.0 });
        }
    }

    #[test]
    fn a_large_ring_changes_little_by_little() {
        hash::check_leaving(ALGORITHM, 4_000, Expected { needless: 0.001 });
    }

    #[test]
    fn a_lookup_finds_the_next_point_clockwise() {
        let endpoints = endpoints(&[1; 50]);
        let balance = crate::algorithms::Balance::Random;
        let candidates = Candidates {
            endpoints: &endpoints,
            weights: &[1_000; 50],
            balance: &balance,
            known: 0,
        };
        let ring = Ketama::new(&candidates);
        assert!(ring.hashes.is_sorted() && ring.hashes.len().abs_diff(8_000) < 60);
        for key in 0..10_000 {
            let hash = on_circle(mix(key));
            let expected = ring.hashes.partition_point(|point| *point < hash);
            assert_eq!(ring.place(hash), Some(expected));
        }
        assert_eq!(ring.place(0), Some(0));
        assert_eq!(ring.place(u32::MAX), Some(ring.hashes.len()));
    }

    #[test]
    fn keys_of_the_unavailable_are_spread() {
        hash::check_heirs(ALGORITHM);
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter() {
        hash::check_order(ALGORITHM);
    }

    #[test]
    fn loads_are_bounded() {
        hash::check_bounds(ALGORITHM);
    }
}
