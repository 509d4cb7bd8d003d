//! One request's walk through the firewall: head, body, the response's head and body, the end,
//! and what was found.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header, response};
use tidegate_core::event::WafSummary;
use tidegate_core::{Denial, Reason, Request};

use crate::body;
use crate::body::Processor;
use crate::evaluation::{Costs, Decision, Evaluation, RuleCost};
use crate::policy::{Compiled, content_length};
use crate::program::Stage;
use crate::settings::{OnExceeded, OverLimit};
use crate::target::Target;
use crate::values::{Arena, RequestFacts, head, response as response_values};

/// Whether a request may go on.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// It may.
    Pass,
    /// It may not: [`Reason::WafBlocked`], or [`Reason::BodyTooLarge`] for a body beyond the
    /// limit.
    Block(Denial),
}

/// The inspection of one request; made by [`crate::Policy::begin`].
#[derive(Debug)]
pub struct Inspection {
    running: Option<Running>,
}

struct Running {
    policy: Arc<Compiled>,
    evaluation: Option<Box<Evaluation>>,
    too_large: Option<Message>,
    /// Whether the rules of phase 2 have run.
    body_done: bool,
}

/// Whose body is beyond a limit that may not be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

impl Inspection {
    pub(crate) fn new(policy: Option<Arc<Compiled>>) -> Self {
        let running = policy.map(|policy| {
            let mut evaluation = take_spare();
            evaluation.reset(&policy);
            Running { policy, evaluation: Some(evaluation), too_large: None, body_done: false }
        });
        Self { running }
    }

    /// Inspects the head: method, target, path, query, fields, cookies (phase 1); and phase 2, if
    /// [`crate::Policy::wants_body`] wants no body. A body that says it is beyond the limit is
    /// refused here already.
    pub fn head(&mut self, request: &Request<'_>) -> Verdict {
        self.head_with(request, &RequestFacts::default())
    }

    /// As [`Self::head`], with what else the caller knows of the request.
    pub fn head_with(&mut self, request: &Request<'_>, facts: &RequestFacts<'_>) -> Verdict {
        self.running.as_mut().map_or(Verdict::Pass, |running| running.head(request, facts))
    }

    /// Inspects what was held back of the body (phase 2); `complete` says whether it is all. Call
    /// it once, with nothing if there is no body.
    pub fn body(&mut self, content_type: Option<&str>, bytes: &[u8], complete: bool) -> Verdict {
        self.running
            .as_mut()
            .map_or(Verdict::Pass, |running| running.body(content_type, bytes, complete))
    }

