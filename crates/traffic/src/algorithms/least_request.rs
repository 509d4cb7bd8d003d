//! The less busy of two random endpoints ("the power of two choices", Mitzenmacher 2001).
//!
//! Both candidates are drawn by weight and compared by requests in flight for their weight, so that
//! weights hold for idle pools (by the draw) and for busy ones (by the comparison).

use super::sampler::Sampler;
use super::{Algorithm, Balancer, Choice};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "least_request",
    summary: "The less busy of two random endpoints, by weight. Evens out slow endpoints.",
    build: |candidates| Box::new(LeastRequest { sampler: Sampler::new(candidates.weights) }),
};

#[derive(Debug)]
struct LeastRequest {
    sampler: Sampler,
}

impl Balancer for LeastRequest {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.sampler.draw_cheaper(choice, 1.0, |_, in_flight| in_flight)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::algorithms::testing::{build, choice, endpoints, tally};
    use crate::algorithms::{Balance, random};
    use crate::endpoint::Lease;
    use crate::random::mix;

    /// The largest number in flight on any endpoint while 100 endpoints hold 1,000 requests that
    /// end in random order.
    fn peak(algorithm: Algorithm) -> u32 {
        let endpoints = endpoints(&[1; 100]);
        let balancer = build(algorithm, &endpoints, &Balance::Random);
        let turns = AtomicU64::new(0);
        let mut open = VecDeque::new();
        let mut peak = 0;
        for round in 0..20_000 {
            let random = mix(round);
            let choice = choice(&endpoints, &turns, 0, random);
            let lease = Lease::new(&endpoints[balancer.pick(&choice).unwrap()], &Arc::default());
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
        let (two_choices, one_choice) = (peak(ALGORITHM), peak(random::ALGORITHM));
        assert!(two_choices <= 14, "{two_choices}");
        assert!(one_choice >= 20, "{one_choice}");
    }

    #[test]
    fn an_idle_pool_is_shared_by_weight() {
        let endpoints = endpoints(&[1, 3]);
        let counts =
            tally(&*build(ALGORITHM, &endpoints, &Balance::LeastRequest), &endpoints, 40_000);
        assert!(counts[0].abs_diff(10_000) < 500, "{counts:?}");
    }

    #[test]
    fn a_busy_pool_is_filled_by_weight() {
        let endpoints = endpoints(&[1, 2, 5]);
        let balancer = build(ALGORITHM, &endpoints, &Balance::LeastRequest);
        let turns = AtomicU64::new(0);
        let leases: Vec<Lease> = (0..800)
            .map(|round| {
                let choice = choice(&endpoints, &turns, 0, mix(round));
                Lease::new(&endpoints[balancer.pick(&choice).unwrap()], &Arc::default())
            })
            .collect();
        assert_eq!(leases.len(), 800);
        for (endpoint, wanted) in endpoints.iter().zip([100_u32, 200, 500]) {
            assert!(endpoint.in_flight().abs_diff(wanted) <= 12, "{endpoints:?}");
        }
    }
}
