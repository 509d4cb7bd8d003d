//! What the hash algorithms share: the walk from a key's place past endpoints that may not be
//! chosen, and bounded loads (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded
//! Loads", 2018): an endpoint that has its share of the requests in flight already, and the given
//! excess, hands the key on to the next, which is the same one for all who ask.

use super::{Candidates, Choice};

/// How many places a pick looks at. At a bound of 125 % at most four endpoints in five can be at
/// their bound, so that more than a few dozen happen only while many fail.
const MAX_STEPS: usize = 1_024;

/// Indices of endpoints, in two bytes each if that is enough: half the size is half the misses.
#[derive(Debug)]
pub(super) enum Indices {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl Indices {
    /// As many zeros.
    pub(super) fn new(len: usize, endpoints: usize) -> Self {
        match u16::try_from(endpoints) {
            Ok(_) => Self::Narrow(vec![0; len].into()),
            Err(_) => Self::Wide(vec![0; len].into()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Narrow(indices) => indices.len(),
            Self::Wide(indices) => indices.len(),
        }
    }

    pub(super) fn at(&self, place: usize) -> Option<usize> {
        match self {
            Self::Narrow(indices) => indices.get(place).map(|index| usize::from(*index)),
            Self::Wide(indices) => indices.get(place).map(|index| *index as usize),
        }
    }

    /// Sets the index at `place`, which fits if there are as many endpoints as was said.
    pub(super) fn set(&mut self, place: usize, index: u32) {
        match self {
            Self::Narrow(indices) => {
                if let (Some(slot), Ok(index)) = (indices.get_mut(place), u16::try_from(index)) {
                    *slot = index;
                }
            }
            Self::Wide(indices) => {
                if let Some(slot) = indices.get_mut(place) {
                    *slot = index;
                }
            }
        }
    }

    /// The first endpoint at or after `place`, in circles, that may be chosen and is not over its
    /// bound; or else the first that may be chosen.
    pub(super) fn pick(
        &self,
        place: usize,
        bounds: Option<&Bounds>,
        choice: &Choice<'_>,
    ) -> Option<usize> {
        // Almost always the first one will do.
        let own = self.at(place)?;
        let accepted = choice.accepts(own);
        if accepted && bounds.is_none_or(|bounds| bounds.holds(own, choice)) {
            return Some(own);
        }
        let mut fallback = accepted.then_some(own);
        let steps = (place + 1..self.len()).chain(0..place).take(MAX_STEPS);
        let mut last = own;
        for index in steps.filter_map(|place| self.at(place)) {
            if index == last || !choice.accepts(index) {
                continue;
            }
            let Some(bounds) = bounds else { return Some(index) };
            if bounds.holds(index, choice) {
                return Some(index);
            }
            fallback = fallback.or(Some(index));
            last = index;
        }
        fallback
    }
}

/// How many requests each endpoint may have in flight.
#[derive(Debug)]
pub(super) struct Bounds {
    /// For each endpoint: its weight, times the bound in percent.
    weights: Box<[u64]>,
    /// The sum of the weights, times a hundred.
    total: u128,
}

impl Bounds {
    /// `None` if the settings bound nothing.
    pub(super) fn new(candidates: &Candidates<'_>) -> Option<Self> {
        let percent = u64::from(candidates.balance.bounded_load()?.percent());
        let weights = candidates.weights.iter().map(|weight| u64::from(*weight));
        let total = weights.clone().map(u128::from).sum::<u128>() * 100;
        Some(Self { weights: weights.map(|weight| weight * percent).collect(), total })
    }

    /// Whether the endpoint at `index` may have one more, which is if it then has no more than its
    /// bounded share of all, rounded up.
    fn holds(&self, index: usize, choice: &Choice<'_>) -> bool {
        let (Some(endpoint), Some(weight)) = (choice.endpoints.get(index), self.weights.get(index))
        else {
            return false;
        };
        let all = u128::from(choice.in_flight) + 1;
        u128::from(endpoint.in_flight()) * self.total < all * u128::from(*weight)
    }
}
