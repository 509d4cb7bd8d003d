//! A pool: the endpoints of one upstream, which of them are available, and which is next.
//!
//! Requests read one immutable [`Members`] through an `ArcSwap`; whatever changes it (the resolver,
//! a health check) builds the next one aside, under a lock that requests never see. The endpoints'
//! own state is carried over reloads by address.

mod compile;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_core::Request;

use crate::algorithms::{Balance, Balancer, Candidates, Choice, WEIGHT_ONE};
use crate::endpoint::{Endpoint, Lease, Place};
use crate::health::{HealthCheck, Outcome, Transition};
use crate::random::below;
use crate::settings::UpstreamSettings;
use crate::sticky::Sticky;

/// The endpoints of one upstream.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    settings: UpstreamSettings,
    health: Option<HealthCheck>,
    sticky: Option<Sticky>,
    fixed: Box<[Place]>,
    names: Box<[ResolvedName]>,
    members: ArcSwap<Members>,
    turns: AtomicU64,
    /// Requests on all endpoints together.
    in_flight: Arc<AtomicU64>,
    changes: Mutex<Changes>,
}

/// What a request brings to the choice of its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// As [`Pool::key`] told.
    pub key: u64,
    /// The time now.
    pub now: Instant,
    /// The endpoint that the client is bound to, as [`Sticky::read`] told: it is chosen if it is
    /// available and was not tried.
    pub prefer: Option<SocketAddr>,
    /// A random word.
    pub random: u64,
    /// The endpoints that were tried for this request.
    pub tried: &'a [SocketAddr],
}

/// A name that the resolver has to look up for a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// The name.
    pub host: Arc<str>,
    /// The port of its endpoints.
    pub port: u16,
    /// The weight of each of its endpoints.
    pub weight: u32,
}

/// What only those touch who change the members.
#[derive(Debug, Default)]
struct Changes {
    /// What each name resolves to, in the order of [`Pool::names`].
    resolved: Vec<Vec<IpAddr>>,
    /// When the members were built last because of a health check.
    rebuilt: Option<Instant>,
}

impl Pool {
    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings that it was compiled from.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// How its endpoints are checked; `None` if they are not.
    #[must_use]
    pub fn health(&self) -> Option<&HealthCheck> {
        self.health.as_ref()
    }

    /// The sticky sessions; `None` if clients are not bound to endpoints.
    #[must_use]
    pub fn sticky(&self) -> Option<&Sticky> {
        self.sticky.as_ref()
    }

    /// Whether any endpoint can serve.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.members.load().available.iter().any(|endpoint| endpoint.is_available())
    }

    /// The hash of the request's balancing key; 0 if the algorithm uses none.
    #[must_use]
    pub fn key(&self, request: &Request<'_>) -> u64 {
        self.settings.balance.key(request)
    }

    /// The next endpoint for a request; `None` if none is healthy. One that was tried is chosen
    /// only if no other is available.
    #[must_use]
    pub fn pick(&self, pick: &Pick<'_>) -> Option<Lease> {
        let members = self.members.load();
        let Pick { key, now, prefer, random, tried } = *pick;
        let bound = prefer.and_then(|address| members.bound(address, tried));
        let (endpoints, turns) = (&members.available, &self.turns);
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let choice = Choice { endpoints, key, random, now, in_flight, tried, turns };
        let endpoint = bound.or_else(|| members.pick(&choice))?;
        Some(Lease::new(endpoint, &self.in_flight))
    }

    /// All endpoints, drained and unhealthy ones too.
    #[must_use]
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.members.load().all)
    }

    /// The names to be resolved; [`Self::update`] takes the answers.
    #[must_use]
    pub fn names(&self) -> &[ResolvedName] {
        &self.names
    }

    /// Takes the whole answer for the name at `index` of [`Self::names`]. Endpoints that stay keep
    /// their state. Returns whether it changed anything. A resolver that failed should not call
    /// this, so that the last answer stays in force.
    pub fn update(&self, index: usize, addresses: &[IpAddr]) -> bool {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        let mut changes = self.changes.lock();
        match changes.resolved.get_mut(index) {
            Some(resolved) if *resolved != addresses => *resolved = addresses,
            _ => return false,
        }
        let places = places(&self.fixed, &self.names, &changes.resolved);
        let all = self.members.load().carry(places, self.health.is_some());
        if let Some(sticky) = &self.sticky {
            sticky.know(&all);
        }
        self.rebuild(&all);
        true
    }

    /// Takes the outcome of a health check of the endpoint at `address`; says whether it turned the
    /// endpoint's state. Without health settings, or for an address that left meanwhile, it does
    /// nothing.
    pub fn observe(
        &self,
        address: SocketAddr,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Transition> {
        let check = self.health.as_ref()?;
        let members = self.members.load();
        let place = members.place(address)?;
        let endpoint = members.all.get(place)?;
        let transition = endpoint.observe(outcome, check.thresholds, now);
        // Another pool over the same endpoints, of an older snapshot, may have seen the turn.
        if members.is_stale(place) {
            self.rebuild_after_check(now);
        }
        transition
    }

    /// Builds the members anew, but not more often than a large pool can afford: until then picks
    /// skip the unhealthy, and one of the many checks to come makes up for it.
    fn rebuild_after_check(&self, now: Instant) {
        let mut changes = self.changes.lock();
        let all = self.endpoints();
        let pause = Duration::from_micros(20 * all.len() as u64);
        let soon = |last: Instant| now.saturating_duration_since(last) < pause;
        if all.len() > UNPACED && changes.rebuilt.is_some_and(soon) {
            return;
        }
        changes.rebuilt = Some(now);
        self.rebuild(&all);
    }

    /// Call it with `changes` locked.
    fn rebuild(&self, all: &Arc<[Arc<Endpoint>]>) {
        let members = Members::new(Arc::clone(all), &self.settings.balance);
        self.members.store(Arc::new(members));
    }
}

