//! [`Trial`]: what a configuration's firewall would do with a request, found out without a server.
//!
//! The request goes the way of every other: the head is read, the route found, the route's firewall
//! and its shadow inspect. Addresses, rate limits and whatever else depends on who asks, or on what
//! happened before, are left out.

mod message;
pub mod policy;

use std::net::IpAddr;

use http::{Version, header, response};
use tidegate_core::reading::{ReadingRules, Refusal, check_http1_head, encode_query};
use tidegate_core::{Clock, Denial, Request, reading};
use tidegate_traffic::Lookup;
use tidegate_waf::{Inspection, Policy, RequestFacts, Verdict};

pub use self::message::{Sample, SampleError};
use crate::snapshot::Snapshot;
pub use tidegate_core::event::{WafMatch, WafSummary};
pub use tidegate_waf::RuleCost;

/// A response to a sample, if it is known.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: response::Parts,
    /// Its body.
    pub body: Vec<u8>,
}

/// What would happen to a sample.
#[derive(Debug, Default)]
pub struct Trial {
    /// The route's id, if one was found.
    pub route: Option<Box<str>>,
    /// `off`, `detect` or `block`; empty if no route was found.
    pub mode: &'static str,
    /// The refusal, if there is one.
    pub refused: Option<Refused>,
    /// What the firewall found.
    pub waf: Option<WafSummary>,
    /// What its shadow found, if there is one.
    pub shadow: Option<WafSummary>,
    /// What the rules that ran cost, the dearest first.
    pub costs: Vec<RuleCost>,
    /// What the inspection cost in all, in steps of about a nanosecond.
    pub work: u64,
    /// What it may cost.
    pub budget: u64,
}

/// Who refused, and how.
#[derive(Debug)]
pub struct Refused {
    /// Which stage: `reading`, `routing`, `firewall`, or `firewall, response`.
    pub stage: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// The reason's code.
    pub reason: &'static str,
    /// What was found.
    pub evidence: String,
}

impl Trial {
    /// Tries a sample.
    #[must_use]
    pub fn run(snapshot: &Snapshot, sample: &Sample) -> Self {
        let rules = snapshot.settings().reading_rules();
        match Self::read(snapshot, sample, &rules) {
            Ok(trial) => trial,
            Err(refusal) => Self {
                refused: Some(Refused {
                    stage: "reading",
                    status: refusal.status.as_u16(),
                    reason: refusal.reason.code(),
                    evidence: refusal.evidence.to_owned(),
                }),
                ..Self::default()
            },
        }
    }

    fn read(snapshot: &Snapshot, sample: &Sample, rules: &ReadingRules) -> Result<Self, Refusal> {
        check_http1_head(&sample.head, rules)?;
        let encoded = encode_query(&sample.head);
        let wire = encoded.as_deref().unwrap_or(&sample.head);
        let malformed =
            Refusal::new(tidegate_core::Reason::MalformedRequest, "the parser refuses the head");
        let parts = message::parts(wire).ok_or(malformed)?;
        let target = reading::read_http1_head(wire, &parts, rules)?;
        let request = Request {
            head: &parts,
            host: &target.host,
            path: &target.path,
            client: sample.client,
            secure: sample.secure,
            received_at: Clock::System.now(),
        };
        Ok(Self::route(snapshot, &request, sample))
    }

    fn route(snapshot: &Snapshot, request: &Request<'_>, sample: &Sample) -> Self {
        let found = match snapshot.router().find(request) {
            Lookup::Found { route, .. } => snapshot.routes().get(route),
            Lookup::MethodNotAllowed(_) => {
                return Self::unrouted(&Denial::new(tidegate_core::Reason::MethodNotAllowed));
            }
            Lookup::NotFound => None,
        };
        let Some(route) = found else {
            return Self::unrouted(&Denial::new(tidegate_core::Reason::NoRoute));
        };
        let (verdict, inspection) = inspect(&route.waf, request, sample);
        let mut shadow = None;
        if !route.waf_shadow.is_off() {
            let (_reported, inspection) = inspect(&route.waf_shadow, request, sample);
            shadow = Some(inspection.summary().unwrap_or_default());
        }
        Self {
            route: Some(route.id.clone()),
            mode: route.waf.mode(),
            refused: verdict.map(|(stage, denial)| Refused::new(stage, &denial)),
            waf: inspection.summary(),
            shadow,
            costs: inspection.costs(),
            work: inspection.work(),
            budget: route.waf.budget(),
        }
    }

    fn unrouted(denial: &Denial) -> Self {
        Self { refused: Some(Refused::new("routing", denial)), ..Self::default() }
    }
}

impl Refused {
    fn new(stage: &'static str, denial: &Denial) -> Self {
        Self {
            stage,
            status: denial.status.as_u16(),
            reason: denial.reason.code(),
            evidence: denial.evidence.clone().unwrap_or_default(),
        }
    }
}

type Outcome = (Option<(&'static str, Denial)>, Inspection);

fn inspect(policy: &Policy, request: &Request<'_>, sample: &Sample) -> Outcome {
    let mut inspection = policy.begin_counted();
    let refused = inspect_request(policy, &mut inspection, request, sample)
        .map(|denial| ("firewall", denial))
        .or_else(|| {
            let answer = sample.answer.as_ref()?;
            let denial = inspect_answer(&mut inspection, answer)?;
            Some(("firewall, response", denial))
        });
    inspection.finish();
    (refused, inspection)
}

fn inspect_request(
    policy: &Policy,
    inspection: &mut Inspection,
    request: &Request<'_>,
    sample: &Sample,
) -> Option<Denial> {
    let facts = RequestFacts { now: Some(Clock::System.wall()), ..RequestFacts::default() };
    if let Verdict::Block(denial) = inspection.head_with(request, &facts) {
        return Some(denial);
    }
    let limit = policy.wants_body(request)?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let held = sample.body.get(..limit).unwrap_or(&sample.body);
    match inspection.body(content_type, held, held.len() == sample.body.len()) {
        Verdict::Block(denial) => Some(denial),
        Verdict::Pass => None,
    }
}

fn inspect_answer(inspection: &mut Inspection, answer: &Answer) -> Option<Denial> {
    if let Verdict::Block(denial) = inspection.response_head(&answer.head) {
        return Some(denial);
    }
    let limit = inspection.wants_response_body(&answer.head)?;
    let held = answer.body.get(..limit).unwrap_or(&answer.body);
    match inspection.response_body(held, held.len() == answer.body.len()) {
        Verdict::Block(denial) => Some(denial),
        Verdict::Pass => None,
    }
}

/// A head of these pieces, for whoever knows an answer.
///
/// # Errors
/// When a name or a value is none of HTTP's.
pub fn answer_head<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<response::Parts, http::Error> {
    let builder = http::Response::builder().status(status).version(Version::HTTP_11);
    let builder = fields.fold(builder, |builder, (name, value)| builder.header(name, value));
    builder.body(()).map(|response| response.into_parts().0)
}

/// Whoever asks in a sample that does not say so.
pub const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
