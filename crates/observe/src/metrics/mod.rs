//! Prometheus metrics.
//!
//! Whoever compiles a configuration asks for the handles of its routes, upstreams and listeners
//! once; counting a request is then a few atomic additions through them, without look-ups, locks
//! or allocation. Labels are ids of the configuration, reason codes and endpoint addresses, each
//! with a cap: never a path, a host or a client.
//!
//! Adding a family: count it in the struct that it belongs to, and show it in that file's `show`.

mod audit;
mod auth;
mod ejections;
mod enforcement;
mod exemplars;
mod family;
mod listeners;
mod live;
mod notices;
mod open_metrics;
mod process;
mod rate_limits;
mod reloads;
mod retries;
mod routes;
mod sinks;
mod traces;
mod upstreams;
mod waf;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{Encoder, Histogram, TextEncoder};
use tidegate_core::decision::Decision;
use tidegate_core::{Clock, Event, Notice};

pub use self::audit::{AuditAnchor, AuditSample};
use self::auth::Auth;
pub use self::auth::Exchanged;
pub use self::ejections::EJECTION_CAUSES;
use self::enforcement::Enforcement;
pub use self::enforcement::{EnforcementSample, ResponseSample};
use self::exemplars::Exemplars;
use self::family::{Families, Shown, histogram};
use self::listeners::EarlyEnds;
pub use self::listeners::{
    AbortedConnection, ListenerMetrics, OpenConnection, RefusedConnection, TlsFailure,
};
use self::live::Live;
use self::notices::Notices;
pub use self::open_metrics::Exposition;
pub use self::rate_limits::RateLimitTable;
use self::reloads::Reloads;
pub use self::retries::RETRY_REASONS;
pub use self::routes::RouteMetrics;
pub use self::sinks::SinkState;
pub use self::traces::TraceSample;
pub use self::upstreams::{EndpointMetrics, UpstreamMetrics, UpstreamState};
use self::waf::RuleMatches;
use crate::access_log::AccessLogStats;

/// The label value for events without a route. No id looks like it.
const NO_ROUTE: &str = "(none)";

const MAX_ROUTES: usize = 2_000;
const MAX_UPSTREAMS: usize = 1_000;
const MAX_LISTENERS: usize = 1_000;

/// All metrics of one process; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    build: BuildInfo,
    started: SystemTime,
    routes: Live<RouteMetrics>,
    unrouted: Arc<RouteMetrics>,
    upstreams: Live<UpstreamMetrics>,
    listeners: Live<ListenerMetrics>,
    early_ends: EarlyEnds,
    in_flight: Arc<AtomicI64>,
    overhead: Histogram,
    overhead_exemplars: Exemplars,
    waf: RuleMatches,
    waf_shadow: RuleMatches,
    reloads: Reloads,
    notices: Notices,
    enforcement: Enforcement,
    auth: Auth,
    rate_limits: Mutex<Vec<RateLimitTable>>,
    access_log: Arc<AccessLogStats>,
    bans: [AtomicI64; 2],
    audit: Mutex<Option<AuditSample>>,
    sinks: Mutex<Vec<SinkState>>,
    traces: Mutex<Option<TraceSample>>,
}

/// Which program runs.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The version, such as `0.1.0`.
    pub version: &'static str,
    /// The revision of the source that it was built from, or `unknown`.
    pub revision: &'static str,
}

/// From ten microseconds to a second: our own part ought to stay at the lower end.
const OVERHEAD_BOUNDS: [f64; 14] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 1.0,
];

impl Metrics {
    /// Metrics that have counted nothing yet.
    #[must_use]
    pub fn new(build: BuildInfo) -> Self {
        Self {
            inner: Arc::new(Inner {
                build,
                started: Clock::System.wall(),
                routes: Live::new(MAX_ROUTES),
                unrouted: Arc::new(RouteMetrics::new(NO_ROUTE)),
                upstreams: Live::new(MAX_UPSTREAMS),
                listeners: Live::new(MAX_LISTENERS),
                early_ends: EarlyEnds::default(),
                in_flight: Arc::default(),
                overhead: histogram(&OVERHEAD_BOUNDS),
                overhead_exemplars: Exemplars::new(&OVERHEAD_BOUNDS),
                waf: RuleMatches::default(),
                waf_shadow: RuleMatches::default(),
                reloads: Reloads::default(),
                notices: Notices::default(),
                enforcement: Enforcement::default(),
                auth: Auth::default(),
                rate_limits: Mutex::default(),
                access_log: Arc::default(),
                bans: Default::default(),
                audit: Mutex::default(),
                sinks: Mutex::default(),
                traces: Mutex::default(),
            }),
        }
    }

