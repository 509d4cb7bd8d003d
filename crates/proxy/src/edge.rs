//! What every connection shares: the configuration in force, the counters, the log, the state of
//! the process. A reload replaces [`Live`] as a whole; the rest outlives it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tidegate_core::event::Event;
use tidegate_core::h2_guard::FrameLimits;
use tidegate_core::reading::{ReadingRules, lenient};
use tidegate_core::{Clock, Denial, SettingsError};
use tidegate_engine::Snapshot;
use tidegate_engine::pipeline::Found;
use tidegate_engine::settings::LimitsSettings;
use tidegate_guard::{ConnectionCounts, ConnectionLimits, InForce, RateLimit};
use tidegate_observe::{AccessLog, EnforcementSample, Exposition, Metrics, RateLimitTable};
use tidegate_siem::{Sinks, Traces};
use tidegate_traffic::random;
use tokio::sync::Notify;

use crate::audit::{self, Auditor, Trail};
use crate::auth::{AuthServices, Trusts};
use crate::bans::{self, BanFile};
use crate::client_stream::ClientStream;
use crate::connection::Connection;
use crate::enforcement::carry_out::{Decided, Waiting};
use crate::enforcement::hold::{applied, blocked};
use crate::enforcement::own;
use crate::enforcement::panic::Switch;
use crate::held::HeldBytes;
use crate::lanes::Lanes;
use crate::lookout::Lookout;
use crate::outbound::Outbound;
use crate::refused;
use crate::request_id::RequestId;
use crate::respond;
use crate::trace;

/// The configuration in force, with what this crate makes of it.
pub(crate) struct Live {
    pub(crate) snapshot: Snapshot,
    pub(crate) lanes: Lanes,
    pub(crate) rules: ReadingRules,
    pub(crate) trusts: Trusts,
}

/// What every connection shares.
pub(crate) struct Edge {
    live: ArcSwap<Live>,
    metrics: Metrics,
    access_log: AccessLog,
    audit: Option<Arc<Auditor>>,
    ban_file: BanFile,
    decided: Decided,
    panic: Switch,
    connections: ConnectionCounts,
    held_bytes: Arc<HeldBytes>,
    clock: Clock,
    auth: AuthServices,
    sinks: OnceLock<Sinks>,
    traces: Traces,
    lookout: Lookout,
    ready: AtomicBool,
    draining: AtomicBool,
    drain_begins: Notify,
}

impl Live {
    /// Prepares a snapshot for traffic.
    ///
    /// # Errors
    /// Every file that cannot be used, with its path in the configuration.
    pub(crate) fn prepare(
        snapshot: Snapshot,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let lanes = Lanes::prepare(&snapshot, metrics, previous.map(|live| &live.lanes))?;
        let rules = snapshot.settings().reading_rules();
        let trusts = Trusts::load(&snapshot)?;
        Ok(Self { snapshot, lanes, rules, trusts })
    }
}

