//! The less busy of two random endpoints ("the power of two choices", Mitzenmacher 2001).
//!
//! Both candidates are drawn by weight and compared by requests in flight per weight, so that
//! weights hold for idle pools (by the draw) and for busy ones (by the comparison).

use std::sync::Arc;

use super::sampler::Sampler;
use super::{Algorithm, Balancer, Choice, PROPOSALS};
use crate::endpoint::Endpoint;
use crate::random::mix;

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "least_request",
    summary: "The less busy of two random endpoints, by weight. Evens out slow endpoints.",
    build: |endpoints| Box::new(LeastRequest::new(endpoints)),
};

#[derive(Debug)]
struct LeastRequest {
    sampler: Sampler,
}

impl LeastRequest {
    fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        Self { sampler: Sampler::new(endpoints) }
    }
}

impl Balancer for LeastRequest {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        let mut drawn =
            std::iter::successors(Some(choice.random), |random| Some(mix(random.wrapping_add(1))))
                .take(PROPOSALS)
                .map(|random| self.sampler.draw(random))
                .filter(|index| choice.accepts(*index));
        let first = drawn.next()?;
        // The same endpoint drawn again says nothing; with few endpoints that is common.
        let Some(second) = drawn.find(|index| *index != first) else { return Some(first) };
        let busier = match (choice.endpoints.get(first), choice.endpoints.get(second)) {
            (Some(first), Some(second)) => load(first, second) > load(second, first),
            _ => false,
        };
        Some(if busier { second } else { first })
    }
}

/// The load of `endpoint` per weight, scaled so that it compares with that of `other`.
fn load(endpoint: &Endpoint, other: &Endpoint) -> u64 {
    u64::from(endpoint.in_flight()) * u64::from(other.weight())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::algorithms::random;
    use crate::algorithms::testing::{endpoints, tally};
    use crate::endpoint::Lease;

    /// The largest number in flight on any endpoint while 100 endpoints hold 1,000 requests that
    /// end in random order.
    fn peak(build: fn(&[Arc<Endpoint>]) -> Box<dyn Balancer>) -> u32 {
        let endpoints = endpoints(&[1; 100]);
        let balancer = build(&endpoints);
        let turns = AtomicU64::new(0);
        let mut open = VecDeque::new();
        let mut peak = 0;
        for round in 0..20_000 {
            let random = mix(round);
            let choice =
                Choice { endpoints: &endpoints, key: 0, random, tried: &[], turns: &turns };
            let lease = Lease::new(&endpoints[balancer.pick(&choice).unwrap()]);
            peak = peak.max(lease.in_flight());
            open.push_back(lease);
            if open.len() > 1_000 {
                let end = crate::random::below(mix(random), open.len());
                drop(open.swap_remove_back(end));
            }
        }
        peak
    }

    #[test]
    fn it_spreads_better_than_random() {
        let (two_choices, one_choice) = (peak(ALGORITHM.build), peak(random::ALGORITHM.build));
        assert!(two_choices <= 14, "{two_choices}");
        assert!(one_choice >= 20, "{one_choice}");
    }

    #[test]
    fn an_idle_pool_is_shared_by_weight() {
        let endpoints = endpoints(&[1, 3]);
        let counts = tally(&LeastRequest::new(&endpoints), &endpoints, 40_000);
        assert!(counts[0].abs_diff(10_000) < 500, "{counts:?}");
    }

    #[test]
    fn a_busy_pool_is_filled_by_weight() {
        let endpoints = endpoints(&[1, 2, 5]);
        let balancer = LeastRequest::new(&endpoints);
        let turns = AtomicU64::new(0);
        let leases: Vec<Lease> = (0..800)
            .map(|round| {
                let choice = Choice {
                    endpoints: &endpoints,
                    key: 0,
                    random: mix(round),
                    tried: &[],
                    turns: &turns,
                };
                Lease::new(&endpoints[balancer.pick(&choice).unwrap()])
            })
            .collect();
        assert_eq!(leases.len(), 800);
        for (endpoint, wanted) in endpoints.iter().zip([100_u32, 200, 500]) {
            assert!(endpoint.in_flight().abs_diff(wanted) <= 12, "{endpoints:?}");
        }
    }
}
