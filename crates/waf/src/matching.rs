//! The walk: every value through the chains that its kind needs, every distinct form through the
//! prefilter, every candidate through its operator, and the score of what matched.

use tidegate_core::event::WafMatch;

use crate::bits::RuleBits;
use crate::evidence;
use crate::mask::ByteMask;
use crate::policy::{Compiled, Step};
use crate::rules::{Rule, RuleSet};
use crate::target::{Target, TargetSet};
use crate::values::{Arena, Value};

/// How many matches a summary keeps; the score counts all.
const MAX_MATCHES: usize = 16;

/// What one request may cost, in steps of about a nanosecond. A request that spends it is a
/// finding in itself (`finding:limits`).
const WORK_BUDGET: u64 = 12_000_000;
const STEPS_PER_VALUE: u64 = 300;
const STEPS_PER_SEARCHED_BYTE: u64 = 4;
const STEPS_PER_TRANSFORMED_BYTE: u64 = 4;
const STEPS_PER_MATCHED_BYTE: u64 = 6;

/// Memory above this is given back after a request.
const MAX_KEPT_MEMORY: usize = 1 << 20;

/// Everything that one inspection works on; used again by the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) arena: Arena,
    pub(crate) outcome: Outcome,
    forms: Forms,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) score: u32,
    pub(crate) matches: Vec<WafMatch>,
    matched: RuleBits,
    work: u64,
}

impl Outcome {
    pub(crate) fn exhausted(&self) -> bool {
        self.work > WORK_BUDGET
    }

    /// What the request cost so far, in steps.
    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    fn charge(&mut self, bytes: usize, steps: u64) {
        self.work = self.work.saturating_add((bytes as u64).saturating_mul(steps));
    }
}

impl Scratch {
    /// Makes it ready for a request that meets `rules` rules.
    pub(crate) fn reset(&mut self, rules: usize) {
        self.arena.begin(TargetSet::of_words());
        self.outcome.score = 0;
        self.outcome.work = 0;
        self.outcome.matches.clear();
        self.outcome.matched.reset(rules);
    }

    /// Whether it is small enough to be kept for the next request.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.arena.capacity() + self.forms.capacity() <= MAX_KEPT_MEMORY
    }

    /// Inspects the values from index `from` on.
    pub(crate) fn inspect(&mut self, policy: &Compiled, from: usize) {
        for index in from..self.arena.values().len() {
            let Some(value) = self.arena.values().get(index).copied() else { return };
            if self.outcome.exhausted() && value.target != Target::Finding {
                continue;
            }
            // Rules written in YAML have nothing to say of what is empty.
            if value.bytes.is_empty() {
                continue;
            }
            if !policy.leaves_out(value.target, self.arena.bytes(value.name)) {
                self.inspect_value(policy, &value);
            }
        }
    }

    fn inspect_value(&mut self, policy: &Compiled, value: &Value) {
        let bytes = self.arena.bytes(value.bytes);
        self.outcome.charge(1, STEPS_PER_VALUE);
        self.forms.begin(value.mask, policy.rules.trie.nodes().len());
        for step in policy.plan(value.target) {
            let form = self.forms.reach(step, bytes, &mut self.outcome);
            if step.rules.is_empty() {
                continue;
            }
            self.forms.candidates.copy_from(&step.rules);
            self.forms.candidates.subtract(&self.outcome.matched);
            if policy.prefilter {
                self.forms.narrow(form, bytes, &policy.rules, &mut self.outcome);
            }
            let form = self.forms.bytes(form, bytes);
            let name = self.arena.bytes(value.name);
            for index in self.forms.candidates.iter() {
                let Some(rule) = policy.rules.rules.get(index) else { break };
                if !rule.selects(value.target, name) || policy.excludes(index, value.target, name) {
                    continue;
                }
                self.outcome.charge(form.len(), STEPS_PER_MATCHED_BYTE);
                if confirms(rule, form) {
                    self.outcome.matched.insert(index);
                    self.outcome.note(rule, value.target, name, form);
                }
            }
        }
    }
}

fn confirms(rule: &Rule, bytes: &[u8]) -> bool {
    rule.operator.matches(bytes)
        && rule.also.iter().all(|operator| operator.matches(bytes))
        && !rule.unless.iter().any(|operator| operator.matches(bytes))
}

