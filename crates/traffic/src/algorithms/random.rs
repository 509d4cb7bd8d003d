//! Random by weight.

use super::sampler::Sampler;
use super::{Algorithm, Balancer, Choice};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "random",
    summary: "At random, by weight. Needs no state that threads share.",
    build: |candidates| Box::new(Random { sampler: Sampler::new(candidates.weights) }),
};

#[derive(Debug)]
struct Random {
    sampler: Sampler,
}

impl Balancer for Random {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.sampler.draw_one(choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::Balance;
    use crate::algorithms::testing::{build, endpoints, tally};

    #[test]
    fn shares_follow_the_weights() {
        let endpoints = endpoints(&[1, 2, 5]);
        let counts = tally(&*build(ALGORITHM, &endpoints, &Balance::Random), &endpoints, 80_000);
        for (count, wanted) in counts.iter().zip([10_000_u32, 20_000, 50_000]) {
            assert!(count.abs_diff(wanted) < 500, "{counts:?}");
        }
    }
}
