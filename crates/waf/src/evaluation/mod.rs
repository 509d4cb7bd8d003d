//! One request's way through a program: values are searched for candidates, then the rules walk
//! in their order, and what they find is kept.
//!
//! Everything here is used again by the thread's next requests, so that a request allocates
//! almost nothing.

mod act;
mod ask;
mod cost;
mod expand;
mod fold;
mod forms;
mod hidden;
mod matched;
mod outcome;
#[cfg(test)]
mod tests;
pub(crate) mod tx;
pub(crate) mod work;

pub(crate) use cost::Costs;
pub use cost::RuleCost;
pub(crate) use fold::fold;
pub(crate) use matched::Evidence;
pub(crate) use outcome::{Decision, Outcome};

use crate::bits::RuleBits;
use crate::operators::Captures;
use crate::policy::Compiled;
use crate::program::{Allow, Rule, Stage, Then};
use crate::seclang::ast::{BodyProcessor, RuleEngine};
use crate::settings::OnExceeded;
use crate::target::Target;
use crate::values::Arena;
use forms::{ByTarget, Forms};
use hidden::Hidden;
use matched::MatchedValues;
use tx::Tx;
use work::Work;

/// Memory above this is given back after a request.
const MAX_KEPT_MEMORY: usize = 2 << 20;

/// The state of one inspection.
#[derive(Debug, Default)]
pub(crate) struct Evaluation {
    pub(crate) arena: Arena,
    pub(crate) controls: Controls,
    pub(crate) outcome: Outcome,
    pub(crate) hidden: Hidden,
    pub(crate) work: Work,
    pub(crate) costs: Costs,
    forms: Forms,
    by_target: ByTarget,
    tx: Tx,
    matched: MatchedValues,
    captures: Captures,
    buffers: Buffers,
    /// How many of the values were searched, and which of them an earlier stage saw.
    searched: usize,
    fresh: usize,
    limits: Limits,
}

/// Which limits were found to be reached.
#[derive(Debug, Default)]
struct Limits {
    values: bool,
    work: bool,
}

#[derive(Debug, Default)]
struct Buffers {
    argument: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    form: Vec<u8>,
    other: Vec<u8>,
}

/// What rules changed of the inspection itself (`ctl`, `allow`).
#[derive(Debug, Default)]
pub(crate) struct Controls {
    pub(crate) body_processor: Option<BodyProcessor>,
    pub(crate) force_body: bool,
    pub(crate) request_body: Option<bool>,
    pub(crate) response_body: Option<bool>,
    engine: Option<RuleEngine>,
    allowed: Option<Allow>,
    removed: Option<RuleBits>,
    blind_spots: Vec<usize>,
}

impl Evaluation {
    /// Makes it ready for a request under this policy.
    pub(crate) fn reset(&mut self, policy: &Compiled) {
        let rules = policy.rules.program.rules.len();
        self.arena.begin(policy.wanted, policy.limits.arguments);
        self.controls = Controls::default();
        self.outcome.reset(rules);
        self.hidden = Hidden::default();
        self.costs = Costs::default();
        self.work = Work::new(policy.limits.work);
        self.forms.reset(rules);
        self.by_target.clear();
        self.tx.copy_from(&policy.variables);
        self.matched.clear();
        (self.searched, self.fresh) = (0, 0);
        self.limits = Limits::default();
    }

    /// Whether it is small enough to be kept for the next request.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.arena.capacity() + self.forms.capacity() + self.tx.capacity() + self.matched.capacity()
            <= MAX_KEPT_MEMORY
    }

    /// What the request has more of than is looked at: `work` or `values`.
    pub(crate) fn exceeded(&self) -> Option<&'static str> {
        if self.work.exhausted() {
            return Some("work");
        }
        self.arena.overflown().then_some("values")
    }

    /// Searches the values that came since the last time.
    pub(crate) fn search(&mut self, policy: &Compiled) {
        self.fresh = self.searched;
        if policy.rules.has_own() {
            self.arena.derive(self.searched);
        }
        for index in self.searched..self.arena.values().len() {
            let Some(value) = self.arena.values().get(index) else { break };
            let finding = value.target == Target::Finding;
            let left_out = policy.leaves_out(value.target, self.arena.bytes(value.name));
            if left_out || self.work.exhausted() && !finding {
                continue;
            }
            if !value.derived {
                self.by_target.push(value.target, index);
            }
            let raw = self.arena.bytes(value.bytes);
            self.forms.search(policy, (index, value), raw, &mut self.work);
        }
        self.searched = self.arena.values().len();
        self.forms.candidates.sort_unstable();
    }

    /// Runs the rules of a stage in their order.
    pub(crate) fn run(&mut self, policy: &Compiled, stage: Stage) {
        if self.skips(stage) {
            return;
        }
        let program = &policy.rules.program;
        let range = program.rules_of(stage);
        let mut at = range.start;
        while let Some(index) =
            self.forms.hit.next_with(&policy.always, at).filter(|next| *next < range.end)
        {
            at = index + 1;
            let Some(rule) = program.rules.get(index) else { return };
            if self.work.exhausted() && stage != Stage::Values {
                return;
            }
            let removed = self.controls.removed.as_ref().is_some_and(|bits| bits.contains(index));
            let before = self.work.done();
            let matched = !removed && self.matches(policy, index, rule);
            self.costs.note(index, rule, self.work.done() - before, matched);
            if !matched {
                continue;
            }
            at = rule.next;
            self.conclude(policy, index, rule);
            if self.outcome.interrupted() && stage != Stage::Logging || self.skips_rest(rule) {
                return;
            }
        }
    }

    /// Runs the YAML rules over the values that came last, then over what is wrong with their
    /// number or cost.
    pub(crate) fn run_values(&mut self, policy: &Compiled) {
        self.run(policy, Stage::Values);
        if policy.limits.on_exceeded == OnExceeded::Pass {
            return;
        }
        let mut found = false;
        if self.arena.overflown() && !self.limits.values {
            (self.limits.values, found) = (true, true);
            self.arena.find("limits", "more values than are inspected");
        }
        if self.work.exhausted() && !self.limits.work {
            (self.limits.work, found) = (true, true);
            self.arena.find("limits", "more work than one request may cost");
        }
        if found {
            self.search(policy);
            self.run(policy, Stage::Values);
        }
    }

    /// Whether an earlier decision leaves a stage out.
    fn skips(&self, stage: Stage) -> bool {
        let request = matches!(stage, Stage::RequestHead | Stage::Values | Stage::RequestBody);
        let allowed = match self.controls.allowed {
            Some(Allow::Transaction) => true,
            Some(Allow::Request) => request,
            Some(Allow::Phase) | None => false,
        };
        stage != Stage::Logging && (allowed || self.outcome.interrupted())
            || self.controls.engine == Some(RuleEngine::Off)
    }

    fn skips_rest(&self, rule: &Rule) -> bool {
        matches!(rule.then, Then::Allow(_)) && self.controls.allowed.is_some()
            || self.controls.engine == Some(RuleEngine::Off)
    }
}
