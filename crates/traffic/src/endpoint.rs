//! One endpoint of a pool and what is known about it. Its state is shared by every pool that was
//! compiled from the same upstream, so that a reload loses neither health nor counts.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::algorithms::{Cost, WEIGHT_ONE};
use crate::health::{Outcome, Thresholds, Tracker, Transition};
use crate::outlier::{Ejection, Record};
use crate::pool::Shared;
use crate::slow_start::SlowStartSettings;
use crate::zones::Locality;

/// One endpoint as its pool is configured. Immutable but for the shared state.
#[derive(Debug)]
pub struct Endpoint {
    place: Place,
    checked: bool,
    state: Arc<State>,
}

/// What outlives a reload.
#[derive(Debug)]
struct State {
    /// Why no requests may go to it: [`UNHEALTHY`] and the like.
    down: AtomicU8,
    in_flight: AtomicU32,
    picks: AtomicU64,
    failures: AtomicU64,
    cost: Cost,
    record: Record,
    /// The part of its weight that it has, in units of 1/[`WEIGHT_ONE`].
    factor: AtomicU32,
    entry: Mutex<Entry>,
    tracker: Mutex<Tracker>,
}

/// Its health checks fail.
const UNHEALTHY: u8 = 1;
/// Outlier detection took it out.
const EJECTED: u8 = 1 << 1;
/// Somebody took it out by hand.
const DRAINED: u8 = 1 << 2;
/// Its zone was taken out.
const ISOLATED: u8 = 1 << 3;
/// The response policy took it out, or its zone.
const QUARANTINED: u8 = 1 << 4;

/// How far an endpoint is with its slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// It came or came back, nobody looked at the time since.
    Fresh,
    /// It came then.
    At(Instant),
    /// It has its whole weight.
    Over,
}

impl Endpoint {
    /// An endpoint at `place`. `checked` says whether health checks decide about it; without
    /// them it always counts as healthy. The state is taken from `previous`, and the very same
    /// endpoint is returned if nothing about it changed.
    pub(crate) fn carried(place: Place, checked: bool, previous: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(same) = previous.filter(|old| old.place == place && old.checked == checked) {
            return Arc::clone(same);
        }
        let state = previous.map_or_else(|| Arc::new(State::new()), |old| Arc::clone(&old.state));
        Arc::new(Self { place, checked, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// The name that resolved to this address, if it was configured by name.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.place.host.as_deref()
    }

    /// Its share of the load, relative to the others; 0 if it is drained.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.place.weight
    }

    /// Where it runs.
    #[must_use]
    pub fn locality(&self) -> &Locality {
        &self.place.locality
    }

    /// Its level of priority; 0 goes first.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.place.priority
    }

