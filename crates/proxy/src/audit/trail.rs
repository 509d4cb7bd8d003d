//! [`Trail`]: what the audit log knows of one request. A key event has two records: `request`
//! before anything goes upstream, and `outcome` before or after the client has its answer. Every
//! other request has one only if it was refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use pingora_core::protocols::http::HttpTask;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::Value;
use tidegate_audit::redact::{SubjectError, clean};
use tidegate_audit::settings::OnFailure;
use tidegate_audit::{Field, KeyEvent, Kind, Record};
use tidegate_core::{Denial, Event, Reason};

use super::values::{self, Body, Message};
use super::{Auditor, Unkept};
use crate::body;
use crate::context::{Arrival, Context};
use crate::edge::Edge;
use crate::held::HeldBody;

/// The largest body that values are looked for in.
const MAX_BODY: usize = 1 << 20;

/// What is recorded of one request so far.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Set once the request's own record was made.
    event: Option<Arc<KeyEvent>>,
    subject: Option<String>,
    /// Says that the outcome is still to come.
    running: Option<Arc<()>>,
    /// The status and the reason that the outcome's record says.
    outcome: Option<(u16, Option<Reason>)>,
}

impl Trail {
    /// Whether the answer waits, head and body, for values of its body.
    pub(crate) fn holds_answer(&self) -> bool {
        self.outcome.is_none()
            && self.event.as_ref().is_some_and(|event| event.reads_response_body())
    }

    /// Whether still more of the answer is waited for.
    pub(crate) fn waits(&self, tasks: &[HttpTask]) -> bool {
        self.holds_answer() && length(tasks) <= MAX_BODY
    }
}

