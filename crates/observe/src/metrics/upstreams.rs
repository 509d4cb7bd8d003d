//! What is counted for each upstream and each of its endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::Histogram;
use tidegate_core::Event;
use tidegate_core::reason::Fault;

use super::ejections::Ejections;
use super::exemplars::Exemplars;
use super::family::{Count, Families, histogram};
use super::live::OTHER;
use super::retries::RetryCounts;
use super::{InFlight, running};

/// The series of one upstream, resolved when the configuration is compiled.
#[derive(Debug)]
pub struct UpstreamMetrics {
    pub(super) name: Box<str>,
    duration: Histogram,
    exemplars: Exemplars,
    in_flight: Arc<AtomicI64>,
    pub(super) retries: RetryCounts,
    pub(super) ejections: Ejections,
    new_connections: Count,
    reused_connections: Count,
    state: Mutex<UpstreamState>,
    endpoints: ArcSwap<Vec<Arc<EndpointMetrics>>>,
    /// Serialises changes of the list of endpoints.
    changing: Mutex<()>,
}

/// How an upstream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamState {
    /// Endpoints that requests may go to.
    pub available: u32,
    /// Endpoints that outlier detection took out.
    pub ejected: u32,
    /// Endpoints that were taken out by hand or with their zone.
    pub drained: u32,
    /// Whether so few can serve that requests go to all.
    pub panic: bool,
    /// Whether its breaker refuses requests, or lets only probes pass.
    pub broken: bool,
}

/// The series of one endpoint of one upstream.
#[derive(Debug)]
pub struct EndpointMetrics {
    /// `None` stands for all endpoints beyond the cap.
    address: Option<SocketAddr>,
    health: AtomicU8,
    answered: Count,
    canceled: Count,
    failed: Count,
    server_error: Count,
}

/// More endpoints than this share one series for each upstream.
const MAX_ENDPOINTS: usize = 256;

/// From half a millisecond to a minute.
const DURATION_BOUNDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