    /// The series of a route, for as long as the handle is kept. The same id gives the same
    /// series while any handle of it lives.
    #[must_use]
    pub fn route(&self, id: &str) -> Arc<RouteMetrics> {
        self.inner.routes.handle(id, RouteMetrics::new)
    }

    /// The series of requests for which no route was found.
    #[must_use]
    pub fn unrouted(&self) -> &Arc<RouteMetrics> {
        &self.inner.unrouted
    }

    /// The series of an upstream, for as long as the handle is kept.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.inner.upstreams.handle(name, UpstreamMetrics::new)
    }

    /// The series of a listener, for as long as the handle is kept.
    #[must_use]
    pub fn listener(&self, address: &str) -> Arc<ListenerMetrics> {
        self.inner.listeners.handle(address, ListenerMetrics::new)
    }

    /// Counts a request that has ended.
    pub fn record(
        &self,
        event: &Event<'_>,
        route: &RouteMetrics,
        upstream: Option<&UpstreamMetrics>,
    ) {
        route.record(event);
        if let Some(upstream) = upstream {
            upstream.record(event);
        }
        if let Some(overhead) = event.overhead {
            let seconds = overhead.as_secs_f64();
            self.inner.overhead.observe(seconds);
            self.inner.overhead_exemplars.keep(event, seconds);
        }
        if let Some(shadow) = event.waf_shadow {
            self.inner.waf_shadow.record(shadow);
        }
        if let Some(waf) = event.waf {
            self.inner.waf.record(waf);
        }
        if let Some(applied) = event.measure {
            self.inner.enforcement.touched(applied);
        }
    }

    /// Counts a request as running until the guard is dropped.
    #[must_use]
    pub fn request_started(&self) -> InFlight {
        InFlight::new(&self.inner.in_flight)
    }

    /// Counts a connection that was closed when it was accepted.
    pub fn connection_refused(&self, reason: RefusedConnection) {
        self.inner.early_ends.refused(reason);
    }

    /// Counts a connection that a deadline or flood limit cut.
    pub fn connection_aborted(&self, reason: AbortedConnection) {
        self.inner.early_ends.aborted(reason);
    }

    /// Counts an attempt to load the configuration: the start, or a reload.
    pub fn config_reloaded(&self, succeeded: bool, at: SystemTime) {
        self.inner.reloads.record(succeeded, at);
    }

    /// Counts what happened beside requests.
    pub fn noticed(&self, notice: &Notice) {
        self.inner.notices.record(notice);
    }

    /// Counts a decision of the response policy.
    pub fn decided(&self, decision: &Decision) {
        self.inner.enforcement.decided(decision);
    }

    /// Counts decisions that found no room to wait for their deed.
    pub fn decisions_dropped(&self, count: u64) {
        self.inner.enforcement.dropped(count);
    }

    /// Counts a question for CrowdSec's decisions.
    pub fn crowdsec_asked(&self, answered: bool) {
        self.inner.enforcement.crowdsec_asked(answered);
    }

    /// Says how enforcement stands; call it before [`Metrics::render`].
    pub fn set_enforcement(&self, sample: EnforcementSample) {
        self.inner.enforcement.set(sample);
    }

    /// Counts a fetch of an issuer's keys.
    pub fn keys_fetched(&self, issuer: &str, succeeded: bool) {
        self.inner.auth.keys_fetched(issuer, succeeded);
    }

    /// Counts a call for a token in exchange for another one.
    pub fn token_exchanged(&self, exchange: &str, result: Exchanged) {
        self.inner.auth.exchanged(exchange, result);
    }

    /// Says how full the rate limits' tables are; call it before [`Metrics::render`].
    pub fn set_rate_limit_tables(&self, tables: Vec<RateLimitTable>) {
        *self.inner.rate_limits.lock() = tables;
    }

    /// Says how many bans were added, and how many lists name; call it before
    /// [`Metrics::render`].
    pub fn set_bans(&self, added: usize, listed: usize) {
        for (gauge, count) in self.inner.bans.iter().zip([added, listed]) {
            gauge.store(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// Says how the sinks are; call it before [`Metrics::render`].
    pub fn set_sinks(&self, sinks: Vec<SinkState>) {
        *self.inner.sinks.lock() = sinks;
    }

    /// Says how the audit log is; call it before [`Metrics::render`].
    pub fn set_audit(&self, sample: AuditSample) {
        *self.inner.audit.lock() = Some(sample);
    }

    /// Which program this is.
    #[must_use]
    pub fn build(&self) -> BuildInfo {
        self.inner.build
    }

    /// Says how the sending of spans is; call it before [`Metrics::render`].
    pub fn set_traces(&self, sample: Option<TraceSample>) {
        *self.inner.traces.lock() = sample;
    }

    /// Where the access log counts.
    #[must_use]
    pub fn access_log_stats(&self) -> Arc<AccessLogStats> {
        Arc::clone(&self.inner.access_log)
    }

    /// Everything, as the scraper wants it; only OpenMetrics has exemplars.
    #[must_use]
    pub fn render(&self, exposition: Exposition) -> Vec<u8> {
        let mut families = Families::default();
        self.inner.show(&mut families);
        let families = families.into_sorted();
        if exposition == Exposition::OpenMetrics {
            return open_metrics::write(&families).into();
        }
        let mut text = Vec::new();
        for Shown { family, .. } in families {
            // Writing to memory does not fail, and families without a sample are left out.
            let shown = TextEncoder::new().encode(&[family], &mut text);
            debug_assert!(shown.is_ok(), "{shown:?}");
        }
        text
    }
}

impl Inner {
    fn show(&self, families: &mut Families) {
        let mut all_routes = self.routes.all();
        all_routes.push(Arc::clone(&self.unrouted));
        routes::show(&all_routes, families);
        upstreams::show(&self.upstreams.all(), families);
        listeners::show(&self.listeners.all(), families);
        self.early_ends.show(families);
        self.waf.show(waf::LIVE, families);
        self.waf_shadow.show(waf::SHADOW, families);
        self.reloads.show(families);
        self.notices.show(families);
        self.enforcement.show(families);
        self.auth.show(families);
        self.show_access_log(families);
        families.gauges("tidegate_bans", "Bans in force, by where they come from.", |family| {
            for (gauge, origin) in self.bans.iter().zip(["added", "list"]) {
                family.gauge(&[("origin", origin)], running(gauge));
            }
        });
        sinks::show(&self.sinks.lock(), families);
        if let Some(sample) = &*self.audit.lock() {
            audit::show(sample, families);
        }
        let spans = *self.traces.lock();
        if let Some(sample) = &spans {
            traces::show(sample, families);
        }
        rate_limits::show(&self.rate_limits.lock(), families);
        process::show(self.started, families);
        families.gauges("tidegate_build_info", "Which program runs; always 1.", |family| {
            let build = [("version", self.build.version), ("revision", self.build.revision)];
            family.gauge(&build, 1.0);
        });
        families.gauge(
            "tidegate_requests_in_flight",
            "Requests that run now.",
            running(&self.in_flight),
        );
        families.histograms(
            "tidegate_gateway_overhead_seconds",
            "Our own part of a request: reading, deciding and answering, without waiting for others.",
            |family| family.histogram_with(&[], &self.overhead, &self.overhead_exemplars),
        );
    }

    fn show_access_log(&self, families: &mut Families) {
        let stats = &self.access_log;
        let counters = [
            ("tidegate_access_log_lines_total", "Lines given to the access log.", stats.lines()),
            (
                "tidegate_access_log_dropped_total",
                "Access log lines that were lost: the buffer was full, or writing failed.",
                stats.dropped(),
            ),
            (
                "tidegate_access_log_write_errors_total",
                "Failed attempts to write to the access log.",
                stats.write_errors(),
            ),
        ];
        for (name, help, value) in counters {
            families.counter(name, help, value);
        }
    }
}

/// A running request, counted until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    running: Arc<AtomicI64>,
}

impl InFlight {
    fn new(running: &Arc<AtomicI64>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self { running: Arc::clone(running) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A gauge of things that run now.
fn running(count: &AtomicI64) -> f64 {
    f64::from(i32::try_from(count.load(Ordering::Relaxed)).unwrap_or(i32::MAX))
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64().trunc())
}

#[cfg(test)]
mod tests;
