//! Random by weight.

use std::sync::Arc;

use super::sampler::Sampler;
use super::{Algorithm, Balancer, Choice, PROPOSALS};
use crate::endpoint::Endpoint;
use crate::random::mix;

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "random",
    summary: "At random, by weight. Needs no state that threads share.",
    build: |endpoints| Box::new(Random::new(endpoints)),
};

#[derive(Debug)]
struct Random {
    sampler: Sampler,
}

impl Random {
    fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        Self { sampler: Sampler::new(endpoints) }
    }
}

impl Balancer for Random {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        std::iter::successors(Some(choice.random), |random| Some(mix(random.wrapping_add(1))))
            .take(PROPOSALS)
            .map(|random| self.sampler.draw(random))
            .find(|index| choice.accepts(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::testing::{endpoints, tally};

    #[test]
    fn shares_follow_the_weights() {
        let endpoints = endpoints(&[1, 2, 5]);
        let counts = tally(&Random::new(&endpoints), &endpoints, 80_000);
        for (count, wanted) in counts.iter().zip([10_000_u32, 20_000, 50_000]) {
            assert!(count.abs_diff(wanted) < 500, "{counts:?}");
        }
    }
}
