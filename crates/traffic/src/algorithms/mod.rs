//! How an endpoint is chosen among those that are available.
//!
//! To add an algorithm: one file with its [`Balancer`], its unit tests and its `ALGORITHM` row,
//! then `mod` and the row in [`ALGORITHMS`] here. A balancer is built anew whenever the available
//! endpoints change, and is immutable in between; picking takes no lock and allocates nothing.

mod hash_pick;
#[cfg(test)]
mod hash_testing;
mod ketama;
mod least_request;
mod maglev;
mod peak_ewma;
mod random;
mod round_robin;
mod sampler;
mod settings;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::endpoint::Endpoint;

pub(crate) use self::peak_ewma::Cost;
pub use self::settings::{Balance, BoundedLoad, HashAlgorithm, HashBalance};

/// Every algorithm, by name.
pub const ALGORITHMS: [Algorithm; 6] = [
    ketama::ALGORITHM,
    least_request::ALGORITHM,
    maglev::ALGORITHM,
    peak_ewma::ALGORITHM,
    random::ALGORITHM,
    round_robin::ALGORITHM,
];

/// One row of the table of algorithms.
#[derive(Clone, Copy, Debug)]
pub struct Algorithm {
    /// As `balance` names it.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// Builds it over endpoints that may be chosen.
    pub build: fn(&Candidates<'_>) -> Box<dyn Balancer>,
}

/// What a balancer is built over: endpoints that may be chosen, and how much each should get.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// The endpoints, whose indices picks return.
    pub endpoints: &'a [Arc<Endpoint>],
    /// For each endpoint its effective weight, above zero, in units of 1/[`WEIGHT_ONE`] of a
    /// configured weight, so that an endpoint in slow start may have a part of its weight.
    pub weights: &'a [u32],
    /// The upstream's settings of balancing.
    pub balance: &'a Balance,
    /// How many endpoints the pool has, those that may not be chosen too: for what should not
    /// change when one fails.
    pub known: usize,
}

/// The effective weight of an endpoint whose configured weight is 1.
pub const WEIGHT_ONE: u32 = 1_000;

/// Chooses one of the endpoints that it was built over.
pub trait Balancer: fmt::Debug + Send + Sync {
    /// The index of an endpoint that [`Choice::accepts`], or `None` if a bounded number of attempts
    /// found none. The pool then looks for itself.
    fn pick(&self, choice: &Choice<'_>) -> Option<usize>;
}

/// What one choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The endpoints that the balancer was built over, in the same order.
    pub endpoints: &'a [Arc<Endpoint>],
    /// The hash of the request's key, for algorithms that use one.
    pub key: u64,
    /// A random word.
    pub random: u64,
    /// The time now, for algorithms that weigh how old what they know is.
    pub now: Instant,
    /// Requests in flight on all of `endpoints` together, for bounded loads.
    pub in_flight: u64,
    /// Endpoints that were tried for this request already.
    pub tried: &'a [SocketAddr],
    /// Counts the choices made so far; shared by all threads.
    pub turns: &'a AtomicU64,
    /// Whether endpoints that cannot serve are chosen too.
    pub panic: bool,
    /// The most requests that an endpoint may have in flight, with this one.
    pub most: u32,
}

impl Choice<'_> {
    /// Whether the endpoint at `index` may be chosen: see [`Self::wants`].
    #[must_use]
    pub fn accepts(&self, index: usize) -> bool {
        self.endpoints.get(index).is_some_and(|endpoint| self.wants(endpoint))
    }

    /// Whether an endpoint may be chosen: it is available still, has room and was not tried.
    #[must_use]
    pub fn wants(&self, endpoint: &Endpoint) -> bool {
        (endpoint.is_available() || self.panic && endpoint.is_open())
            && (self.most == u32::MAX || endpoint.in_flight() < self.most)
            && !self.tried.contains(&endpoint.address())
    }

    /// Takes the next turn.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}