impl Outcome {
    fn note(&mut self, rule: &Rule, target: Target, name: &[u8], bytes: &[u8]) {
        self.score = self.score.saturating_add(rule.score);
        if self.matches.len() < MAX_MATCHES {
            let found = rule.operator.find(bytes).unwrap_or_default();
            self.matches.push(WafMatch {
                rule: rule.id,
                message: rule.message.clone(),
                target: evidence::place(target, name),
                piece: evidence::piece(target, name, bytes, found),
                score: rule.score,
            });
        }
    }
}

/// The forms of one value: itself, and what the chains make of it. Chains that change nothing
/// share a form, and so its prefilter result.
#[derive(Debug, Default)]
struct Forms {
    text: Vec<u8>,
    changed: Vec<u8>,
    forms: Vec<Form>,
    used: usize,
    /// For each node of the trie, its form.
    at_node: Vec<usize>,
    /// The rules that are still to be asked at the current node.
    candidates: RuleBits,
}

/// The untransformed value's index among the forms.
const RAW: usize = 0;

#[derive(Debug, Default)]
struct Form {
    start: usize,
    end: usize,
    mask: ByteMask,
    /// The rules that its literals leave, once they were searched.
    by_literal: Option<RuleBits>,
    spare: Option<RuleBits>,
}

impl Forms {
    fn capacity(&self) -> usize {
        self.text.capacity() + self.changed.capacity()
    }

    fn begin(&mut self, mask: ByteMask, nodes: usize) {
        self.text.clear();
        self.used = 0;
        self.at_node.clear();
        self.at_node.resize(nodes, RAW);
        self.push(0..0, mask);
    }

    fn push(&mut self, range: std::ops::Range<usize>, mask: ByteMask) -> usize {
        let index = self.used;
        if index == self.forms.len() {
            self.forms.push(Form::default());
        }
        if let Some(form) = self.forms.get_mut(index) {
            form.spare = form.by_literal.take().or(form.spare.take());
            (form.start, form.end, form.mask) = (range.start, range.end, mask);
        }
        self.used += 1;
        index
    }

    /// The bytes of a form, given those of the value.
    fn bytes<'a>(&'a self, form: usize, raw: &'a [u8]) -> &'a [u8] {
        match self.forms.get(form) {
            Some(changed) if form != RAW => {
                self.text.get(changed.start..changed.end).unwrap_or_default()
            }
            _ => raw,
        }
    }

    /// The form at a step's node, computed from its parent's.
    fn reach(&mut self, step: &Step, raw: &[u8], outcome: &mut Outcome) -> usize {
        let parent = self.at_node.get(step.parent).copied().unwrap_or(RAW);
        let form = step.transformation.map_or(parent, |transformation| {
            let mask = self.forms.get(parent).map(|form| form.mask).unwrap_or_default();
            if !(transformation.may_change)(&mask) {
                return parent;
            }
            let mut changed = std::mem::take(&mut self.changed);
            changed.clear();
            let before = self.bytes(parent, raw);
            (transformation.apply)(before, &mut changed);
            outcome.charge(before.len(), STEPS_PER_TRANSFORMED_BYTE);
            let same = *before == *changed;
            let form = if same { parent } else { self.keep(&changed) };
            self.changed = changed;
            form
        });
        if let Some(at) = self.at_node.get_mut(step.node) {
            *at = form;
        }
        form
    }

    fn keep(&mut self, changed: &[u8]) -> usize {
        let start = self.text.len();
        self.text.extend_from_slice(changed);
        self.push(start..self.text.len(), ByteMask::of(changed))
    }

    /// Leaves only the candidates that the form could match.
    fn narrow(&mut self, form: usize, raw: &[u8], rules: &RuleSet, outcome: &mut Outcome) {
        let Some(mut known) = self.forms.get_mut(form).map(std::mem::take) else { return };
        self.candidates.retain(|rule| rules.prefilter.allows(rule, &known.mask));
        if self.candidates.intersects(rules.prefilter.needs_literal()) {
            let by_literal = known.by_literal.get_or_insert_with(|| {
                let mut bits = known.spare.take().unwrap_or_default();
                let bytes = match form {
                    RAW => raw,
                    _ => self.text.get(known.start..known.end).unwrap_or_default(),
                };
                outcome.charge(bytes.len(), STEPS_PER_SEARCHED_BYTE);
                rules.prefilter.by_literal(bytes, &mut bits);
                bits
            });
            self.candidates.intersect_with(by_literal);
        }
        if let Some(slot) = self.forms.get_mut(form) {
            *slot = known;
        }
    }
}