impl UpstreamMetrics {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            duration: histogram(&DURATION_BOUNDS),
            exemplars: Exemplars::new(&DURATION_BOUNDS),
            in_flight: Arc::default(),
            retries: RetryCounts::default(),
            ejections: Ejections::default(),
            new_connections: Count::default(),
            reused_connections: Count::default(),
            state: Mutex::default(),
            endpoints: ArcSwap::default(),
            changing: Mutex::default(),
        }
    }

    /// The value of the label `upstream`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says which endpoints the upstream has now. Those that it had keep their series, those that
    /// are gone lose them.
    pub fn set_endpoints(&self, addresses: &[SocketAddr]) {
        let _changing = self.changing.lock();
        let old = self.endpoints.load();
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let beyond = wanted.len() > MAX_ENDPOINTS;
        wanted.truncate(MAX_ENDPOINTS);
        let keys = wanted.into_iter().map(Some).chain(beyond.then_some(None));
        let known = |key| find(&old, key).cloned();
        let mut list: Vec<_> = keys
            .map(|key| known(key).unwrap_or_else(|| Arc::new(EndpointMetrics::new(key))))
            .collect();
        list.sort_by_key(|endpoint| endpoint.address);
        self.endpoints.store(Arc::new(list));
    }

    /// The series of an endpoint, made if the upstream was not said to have it: a request may be
    /// quicker than whoever says so. `None` if the upstream has too many to tell them apart, and
    /// nothing stands for the rest yet.
    #[must_use]
    pub fn endpoint(&self, address: SocketAddr) -> Option<Arc<EndpointMetrics>> {
        self.known_endpoint(address).or_else(|| self.add_endpoint(address))
    }

    fn known_endpoint(&self, address: SocketAddr) -> Option<Arc<EndpointMetrics>> {
        let endpoints = self.endpoints.load();
        find(&endpoints, Some(address)).or_else(|| find(&endpoints, None)).cloned()
    }

    fn add_endpoint(&self, address: SocketAddr) -> Option<Arc<EndpointMetrics>> {
        let _changing = self.changing.lock();
        let old = self.endpoints.load();
        let place = match old.binary_search_by(|known| known.address.cmp(&Some(address))) {
            Ok(place) => return old.get(place).cloned(),
            Err(place) if old.len() < MAX_ENDPOINTS => place,
            Err(_) => return None,
        };
        let added = Arc::new(EndpointMetrics::new(Some(address)));
        let mut list = Vec::clone(&old);
        list.insert(place, Arc::clone(&added));
        self.endpoints.store(Arc::new(list));
        Some(added)
    }

    /// Counts a request as running on the upstream until the guard is dropped.
    #[must_use]
    pub fn request_started(&self) -> InFlight {
        InFlight::new(&self.in_flight)
    }

    /// Requests that run on the upstream now.
    #[must_use]
    pub fn running(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Says how many retries run now, and how many there was no budget for so far.
    pub fn set_retries(&self, running: u32, exhausted: u64) {
        self.retries.set(running, exhausted);
    }

    /// Counts an ejection by its cause.
    pub fn ejected(&self, cause: &str) {
        self.ejections.count(cause);
    }

    /// Says how it is.
    pub fn set_state(&self, state: UpstreamState) {
        *self.state.lock() = state;
    }

    pub(super) fn record(&self, event: &Event<'_>) {
        self.retries.record(event);
        if let Some(duration) = event.upstream_duration {
            let seconds = duration.as_secs_f64();
            self.duration.observe(seconds);
            self.exemplars.keep(event, seconds);
        }
        let Some(address) = event.endpoint else { return };
        if event.upstream_status.is_some() {
            let connections = if event.upstream_reused {
                &self.reused_connections
            } else {
                &self.new_connections
            };
            connections.add(1);
        }
        if let Some(endpoint) = self.endpoint(address) {
            endpoint.outcome(event).add(1);
        }
    }
}

/// The list is sorted by address; what stands for the rest is `None` and comes first.
fn find(list: &[Arc<EndpointMetrics>], key: Option<SocketAddr>) -> Option<&Arc<EndpointMetrics>> {
    let at = list.binary_search_by(|endpoint| endpoint.address.cmp(&key)).ok()?;
    list.get(at)
}

const UNKNOWN: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

impl EndpointMetrics {
    fn new(address: Option<SocketAddr>) -> Self {
        Self {
            address,
            health: AtomicU8::new(UNKNOWN),
            answered: Count::default(),
            canceled: Count::default(),
            failed: Count::default(),
            server_error: Count::default(),
        }
    }

    /// Says whether the endpoint takes requests. Without it, no health is shown.
    pub fn set_healthy(&self, healthy: bool) {
        self.health.store(if healthy { HEALTHY } else { UNHEALTHY }, Ordering::Relaxed);
    }

    /// Counts an attempt that failed and is followed by another one. The last attempt of a
    /// request is counted by [`super::Metrics::record`].
    pub fn attempt_failed(&self) {
        self.failed.add(1);
    }

    /// Counts an attempt that was answered with an error and is followed by another one.
    pub fn attempt_answered_badly(&self) {
        self.server_error.add(1);
    }

    fn outcome(&self, event: &Event<'_>) -> &Count {
        let failed = event.reason.is_some_and(|reason| reason.fault() == Fault::Upstream);
        match event.upstream_status {
            _ if failed => &self.failed,
            Some(500..) => &self.server_error,
            Some(_) => &self.answered,
            None => &self.canceled,
        }
    }
}