/// Records the request of a key event, before anything of it goes upstream.
///
/// # Errors
/// It cannot be recorded as the route promises, or its body cannot be read.
pub(crate) async fn begin(
    edge: &Edge,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<(), Box<Denial>> {
    let Some(event) = ctx.route.as_ref().and_then(|route| route.audit.clone()) else {
        return Ok(());
    };
    let Some(auditor) = edge.audit() else { return Ok(()) };
    // From here on a hand-over of the log waits for this request.
    ctx.trail.running = Some(Arc::clone(&auditor.running));
    let body = match event.reads_request_body() {
        true => Some(request_body(edge, session, ctx).await?),
        false => None,
    };
    let head = session.req_header();
    let made = blocking(&event, || request_record(auditor, &event, ctx, head, body.as_ref()));
    let (record, subject, failed) = made;
    ctx.trail.subject = subject;
    let kept = match failed {
        Some(error) => Err(Unkept::Redaction(error.to_string())),
        None => auditor.keep(&record, event.durable, patience(ctx)).await,
    };
    if let Err(error) = kept {
        auditor.failed(&event, &error)?;
    }
    ctx.trail.event = Some(event);
    Ok(())
}

/// Records the outcome when the head of the final answer is known, before the client gets it. What
/// is held for its body is [`settle`]'s.
///
/// # Errors
/// It cannot be recorded as the route promises; nothing was written yet.
pub(crate) async fn answered(
    edge: &Edge,
    response: &ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    let interim = response.status.is_informational() && response.status != 101;
    if interim || ctx.journey.exchanged && ctx.trail.holds_answer() {
        return Ok(());
    }
    outcome(edge, response, None, ctx).await
}

/// Records a key event that is answered with a redirect, without a look at its body.
///
/// # Errors
/// It cannot be recorded as the route promises.
pub(crate) async fn redirect(
    edge: &Edge,
    session: &mut Session,
    ctx: &mut Context,
    status: http::StatusCode,
) -> Result<(), Box<Denial>> {
    begin(edge, session, ctx).await?;
    let recorded = match ResponseHeader::build(status, None) {
        Ok(response) => outcome(edge, &response, None, ctx).await,
        Err(_no_status) => Ok(()),
    };
    recorded.map_err(|_unrecorded| {
        ctx.denial.take().unwrap_or_else(|| Denial::new(Reason::AuditUnavailable).into())
    })
}

/// Records the outcome of an answer that was held, before any of it is written.
///
/// # Errors
/// As [`answered`].
pub(crate) async fn settle(
    edge: &Edge,
    tasks: &[HttpTask],
    end: bool,
    ctx: &mut Context,
) -> Result<()> {
    if !ctx.trail.holds_answer() {
        return Ok(());
    }
    let Some(response) = tasks.iter().find_map(head) else { return Ok(()) };
    let bytes: Vec<u8> = tasks.iter().filter_map(piece).flatten().copied().collect();
    let body = match end {
        true => Body::parse(&response.headers, &bytes),
        false => Body::Unread,
    };
    outcome(edge, response, Some(&body), ctx).await
}

/// Records that a key event ends in an answer of ours. Returns another refusal if that cannot be
/// recorded.
pub(crate) async fn refused(edge: &Edge, ctx: &mut Context, denial: &Denial) -> Option<Denial> {
    let auditor = edge.audit()?;
    let told = (denial.status.as_u16(), Some(denial.reason));
    let before = ctx.trail.outcome;
    if before == Some(told) || before.is_some() && denial.reason == Reason::AuditUnavailable {
        return None;
    }
    let event = ctx.trail.event.clone()?;
    ctx.trail.outcome = Some(told);
    let mut record = ctx.outcome_record(auditor, &event, denial.status.as_u16())?;
    if before.is_some() {
        // An answer was recorded, and then refused while it was held: this one takes its place.
        record.kind = Kind::Delivery;
    }
    record.reason = Some(denial.reason.code().to_owned());
    if let Some(evidence) = &denial.evidence {
        record = record.with("evidence", clean(evidence));
    }
    let kept = auditor.keep(&record, event.durable, patience(ctx)).await;
    auditor.failed(&event, &kept.err()?).err().map(|denial| *denial)
}

/// Records what is not recorded yet when a request has ended: a key event's outcome if nobody got
/// an answer, what hindered an answer on its way, or a refusal.
pub(crate) fn end(edge: &Edge, event: &Event<'_>, trail: &Trail) {
    let Some(auditor) = edge.audit() else { return };
    let Some(key_event) = &trail.event else {
        return auditor.note_refusal(edge, event);
    };
    let kind = match trail.outcome {
        Some(told) if told == (event.status, event.reason) => return,
        Some(_) => Kind::Delivery,
        None => Kind::Outcome,
    };
    let mut record = auditor.of_event(event, kind, &key_event.name);
    record.subject.clone_from(&trail.subject);
    auditor.note(&record.with("response_bytes", event.response_bytes));
}

impl Auditor {
    /// Counts a record of a key event that is not safe.
    ///
    /// # Errors
    /// The route refuses then.
    fn failed(&self, event: &KeyEvent, error: &Unkept) -> Result<(), Box<Denial>> {
        self.lost(error);
        match event.on_failure {
            OnFailure::Continue => Ok(()),
            OnFailure::Refuse => {
                self.counts.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Err(Denial::new(Reason::AuditUnavailable).with_evidence(error.to_string()).into())
            }
        }
    }

    /// A record with what the end of a request says.
    pub(super) fn of_event(&self, event: &Event<'_>, kind: Kind, name: &str) -> Record {
        let mut record = self.record(event.time, kind, name);
        record.request_id = Some(event.request_id.to_owned());
        record.route = event.route.map(str::to_owned);
        record.client = Some(event.client.to_string());
        record.method = event.method.map(ToString::to_string);
        record.host = Some(clean(event.host)).filter(|host| !host.is_empty());
        record.path = Some(clean(event.path)).filter(|path| !path.is_empty());
        record.reason = event.reason.map(|reason| reason.code().to_owned());
        record.status = Some(event.status);
        if let Some(evidence) = event.evidence {
            record = record.with("evidence", clean(evidence));
        }
        if let Some(endpoint) = event.endpoint {
            record = record.with("endpoint", endpoint.to_string());
        }
        record
    }
}

impl Context {
    fn base_record(&self, auditor: &Auditor, kind: Kind, event: &KeyEvent) -> Option<Record> {
        let arrival = self.arrival.as_ref()?;
        let mut record = auditor.record(arrival.edge.clock().wall(), kind, &event.name);
        record.request_id = Some(arrival.request_id.as_str().to_owned());
        record.route = self.route.as_ref().map(|route| route.id.to_string());
        record.client = Some(arrival.client.to_string());
        record.method = Some(arrival.method.to_string());
        record.host = Some(clean(&arrival.target.host)).filter(|host| !host.is_empty());
        record.path = Some(clean(&arrival.target.path));
        record.subject.clone_from(&self.trail.subject);
        Some(record)
    }

    fn outcome_record(&self, auditor: &Auditor, event: &KeyEvent, status: u16) -> Option<Record> {
        let mut record = self.base_record(auditor, Kind::Outcome, event)?;
        record.status = Some(status);
        let arrival = self.arrival.as_ref()?;
        let took = arrival.edge.clock().now().saturating_duration_since(arrival.received_at);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        record = record.with("duration_us", micros);
        if let Some(upstream) = self.upstream() {
            record = record.with("upstream", upstream.pool.name());
        }
        if let Some(endpoint) = self.journey.tried.last() {
            record = record.with("endpoint", endpoint.to_string());
        }
        if let Some(status) = self.journey.status {
            record = record.with("upstream_status", status);
        }
        if self.journey.attempts > 1 {
            record = record.with("attempts", self.journey.attempts);
        }
        Some(record)
    }
}

type Made = (Record, Option<String>, Option<SubjectError>);

fn request_record(
    auditor: &Auditor,
    event: &KeyEvent,
    ctx: &Context,
    head: &Parts,
    body: Option<&Body>,
) -> Made {
    let redactor = auditor.redactor.load();
    let claim = |name: &str| ctx.claim(name);
    let message = Message { headers: &head.headers, query: head.uri.query(), body, claim: &claim };
    let subject = event.subject.as_ref().and_then(|from| message.value(from));
    let subject = subject.and_then(|value| redactor.pseudonym(&values::text(&value)));
    let Some(mut record) = ctx.base_record(auditor, Kind::Request, event) else {
        return (Record::default(), subject, None);
    };
    record.subject.clone_from(&subject);
    if matches!(body, Some(Body::Unread)) {
        record = record.with("unread", "request.body");
    }
    let failed = fill(auditor, &mut record, &event.request_fields, &message, subject.as_deref());
    (record, subject, failed.err())
}

/// Puts the chosen values into a record, redacted.
fn fill(
    auditor: &Auditor,
    record: &mut Record,
    fields: &[Field],
    message: &Message<'_>,
    subject: Option<&str>,
) -> Result<(), SubjectError> {
    let redactor = auditor.redactor.load();
    for Field { name, from, redact } in fields {
        let Some(value) = message.value(from) else { continue };
        let value = redactor.apply(*redact, (name, values::place(from)), &value, subject)?;
        record.fields.insert(name.to_string(), value);
    }
    Ok(())
}

/// Records the outcome of an answer from upstream.
async fn outcome(
    edge: &Edge,
    response: &ResponseHeader,
    body: Option<&Body>,
    ctx: &mut Context,
) -> Result<()> {
    let Some(auditor) = edge.audit().filter(|_| ctx.trail.outcome.is_none()) else {
        return Ok(());
    };
    let Some(event) = ctx.trail.event.clone() else { return Ok(()) };
    let status = response.status.as_u16();
    let Some(mut record) = ctx.outcome_record(auditor, &event, status) else { return Ok(()) };
    if event.reads_response_body() && !matches!(body, Some(Body::Read(_))) {
        record = record.with("unread", "response.body");
    }
    let subject = ctx.trail.subject.clone();
    let filled = blocking(&event, || {
        let message =
            Message { headers: &response.headers, query: None, body, claim: &|_name| None };
        fill(auditor, &mut record, &event.response_fields, &message, subject.as_deref())
    });
    let kept = match filled {
        Err(error) => Err(Unkept::Redaction(error.to_string())),
        Ok(()) => auditor.keep(&record, event.durable, patience(ctx)).await,
    };
    ctx.trail.outcome = Some((status, None));
    let Err(error) = kept else { return Ok(()) };
    let Err(denial) = auditor.failed(&event, &error) else { return Ok(()) };
    // The client gets our refusal instead; the upstream has done its part.
    ctx.failure.get_or_insert_with(|| (&*denial).into());
    let code = denial.reason.code();
    ctx.denial = Some(denial);
    Error::e_explain(ErrorType::Custom("the outcome cannot be recorded"), code)
}

/// The request's body, read if nobody did so far.
async fn request_body(
    edge: &Edge,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<Body, Box<Denial>> {
    if session.is_body_empty() {
        return Ok(Body::Unread);
    }
    if let Some(body) = &ctx.body {
        return Ok(Body::parse(&session.req_header().headers, body));
    }
    if session.is_body_done() {
        let bytes = session.get_retry_buffer().unwrap_or_default();
        return Ok(Body::parse(&session.req_header().headers, &bytes));
    }
    let length = body::content_length(session.req_header());
    if ctx.held.is_some() || length.is_some_and(|length| length > MAX_BODY as u64) {
        return Ok(Body::Unread);
    }
    let started = edge.clock().now();
    let room = HeldBody::new(edge.held_bytes());
    let (body, complete) = body::read_whole(session, ctx, MAX_BODY, room).await?;
    ctx.body_wait += edge.clock().now().saturating_duration_since(started);
    if !complete {
        // It came in chunks, and what was read cannot be put back.
        let evidence = format!("more than {MAX_BODY} bytes on a route that records its body");
        return Err(Denial::new(Reason::BodyTooLarge).with_evidence(evidence).into());
    }
    let parsed = Body::parse(&session.req_header().headers, body.as_ref());
    if session.retry_buffer_truncated() {
        ctx.body = Some(body.into_bytes());
    }
    Ok(parsed)
}

/// Does what may write a subject's key to the disk where that may take its time.
fn blocking<T>(event: &KeyEvent, work: impl FnOnce() -> T) -> T {
    if event.seals() { tokio::task::block_in_place(work) } else { work() }
}

fn patience(ctx: &Context) -> Duration {
    let settings = |arrival: &Arrival| {
        let audit = arrival.live.snapshot.settings().audit.as_ref();
        audit.map(|audit| audit.commit_timeout.0)
    };
    ctx.arrival.as_ref().and_then(settings).unwrap_or_default()
}

fn head(task: &HttpTask) -> Option<&ResponseHeader> {
    match task {
        HttpTask::Header(head, _end) => Some(head),
        _ => None,
    }
}

fn piece(task: &HttpTask) -> Option<&Bytes> {
    match task {
        HttpTask::Body(bytes, _end) => bytes.as_ref(),
        _ => None,
    }
}

fn length(tasks: &[HttpTask]) -> usize {
    tasks.iter().filter_map(piece).map(Bytes::len).sum()
}

impl Context {
    /// A claim of the token that the request came with.
    fn claim(&self, name: &str) -> Option<Value> {
        let claim = self.who()?.claims.at(name)?;
        serde_json::from_str(&claim.to_string()).ok()
    }
}
