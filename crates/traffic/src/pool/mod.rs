//! A pool: the endpoints of one upstream, which of them are available, and which is next.
//!
//! Requests read one immutable [`Members`] through an `ArcSwap`; whatever changes it (the resolver,
//! a health check, an ejection, the growing weight of a new endpoint) builds the next one aside,
//! under a lock that requests never see. The endpoints' own state is carried over reloads by
//! address, the pool's by name.

mod compile;
mod members;
mod tend;
mod weigh;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tidegate_core::Request;

use self::members::Members;
pub use self::tend::Event;
use crate::algorithms::Choice;
use crate::breaker::{Breaker, BreakerState, Pass};
use crate::endpoint::{Endpoint, Lease, Place};
use crate::health::{HealthCheck, Outcome, Transition};
use crate::outlier::Answer;
use crate::settings::UpstreamSettings;
use crate::sticky::Sticky;
use crate::zones::Locality;

/// The endpoints of one upstream.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    settings: UpstreamSettings,
    here: Locality,
    health: Option<HealthCheck>,
    sticky: Option<Sticky>,
    fixed: Box<[Place]>,
    names: Box<[ResolvedName]>,
    members: ArcSwap<Members>,
    shared: Arc<Shared>,
    changes: Mutex<Changes>,
}

/// What all pools share that were compiled from upstreams of one name, before and after reloads.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    turns: AtomicU64,
    /// Requests on all endpoints together.
    pub(crate) in_flight: AtomicU64,
    /// Those of them that wait for the head of their response.
    pub(crate) pending: AtomicU64,
    pub(crate) breaker: Breaker,
    isolated: Mutex<FxHashMap<Box<str>, Isolation>>,
}

impl Shared {
    /// The zones that are out, by hand or since too much of them failed.
    fn zones_out(&self) -> Vec<Box<str>> {
        let isolated = self.isolated.lock();
        let mut out: Vec<Box<str>> = isolated
            .iter()
            .filter(|(_, isolation)| isolation.is_out())
            .map(|(zone, _)| zone.clone())
            .collect();
        out.sort_unstable();
        out
    }
}

/// Why a zone is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Isolation {
    /// Somebody said so.
    by_hand: bool,
    /// Too many of its endpoints could not serve.
    until: Option<Instant>,
}

impl Isolation {
    const fn is_out(self) -> bool {
        self.by_hand || self.until.is_some()
    }
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

/// Why no endpoint was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPick {
    /// The breaker is open; it may change after so long.
    BreakerOpen(Duration),
    /// As much as the limits allow is on the pool, or on each of its endpoints.
    Full,
    /// No endpoint can serve.
    NoEndpoint,
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
    /// Where its endpoints run.
    pub locality: Locality,
    /// Their level of priority.
    pub priority: u8,
    /// Whether the settings take their zone out.
    pub(crate) closed: bool,
}

/// What only those touch who change the members.
#[derive(Debug, Default)]
struct Changes {
    /// What each name resolves to, in the order of [`Pool::names`].
    resolved: Vec<Vec<IpAddr>>,
    /// When the members were built last because of a health check.
    rebuilt: Option<Instant>,
    /// When the rates of endpoints were compared last.
    swept: Option<Instant>,
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

    /// Where this process runs, as it was compiled for.
    #[must_use]
    pub fn here(&self) -> &Locality {
        &self.here
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
        self.members.load().all.iter().any(|endpoint| endpoint.is_available())
    }

    /// Whether so few can serve that requests go to all.
    #[must_use]
    pub fn is_in_panic(&self) -> bool {
        self.members.load().panic
    }

    /// Requests on all endpoints together.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// The state of its breaker; closed if it has none.
    #[must_use]
    pub fn breaker(&self, now: Instant) -> BreakerState {
        self.shared.breaker.state(millis(now))
    }

    /// The hash of the request's balancing key; 0 if the algorithm uses none.
    #[must_use]
    pub fn key(&self, request: &Request<'_>) -> u64 {
        self.settings.balance.key(request)
    }

