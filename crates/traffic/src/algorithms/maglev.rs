//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! 2016, §3.4): endpoints take turns to claim places of a table, each in an order of its own, and
//! a key is one look into the table.
//!
//! Shares are exact to a place, so that load follows weights within 1 %. When an endpoint leaves,
//! its keys move, and few others: up to 1 % of all keys in pools of up to a hundred endpoints, 2 %
//! in larger ones.
//!
//! Two things differ from the paper. An endpoint that finds [`TRIES`] places of its order taken
//! takes the first free place behind the last one, which saves half of the time that it takes to
//! fill the table, and moves half a percent of the keys more. And endpoints get turns by weight,
//! spread evenly.

use super::hash_pick::{Bounds, Indices};
use super::{Algorithm, Balancer, Candidates, Choice};
use crate::random::{below, hash_address, mix};

pub(super) const ALGORITHM: Algorithm = Algorithm {
    name: "maglev",
    summary: "The same key goes to the same endpoint, as long as that is available. Shares are \
        exact; few keys move that need not when endpoints come or go.",
    build: |candidates| Box::new(Maglev::new(candidates)),
};

/// How large the table is: a prime, so that an order with any step visits all places. Another size
/// moves all keys, so that there are only two, and the choice depends on all that the pool has.
const SMALL: usize = 65_521;
const LARGE: usize = 1_048_573;
/// The least places per endpoint in a small table.
const PLACES: usize = 100;
/// How many places of its order an endpoint tries in a turn.
const TRIES: usize = 128;

#[derive(Debug)]
struct Maglev {
    table: Indices,
    bounds: Option<Bounds>,
}

impl Maglev {
    fn new(candidates: &Candidates<'_>) -> Self {
        Self { table: table(candidates), bounds: Bounds::new(candidates) }
    }
}

impl Balancer for Maglev {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        let place = below(mix(choice.key), self.table.len());
        self.table.pick(place, self.bounds.as_ref(), choice)
    }
}

/// Every place has an endpoint, if there is any.
fn table(candidates: &Candidates<'_>) -> Indices {
    let count = candidates.endpoints.len();
    if count == 0 {
        return Indices::new(0, 0);
    }
    let size = if candidates.known * PLACES <= SMALL { SMALL } else { LARGE.max(count) };
    let mut table = Indices::new(size, count);
    let mut claims = claims(candidates, size);
    let mut free = Free::new(size);
    let mut calendar = Calendar::new(&claims);
    let mut turn = calendar.next();
    while let Some(at) = turn {
        let Some(claim) = claims.get_mut(at) else { break };
        if let Some(place) = claim.place(&mut free) {
            table.set(place, claim.index);
        }
        calendar.enter(at, claim);
        turn = calendar.next();
    }
    table
}

/// What one endpoint has of the table.
#[derive(Debug)]
struct Claim {
    index: u32,
    /// How many places it should have, and how many turns it had.
    due: u32,
    turns: u32,
    /// The next place of its order, and how far it is from each to the next.
    next: u32,
    skip: u32,
}

impl Claim {
    /// Takes its next place; `None` if the table is full.
    fn place(&mut self, free: &mut Free) -> Option<usize> {
        self.turns += 1;
        for _ in 0..TRIES {
            let place = self.next as usize;
            // No prime of ours and no pool is larger than half of what fits.
            self.next += self.skip;
            if self.next >= free.len {
                self.next -= free.len;
            }
            if free.take(place) {
                return Some(place);
            }
        }
        free.take_after(self.next as usize)
    }
}

/// A claim for each endpoint, in an order that the order of the candidates does not change, so that
/// all proxies of a fleet agree.
fn claims(candidates: &Candidates<'_>, size: usize) -> Vec<Claim> {
    let addresses = candidates.endpoints.iter().map(|endpoint| endpoint.address());
    let mut hashes: Vec<(u64, u32)> = addresses.map(hash_address).zip(0..).collect();
    hashes.sort_unstable();
    let total: u64 = candidates.weights.iter().map(|weight| u64::from(*weight)).sum();
    let place = |random, bound| u32::try_from(below(random, bound)).unwrap_or_default();
    let (mut before, mut given) = (0, 0);
    let claim = |(hash, index): (u64, u32)| {
        // Rounding the running sum rather than each share makes them fill the table exactly.
        before += candidates.weights.get(index as usize).copied().map_or(0, u64::from);
        let upto = u128::from(before) * size as u128 / u128::from(total.max(1));
        let upto = u32::try_from(upto).unwrap_or(u32::MAX);
        let due = (upto - given).max(1);
        given = upto;
        let (next, skip) = (place(mix(hash), size), 1 + place(mix(!hash), size - 1));
        Claim { index, due, turns: 0, next, skip }
    };
    hashes.into_iter().map(claim).collect()
}

/// Who has a turn in which round. Those with the most places have one in each round, the others in
/// as many as they have places, evenly spread. The queues of the rounds are lists in arrays, all
/// numbers in them one more than what they stand for, and 0 for nothing.
#[derive(Debug)]
struct Calendar {
    round: usize,
    /// The first and the last claim of each round.
    queues: Vec<(u32, u32)>,
    /// For each claim: the next one in its round.
    behind: Vec<u32>,
}