/// Pools up to this size are rebuilt at each turn of an endpoint's health.
const UNPACED: usize = 256;

/// The endpoints at one time, and the balancer over those that were available then.
#[derive(Debug)]
struct Members {
    all: Arc<[Arc<Endpoint>]>,
    /// For each of `all`, by address: its place, for [`Self::place`].
    by_address: rustc_hash::FxHashMap<SocketAddr, usize>,
    /// For each of `all`: whether it is in `available`.
    included: Box<[bool]>,
    available: Box<[Arc<Endpoint>]>,
    balancer: Box<dyn Balancer>,
}

impl Members {
    fn new(all: Arc<[Arc<Endpoint>]>, balance: &Balance) -> Self {
        let by_address = all.iter().enumerate().map(|(at, e)| (e.address(), at)).collect();
        let included: Box<[bool]> = all.iter().map(|endpoint| endpoint.is_available()).collect();
        let available: Box<[_]> = all
            .iter()
            .zip(&included)
            .filter(|(_, included)| **included)
            .map(|(endpoint, _)| Arc::clone(endpoint))
            .collect();
        let weights: Vec<u32> =
            available.iter().map(|endpoint| endpoint.weight().saturating_mul(WEIGHT_ONE)).collect();
        let known = all.len();
        let candidates = Candidates { endpoints: &available, weights: &weights, balance, known };
        let balancer = (balance.algorithm().build)(&candidates);
        Self { all, by_address, included, available, balancer }
    }

    fn place(&self, address: SocketAddr) -> Option<usize> {
        self.by_address.get(&address).copied()
    }

    fn is_stale(&self, place: usize) -> bool {
        let available = self.all.get(place).map(|endpoint| endpoint.is_available());
        available != self.included.get(place).copied()
    }

    /// The endpoint at `address`, if it can serve and was not tried.
    fn bound(&self, address: SocketAddr, tried: &[SocketAddr]) -> Option<&Arc<Endpoint>> {
        let endpoint = self.all.get(self.place(address)?)?;
        (endpoint.is_available() && !tried.contains(&address)).then_some(endpoint)
    }

    /// The balancer's choice. Should it find none (the health of many turned a moment ago, or the
    /// others were tried), any other; and then one that was tried.
    fn pick(&self, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        if let Some(index) = self.balancer.pick(choice) {
            return self.available.get(index);
        }
        let untried = |endpoint: &&Arc<Endpoint>| !choice.tried.contains(&endpoint.address());
        self.scan(choice.random, untried).or_else(|| self.scan(choice.random, |_| true))
    }

    /// The first that is available and wanted, from a random start.
    fn scan(
        &self,
        random: u64,
        wanted: impl Fn(&&Arc<Endpoint>) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        let (before, after) = self.all.split_at_checked(below(random, self.all.len()))?;
        after.iter().chain(before).find(|endpoint| endpoint.is_available() && wanted(endpoint))
    }

    /// The endpoints at `places`, with the state of those that are here already.
    fn carry(&self, places: Vec<Place>, checked: bool) -> Arc<[Arc<Endpoint>]> {
        places
            .into_iter()
            .map(|place| {
                let previous = self.place(place.address).and_then(|at| self.all.get(at));
                Endpoint::carried(place, checked, previous)
            })
            .collect()
    }
}

/// The fixed places, then those of each name; an address that comes twice counts once.
fn places(fixed: &[Place], names: &[ResolvedName], resolved: &[Vec<IpAddr>]) -> Vec<Place> {
    let mut seen = rustc_hash::FxHashSet::default();
    let from_names = names.iter().zip(resolved).flat_map(|(name, addresses)| {
        addresses.iter().map(|ip| Place {
            address: SocketAddr::new(*ip, name.port),
            host: Some(Arc::clone(&name.host)),
            weight: name.weight,
        })
    });
    fixed.iter().cloned().chain(from_names).filter(|place| seen.insert(place.address)).collect()
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
