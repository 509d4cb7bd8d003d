//! A request's place in its trace, and what is measured of it if the trace is recorded.
//!
//! Without `tracing` in the configuration nothing is made or measured, and `traceparent` passes as
//! any other field.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use pingora_error::Result;
use pingora_http::RequestHeader;
use tidegate_core::event::Event;
use tidegate_core::trace::{Outcome, SpanId, Stage, Stages, TraceContext, TrySpan};
use tidegate_engine::Snapshot;
use tidegate_engine::snapshot::Begun;
use tidegate_observe::TraceSample;
use tidegate_siem::{Traced, Traces};
use tidegate_traffic::random;

use crate::attempt::Ended;
use crate::context::Journey;
use crate::edge::Edge;
use crate::hedge::Second;

/// Shorter waits are no stage of their own.
const WORTH_TELLING: std::time::Duration = std::time::Duration::from_micros(20);

/// One request's trace.
#[derive(Default)]
pub(crate) struct Trace {
    begun: Option<Begun>,
    /// What the request says, if nobody traces here.
    passing: Option<TraceContext>,
    /// The request's `tracestate`, if spans are to tell.
    state: Option<Box<str>>,
    /// The present try's span.
    present: Option<SpanId>,
    /// What is measured.
    pub(crate) stages: Stages,
}

impl Trace {
    /// Takes up the trace that the request belongs to, or begins one.
    pub(crate) fn begin(
        edge: &Edge,
        snapshot: &Snapshot,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Self {
        let Some(tracing) = snapshot.tracing() else {
            return Self { passing: TraceContext::received(headers), ..Self::default() };
        };
        let begun = tracing.begin(headers, peer, random::next);
        let mut trace = Self { begun: Some(begun), ..Self::default() };
        if begun.context.is_sampled() && edge.traces().are_sent() {
            trace.stages = Stages::on(edge.clock().clone());
            trace.state = begun.keeps_state.then(|| state(headers)).flatten();
        }
        trace
    }

    /// Tells the request's event which trace it belongs to.
    pub(crate) fn tell<'a>(&'a self, event: &mut Event<'a>) {
        let context = self.begun.as_ref().map(|begun| &begun.context);
        event.trace_id = context.or(self.passing.as_ref()).map(|place| place.trace.as_str());
        event.span_id = context.map(|place| place.span.as_str());
        event.sampled = context.is_some_and(TraceContext::is_sampled);
    }

    /// The answer is sent, as far as it was.
    pub(crate) fn answered(&mut self, journey: &Journey) {
        if journey.status.is_some() {
            let since = journey.started.zip(journey.waited).map(|(at, waited)| at + waited);
            self.stages.passed(Stage::Response, since);
        }
    }

    /// Hands the spans over, at the end.
    pub(crate) fn record(&self, edge: &Edge, event: &Event<'_>, received_at: Instant) {
        let Some(Begun { context, parent, link, .. }) = self.begun else { return };
        if !self.stages.is_on() {
            return;
        }
        let (state, stages) = (self.state.as_deref(), &self.stages);
        edge.traces().record(&Traced { event, context, parent, state, link, received_at, stages });
    }

    /// Tells the upstream of the present try which trace this is, and which span of ours.
    pub(crate) fn write(&self, upstream: &mut RequestHeader) -> Result<()> {
        let Some(begun) = &self.begun else { return Ok(()) };
        if !begun.keeps_state {
            upstream.remove_header("tracestate");
        }
        upstream.insert_header("traceparent", traceparent(begun, self.present))
    }

    /// What another request for the same client says, under a span of its own; `None` if nobody
    /// traces here.
    pub(crate) fn another(&self) -> Option<(SpanId, HeaderValue)> {
        let begun = self.begun.as_ref()?;
        let id = SpanId::new(random::next());
        Some((id, traceparent(begun, Some(id))))
    }

    /// A try on an endpoint begins.
    pub(crate) fn try_begins(&mut self, endpoint: SocketAddr, started: Instant) {
        if self.begun.is_some() {
            let id = SpanId::new(random::next());
            self.present = Some(id);
            self.stages.try_begins(begun(id, endpoint, started));
        }
    }

    /// Its connection stands.
    pub(crate) fn connected(&mut self, reused: bool) {
        let now = self.stages.now();
        if let Some(one) = self.present.and_then(|id| self.stages.try_of(id)) {
            one.connected = now;
            one.reused = reused;
        }
    }

    /// It is over.
    pub(crate) fn try_ended(&mut self, how: Ended, now: Instant) {
        if let Some(one) = self.present.and_then(|id| self.stages.try_of(id)) {
            one.ended = Some(now);
            one.outcome = outcome(how);
        }
    }

    /// A second request was sent; if it won, it is the present try from now on, and somebody else
    /// says how it ends.
    pub(crate) fn hedged(&mut self, second: &Second, now: Instant) {
        let Some(id) = second.span else { return };
        let lost = (!second.won).then_some(now);
        let outcome = if second.won { Outcome::Open } else { outcome(second.loser) };
        let (connected, reused) =
            second.connected.map_or((None, false), |(at, reused)| (Some(at), reused));
        let opened = begun(id, second.lease.address(), second.started);
        self.stages.try_begins(TrySpan {
            connected,
            reused,
            hedge: true,
            ended: lost,
            outcome,
            ..opened
        });
        if second.won {
            self.present = Some(id);
        }
    }

    /// A stage is over that may have taken no time at all.
    pub(crate) fn waited(&mut self, stage: Stage, since: Option<Instant>) {
        let long =
            |since: Instant, now: Instant| now.saturating_duration_since(since) > WORTH_TELLING;
        if since.zip(self.stages.now()).is_some_and(|(since, now)| long(since, now)) {
            self.stages.passed(stage, since);
        }
    }
}

/// The header's value for whoever comes after this span of ours; the server's without one.
fn traceparent(begun: &Begun, span: Option<SpanId>) -> HeaderValue {
    begun.context.at(span.unwrap_or(begun.context.span)).traceparent()
}

/// How the sending of spans is, for the metrics; `None` if nothing is sent.
pub(crate) fn sample(traces: &Traces, snapshot: &Snapshot) -> Option<TraceSample> {
    snapshot.settings().tracing.as_ref()?.otlp.as_ref()?;
    let stats = traces.stats();
    Some(TraceSample {
        sent: stats.sent,
        dropped: [
            ("queue_full", stats.dropped_full),
            ("refused", stats.dropped_refused),
            ("not_sent", stats.dropped_left),
        ],
        failures: stats.failures,
        failing: stats.failing,
        waiting: stats.waiting,
        queued_bytes: stats.queued_bytes,
    })
}

fn begun(id: SpanId, endpoint: SocketAddr, started: Instant) -> TrySpan {
    let (connected, ended, outcome) = (None, None, Outcome::Open);
    TrySpan { id, endpoint, started, connected, reused: false, hedge: false, ended, outcome }
}

fn outcome(how: Ended) -> Outcome {
    match how {
        Ended::Answered(status) => Outcome::Answered(status),
        Ended::Canceled => Outcome::Canceled,
        Ended::Failed(cause) => Outcome::Failed(cause.code()),
    }
}

/// All of a request's `tracestate`, as one list.
fn state(headers: &HeaderMap) -> Option<Box<str>> {
    let fields = headers.get_all("tracestate").iter().filter_map(|field| field.to_str().ok());
    let joined = fields.collect::<Vec<_>>().join(",");
    (!joined.is_empty()).then(|| joined.into())
}
