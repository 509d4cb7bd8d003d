//! The search: what the transformations make of each value, and which rules could match it.

use crate::bits::RuleBits;
use crate::mask::ByteMask;
use crate::policy::Compiled;
use crate::policy::plan::{Plan, Step, places, retain};
use crate::prefilter::Prefilter;
use crate::target::Target;
use crate::values::Value;

use super::work::{self, Work};

/// A rule that has to ask its question of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) rule: u32,
    /// The value's number in the arena.
    pub(crate) value: u32,
    pub(crate) form: FormSpan,
}

/// The value as it is, or a piece of [`Forms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FormSpan {
    Value,
    Text { start: u32, end: u32 },
}

/// The forms of the request's values: themselves, and what the chains make of them. Chains that
/// change nothing share a form, and so its prefilter result.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    /// Every form that a candidate refers to.
    text: Vec<u8>,
    changed: Vec<u8>,
    /// Those of the value at hand, itself first.
    forms: Vec<Form>,
    used: usize,
    /// For each step of the plan, its form.
    at_step: Vec<usize>,
    scratch: Vec<u64>,
    pub(crate) candidates: Vec<Candidate>,
    /// The rules that have candidates.
    pub(crate) hit: RuleBits,
}

/// The form of untransformed values.
const RAW: usize = 0;

#[derive(Debug, Default)]
struct Form {
    start: usize,
    end: usize,
    mask: ByteMask,
    /// The form that has the same letters but for their case, which literals do not heed; itself
    /// if there is none.
    same_letters: usize,
    /// The rules of the plan that look at it.
    rules: Vec<u64>,
    /// The rules that its literals leave, once they were searched.
    by_literal: Option<RuleBits>,
    spare: Option<RuleBits>,
}

impl Forms {
    pub(crate) fn reset(&mut self, rules: usize) {
        self.text.clear();
        self.candidates.clear();
        self.hit.reset(rules);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
            + self.changed.capacity()
            + self.candidates.capacity() * size_of::<Candidate>()
    }

    /// The candidates of one rule, once they were sorted.
    pub(crate) fn candidates_of(&self, rule: usize) -> std::ops::Range<usize> {
        let start = self.candidates.partition_point(|known| (known.rule as usize) < rule);
        let behind = self.candidates.get(start..).unwrap_or_default();
        let len = behind.iter().take_while(|known| known.rule as usize == rule).count();
        start..start + len
    }

    /// The bytes of a form, given those of its value.
    pub(crate) fn bytes<'a>(&'a self, form: FormSpan, raw: &'a [u8]) -> &'a [u8] {
        match form {
            FormSpan::Value => raw,
            FormSpan::Text { start, end } => {
                self.text.get(start as usize..end as usize).unwrap_or_default()
            }
        }
    }