/// How often an algorithm proposes before it leaves the choice to the pool. Proposals are refused
/// only in the moments between a failure and the rebuild, and for endpoints tried already.
const PROPOSALS: usize = 8;

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::testing::{choice, endpoints};
    use super::{ALGORITHMS, Balance, Candidates};
    use std::sync::atomic::AtomicU64;

    fn bounded() -> Balance {
        serde_json::from_str(r#"{"hash":"path","bounded_load":"125%"}"#).unwrap()
    }

    proptest! {
        /// Whatever the weights: a pick is acceptable, and the same choice gives the same pick,
        /// turns apart.
        #[test]
        fn picks_are_acceptable_and_pure(
            weights in prop::collection::vec(1_u32..70_000_000, 0..40),
            tried in prop::collection::vec(0_usize..40, 0..3),
            key: u64,
            random: u64,
            in_flight in 0_u64..1_000,
        ) {
            let endpoints = endpoints(&vec![1; weights.len()]);
            let tried: Vec<_> =
                tried.into_iter().filter_map(|at| Some(endpoints.get(at)?.address())).collect();
            let balance = bounded();
            for algorithm in ALGORITHMS {
                let balancer = (algorithm.build)(&Candidates {
                    endpoints: &endpoints,
                    weights: &weights,
                    balance: &balance,
                    known: endpoints.len(),
                });
                let pick = || {
                    let turns = AtomicU64::new(random >> 8);
                    let choice = choice(&endpoints, &turns, key, random);
                    balancer.pick(&super::Choice { tried: &tried, in_flight, ..choice })
                };
                let picked = pick();
                prop_assert_eq!(picked, pick(), "{}", algorithm.name);
                if let Some(index) = picked {
                    prop_assert!(!tried.contains(&endpoints[index].address()));
                }
                if tried.is_empty() {
                    prop_assert_eq!(picked.is_some(), !weights.is_empty(), "{}", algorithm.name);
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::endpoint::Place;

    /// Endpoints `10.0.0.0:80`, `10.0.0.1:80`, … with these weights.
    pub(crate) fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint>> {
        (0_u32..)
            .zip(weights)
            .map(|(index, weight)| {
                let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + index);
                let address = SocketAddr::new(ip.into(), 80);
                Endpoint::carried(Place::at(address, *weight), false, None)
            })
            .collect()
    }

    /// Candidates with the endpoints' own weights.
    pub(crate) fn build(
        algorithm: Algorithm,
        endpoints: &[Arc<Endpoint>],
        balance: &Balance,
    ) -> Box<dyn Balancer> {
        let weights: Vec<u32> = endpoints.iter().map(|e| e.weight() * WEIGHT_ONE).collect();
        let known = endpoints.len();
        (algorithm.build)(&Candidates { endpoints, weights: &weights, balance, known })
    }

    /// A choice that nothing but `key` and `random` decides.
    pub(crate) fn choice<'a>(
        endpoints: &'a [Arc<Endpoint>],
        turns: &'a AtomicU64,
        key: u64,
        random: u64,
    ) -> Choice<'a> {
        let now = tidegate_core::Clock::System.now();
        let (in_flight, panic, most) = (0, false, u32::MAX);
        Choice { endpoints, key, random, now, in_flight, tried: &[], turns, panic, most }
    }

    /// Picks `count` times with a fixed seed and returns how often each endpoint was chosen.
    pub(crate) fn tally(
        balancer: &dyn Balancer,
        endpoints: &[Arc<Endpoint>],
        count: u64,
    ) -> Vec<u32> {
        let turns = AtomicU64::new(0);
        let start = choice(endpoints, &turns, 0, 0);
        let mut tally = vec![0; endpoints.len()];
        for round in 0..count {
            let random = crate::random::mix(round ^ 0x5eed);
            let choice = Choice { key: random, random, ..start };
            tally[balancer.pick(&choice).unwrap()] += 1;
        }
        tally
    }
}
