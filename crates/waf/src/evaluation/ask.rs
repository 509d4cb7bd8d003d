//! Conditions: which values a link looks at, and whether they match.

use std::ops::Range;

use super::Evaluation;
use super::expand::Known;
use super::forms::Candidate;
use super::matched::Origin;
use super::work;
use crate::operators::Captures;
use crate::policy::Compiled;
use crate::program::pick::{Pick, TxPick};
use crate::program::{Condition, From, Link, Matched, Question, Rule, RuleField, Source};
use crate::transformations::Transformation;

/// The number of no rule: what the search, exclusions and controls say of a rule is left out.
pub(super) const NO_RULE: usize = usize::MAX;

/// The link that is asked, with all that belongs to it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    policy: &'a Compiled,
    index: usize,
    rule: &'a Rule,
    link: &'a Link,
    condition: &'a Condition,
}

impl Evaluation {
    /// Whether all links of a rule match; what each match sets is set.
    pub(super) fn matches(&mut self, policy: &Compiled, index: usize, rule: &Rule) -> bool {
        if rule.own.is_some() && self.outcome.counted(index) {
            return false;
        }
        self.matched.clear();
        self.outcome.rule_score = 0;
        let searched = policy.rules.program.searched.contains(index);
        rule.links.iter().enumerate().all(|(number, link)| {
            let Some(condition) = &link.condition else {
                self.set_all(policy, rule, link);
                return true;
            };
            let asked = Asked { policy, index, rule, link, condition };
            self.expand_argument(asked);
            let before = self.matched.len();
            if number == 0 && searched {
                self.ask_candidates(asked);
            } else {
                condition.sources.iter().for_each(|source| self.ask_source(asked, source));
            }
            self.matched.len() > before
        })
    }

    /// Whether a condition that looks at variables only holds, whatever else its rule asks.
    pub(super) fn holds(
        &mut self,
        policy: &Compiled,
        rule: &Rule,
        link: &Link,
        condition: &Condition,
    ) -> bool {
        self.matched.clear();
        let asked = Asked { policy, index: NO_RULE, rule, link, condition };
        self.expand_argument(asked);
        condition.sources.iter().for_each(|source| self.ask_source(asked, source));
        self.matched.len() > 0
    }

    fn expand_argument(&mut self, asked: Asked<'_>) {
        if let Question::Expanded(_, template) = &asked.condition.question {
            let mut argument = std::mem::take(&mut self.buffers.argument);
            argument.clear();
            self.known(asked.rule).expand(template, &mut argument);
            self.buffers.argument = argument;
        }
    }

    pub(super) fn known<'a>(&'a self, rule: &'a Rule) -> Known<'a> {
        Known { arena: &self.arena, matched: &self.matched, rule, tx: &self.tx }
    }

    /// Asks of the values that the search left.
    fn ask_candidates(&mut self, asked: Asked<'_>) {
        for number in self.forms.candidates_of(asked.index) {
            let Some(candidate) = self.forms.candidates.get(number).copied() else { return };
            if self.ask_candidate(asked, candidate) {
                self.set_all(asked.policy, asked.rule, asked.link);
                if asked.rule.own.is_some() {
                    return;
                }
            }
            if self.work.exhausted() {
                return;
            }
        }
    }

    fn ask_candidate(&mut self, asked: Asked<'_>, candidate: Candidate) -> bool {
        let index = candidate.value as usize;
        // A YAML rule runs twice, and sees each value once.
        if asked.rule.own.is_some() && index < self.fresh {
            return false;
        }
        let Some(value) = self.arena.values().get(index).copied() else { return false };
        if asked.rule.own.is_some() && value.bytes.is_empty() {
            return false;
        }
        let name = self.arena.bytes(value.name);
        let selects = |source: &&Source| match &source.from {
            From::Arena(pick) => pick.selects(value.target, name),
            From::Matched(_) | From::Rule(_) | From::Tx(_) => false,
        };
        let Some(source) = asked.condition.sources.iter().find(selects) else { return false };
        if self.is_excepted(asked, value.target, name) {
            return false;
        }
        let bytes = self.forms.bytes(candidate.form, self.arena.bytes(value.bytes));
        self.work.charge(1, work::PER_QUESTION);
        self.work.charge(bytes.len(), work::PER_MATCHED_BYTE);
        let found = answer(asked, bytes, &self.buffers.argument, &mut self.captures);
        let Some(found) = found else { return false };
        let name = match &source.from {
            From::Arena(pick) => pick.told(value.target, name),
            From::Matched(_) | From::Rule(_) | From::Tx(_) => name,
        };
        let origin = Origin { label: source.label, target: Some(value.target), name };
        self.matched.push(origin, bytes, found);
        true
    }

    fn is_excepted(&self, asked: Asked<'_>, target: crate::target::Target, name: &[u8]) -> bool {
        let spots = &asked.policy.rules.program.blind_spots;
        asked.condition.excepts(target, name)
            || asked.policy.excludes(asked.index, target, name)
            || self
                .controls
                .blind_spots
                .iter()
                .filter_map(|spot| spots.get(*spot))
                .any(|spot| spot.rules.contains(asked.index) && spot.pick.selects(target, name))
    }

    /// Asks of all values of a variable.
    fn ask_source(&mut self, asked: Asked<'_>, source: &Source) {
        match &source.from {
            From::Arena(pick) => self.ask_arena(asked, source, pick),
            From::Tx(pick) => self.ask_variables(asked, source, pick),
            From::Matched(which) => self.ask_matched(asked, source, *which),
            From::Rule(field) => self.ask_rule(asked, source, *field),
        }
    }