    /// Whether what it finds is acted on.
    #[must_use]
    pub fn enforces(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.policy.detect_only)
    }

    /// Whether bodies of responses may be asked for.
    #[must_use]
    pub fn reads_responses(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let rules = running.policy.rules.program.rules_of(Stage::ResponseBody);
            running.policy.limits.response.body.is_some() && !rules.is_empty()
        })
    }

    /// Inspects the response's head (phase 3); and phase 4, if [`Self::wants_response_body`] wants
    /// no body. The response has a budget of work of its own.
    pub fn response_head(&mut self, head: &response::Parts) -> Verdict {
        let Some(running) = self.running.as_mut() else { return Verdict::Pass };
        let program = &running.policy.rules.program;
        let phases = [Stage::ResponseHead, Stage::ResponseBody];
        if phases.into_iter().all(|phase| program.rules_of(phase).is_empty()) {
            return Verdict::Pass;
        }
        if let Some((policy, evaluation)) = running.parts() {
            evaluation.work.grant(policy.limits.work);
        }
        let verdict =
            self.stage(Stage::ResponseHead, |arena| response_values::collect_head(arena, head));
        if matches!(verdict, Verdict::Block(_)) {
            return verdict;
        }
        if self.refuses_length(head)
            && let Some(running) = self.running.as_mut()
        {
            running.too_large = Some(Message::Response);
            return running.judge();
        }
        if self.wants_response_body(head).is_some() {
            return verdict;
        }
        self.stage(Stage::ResponseBody, |arena| response_values::collect_body(arena, b"", true))
    }

    /// How many bytes of the response's body to hold back for [`Self::response_body`], which then
    /// has to be called; `None` if it is not inspected.
    #[must_use]
    pub fn wants_response_body(&self, head: &response::Parts) -> Option<usize> {
        let running = self.running.as_ref()?;
        let controls = &running.evaluation.as_ref()?.controls;
        let program = &running.policy.rules.program;
        let wanted = !program.rules_of(Stage::ResponseBody).is_empty()
            && controls.response_body != Some(false)
            && response_values::is_readable(head)
            && running.policy.limits.response.takes(head);
        let limit = running.policy.limits.response.body.filter(|_| wanted)?;
        let skips = running.policy.limits.response.over_limit == OverLimit::Skip;
        (!(skips && content_length(&head.headers) > Some(limit as u64))).then_some(limit)
    }

    /// Inspects what was held back of the response's body (phase 4).
    pub fn response_body(&mut self, bytes: &[u8], complete: bool) -> Verdict {
        let Some(running) = self.running.as_mut() else { return Verdict::Pass };
        let limits = &running.policy.limits.response;
        let limit = limits.body.unwrap_or_default();
        let complete = complete && bytes.len() <= limit;
        if !complete && limits.over_limit == OverLimit::Block {
            running.too_large = Some(Message::Response);
        }
        let skipped = !complete && limits.over_limit == OverLimit::Skip;
        let bytes = if skipped { b"" } else { bytes.get(..limit).unwrap_or(bytes) };
        self.stage(Stage::ResponseBody, |arena| {
            response_values::collect_body(arena, bytes, complete);
        })
    }

    /// Whether the response says that it is longer than may pass.
    fn refuses_length(&self, head: &response::Parts) -> bool {
        let Some(running) = self.running.as_ref() else { return false };
        let blocks = running.policy.limits.response.over_limit == OverLimit::Block;
        let limit = self.wants_response_body(head).filter(|_| blocks);
        limit.is_some_and(|limit| content_length(&head.headers) > Some(limit as u64))
    }

    /// Runs what is left when the exchange is over (phase 5); it refuses nothing any more.
    pub fn finish(&mut self) {
        if let Some((policy, evaluation)) = self.running.as_mut().and_then(Running::parts) {
            evaluation.run(policy, Stage::Logging);
        }
    }

    /// What was found; `None` if nothing was, or nobody looked.
    #[must_use]
    pub fn summary(&self) -> Option<WafSummary> {
        self.running.as_ref()?.summary()
    }

    /// What the inspection cost so far, in steps of about a nanosecond.
    #[must_use]
    pub fn work(&self) -> u64 {
        let evaluation = self.running.as_ref().and_then(|running| running.evaluation.as_ref());
        evaluation.map_or(0, |evaluation| evaluation.work.done())
    }

    /// What the rules that ran cost, the dearest first; nothing unless
    /// [`crate::Policy::begin_counted`] began it.
    #[must_use]
    pub fn costs(&self) -> Vec<RuleCost> {
        let evaluation = self.running.as_ref().and_then(|running| running.evaluation.as_ref());
        evaluation.map(|evaluation| evaluation.costs.dearest()).unwrap_or_default()
    }

    /// Counts what each rule costs from now on.
    pub(crate) fn count_costs(&mut self) {
        if let Some((policy, evaluation)) = self.running.as_mut().and_then(Running::parts) {
            evaluation.costs = Costs::of(policy.rules.program.rules.len());
        }
    }

    fn stage(&mut self, stage: Stage, collect: impl FnOnce(&mut Arena)) -> Verdict {
        let Some(running) = self.running.as_mut() else { return Verdict::Pass };
        if let Some((policy, evaluation)) = running.parts() {
            collect(&mut evaluation.arena);
            evaluation.search(policy);
            evaluation.run(policy, stage);
        }
        running.judge()
    }
}

