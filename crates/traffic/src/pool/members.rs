//! The endpoints of a pool at one time, and the balancer over those that got a weight.

use std::net::SocketAddr;
use std::sync::Arc;

use super::weigh::{Weighed, weigh};
use crate::algorithms::{Balancer, Candidates, Choice};
use crate::endpoint::{Endpoint, Place};
use crate::random::below;
use crate::settings::UpstreamSettings;
use crate::zones::Locality;

/// Immutable; a change builds the next one.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) all: Arc<[Arc<Endpoint>]>,
    /// For each of `all`, by address: its place, for [`Self::place`].
    by_address: rustc_hash::FxHashMap<SocketAddr, usize>,
    /// For each of `all`: whether it was available.
    available: Box<[bool]>,
    /// Those with a weight.
    pub(super) candidates: Box<[Arc<Endpoint>]>,
    pub(super) panic: bool,
    balancer: Box<dyn Balancer>,
}

impl Members {
    pub(super) fn new(
        all: Arc<[Arc<Endpoint>]>,
        settings: &UpstreamSettings,
        here: &Locality,
    ) -> Self {
        let by_address = all.iter().enumerate().map(|(at, e)| (e.address(), at)).collect();
        let available = all.iter().map(|endpoint| endpoint.is_available()).collect();
        let Weighed { weights, panic } = weigh(&all, settings, here);
        let (candidates, weights): (Vec<_>, Vec<_>) = all
            .iter()
            .zip(weights)
            .filter(|(_, weight)| *weight > 0)
            .map(|(endpoint, weight)| (Arc::clone(endpoint), weight))
            .unzip();
        let balance = &settings.balance;
        let balancer = (balance.algorithm().build)(&Candidates {
            endpoints: &candidates,
            weights: &weights,
            balance,
            known: all.len(),
        });
        Self { all, by_address, available, candidates: candidates.into(), panic, balancer }
    }

    pub(super) fn place(&self, address: SocketAddr) -> Option<usize> {
        self.by_address.get(&address).copied()
    }

    pub(super) fn get(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.all.get(self.place(address)?)
    }

    pub(super) fn is_stale(&self, place: usize) -> bool {
        let available = self.all.get(place).map(|endpoint| endpoint.is_available());
        available != self.available.get(place).copied()
    }

    /// The endpoint at `address`, if it can serve and was not tried.
    pub(super) fn bound(&self, address: SocketAddr, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        self.get(address).filter(|endpoint| choice.wants(endpoint))
    }

    /// The balancer's choice. Should it find none (the health of many turned a moment ago, or the
    /// others were tried), any other; and then one that was tried.
    pub(super) fn pick(&self, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        if let Some(index) = self.balancer.pick(choice) {
            return self.candidates.get(index);
        }
        self.scan(choice).or_else(|| self.scan(&Choice { tried: &[], ..*choice }))
    }

    /// The first that is wanted, from a random start; of the candidates, and then of all.
    fn scan(&self, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        [&self.candidates[..], &self.all[..]].into_iter().find_map(|endpoints| {
            let (before, after) =
                endpoints.split_at_checked(below(choice.random, endpoints.len()))?;
            after.iter().chain(before).find(|endpoint| choice.wants(endpoint))
        })
    }

    /// The endpoints at `places`, with the state of those that are here already, and those that
    /// are not.
    pub(super) fn carry(
        &self,
        places: Vec<Place>,
        checked: bool,
    ) -> (Arc<[Arc<Endpoint>]>, Vec<Arc<Endpoint>>) {
        let mut new = Vec::new();
        let all = places
            .into_iter()
            .map(|place| {
                let previous = self.get(place.address);
                let endpoint = Endpoint::carried(place, checked, previous);
                if previous.is_none() {
                    new.push(Arc::clone(&endpoint));
                }
                endpoint
            })
            .collect();
        (all, new)
    }
}