    /// Notes the candidates of a value.
    pub(crate) fn search(
        &mut self,
        policy: &Compiled,
        (index, value): (usize, &Value),
        raw: &[u8],
        work: &mut Work,
    ) {
        work.charge(1, work::PER_VALUE);
        let plan = policy.plan(value.target);
        if plan.rules.is_empty() {
            return;
        }
        work.charge(plan.steps.len(), work::PER_FORM);
        let (before, known) = (self.text.len(), self.candidates.len());
        self.transform(plan, value.mask, raw, work);
        if value.derived {
            for form in &mut self.forms {
                form.rules.iter_mut().zip(&plan.own).for_each(|(rules, own)| *rules &= own);
            }
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let mut kept = before;
        for form in 0..self.used {
            if policy.prefilter {
                self.narrow(form, raw, (&policy.rules.program.prefilter, plan), work);
            }
            let span = self.span(form);
            let Some(known) = self.forms.get(form) else { break };
            for place in places(&known.rules) {
                let rule = plan.rule(place);
                self.hit.insert(rule);
                let rule = u32::try_from(rule).unwrap_or(u32::MAX);
                self.candidates.push(Candidate { rule, value: index, form: span });
                kept = kept.max(if form == RAW { before } else { known.end });
            }
        }
        self.text.truncate(kept);
        work.charge(self.candidates.len() - known, work::PER_CANDIDATE);
    }

    /// Computes the value's forms, each with the rules that look at it.
    fn transform(&mut self, plan: &Plan, mask: ByteMask, raw: &[u8], work: &mut Work) {
        self.used = 0;
        self.at_step.clear();
        self.push(0..0, mask, RAW, plan.words);
        for step in &plan.steps {
            let form = self.reach(step, raw, plan.words, work);
            self.at_step.push(form);
            if let Some(known) = self.forms.get_mut(form) {
                known.rules.iter_mut().zip(&step.rules).for_each(|(all, rules)| *all |= rules);
            }
        }
    }

    fn push(
        &mut self,
        range: std::ops::Range<usize>,
        mask: ByteMask,
        same_letters: usize,
        words: usize,
    ) -> usize {
        let index = self.used;
        if index == self.forms.len() {
            self.forms.push(Form::default());
        }
        if let Some(form) = self.forms.get_mut(index) {
            form.spare = form.by_literal.take().or(form.spare.take());
            (form.start, form.end, form.mask) = (range.start, range.end, mask);
            form.same_letters = same_letters;
            form.rules.clear();
            form.rules.resize(words, 0);
        }
        self.used += 1;
        index
    }

    fn span(&self, form: usize) -> FormSpan {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        match self.forms.get(form) {
            Some(known) if form != RAW => {
                FormSpan::Text { start: narrow(known.start), end: narrow(known.end) }
            }
            _ => FormSpan::Value,
        }
    }

    /// The form at a step, computed from its parent's.
    fn reach(&mut self, step: &Step, raw: &[u8], words: usize, work: &mut Work) -> usize {
        let Some(transformation) = step.transformation else { return RAW };
        let parent = self.at_step.get(step.parent).copied().unwrap_or(RAW);
        let Some(known) = self.forms.get(parent) else { return RAW };
        if !(transformation.may_change)(&known.mask) {
            return parent;
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.clear();
        let before = self.bytes(self.span(parent), raw);
        (transformation.apply)(before, &mut changed);
        work.charge(before.len(), work::PER_TRANSFORMED_BYTE);
        let form = if *before == *changed {
            parent
        } else {
            self.keep(&changed, transformation.only_case.then_some(parent), words)
        };
        self.changed = changed;
        form
    }

    fn keep(&mut self, changed: &[u8], same_as: Option<usize>, words: usize) -> usize {
        let start = self.text.len();
        self.text.extend_from_slice(changed);
        let same = same_as.and_then(|form| self.forms.get(form)).map(|form| form.same_letters);
        let same = same.unwrap_or(self.used);
        self.push(start..self.text.len(), ByteMask::of(changed), same, words)
    }

    /// Leaves only the rules that the form could match.
    fn narrow(
        &mut self,
        form: usize,
        raw: &[u8],
        (prefilter, plan): (&Prefilter, &Plan),
        work: &mut Work,
    ) {
        let Some(known) = self.forms.get_mut(form) else { return };
        let mask = known.mask;
        plan.retain_by_bytes(&mask, &mut known.rules, &mut self.scratch);
        retain(&mut known.rules, |place| prefilter.allows(plan.rule(place), &mask));
        let literal = |(rules, needs): (&u64, &u64)| rules & needs != 0;
        if !known.rules.iter().zip(&plan.needs_literal).any(literal) {
            return;
        }
        let same_letters = known.same_letters;
        let mut rules = std::mem::take(&mut known.rules);
        let span = self.span(same_letters);
        if let Some(known) = self.forms.get_mut(same_letters) {
            let by_literal = known.by_literal.get_or_insert_with(|| {
                let mut bits = known.spare.take().unwrap_or_default();
                let bytes = match span {
                    FormSpan::Value => raw,
                    FormSpan::Text { start, end } => {
                        self.text.get(start as usize..end as usize).unwrap_or_default()
                    }
                };
                work.charge(bytes.len(), work::PER_SEARCHED_BYTE);
                prefilter.by_literal(bytes, &mut bits);
                bits
            });
            retain(&mut rules, |place| by_literal.contains(plan.rule(place)));
        }
        if let Some(known) = self.forms.get_mut(form) {
            known.rules = rules;
        }
    }
}

/// The values of each target, by their numbers in the arena.
#[derive(Debug, Default)]
pub(crate) struct ByTarget(Vec<Vec<u32>>);

impl ByTarget {
    pub(crate) fn clear(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn push(&mut self, target: Target, index: usize) {
        if self.0.len() <= target as usize {
            self.0.resize_with(target as usize + 1, Vec::new);
        }
        if let Some(values) = self.0.get_mut(target as usize) {
            values.push(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn of(&self, target: Target) -> &[u32] {
        self.0.get(target as usize).map(Vec::as_slice).unwrap_or_default()
    }
}