impl Running {
    fn parts(&mut self) -> Option<(&Arc<Compiled>, &mut Evaluation)> {
        Some((&self.policy, self.evaluation.as_mut()?))
    }

    fn head(&mut self, request: &Request<'_>, facts: &RequestFacts<'_>) -> Verdict {
        let limit = self.policy.limits.body as u64;
        let length = content_length(request.headers());
        if self.policy.limits.over_limit == OverLimit::Block && limit > 0 && length > Some(limit) {
            self.too_large = Some(Message::Request);
        }
        self.body_done = self.policy.wants_body(request).is_none();
        let whole = self.body_done;
        let Some((policy, evaluation)) = self.parts() else { return Verdict::Pass };
        head::collect(&mut evaluation.arena, request, facts);
        evaluation.search(policy);
        evaluation.run(policy, Stage::RequestHead);
        evaluation.run_values(policy);
        if whole {
            evaluation.collect_body(policy, request_content_type(request), (b"", true));
            evaluation.run(policy, Stage::RequestBody);
        }
        self.judge()
    }

    fn body(&mut self, content_type: Option<&str>, bytes: &[u8], complete: bool) -> Verdict {
        if self.body_done && bytes.is_empty() {
            return Verdict::Pass;
        }
        self.body_done = true;
        let limit = self.policy.limits.body;
        let complete = complete && bytes.len() <= limit;
        let skipped = limit == 0 || !complete && self.policy.limits.over_limit == OverLimit::Skip;
        if !skipped && !complete && self.policy.limits.over_limit == OverLimit::Block {
            self.too_large = Some(Message::Request);
        }
        let bytes = if skipped { b"" } else { bytes.get(..limit).unwrap_or(bytes) };
        let Some((policy, evaluation)) = self.parts() else { return Verdict::Pass };
        evaluation.collect_body(policy, content_type, (bytes, complete));
        evaluation.run_values(policy);
        evaluation.run(policy, Stage::RequestBody);
        self.judge()
    }

    fn judge(&self) -> Verdict {
        let Some(evaluation) = self.evaluation.as_ref() else { return Verdict::Pass };
        let outcome = &evaluation.outcome;
        if let Some(decision) = outcome.decision.as_ref().filter(|decision| decision.enforced) {
            return Verdict::Block(decision.denial().with_evidence(evidence(evaluation)));
        }
        if self.policy.detect_only {
            return Verdict::Pass;
        }
        if let Some(what) = self.exceeded() {
            let evidence = format!("waf.budget is spent: {what}; {}", evidence(evaluation));
            return Verdict::Block(Denial::new(Reason::WafBlocked).with_evidence(evidence));
        }
        if let Some(message) = self.too_large {
            return Verdict::Block(self.too_large_denial(message));
        }
        if outcome.own_score < self.policy.threshold {
            return Verdict::Pass;
        }
        Verdict::Block(Denial::new(Reason::WafBlocked).with_evidence(evidence(evaluation)))
    }

    fn too_large_denial(&self, message: Message) -> Denial {
        let limits = &self.policy.limits;
        match message {
            Message::Request => Denial::new(Reason::BodyTooLarge)
                .with_evidence(format!("body beyond waf.body.limit, {} bytes", limits.body)),
            Message::Response => {
                let limit = limits.response.body.unwrap_or_default();
                let evidence = format!("response beyond waf.response.limit, {limit} bytes");
                let mut denial = Denial::new(Reason::WafBlocked).with_evidence(evidence);
                denial.status = StatusCode::BAD_GATEWAY;
                denial
            }
        }
    }