    /// Whether it counts as healthy. Before the first check it does.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.checked || self.down() & UNHEALTHY == 0
    }

    /// Whether outlier detection took it out.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.down() & EJECTED != 0
    }

    /// Whether nobody took it out, by weight 0, by hand or with its zone.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.takes_load() && self.down() & (DRAINED | ISOLATED) == 0
    }

    /// Whether it would get requests if it could serve and its zone were not taken out.
    #[must_use]
    pub(crate) fn is_wanted(&self) -> bool {
        self.takes_load() && !self.is_drained()
    }

    /// Whether it was taken out by hand while the process runs.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.down() & DRAINED != 0
    }

    /// Whether its zone was taken out.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.place.closed || self.down() & ISOLATED != 0
    }

    /// Whether the response policy took it out. As with an ejection, it gets requests all the same
    /// when too few others can serve.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.down() & QUARANTINED != 0
    }

    /// Whether it can serve: healthy, and neither ejected nor quarantined.
    #[must_use]
    pub fn is_able(&self) -> bool {
        self.is_healthy() && !self.is_ejected() && !self.is_quarantined()
    }

    /// Whether new requests may go to it: it is open and able.
    #[must_use]
    pub fn is_available(&self) -> bool {
        let ignored = if self.checked { 0 } else { UNHEALTHY };
        self.takes_load() && self.down() & !ignored == 0
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

    /// The part of its weight that slow start gives it now, in thousandths.
    #[must_use]
    pub fn warmth(&self) -> u32 {
        self.state.factor.load(Ordering::Relaxed)
    }

    /// Its ejections so far.
    #[must_use]
    pub fn ejection(&self) -> Ejection {
        self.state.record.ejection()
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
        if let Some(turned) = transition {
            self.set_down(UNHEALTHY, !turned.healthy);
        }
        transition
    }

    /// What it did lately.
    pub(crate) fn record(&self) -> &Record {
        &self.state.record
    }

    pub(crate) fn set_ejected(&self, ejected: bool) {
        self.set_down(EJECTED, ejected);
    }

    pub(crate) fn set_drained(&self, drained: bool) -> bool {
        self.set_down(DRAINED, drained)
    }

    pub(crate) fn set_quarantined(&self, quarantined: bool) -> bool {
        self.set_down(QUARANTINED, quarantined)
    }

    pub(crate) fn set_isolated(&self, isolated: bool) -> bool {
        self.set_down(ISOLATED, isolated)
    }

    /// It came, or came back: its weight starts low.
    pub(crate) fn enter(&self, slow_start: Option<&SlowStartSettings>) {
        if let Some(settings) = slow_start {
            *self.state.entry.lock() = Entry::Fresh;
            self.state.factor.store(settings.factor(Duration::ZERO), Ordering::Relaxed);
        }
    }

    /// Lets its weight grow; says whether it changed.
    pub(crate) fn warm(&self, slow_start: Option<&SlowStartSettings>, now: Instant) -> bool {
        let mut entry = self.state.entry.lock();
        let since = match *entry {
            Entry::Over => return false,
            Entry::Fresh => now,
            Entry::At(since) => since,
        };
        let after = now.saturating_duration_since(since);
        let factor = slow_start.map_or(WEIGHT_ONE, |settings| settings.factor(after));
        *entry = if factor == WEIGHT_ONE { Entry::Over } else { Entry::At(since) };
        self.state.factor.swap(factor, Ordering::Relaxed) != factor
    }

    /// Whether the settings want it to have requests.
    fn takes_load(&self) -> bool {
        self.place.weight > 0 && !self.place.closed
    }

    fn down(&self) -> u8 {
        self.state.down.load(Ordering::Relaxed)
    }

    /// Sets or clears a reason; says whether that changed it.
    fn set_down(&self, reason: u8, set: bool) -> bool {
        let before = if set {
            self.state.down.fetch_or(reason, Ordering::Relaxed)
        } else {
            self.state.down.fetch_and(!reason, Ordering::Relaxed)
        };
        (before & reason != 0) != set
    }
}

impl State {
    fn new() -> Self {
        Self {
            down: AtomicU8::new(0),
            in_flight: AtomicU32::new(0),
            picks: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cost: Cost::new(),
            record: Record::default(),
            factor: AtomicU32::new(WEIGHT_ONE),
            entry: Mutex::new(Entry::Over),
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
    pub(crate) locality: Locality,
    pub(crate) priority: u8,
    /// Whether the settings take its zone out.
    pub(crate) closed: bool,
}

#[cfg(test)]
impl Place {
    /// Without name, zone and priority.
    pub(crate) fn at(address: SocketAddr, weight: u32) -> Self {
        let locality = Locality::default();
        Self { address, host: None, weight, locality, priority: 0, closed: false }
    }
}

/// The right to send one request to an endpoint, which counts as in flight until this is dropped.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    /// The pool's own counts.
    shared: Arc<Shared>,
    /// Whether the head of the response is still to come.
    waits: AtomicBool,
    /// Whether it is a probe of the breaker that did not end yet.
    probes: AtomicBool,
}

impl Lease {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.state.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.state.picks.fetch_add(1, Ordering::Relaxed);
        Self {
            endpoint: Arc::clone(endpoint),
            shared: Arc::clone(shared),
            waits: AtomicBool::new(false),
            probes: AtomicBool::new(false),
        }
    }

    /// It counts as pending until it is answered.
    pub(crate) fn pending(mut self) -> Self {
        self.shared.pending.fetch_add(1, Ordering::Relaxed);
        *self.waits.get_mut() = true;
        self
    }

    /// It is a probe of the breaker.
    pub(crate) fn probing(mut self) -> Self {
        *self.probes.get_mut() = true;
        self
    }

    /// The endpoint, to keep beyond the request.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// It waits no longer for the head of the response.
    pub(crate) fn answered(&self) {
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::Relaxed) {
            self.shared.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether it was a probe of the breaker, told once.
    pub(crate) fn take_probe(&self) -> bool {
        self.probes.load(Ordering::Relaxed) && self.probes.swap(false, Ordering::Relaxed)
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
        self.answered();
        if self.take_probe() {
            self.shared.breaker.give_up();
        }
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.endpoint.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