/// Shows the series of all upstreams.
pub(super) fn show(upstreams: &[Arc<UpstreamMetrics>], families: &mut Families) {
    families.histograms(
        "tidegate_upstream_duration_seconds",
        "Waiting for an upstream: connecting, and until its response header.",
        |family| {
            for upstream in upstreams {
                let labels = [("upstream", &*upstream.name)];
                family.histogram_with(&labels, &upstream.duration, &upstream.exemplars);
            }
        },
    );
    families.gauges(
        "tidegate_upstream_requests_in_flight",
        "Requests that run on an upstream now.",
        |family| {
            for upstream in upstreams {
                family.gauge(&[("upstream", &upstream.name)], running(&upstream.in_flight));
            }
        },
    );
    show_state(upstreams, families);
    super::ejections::show(upstreams, families);
    super::retries::show(upstreams, families);
    families.counters("tidegate_upstream_connection_uses_total", "Answered requests by whether their connection to the upstream was kept from an earlier one.", |family| {
    for upstream in upstreams {
        let name = &*upstream.name;
        for (reused, count) in
            [("false", &upstream.new_connections), ("true", &upstream.reused_connections)]
        {
            family.counter(&[("upstream", name), ("reused", reused)], count.value());
        }
    }
    });
    show_endpoints(upstreams, families);
}

/// A gauge of an upstream's state.
type Gauge = (&'static str, &'static str, fn(UpstreamState) -> u32);

fn show_state(upstreams: &[Arc<UpstreamMetrics>], families: &mut Families) {
    let gauges: [Gauge; 5] = [
        ("tidegate_upstream_endpoints_available", "Endpoints that requests may go to.", |state| {
            state.available
        }),
        (
            "tidegate_upstream_endpoints_ejected",
            "Endpoints that outlier detection took out.",
            |state| state.ejected,
        ),
        (
            "tidegate_upstream_endpoints_drained",
            "Endpoints that were taken out by hand or with their zone.",
            |state| state.drained,
        ),
        (
            "tidegate_upstream_panic",
            "Whether so few endpoints can serve that requests go to all of them.",
            |state| state.panic.into(),
        ),
        (
            "tidegate_upstream_breaker_open",
            "Whether the breaker refuses requests, or lets only probes pass.",
            |state| state.broken.into(),
        ),
    ];
    for (name, help, value) in gauges {
        families.gauges(name, help, |family| {
            for upstream in upstreams {
                let state = *upstream.state.lock();
                family.gauge(&[("upstream", &upstream.name)], f64::from(value(state)));
            }
        });
    }
}

fn show_endpoints(upstreams: &[Arc<UpstreamMetrics>], families: &mut Families) {
    let mut endpoints = Vec::new();
    for upstream in upstreams {
        for endpoint in upstream.endpoints.load().iter() {
            let address = endpoint.address.map_or_else(|| OTHER.to_owned(), |at| at.to_string());
            endpoints.push((&*upstream.name, address, Arc::clone(endpoint)));
        }
    }
    families.gauges(
        "tidegate_upstream_endpoint_healthy",
        "Whether an endpoint takes requests (1) or is out after failed checks (0).",
        |family| {
            for (upstream, address, endpoint) in &endpoints {
                let health = endpoint.health.load(Ordering::Relaxed);
                if health != UNKNOWN {
                    let labels = [("upstream", *upstream), ("endpoint", address)];
                    family.gauge(&labels, f64::from(u8::from(health == HEALTHY)));
                }
            }
        },
    );
    families.counters("tidegate_upstream_requests_total", "Attempts on an endpoint by outcome: answered, server_error (it answered 5xx), failed (no valid answer), canceled (the client left first).", |family| {
    for (upstream, address, endpoint) in &endpoints {
        let mut show = |outcome, count: &Count| {
            let labels = [("upstream", *upstream), ("endpoint", address), ("outcome", outcome)];
            family.counter_if_any(&labels, count.value());
        };
        show("answered", &endpoint.answered);
        show("canceled", &endpoint.canceled);
        show("failed", &endpoint.failed);
        show("server_error", &endpoint.server_error);
    }
    });
}