    /// The next endpoint for a request. One that was tried is chosen only if no other is available.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn pick(&self, pick: &Pick<'_>) -> Result<Lease, NoPick> {
        let limits = &self.settings.limits;
        let in_flight = self.shared.in_flight.load(Ordering::Relaxed);
        let full = limits.requests.is_some_and(|most| in_flight >= u64::from(most.get()))
            || limits.pending.is_some_and(|most| {
                self.shared.pending.load(Ordering::Relaxed) >= u64::from(most.get())
            });
        if full {
            return Err(NoPick::Full);
        }
        let members = self.members.load();
        let Pick { key, now, prefer, random, tried } = *pick;
        let choice = Choice {
            endpoints: &members.candidates,
            key,
            random,
            now,
            in_flight,
            tried,
            turns: &self.shared.turns,
            panic: members.panic,
            most: limits.endpoint_requests.map_or(u32::MAX, std::num::NonZeroU32::get),
        };
        let bound = prefer.and_then(|address| members.bound(address, &choice));
        let Some(endpoint) = bound.or_else(|| members.pick(&choice)) else {
            let free = Choice { most: u32::MAX, tried: &[], ..choice };
            let full = members.all.iter().any(|endpoint| free.wants(endpoint));
            return Err(if full { NoPick::Full } else { NoPick::NoEndpoint });
        };
        let pass = match &self.settings.breaker {
            None => Pass::Free,
            Some(breaker) => self.shared.breaker.admit(breaker, millis(now)),
        };
        if let Pass::Refused(time) = pass {
            return Err(NoPick::BreakerOpen(time));
        }
        let lease = Lease::new(endpoint, &self.shared);
        let lease = if limits.pending.is_some() { lease.pending() } else { lease };
        Ok(if pass == Pass::Probe { lease.probing() } else { lease })
    }

    /// Takes what became of a try, once per lease: `took` is the time until the head of the
    /// response, or until it failed. Says what followed from it.
    pub fn report(
        &self,
        lease: &Lease,
        answer: Answer,
        took: Duration,
        now: Instant,
    ) -> Option<Event> {
        lease.answered();
        lease.record_latency(took, answer.failed(), now);
        if answer == Answer::None {
            lease.record_failure();
        }
        if answer == Answer::Canceled {
            return None;
        }
        let ejected = self.settings.outlier.as_ref().and_then(|outlier| {
            let cause = lease.record().observe(answer, took, outlier)?;
            self.eject(lease.endpoint(), cause, now)
        });
        let turned = self.settings.breaker.as_ref().and_then(|settings| {
            let (breaker, at) = (&self.shared.breaker, millis(now));
            if lease.take_probe() {
                breaker.probed(answer.failed(), settings, at)
            } else {
                breaker.observe(answer.failed(), settings, at)
            }
        });
        ejected.or(turned.map(Event::Breaker))
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
        let before = self.members.load();
        let (all, new) = before.carry(places, self.health.is_some());
        // The first ones have nobody to lean on.
        if !before.all.is_empty() {
            self.enter(&new);
        }
        if let Some(sticky) = &self.sticky {
            sticky.know(&all);
        }
        self.apply_isolation(&all);
        self.rebuild(&all);
        true
    }

    /// Takes the outcome of a health check of the endpoint at `address`; says whether it turned the
    /// endpoint's state. Without health settings, or for an address that left meanwhile, it does
    /// nothing. A passing check lets an ejected endpoint in again.
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
        let recovered = transition.is_some_and(|turned| turned.healthy);
        let readmitted = outcome == Outcome::Passed && endpoint.is_ejected();
        if readmitted {
            endpoint.record().readmit();
            endpoint.set_ejected(false);
        }
        if recovered || readmitted {
            self.enter(std::slice::from_ref(endpoint));
        }
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

    /// Starts these slowly, if they should.
    fn enter(&self, endpoints: &[Arc<Endpoint>]) {
        for endpoint in endpoints {
            endpoint.enter(self.settings.slow_start.as_ref());
        }
    }

    /// Call it with `changes` locked.
    fn rebuild(&self, all: &Arc<[Arc<Endpoint>]>) {
        self.members.store(Arc::new(Members::new(Arc::clone(all), &self.settings, &self.here)));
    }
}

/// Pools up to this size are rebuilt at each turn of an endpoint's health.
const UNPACED: usize = 256;

/// Milliseconds since some beginning, the same for the whole process.
fn millis(now: Instant) -> u64 {
    static BEGINNING: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let since = now.saturating_duration_since(*BEGINNING.get_or_init(|| now));
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The fixed places, then those of each name; an address that comes twice counts once.
fn places(fixed: &[Place], names: &[ResolvedName], resolved: &[Vec<IpAddr>]) -> Vec<Place> {
    let mut seen = rustc_hash::FxHashSet::default();
    let from_names = names.iter().zip(resolved).flat_map(|(name, addresses)| {
        addresses.iter().map(|ip| Place {
            address: SocketAddr::new(*ip, name.port),
            host: Some(Arc::clone(&name.host)),
            weight: name.weight,
            locality: name.locality.clone(),
            priority: name.priority,
            closed: name.closed,
        })
    });
    fixed.iter().cloned().chain(from_names).filter(|place| seen.insert(place.address)).collect()
}

#[cfg(test)]
mod resilience;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