    /// What was more than is inspected, if that leads to a refusal.
    fn exceeded(&self) -> Option<&'static str> {
        let exceeded = self.evaluation.as_ref()?.exceeded()?;
        (self.policy.limits.on_exceeded == OnExceeded::Block).then_some(exceeded)
    }

    fn summary(&self) -> Option<WafSummary> {
        let evaluation = self.evaluation.as_ref()?;
        let (outcome, exceeded) = (&evaluation.outcome, evaluation.exceeded());
        let quiet = outcome.matches.is_empty() && outcome.decision.is_none();
        if quiet && exceeded.is_none() && self.too_large.is_none() {
            return None;
        }
        let mut matches = outcome.matches.clone();
        evaluation.hidden.hide_in(&mut matches);
        Some(WafSummary {
            score: outcome.score(),
            blocked: outcome.own_score >= self.policy.threshold
                || outcome.decision.is_some()
                || self.exceeded().is_some()
                || self.too_large.is_some(),
            detect_only: self.policy.detect_only,
            exceeded,
            decided_by: outcome.decision.as_ref().map(|decision| decision.rule),
            sanitised: evaluation.hidden.arguments().map(Box::from).collect(),
            matches,
        })
    }
}

fn request_content_type<'a>(request: &Request<'a>) -> Option<&'a str> {
    request.head.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

impl Evaluation {
    /// Adds the body's values, as the front ends in use read them.
    fn collect_body(
        &mut self,
        policy: &Compiled,
        content_type: Option<&str>,
        (bytes, complete): (&[u8], bool),
    ) {
        let program = &policy.rules.program;
        let mut processor = None;
        if program.has_seclang {
            let by_type = content_type.and_then(|it| Processor::of_content_type(it.as_bytes()));
            processor = self.controls.body_processor.map_or(by_type, Processor::of);
            let content_type = content_type.unwrap_or_default().as_bytes();
            let read = if self.controls.request_body == Some(false) {
                (&b""[..], true)
            } else {
                (bytes, complete)
            };
            body::process(&mut self.arena, processor, content_type, read, policy.limits.parsing);
            if self.controls.force_body {
                self.arena.set(Target::RequestBody, read.0);
            }
        }
        // What SecLang gave to no processor is read by the YAML rules' own lights.
        if processor.is_none() && !program.rules_of(Stage::Values).is_empty() {
            body::collect(&mut self.arena, content_type, bytes, complete);
        }
        self.search(policy);
    }
}

impl Decision {
    fn denial(&self) -> Denial {
        let mut denial = Denial::new(Reason::WafBlocked);
        if let Ok(status) = StatusCode::from_u16(self.status) {
            denial.status = status;
        }
        if let Some(location) =
            self.location.as_ref().and_then(|location| HeaderValue::try_from(location).ok())
        {
            denial.headers.insert(header::LOCATION, location);
        }
        denial
    }
}

/// `score 10: 2101 in query:id, 2204 in query:id`.
fn evidence(evaluation: &Evaluation) -> String {
    let outcome = &evaluation.outcome;
    let mut text = format!("score {}:", outcome.score());
    for (index, found) in outcome.matches.iter().take(4).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma} {} in {}", found.rule, found.target));
    }
    if outcome.matches.len() > 4 {
        text.push_str(", …");
    }
    if let Some(decision) = &outcome.decision {
        text.push_str(&format!("; decided by {}", decision.rule));
    }
    text
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(evaluation) = self.evaluation.take() {
            give_back(evaluation);
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("too_large", &self.too_large).finish_non_exhaustive()
    }
}

/// How many inspections' memory a thread keeps for later ones.
const MAX_SPARE: usize = 16;

thread_local! {
    #[expect(clippy::vec_box, reason = "an inspection moves its memory often, so it stays in its box")]
    static SPARE: RefCell<Vec<Box<Evaluation>>> = const { RefCell::new(Vec::new()) };
}

fn take_spare() -> Box<Evaluation> {
    SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

fn give_back(evaluation: Box<Evaluation>) {
    if !evaluation.is_worth_keeping() {
        return;
    }
    // A thread that is ending has no store any more; then the memory is simply freed.
    let _kept = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(evaluation);
        }
    });
}
