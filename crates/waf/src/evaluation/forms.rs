//! The search: what the transformations make of each value, and which rules could match it.

use crate::bits::RuleBits;
use crate::mask::ByteMask;
use crate::policy::{Compiled, Step};
use crate::program::Program;
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
    Text { start: usize, end: usize },
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
    /// For each node of the trie, its form.
    at_node: Vec<usize>,
    bits: RuleBits,
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
            FormSpan::Text { start, end } => self.text.get(start..end).unwrap_or_default(),
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
        let program = &policy.rules.program;
        work.charge(1, work::PER_VALUE);
        self.begin(value.mask, program.trie.nodes().len());
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let mut kept = self.text.len();
        for step in policy.plan(value.target) {
            let (form, same) = self.reach(step, raw, work);
            if step.rules.is_empty() {
                continue;
            }
            self.bits.copy_from(&step.rules);
            if same {
                self.bits.subtract(&program.multi_match);
            }
            if policy.prefilter {
                self.narrow(form, raw, program, work);
            }
            if self.bits.is_empty() {
                continue;
            }
            let span = self.span(form);
            if let FormSpan::Text { end, .. } = span {
                kept = kept.max(end);
            }
            self.hit.union_with(&self.bits);
            let candidate = |rule| {
                let rule = u32::try_from(rule).unwrap_or(u32::MAX);
                Candidate { rule, value: index, form: span }
            };
            self.candidates.extend(self.bits.iter().map(candidate));
        }
        self.text.truncate(kept);
    }

    fn begin(&mut self, mask: ByteMask, nodes: usize) {
        self.used = 0;
        self.at_node.clear();
        self.at_node.resize(nodes, RAW);
        self.push(0..0, mask, RAW);
    }

    fn push(
        &mut self,
        range: std::ops::Range<usize>,
        mask: ByteMask,
        same_letters: usize,
    ) -> usize {
        let index = self.used;
        if index == self.forms.len() {
            self.forms.push(Form::default());
        }
        if let Some(form) = self.forms.get_mut(index) {
            form.spare = form.by_literal.take().or(form.spare.take());
            (form.start, form.end, form.mask) = (range.start, range.end, mask);
            form.same_letters = same_letters;
        }
        self.used += 1;
        index
    }

    fn span(&self, form: usize) -> FormSpan {
        match self.forms.get(form) {
            Some(known) if form != RAW => FormSpan::Text { start: known.start, end: known.end },
            _ => FormSpan::Value,
        }
    }

    /// The form at a step's node, computed from its parent's, and whether it is the parent's.
    fn reach(&mut self, step: &Step, raw: &[u8], work: &mut Work) -> (usize, bool) {
        let parent = self.at_node.get(step.parent).copied().unwrap_or(RAW);
        let Some(transformation) = step.transformation else { return (RAW, false) };
        let mask = self.forms.get(parent).map(|form| form.mask).unwrap_or_default();
        let mut form = parent;
        if (transformation.may_change)(&mask) {
            let mut changed = std::mem::take(&mut self.changed);
            changed.clear();
            let before = self.bytes(self.span(parent), raw);
            (transformation.apply)(before, &mut changed);
            work.charge(before.len(), work::PER_TRANSFORMED_BYTE);
            if *before != *changed {
                form = self.keep(&changed, transformation.only_case.then_some(parent));
            }
            self.changed = changed;
        }
        if let Some(at) = self.at_node.get_mut(step.node) {
            *at = form;
        }
        (form, form == parent)
    }

    fn keep(&mut self, changed: &[u8], same_as: Option<usize>) -> usize {
        let start = self.text.len();
        self.text.extend_from_slice(changed);
        let same = same_as.and_then(|form| self.forms.get(form)).map(|form| form.same_letters);
        let same = same.unwrap_or(self.used);
        self.push(start..self.text.len(), ByteMask::of(changed), same)
    }

    /// Leaves only the rules that the form could match.
    fn narrow(&mut self, form: usize, raw: &[u8], program: &Program, work: &mut Work) {
        let Some(known) = self.forms.get(form) else { return };
        let (mask, same_letters) = (known.mask, known.same_letters);
        let prefilter = &program.prefilter;
        self.bits.retain(|rule| prefilter.allows(rule, &mask));
        if !self.bits.intersects(prefilter.needs_literal()) {
            return;
        }
        let span = self.span(same_letters);
        let Some(known) = self.forms.get_mut(same_letters) else { return };
        let by_literal = known.by_literal.get_or_insert_with(|| {
            let mut bits = known.spare.take().unwrap_or_default();
            let bytes = match span {
                FormSpan::Value => raw,
                FormSpan::Text { start, end } => self.text.get(start..end).unwrap_or_default(),
            };
            work.charge(bytes.len(), work::PER_SEARCHED_BYTE);
            prefilter.by_literal(bytes, &mut bits);
            bits
        });
        self.bits.intersect_with(by_literal);
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