    fn ask_arena(&mut self, asked: Asked<'_>, source: &Source, pick: &Pick) {
        let mut count = 0_usize;
        for target in pick.targets.iter() {
            for number in 0..self.by_target.of(target).len() {
                let index =
                    self.by_target.of(target).get(number).map_or(0, |index| *index as usize);
                let Some(value) = self.arena.values().get(index).copied() else { break };
                let name = self.arena.bytes(value.name);
                if !pick.selects(target, name) || self.is_excepted(asked, target, name) {
                    continue;
                }
                count += 1;
                if source.counted {
                    continue;
                }
                self.buffers.name.clear();
                self.buffers.name.extend_from_slice(pick.told(target, name));
                self.buffers.value.clear();
                self.buffers.value.extend_from_slice(self.arena.bytes(value.bytes));
                self.ask_value(asked, source.label, Some(target));
            }
        }
        if source.counted {
            self.ask_count(asked, source, count);
        }
    }

    fn ask_variables(&mut self, asked: Asked<'_>, source: &Source, pick: &TxPick) {
        let slots = &asked.policy.rules.program.slots;
        let mut count = 0_usize;
        let mut index = 0;
        while let Some((name, value)) = self.tx.nth(pick, slots, index) {
            index += 1;
            let Some(value) = value else { continue };
            count += 1;
            if source.counted {
                continue;
            }
            self.buffers.name.clear();
            self.buffers.name.extend_from_slice(name);
            self.buffers.value.clear();
            self.buffers.value.extend_from_slice(value);
            self.ask_value(asked, source.label, None);
        }
        if source.counted {
            self.ask_count(asked, source, count);
        }
    }

    fn ask_matched(&mut self, asked: Asked<'_>, source: &Source, which: Matched) {
        let known = self.matched.len();
        let first = match which {
            Matched::Name | Matched::Value => known.saturating_sub(1),
            Matched::Names | Matched::Values => 0,
        };
        if source.counted {
            return self.ask_count(asked, source, known - first);
        }
        for index in first..known {
            let Some((name, value)) = self.matched.entry(index) else { return };
            let asked_for = match which {
                Matched::Name | Matched::Names => name,
                Matched::Value | Matched::Values => value,
            };
            self.buffers.name.clear();
            if matches!(which, Matched::Names | Matched::Values) {
                self.buffers.name.extend_from_slice(name);
            }
            self.buffers.value.clear();
            self.buffers.value.extend_from_slice(asked_for);
            self.ask_value(asked, source.label, None);
        }
    }

    fn ask_rule(&mut self, asked: Asked<'_>, source: &Source, field: RuleField) {
        let mut value = std::mem::take(&mut self.buffers.value);
        value.clear();
        self.known(asked.rule).rule_field(field, &mut value);
        self.buffers.value = value;
        self.buffers.name.clear();
        self.ask_value(asked, source.label, None);
    }

    fn ask_count(&mut self, asked: Asked<'_>, source: &Source, count: usize) {
        self.buffers.name.clear();
        self.buffers.value.clear();
        self.buffers.value.extend_from_slice(count.to_string().as_bytes());
        self.ask_value(asked, source.label, None);
    }

    /// Transforms the value in the buffer, and asks of what comes out.
    fn ask_value(
        &mut self,
        asked: Asked<'_>,
        label: &'static str,
        target: Option<crate::target::Target>,
    ) {
        if self.work.exhausted() {
            return;
        }
        let mut form = std::mem::take(&mut self.buffers.form);
        form.clear();
        form.extend_from_slice(&self.buffers.value);
        if asked.link.multi_match {
            self.ask_form(asked, label, target, &form);
        }
        for transformation in &asked.link.transformations {
            let changed = self.transform(transformation, &mut form);
            if asked.link.multi_match && changed {
                self.ask_form(asked, label, target, &form);
            }
        }
        if !asked.link.multi_match {
            self.ask_form(asked, label, target, &form);
        }
        self.buffers.form = form;
    }

    fn transform(&mut self, transformation: &Transformation, form: &mut Vec<u8>) -> bool {
        self.buffers.other.clear();
        (transformation.apply)(form, &mut self.buffers.other);
        self.work.charge(form.len(), work::PER_TRANSFORMED_BYTE);
        std::mem::swap(form, &mut self.buffers.other);
        *form != self.buffers.other
    }

    fn ask_form(
        &mut self,
        asked: Asked<'_>,
        label: &'static str,
        target: Option<crate::target::Target>,
        form: &[u8],
    ) {
        self.work.charge(1, work::PER_QUESTION);
        self.work.charge(form.len(), work::PER_MATCHED_BYTE);
        if let Some(found) = answer(asked, form, &self.buffers.argument, &mut self.captures) {
            let origin = Origin { label, target, name: &self.buffers.name };
            self.matched.push(origin, form, found);
            self.set_all(asked.policy, asked.rule, asked.link);
        }
    }
}

/// Where a value matches the condition; an empty range where there is no particular place.
fn answer(
    asked: Asked<'_>,
    value: &[u8],
    argument: &[u8],
    captures: &mut Captures,
) -> Option<Range<usize>> {
    let condition = asked.condition;
    let found = match &condition.question {
        Question::Compiled(operator) if asked.link.capture && !condition.negated => {
            operator.capture(value, captures)
        }
        Question::Compiled(operator) => operator.find(value),
        Question::Expanded(compare, _) => {
            captures.clear();
            compare(argument, value)
        }
    };
    match (found, condition.negated) {
        (Some(found), false) => Some(found),
        (None, true) => Some(0..0),
        (Some(_), true) | (None, false) => None,
    }
}
