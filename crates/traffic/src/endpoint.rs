//! One endpoint of a pool and what is known about it. Its state is shared by every pool that was
//! compiled from the same upstream, so that a reload loses neither health nor counts.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::algorithms::Cost;
use crate::health::{Outcome, Thresholds, Tracker, Transition};

/// One endpoint as its pool is configured. Immutable but for the shared state.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    host: Option<Arc<str>>,
    weight: u32,
    checked: bool,
    state: Arc<State>,
}

/// What outlives a reload.
#[derive(Debug)]
struct State {
    healthy: AtomicBool,
    in_flight: AtomicU32,
    picks: AtomicU64,
    failures: AtomicU64,
    cost: Cost,
    tracker: Mutex<Tracker>,
}

impl Endpoint {
    /// An endpoint at `address`. `checked` says whether health checks decide about it; without
    /// them it always counts as healthy. The state is taken from `previous`, and the very same
    /// endpoint is returned if nothing about it changed.
    pub(crate) fn carried(place: Place, checked: bool, previous: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(same) = previous.filter(|endpoint| endpoint.is(&place, checked)) {
            return Arc::clone(same);
        }
        let state = previous.map_or_else(|| Arc::new(State::new()), |old| Arc::clone(&old.state));
        let Place { address, host, weight } = place;
        Arc::new(Self { address, host, weight, checked, state })
    }

    fn is(&self, place: &Place, checked: bool) -> bool {
        self.address == place.address
            && self.host == place.host
            && self.weight == place.weight
            && self.checked == checked
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name that resolved to this address, if it was configured by name.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Its share of the load, relative to the others; 0 if it is drained.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Whether it counts as healthy. Before the first check it does.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.checked || self.state.healthy.load(Ordering::Relaxed)
    }

    /// Whether new requests may go to it: healthy and not drained.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.weight > 0 && self.is_healthy()
    }

    /// Requests that are on it now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.state.in_flight.load(Ordering::Relaxed)
    }

    /// How often it was picked since it became known.
    #[must_use]
    pub fn picks(&self) -> u64 {
        self.state.picks.load(Ordering::Relaxed)
    }

    /// How often it failed a request since it became known, as told by [`Self::record_failure`].
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::Relaxed)
    }

    /// Counts a request that it failed: no connection, a reset, no answer in time.
    pub fn record_failure(&self) {
        self.state.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What it takes to answer in microseconds, as far as `peak_ewma` cares: see
    /// [`Self::record_latency`]. `None` before the first answer.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Option<f32> {
        self.state.cost.micros(now)
    }

    /// Takes the time that it took from a request sent to the head of the response, or to the
    /// failure. Lock-free; call it once per attempt.
    pub fn record_latency(&self, latency: Duration, failed: bool, now: Instant) {
        self.state.cost.record(latency, failed, now);
    }

    /// What its health checks found, for the admin API.
    #[must_use]
    pub fn tracker(&self) -> Tracker {
        self.state.tracker.lock().clone()
    }

    /// Takes one check's outcome.
    pub(crate) fn observe(
        &self,
        outcome: Outcome,
        thresholds: Thresholds,
        now: Instant,
    ) -> Option<Transition> {
        let mut tracker = self.state.tracker.lock();
        let transition = tracker.observe(outcome, thresholds, now);
        self.state.healthy.store(tracker.is_healthy(), Ordering::Relaxed);
        transition
    }
}

impl State {
    fn new() -> Self {
        Self {
            healthy: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            picks: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cost: Cost::new(),
            tracker: Mutex::new(Tracker::new()),
        }
    }
}

/// What the configuration and the resolver say about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) weight: u32,
}

/// The right to send one request to an endpoint, which counts as in flight until this is dropped.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    /// The pool's own count of requests in flight.
    total: Arc<AtomicU64>,
}

impl Lease {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, total: &Arc<AtomicU64>) -> Self {
        total.fetch_add(1, Ordering::Relaxed);
        endpoint.state.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.state.picks.fetch_add(1, Ordering::Relaxed);
        Self { endpoint: Arc::clone(endpoint), total: Arc::clone(total) }
    }

    /// The endpoint, to keep beyond the request.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Deref for Lease {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        self.endpoint.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
