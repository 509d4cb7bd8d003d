//! Smooth weighted round robin: a sequence made in advance, and a cursor that all threads share.
//!
//! The sequence holds each endpoint as often as its weight says, spread so that after any number
//! of turns no endpoint is a whole turn ahead of or behind its due share. It is made as
//! worst-case fair queueing (Bennett and Zhang, WF2Q, 1996) would serve one packet after another:
//! among the endpoints whose next turn may begin, the one whose turn must end first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Algorithm, Balancer, Choice, PROPOSALS};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "round_robin",
    summary: "In turn, by weight, each endpoint's turns evenly spread.",
    build: |candidates| Box::new(RoundRobin::new(candidates.weights)),
};

/// The longest sequence. Weights that need a longer one are scaled down, which is exact to one in
/// this many turns per endpoint.
const MAX_TURNS: u64 = 32_768;

#[derive(Debug)]
struct RoundRobin {
    /// `None` if all weigh the same and the sequence is the order of the endpoints.
    sequence: Option<Box<[u32]>>,
    len: u64,
}

impl RoundRobin {
    fn new(weights: &[u32]) -> Self {
        let weights = turns_per_cycle(weights);
        if weights.iter().all(|weight| *weight == 1) {
            return Self { sequence: None, len: weights.len() as u64 };
        }
        let sequence = smooth_sequence(&weights);
        Self { len: sequence.len() as u64, sequence: Some(sequence) }
    }

    fn at(&self, turn: u64) -> Option<usize> {
        let place = usize::try_from(turn.checked_rem(self.len)?).ok()?;
        match &self.sequence {
            None => Some(place),
            Some(sequence) => sequence.get(place).map(|index| *index as usize),
        }
    }
}

impl Balancer for RoundRobin {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        (0..PROPOSALS).find_map(|_| self.at(choice.turn()).filter(|index| choice.accepts(*index)))
    }
}

/// The weights in lowest terms, scaled down if their sum is too large; all at least 1.
fn turns_per_cycle(weights: &[u32]) -> Vec<u64> {
    let count = weights.len() as u64;
    let weights = weights.iter().map(|weight| u64::from(*weight).max(1));
    let divisor = weights.clone().fold(0, gcd).max(1);
    let total = weights.clone().sum::<u64>() / divisor;
    let most = MAX_TURNS.max(count * 4);
    if total <= most {
        return weights.map(|weight| weight / divisor).collect();
    }
    weights.map(|weight| (weight / divisor * most / total).max(1)).collect()
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Each index as often as its weight, evenly spread.
fn smooth_sequence(weights: &[u64]) -> Box<[u32]> {
    let total: u64 = weights.iter().sum();
    // Turn k of an index with weight w may begin at time k·total/w and must end at
    // (k+1)·total/w, in whole turns: begin rounded up, end kept exact in units of 1/2³².
    let end = |weight: u64, turn: u64| (u128::from((turn + 1) * total) << 32) / u128::from(weight);
    let mut waiting: BinaryHeap<Reverse<(u64, u32, u64)>> =
        (0..).zip(weights).map(|(index, _)| Reverse((0, index, 0))).collect();
    let mut ready = BinaryHeap::new();
    let mut sequence = Vec::new();
    for now in 0..total {
        while let Some(&Reverse((begin, index, turn))) = waiting.peek() {
            if begin > now {
                break;
            }
            waiting.pop();
            let weight = weights.get(index as usize).copied().unwrap_or(1);
            ready.push(Reverse((end(weight, turn), index, turn)));
        }
        let Some(Reverse((_, index, turn))) = ready.pop() else { continue };
        sequence.push(index);
        let weight = weights.get(index as usize).copied().unwrap_or(1);
        if turn + 1 < weight {
            waiting.push(Reverse((((turn + 1) * total).div_ceil(weight), index, turn + 1)));
        }
    }
    sequence.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::algorithms::testing::{endpoints, tally};

    #[track_caller]
    fn check(weights: &[u64], expected: &str) {
        let letters = "abcdefghijklmnopqrstuvwxyz".as_bytes();
        let found: Vec<u8> =
            smooth_sequence(weights).iter().map(|index| letters[*index as usize]).collect();
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }

    #[test]
    fn turns_are_evenly_spread() {
        check(&[1, 1, 1], "abc");
        check(&[2, 1], "aba");
        check(&[5, 1, 1], "abaacaa");
        check(&[3, 3], "ababab");
        check(&[6, 1, 1, 1, 1, 1, 1], "abacadaeafag");
    }

    #[test]
    fn a_cycle_is_exact() {
        let (weights, endpoints) = ([10, 20, 50], endpoints(&[10, 20, 50]));
        let round_robin = RoundRobin::new(&weights);
        assert_eq!(round_robin.len, 8);
        assert_eq!(tally(&round_robin, &endpoints, 8), [1, 2, 5]);
        assert_eq!(tally(&round_robin, &endpoints, 8_000), [1_000, 2_000, 5_000]);
    }

    #[test]
    fn huge_weights_keep_the_sequence_short() {
        let weights = [65_521, 65_519, 1];
        let (round_robin, endpoints) = (RoundRobin::new(&weights), endpoints(&weights));
        assert!(round_robin.len <= MAX_TURNS + 3, "{}", round_robin.len);
        let counts = tally(&round_robin, &endpoints, round_robin.len);
        assert!(counts[0].abs_diff(counts[1]) <= 2 && counts[2] == 1, "{counts:?}");
    }

    proptest! {
        #[test]
        fn no_endpoint_is_a_turn_off_its_share(weights in prop::collection::vec(1_u64..40, 1..20)) {
            let total: u64 = weights.iter().sum();
            let sequence = smooth_sequence(&weights);
            prop_assert_eq!(sequence.len() as u64, total);
            let mut served = vec![0_u64; weights.len()];
            for (turn, index) in (1_u64..).zip(&sequence) {
                served[*index as usize] += 1;
                for (served, weight) in served.iter().zip(&weights) {
                    prop_assert!((served * total).abs_diff(turn * weight) < total);
                }
            }
            prop_assert_eq!(served, weights);
        }
    }
}
