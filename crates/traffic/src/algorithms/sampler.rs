//! Draws indices by weight in constant time: the alias method (Walker 1977, built as Vose 1991).

use super::{Choice, PROPOSALS};
use crate::endpoint::Endpoint;
use crate::random::{below, mix};

/// Weights made ready to draw from.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// A slot per index; `None` if all weigh the same.
    slots: Option<Box<[Slot]>>,
    /// The same.
    weights: Option<Box<[u32]>>,
    total: u64,
    len: usize,
}

/// Drawn uniformly; then the index itself wins with `keep` out of 2³², its alias otherwise.
#[derive(Clone, Copy, Debug)]
struct Slot {
    keep: u64,
    alias: usize,
}

const ONE: u64 = 1 << 32;

impl Sampler {
    pub(crate) fn new(weights: &[u32]) -> Self {
        let same = weights.windows(2).all(|pair| pair.first() == pair.last());
        let slots = (!same).then(|| alias_slots(weights));
        let total = weights.iter().map(|weight| u64::from(*weight)).sum();
        Self { slots, weights: (!same).then(|| weights.into()), total, len: weights.len() }
    }

    /// An acceptable index, with the probability of its weight.
    pub(crate) fn draw_one(&self, choice: &Choice<'_>) -> Option<usize> {
        self.proposals(choice).find(|index| choice.accepts(*index))
    }

    /// The cheaper of two acceptable indices, if a second one is not too hard to find; `cost` tells
    /// what an endpoint with so many requests in flight costs, and `margin` how many times as
    /// dear the first must be.
    pub(crate) fn draw_cheaper(
        &self,
        choice: &Choice<'_>,
        margin: f32,
        cost: impl Fn(&Endpoint, f32) -> f32,
    ) -> Option<usize> {
        let mut acceptable = self.proposals(choice).filter(|index| choice.accepts(*index));
        let first = acceptable.next()?;
        // The same endpoint drawn again says nothing; with few endpoints that is common.
        let Some(second) = acceptable.find(|index| *index != first) else { return Some(first) };
        let endpoints = [first, second].map(|index| choice.endpoints.get(index));
        let [Some(one), Some(other)] = endpoints else { return Some(first) };
        let [load, other_load] = match &self.weights {
            None => [one.in_flight(), other.in_flight()].map(u64::from),
            Some(weights) => {
                let [weight, other_weight] =
                    [first, second].map(|index| weights.get(index).copied().unwrap_or(1));
                if !self.may_leave(weight, other_weight, choice.random) {
                    return Some(first);
                }
                comparable(
                    [one.in_flight(), other.in_flight()],
                    [weight, other_weight],
                    choice.random,
                )
            }
        };
        let dearer = cost(one, load as f32) > margin * cost(other, other_load as f32);
        Some(if dearer { second } else { first })
    }

    /// A second index that differs from the first is a light one more often than its weight says.
    /// Leaving a heavy one for a light one only as often as light ones are left for it makes up for
    /// that (Metropolis et al. 1953).
    fn may_leave(&self, weight: u32, other: u32, random: u64) -> bool {
        let rest = |weight: u32| self.total.saturating_sub(u64::from(weight));
        let chance = below(mix(random ^ 0x1eaf), usize::try_from(rest(other)).unwrap_or(1));
        weight <= other || (chance as u64) < rest(weight)
    }

    fn proposals(&self, choice: &Choice<'_>) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(choice.random), |random| Some(mix(random.wrapping_add(1))))
            .take(PROPOSALS)
            .map(|random| self.draw(random))
    }

    /// An index, with the probability of its weight.
    fn draw(&self, random: u64) -> usize {
        let index = below(random, self.len);
        match self.slots.as_ref().and_then(|slots| slots.get(index)) {
            Some(slot) if mix(random) >> 32 >= slot.keep => slot.alias,
            _ => index,
        }
    }
}

/// The requests in flight on each of two endpoints, made comparable if their weights differ: an
/// endpoint with three times the weight is taken as three endpoints that share its requests, and
/// one of them at random is compared. Dividing by the weight would prefer the lighter one, which is
/// idle more often.
fn comparable(in_flight: [u32; 2], weights: [u32; 2], random: u64) -> [u64; 2] {
    let [first, second] = weights.map(|weight| weight.max(1));
    let lighter = u64::from(first.min(second));
    let part = |in_flight: u32, weight: u32| {
        let chance = below(mix(random ^ 0x5eed), weight as usize) as u64;
        (u64::from(in_flight) * lighter + chance) / u64::from(weight)
    };
    let [one, other] = in_flight;
    [part(one, first), part(other, second)]
}

/// Fills each slot of average weight with what is left of a light index, topped up by a heavy one.
fn alias_slots(weights: &[u32]) -> Box<[Slot]> {
    let count = weights.len() as u128;
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    // In units of 1/total of a slot, so that everything is a whole number.
    let mut left: Vec<u128> = weights.iter().map(|weight| u128::from(*weight) * count).collect();
    let mut slots: Vec<Slot> = (0..weights.len()).map(|i| Slot { keep: ONE, alias: i }).collect();
    let (mut light, mut heavy): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|i| left.get(*i).is_some_and(|left| *left < total));
    while let (Some(small), Some(large)) = (light.pop(), heavy.pop()) {
        let Some(part) = left.get(small).copied() else { break };
        if let Some(slot) = slots.get_mut(small) {
            let keep = part * u128::from(ONE) / total.max(1);
            *slot = Slot { keep: u64::try_from(keep).unwrap_or(ONE), alias: large };
        }
        let Some(rest) = left.get_mut(large) else { break };
        *rest = (*rest + part).saturating_sub(total);
        if *rest < total { light.push(large) } else { heavy.push(large) }
    }
    slots.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weights: &[u32]) {
        let sampler = Sampler::new(weights);
        let draws = 200_000_u32;
        let mut tally = vec![0_u32; weights.len()];
        for round in 0..draws {
            tally[sampler.draw(mix(u64::from(round)))] += 1;
        }
        let total: u32 = weights.iter().sum();
        for (count, weight) in tally.iter().zip(weights) {
            let (found, wanted) =
                (f64::from(*count) / f64::from(draws), f64::from(*weight) / f64::from(total));
            assert!((found - wanted).abs() < 0.005, "{weights:?}: {tally:?}");
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        check(&[1]);
        check(&[1, 1, 1]);
        check(&[5, 1, 1]);
        check(&[1, 2, 3, 4, 5, 6, 7, 8]);
        check(&[1, 65_535]);
    }
}
