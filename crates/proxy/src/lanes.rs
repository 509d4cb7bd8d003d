//! What a route's requests need beside the route itself: the handles of its metrics and of its
//! upstream's connections, looked up once per configuration rather than once per request.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tidegate_core::SettingsError;
use tidegate_engine::Snapshot;
use tidegate_engine::snapshot::{Action, Route};
use tidegate_observe::{Metrics, RouteMetrics, UpstreamMetrics, UpstreamState};
use tidegate_traffic::breaker::BreakerState;
use tidegate_traffic::retry::RetryBudget;
use tidegate_traffic::{Endpoint, Pool};

use crate::upstream_peer::Dialer;

/// One route's handles.
pub(crate) struct Lane {
    pub(crate) metrics: Arc<RouteMetrics>,
    /// The sides of the route's split, or its only upstream; none for a redirect.
    upstreams: Box<[Arc<Upstream>]>,
}

impl Lane {
    /// The upstream of a side; without one, the only upstream.
    pub(crate) fn upstream(&self, side: Option<usize>) -> Option<&Arc<Upstream>> {
        match (side, &*self.upstreams) {
            (Some(side), all) => all.get(side),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// One upstream's handles.
pub(crate) struct Upstream {
    pub(crate) pool: Arc<Pool>,
    pub(crate) dialer: Dialer,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    /// Outlives reloads, as the retries that it counts do.
    pub(crate) budget: Arc<RetryBudget>,
}

/// The handles of all routes.
pub(crate) struct Lanes {
    by_route: FxHashMap<Box<str>, Arc<Lane>>,
    upstreams: FxHashMap<String, Arc<Upstream>>,
}

impl Lanes {
    /// Loads the upstreams' TLS material and takes the metrics' handles.
    ///
    /// # Errors
    /// Every file that cannot be used, with its path in the configuration.
    pub(crate) fn prepare(
        snapshot: &Snapshot,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut upstreams = FxHashMap::default();
        for (name, pool) in snapshot.pools() {
            match Dialer::load(name, pool.settings()) {
                Ok(dialer) => {
                    let metrics = metrics.upstream(name);
                    let before = previous.and_then(|lanes| lanes.upstream(name));
                    let budget = before.map_or_else(Arc::default, |old| Arc::clone(&old.budget));
                    let upstream = Upstream { pool: Arc::clone(pool), dialer, metrics, budget };
                    upstream.show_endpoints();
                    upstreams.insert(name.clone(), Arc::new(upstream));
                }
                Err(found) => {
                    errors.extend(found.into_iter().map(|error| error.under(["upstreams", name])));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let lane = |route: &Arc<Route>| {
            let pools = match &route.action {
                Action::Proxy { to, .. } => to.pools(),
                Action::Redirect(_) => &[],
            };
            let sides = pools.iter().filter_map(|pool| upstreams.get(pool.name()).cloned());
            let lane = Lane { metrics: metrics.route(&route.id), upstreams: sides.collect() };
            (route.id.clone(), Arc::new(lane))
        };
        Ok(Self { by_route: snapshot.routes().iter().map(lane).collect(), upstreams })
    }

    pub(crate) fn of(&self, route: &Route) -> Option<&Arc<Lane>> {
        self.by_route.get(&route.id)
    }

    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(name)
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }
}

impl Upstream {
    /// Tells the metrics how it is as a whole.
    pub(crate) fn show_state(&self, now: Instant) {
        let endpoints = self.pool.endpoints();
        let count = |wanted: fn(&Endpoint) -> bool| {
            let count = endpoints.iter().filter(|endpoint| wanted(endpoint)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        self.metrics.set_state(UpstreamState {
            available: count(Endpoint::is_available),
            ejected: count(Endpoint::is_ejected),
            drained: count(|endpoint| endpoint.is_drained() || endpoint.is_isolated()),
            panic: self.pool.is_in_panic(),
            broken: self.pool.breaker(now) != BreakerState::Closed,
        });
    }

    /// Tells the metrics which endpoints there are and how they are.
    pub(crate) fn show_endpoints(&self) {
        let endpoints = self.pool.endpoints();
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address()).collect();
        self.metrics.set_endpoints(&addresses);
        self.metrics.set_retries(self.budget.running(), self.budget.refused());
        for endpoint in endpoints.iter() {
            if let Some(metrics) = self.metrics.endpoint(endpoint.address()) {
                metrics.set_healthy(endpoint.is_healthy());
            }
        }
    }
}
