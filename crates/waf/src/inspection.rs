//! One request's walk through the firewall: its head, then its body, then what was found.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use tidegate_core::event::WafSummary;
use tidegate_core::{Denial, Reason, Request};

use crate::body;
use crate::matching::Scratch;
use crate::policy::{Compiled, content_length};
use crate::settings::OverLimit;
use crate::values::{RequestFacts, head};

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
    scratch: Option<Box<Scratch>>,
    body_too_large: bool,
}

impl Inspection {
    pub(crate) fn new(policy: Option<Arc<Compiled>>) -> Self {
        let running = policy.map(|policy| {
            let mut scratch = take_scratch();
            scratch.reset(policy.rules.rules.len());
            Running { policy, scratch: Some(scratch), body_too_large: false }
        });
        Self { running }
    }

    /// Inspects the head: method, target, path, query, fields, cookies. A body that says it is
    /// beyond the limit is refused here already.
    pub fn head(&mut self, request: &Request<'_>) -> Verdict {
        self.running.as_mut().map_or(Verdict::Pass, |running| running.head(request))
    }

    /// Inspects what was held back of the body; `complete` says whether it is all. Call it once.
    pub fn body(&mut self, content_type: Option<&str>, bytes: &[u8], complete: bool) -> Verdict {
        self.running
            .as_mut()
            .map_or(Verdict::Pass, |running| running.body(content_type, bytes, complete))
    }

    /// What was found; `None` if nothing was, or nobody looked.
    #[must_use]
    pub fn summary(&self) -> Option<WafSummary> {
        self.running.as_ref()?.summary()
    }

    /// What the inspection cost so far, in steps of about a nanosecond.
    #[must_use]
    pub fn work(&self) -> u64 {
        let scratch = self.running.as_ref().and_then(|running| running.scratch.as_ref());
        scratch.map_or(0, |scratch| scratch.outcome.work())
    }
}

impl Running {
    fn head(&mut self, request: &Request<'_>) -> Verdict {
        let limit = self.policy.body_limit as u64;
        let length = content_length(request.headers());
        if self.policy.over_limit == OverLimit::Block && limit > 0 && length > Some(limit) {
            self.body_too_large = true;
        }
        self.inspect(|scratch| {
            head::collect(&mut scratch.arena, request, &RequestFacts::default());
        })
    }

    fn body(&mut self, content_type: Option<&str>, bytes: &[u8], complete: bool) -> Verdict {
        let limit = self.policy.body_limit;
        let complete = complete && bytes.len() <= limit;
        if limit == 0 || !complete && self.policy.over_limit == OverLimit::Skip {
            return Verdict::Pass;
        }
        self.body_too_large |= !complete && self.policy.over_limit == OverLimit::Block;
        let bytes = bytes.get(..limit).unwrap_or(bytes);
        self.inspect(|scratch| body::collect(&mut scratch.arena, content_type, bytes, complete))
    }

    /// Inspects the values that `collect` adds, and judges.
    fn inspect(&mut self, collect: impl FnOnce(&mut Scratch)) -> Verdict {
        let Some(scratch) = self.scratch.as_mut() else { return Verdict::Pass };
        let from = scratch.arena.values().len();
        let (overflown, exhausted) = (scratch.arena.overflown(), scratch.outcome.exhausted());
        collect(scratch);
        scratch.inspect(&self.policy, from);
        let from = scratch.arena.values().len();
        if scratch.arena.overflown() && !overflown {
            scratch.arena.find("limits", "more values than are inspected");
        }
        if scratch.outcome.exhausted() && !exhausted {
            scratch.arena.find("limits", "more work than one request may cost");
        }
        scratch.inspect(&self.policy, from);
        self.judge()
    }

    fn judge(&self) -> Verdict {
        if self.policy.detect_only {
            return Verdict::Pass;
        }
        if self.body_too_large {
            let evidence = format!("body beyond waf.body.limit, {} bytes", self.policy.body_limit);
            return Verdict::Block(Denial::new(Reason::BodyTooLarge).with_evidence(evidence));
        }
        let Some(scratch) = self.scratch.as_ref() else { return Verdict::Pass };
        if scratch.outcome.score < self.policy.threshold {
            return Verdict::Pass;
        }
        Verdict::Block(Denial::new(Reason::WafBlocked).with_evidence(evidence(scratch)))
    }

    fn summary(&self) -> Option<WafSummary> {
        let outcome = &self.scratch.as_ref()?.outcome;
        if outcome.matches.is_empty() && !self.body_too_large {
            return None;
        }
        Some(WafSummary {
            score: outcome.score,
            blocked: outcome.score >= self.policy.threshold || self.body_too_large,
            detect_only: self.policy.detect_only,
            matches: outcome.matches.clone(),
        })
    }
}

/// `score 10: 2101 in query:id, 2204 in query:id`.
fn evidence(scratch: &Scratch) -> String {
    let outcome = &scratch.outcome;
    let mut text = format!("score {}:", outcome.score);
    for (index, found) in outcome.matches.iter().take(4).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma} {} in {}", found.rule, found.target));
    }
    if outcome.matches.len() > 4 {
        text.push_str(", …");
    }
    text
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            give_back(scratch);
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("body_too_large", &self.body_too_large)
            .finish_non_exhaustive()
    }
}

/// How many inspections' memory a thread keeps for later ones.
const MAX_SPARE: usize = 16;

thread_local! {
    #[expect(clippy::vec_box, reason = "an inspection moves its memory often, so it stays in its box")]
    static SPARE: RefCell<Vec<Box<Scratch>>> = const { RefCell::new(Vec::new()) };
}

fn take_scratch() -> Box<Scratch> {
    SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

fn give_back(scratch: Box<Scratch>) {
    if !scratch.is_worth_keeping() {
        return;
    }
    // A thread that is ending has no store any more; then the memory is simply freed.
    let _kept = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(scratch);
        }
    });
}