impl Edge {
    /// # Errors
    /// The file of bans is there and cannot be read.
    pub(crate) fn new(
        live: Live,
        metrics: Metrics,
        access_log: AccessLog,
        audit: Option<Auditor>,
        clock: Clock,
    ) -> io::Result<(Self, Waiting)> {
        let settings = live.snapshot.settings();
        let connections = ConnectionCounts::new(connection_limits(&settings.limits));
        let held_bytes = Arc::new(HeldBytes::new(settings.limits.held_bodies.as_usize()));
        let node = crate::sinks::node(metrics.build());
        let traces = Traces::new(node, Arc::new(Outbound::new()), random::next);
        traces.apply(settings.tracing.as_ref());
        let now = bans::now(&clock);
        live.snapshot.enforce_bans(&own::addresses(), now);
        let ban_file = BanFile::open(settings.bans.file.as_deref(), live.snapshot.bans(), now)?;
        let (decided, waiting) = Decided::new();
        let edge = Self {
            live: ArcSwap::from_pointee(live),
            metrics,
            access_log,
            audit: audit.map(Arc::new),
            ban_file,
            decided,
            panic: Switch::default(),
            connections,
            held_bytes,
            clock,
            auth: AuthServices::new(),
            sinks: OnceLock::new(),
            traces,
            lookout: Lookout::default(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drain_begins: Notify::new(),
        };
        Ok((edge, waiting))
    }

    /// The configuration in force.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts another configuration in force; requests that run keep theirs.
    pub(crate) fn replace(&self, live: Live) {
        let limits = &live.snapshot.settings().limits;
        self.connections.set_limits(connection_limits(limits));
        self.held_bytes.set_limit(limits.held_bodies.as_usize());
        live.snapshot.enforce_bans(&own::addresses(), bans::now(&self.clock));
        if let (Some(auditor), Some(settings)) = (self.audit(), &live.snapshot.settings().audit) {
            auditor.apply(settings);
        }
        if let Some(sinks) = self.sinks() {
            sinks.apply(live.snapshot.sinks());
        }
        self.traces.apply(live.snapshot.settings().tracing.as_ref());
        self.live.store(Arc::new(live));
    }

    pub(crate) fn limits(&self) -> LimitsSettings {
        self.live.load().snapshot.settings().limits.clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The audit log, if there is one.
    pub(crate) fn audit(&self) -> Option<&Auditor> {
        self.audit.as_deref()
    }

    /// The same, for tasks that outlive their caller.
    pub(crate) fn audit_handle(&self) -> Option<Arc<Auditor>> {
        self.audit.clone()
    }

    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    pub(crate) fn ban_file(&self) -> &BanFile {
        &self.ban_file
    }

    /// Where decisions wait for their deed.
    pub(crate) fn decided(&self) -> &Decided {
        &self.decided
    }

    pub(crate) fn panic_switch(&self) -> &Switch {
        &self.panic
    }

    pub(crate) fn connections(&self) -> &ConnectionCounts {
        &self.connections
    }

    /// The room for bodies that are held in memory.
    pub(crate) fn held_bytes(&self) -> &Arc<HeldBytes> {
        &self.held_bytes
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What checks of identities need from elsewhere.
    pub(crate) fn auth(&self) -> &AuthServices {
        &self.auth
    }

    /// The sinks, once they are started.
    pub(crate) fn sinks(&self) -> Option<&Sinks> {
        self.sinks.get()
    }

    /// Keeps the sinks; they are started once. Whether this was the first time.
    pub(crate) fn set_sinks(&self, sinks: Sinks) -> bool {
        self.sinks.set(sinks).is_ok()
    }

    /// Where spans go.
    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// What goes on and is not told each time.
    pub(crate) fn lookout(&self) -> &Lookout {
        &self.lookout
    }

    /// Whether new traffic should come here.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether connections close after the response that they are working on.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.drain_begins.notify_waiters();
    }

    /// Waits until connections are to close.
    pub(crate) async fn drains(&self) {
        // Before the look, so that it cannot begin unnoticed between the two.
        let begins = self.drain_begins.notified();
        if !self.draining.load(Ordering::SeqCst) {
            begins.await;
        }
    }

    /// The limits on floods of HTTP/2 frames.
    pub(crate) fn frame_limits(&self) -> FrameLimits {
        let live = self.live.load();
        let limits = &live.snapshot.settings().limits;
        FrameLimits {
            resets: limits.h2_resets,
            control_frames: limits.h2_control_frames,
            ..FrameLimits::default()
        }
    }

    /// The metrics page, with the tables that are only looked at now.
    pub(crate) fn render_metrics(&self, exposition: Exposition) -> Vec<u8> {
        let live = self.live.load();
        let now = self.clock.now();
        let table = |limit: &Arc<RateLimit>| {
            let stats = limit.stats(now);
            RateLimitTable {
                limit: limit.id().to_owned(),
                keys_in_use: stats.keys_in_use,
                max_keys: stats.max_keys,
                evictions: stats.evictions,
                overflows: stats.overflows,
            }
        };
        self.metrics.set_rate_limit_tables(live.snapshot.rate_limits().map(table).collect());
        let bans = live.snapshot.bans().stats();
        self.metrics.set_bans(bans.added, bans.listed);
        self.metrics.set_enforcement(EnforcementSample {
            measures: bans.measures,
            held: live.snapshot.enforcement().held(),
            panic: live.snapshot.bans().is_suspended(),
            response: self.response_sample(),
        });
        if let Some(auditor) = self.audit() {
            self.metrics.set_audit(auditor.sample(self.clock.wall()));
        }
        self.metrics.set_sinks(self.sink_states());
        self.metrics.set_traces(trace::sample(&self.traces, &live.snapshot));
        for upstream in live.lanes.upstreams() {
            upstream.show_endpoints();
            upstream.show_state(self.clock.now());
        }
        self.metrics.render(exposition)
    }

    /// Answers a request whose head could not be read, closes, and records it. Whoever is banned
    /// costs no look of the firewall.
    pub(crate) async fn refuse_unread(&self, stream: ClientStream, denial: Denial) {
        let request_id = RequestId::new();
        let connection = stream.connection().clone();
        let live = self.live();
        let ban = blocked(&live.snapshot, connection.peer.ip(), self.clock.now());
        let denial = ban.as_ref().map_or(denial, InForce::denial);
        let answer = respond::unread(&denial, request_id.as_str());
        let head = lenient(stream.received());
        let found = head.as_ref().filter(|_| ban.is_none()).and_then(|head| {
            refused::look_at_wire(self, &live.snapshot, &connection, &request_id, head)
        });
        let unread = Unread { headers: head.as_ref().map(|head| &head.parts.headers), found, ban };
        self.record_unread(&connection, &denial, &request_id, &unread);
        if !stream.is_foreign() {
            stream.answer_and_close(&answer).await;
        }
    }

    /// Records a request that ended before its head was read.
    pub(crate) fn record_unread(
        &self,
        connection: &Connection,
        denial: &Denial,
        request_id: &RequestId,
        unread: &Unread<'_>,
    ) {
        let live = self.live();
        let found = unread.found.as_ref();
        let lane = found.and_then(|found| live.lanes.of(&found.route));
        let route = lane.map_or_else(|| self.metrics.unrouted(), |lane| &lane.metrics);
        let place = live.snapshot.place(connection.peer.ip());
        let event = Event {
            time: self.clock.wall(),
            request_id: request_id.as_str(),
            route: found.map(|found| &*found.route.id),
            status: denial.status.as_u16(),
            reason: Some(denial.reason),
            evidence: denial.evidence.as_deref(),
            waf: found.and_then(|found| found.waf.as_ref()),
            waf_shadow: found.and_then(|found| found.waf_shadow.as_ref()),
            headers: unread.headers,
            measure: unread.ban.as_ref().map(applied),
            country: place.country,
            asn: place.asn,
            ..connection.event()
        };
        self.metrics.record(&event, route, None);
        self.access_log.log(&event);
        self.tell_event(&event);
        audit::end(self, &event, &Trail::default());
        self.respond_to(&event, &live.snapshot);
    }
}

/// What is known of a request whose head could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unread<'a> {
    /// Its fields, as far as they can be made out.
    headers: Option<&'a HeaderMap>,
    /// What the firewall found.
    found: Option<Found>,
    /// The ban that refuses the client whatever it sends.
    ban: Option<InForce>,
}

fn connection_limits(limits: &LimitsSettings) -> ConnectionLimits {
    ConnectionLimits { total: limits.connections, per_client: limits.connections_per_client }
}