impl Calendar {
    /// Everybody has a turn in the first round.
    fn new(claims: &[Claim]) -> Self {
        let rounds = claims.iter().map(|claim| claim.due).max().unwrap_or_default();
        let mut calendar =
            Self { round: 0, queues: vec![(0, 0); rounds as usize], behind: vec![0; claims.len()] };
        for (at, claim) in claims.iter().enumerate() {
            calendar.enter(at, claim);
        }
        calendar
    }

    /// Notes the next turn of the claim at `at`, if it has one.
    fn enter(&mut self, at: usize, claim: &Claim) {
        if claim.turns >= claim.due {
            return;
        }
        let rounds = self.queues.len() as u64;
        let round = u64::from(claim.turns) * rounds / u64::from(claim.due);
        let number = u32::try_from(at + 1).unwrap_or_default();
        let Some(queue) = usize::try_from(round).ok().and_then(|at| self.queues.get_mut(at)) else {
            return;
        };
        let (_, last) = *queue;
        queue.1 = number;
        match self.behind.get_mut((last as usize).wrapping_sub(1)) {
            Some(behind) => *behind = number,
            None => queue.0 = number,
        }
    }

    /// The claim whose turn it is.
    fn next(&mut self) -> Option<usize> {
        while let Some((first, _)) = self.queues.get_mut(self.round) {
            if let Some(at) = (*first as usize).checked_sub(1) {
                *first = self.behind.get_mut(at).map(std::mem::take).unwrap_or_default();
                return Some(at);
            }
            self.round += 1;
        }
        None
    }
}

/// Which places of the table are free: a bit each, so that it stays in the nearest cache.
#[derive(Debug)]
struct Free {
    words: Box<[u64]>,
    len: u32,
}

impl Free {
    fn new(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let (Some(last), rest @ 1..) = (words.last_mut(), len % 64) {
            *last = (1 << rest) - 1;
        }
        Self { words: words.into(), len: u32::try_from(len).unwrap_or(u32::MAX) }
    }

    /// Takes a place; says whether it was free.
    fn take(&mut self, place: usize) -> bool {
        let Some(word) = self.words.get_mut(place / 64) else { return false };
        let bit = 1 << (place % 64);
        let free = *word & bit != 0;
        *word &= !bit;
        free
    }

    /// Takes the first free place at or after `place`, in circles.
    fn take_after(&mut self, place: usize) -> Option<usize> {
        let (before, after) = self.words.split_at_checked(place / 64)?;
        let ahead = after.first().copied().unwrap_or_default() & (u64::MAX << (place % 64));
        let words = std::iter::once((place / 64, ahead))
            .chain((place / 64 + 1..).zip(after.iter().skip(1).copied()))
            .chain((0..).zip(before.iter().copied()))
            .chain(after.first().map(|word| (place / 64, *word)));
        let (at, word) = words.into_iter().find(|(_, word)| *word != 0)?;
        let place = at * 64 + word.trailing_zeros() as usize;
        self.take(place).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::hash_testing::{self as hash, Expected};
    use crate::algorithms::testing::endpoints;

    #[test]
    fn shares_follow_the_weights() {
        hash::check_shares(ALGORITHM, &[1, 2, 5], 0.02);
        hash::check_shares(ALGORITHM, &[1; 10], 0.02);
        hash::check_shares(ALGORITHM, &[65_535, 32_768], 0.02);
    }

    /// The table itself, without the chance of the keys.
    #[track_caller]
    fn check_table(weights: &[u32]) {
        let endpoints = endpoints(weights);
        let effective: Vec<u32> = weights.iter().map(|weight| weight * 1_000).collect();
        let balance = crate::algorithms::Balance::Random;
        let candidates = Candidates {
            endpoints: &endpoints,
            weights: &effective,
            balance: &balance,
            known: weights.len(),
        };
        let table = table(&candidates);
        let mut places = vec![0_u32; weights.len()];
        for place in 0..table.len() {
            places[table.at(place).unwrap()] += 1;
        }
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (places, weight) in places.iter().zip(weights) {
            let due = f64::from(*weight) / total * table.len() as f64;
            assert!(*places > 0 && (f64::from(*places) - due).abs() <= 2.0, "{places} of {due}");
        }
    }

    #[test]
    fn a_table_is_full_and_its_shares_are_exact() {
        check_table(&[1]);
        check_table(&[3, 7]);
        check_table(&[1; 100]);
        check_table(&(1..=1_000).collect::<Vec<_>>());
        check_table(&[1, 1, 65_535]);
        let mut one_large = vec![1; 2_000];
        one_large[7] = 65_535;
        check_table(&one_large);
    }

    #[test]
    fn few_keys_move_that_need_not() {
        hash::check_leaving(ALGORITHM, 3, Expected { needless: 0.01 });
        hash::check_leaving(ALGORITHM, 10, Expected { needless: 0.01 });
        hash::check_leaving(ALGORITHM, 100, Expected { needless: 0.01 });
        hash::check_leaving(ALGORITHM, 1_000, Expected { needless: 0.02 });
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

    #[test]
    fn free_places_are_found_in_circles() {
        let mut free = Free::new(130);
        let mut taken: Vec<_> = (0..130).map(|_| free.take_after(100).unwrap()).collect();
        assert_eq!(taken[..3], [100, 101, 102]);
        assert_eq!(taken[30..32], [0, 1]);
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..130));
        assert_eq!(free.take_after(100), None);
    }
}
