//! What a match does: variables, controls, the record, the decision.

use super::tx::number;
use super::{Decision, Evaluation, work};
use crate::evidence;
use crate::policy::Compiled;
use crate::program::slots::Slot;
use crate::program::template::Template;
use crate::program::{Change, Control, Link, Rule, Set, SetName, Then};
use crate::seclang::ast::RuleEngine;

impl Evaluation {
    /// Sets what a link sets each time that a value matches.
    pub(super) fn set_all(&mut self, policy: &Compiled, rule: &Rule, link: &Link) {
        if link.capture {
            let (_, value) = self.matched.last().unwrap_or_default();
            for (group, piece) in self.captures.iter(value) {
                self.work.charge(piece.len(), work::PER_COPIED_BYTE);
                self.tx.set_capture(group, piece);
            }
        }
        for set in &link.set {
            self.set(policy, rule, set);
        }
    }

    fn set(&mut self, policy: &Compiled, rule: &Rule, set: &Set) {
        let slots = &policy.rules.program.slots;
        match &set.name {
            SetName::Known(slot) => self.set_slot(policy, rule, *slot, &set.change),
            SetName::Expanded(template) => {
                let name = self.expanded(rule, template);
                let lower = String::from_utf8_lossy(&name).to_ascii_lowercase();
                match slots.find(&lower) {
                    Some(slot) => self.set_slot(policy, rule, slot, &set.change),
                    None => self.set_other(rule, &name, &set.change),
                }
            }
        }
    }

    fn set_slot(&mut self, policy: &Compiled, rule: &Rule, slot: Slot, change: &Change) {
        let before = self.tx.value(slot).map_or(0, number);
        match self.changed(rule, before, change) {
            None => self.tx.remove(slot),
            Some(value) => {
                if policy.rules.program.slots.counts(slot) {
                    let added = u32::try_from(number(&value) - before).unwrap_or(0);
                    self.outcome.rule_score = self.outcome.rule_score.saturating_add(added);
                }
                self.tx.set(slot, &value);
            }
        }
    }

    fn set_other(&mut self, rule: &Rule, name: &[u8], change: &Change) {
        let before = self.tx.other(name).map_or(0, number);
        let value = self.changed(rule, before, change);
        self.tx.set_other(name, value.as_deref());
    }

    /// A variable's new value, `None` if it is removed.
    fn changed(&mut self, rule: &Rule, before: i64, change: &Change) -> Option<Vec<u8>> {
        let sum = |sum: i64| sum.to_string().into_bytes();
        let value = match change {
            Change::Remove => return None,
            Change::Set(template) => self.expanded(rule, template),
            Change::Add(template) => {
                sum(before.saturating_add(number(&self.expanded(rule, template))))
            }
            Change::Subtract(template) => {
                sum(before.saturating_sub(number(&self.expanded(rule, template))))
            }
        };
        self.work.charge(value.len(), work::PER_COPIED_BYTE);
        Some(value)
    }

    fn expanded(&self, rule: &Rule, template: &Template) -> Vec<u8> {
        let mut out = Vec::new();
        self.known(rule).expand(template, &mut out);
        out
    }

    /// Does what the whole rule's match leads to.
    pub(super) fn conclude(&mut self, policy: &Compiled, index: usize, rule: &Rule) {
        for control in rule.links.iter().rev().flat_map(|link| &link.controls) {
            self.control(policy, *control);
        }
        let score = self.outcome.count(index, rule);
        if rule.log && self.outcome.has_room() {
            let record = self.record(rule, score);
            self.outcome.matches.push(record);
            if policy.rules.program.hides {
                let places = self.places().collect();
                self.hidden.note_match(places);
            }
        }
        match &rule.then {
            Then::Pass => {}
            Then::Allow(allow) => {
                if self.enforces(policy) {
                    self.controls.allowed = self.controls.allowed.max(Some(*allow));
                }
            }
            Then::Deny { status } => self.decide(policy, rule, *status, None),
            Then::Redirect { status, to } => {
                let to = String::from_utf8_lossy(&self.expanded(rule, to)).into_owned();
                self.decide(policy, rule, *status, Some(to));
            }
        }
    }

    /// Puts the policy's own values into TX.
    pub(super) fn put_settings(&mut self, policy: &Compiled) {
        for (slot, value) in &policy.settings {
            self.tx.set(*slot, value);
        }
    }

    /// Where the rule at hand matched, as it is told.
    fn places(&self) -> impl Iterator<Item = Box<str>> {
        self.matched_all().map(|found| evidence::place(&found))
    }

    fn control(&mut self, policy: &Compiled, control: Control) {
        let program = &policy.rules.program;
        match control {
            Control::BodyProcessor(processor) => {
                let name = crate::body::Processor::of(processor).map_or("", |it| it.name());
                self.arena.set(crate::target::Target::ReqbodyProcessor, name.as_bytes());
                self.controls.body_processor = Some(processor);
            }
            Control::ForceBody(force) => self.controls.force_body = force,
            Control::RequestBody(access) => self.controls.request_body = Some(access),
            Control::ResponseBody(access) => self.controls.response_body = Some(access),
            Control::RuleEngine(engine) => self.controls.engine = Some(engine),
            Control::RemoveTarget(spot) => {
                if !self.controls.blind_spots.contains(&spot) {
                    self.controls.blind_spots.push(spot);
                }
            }
            Control::Remove(index) => {
                if let Some(rules) = program.removals.get(index) {
                    match &mut self.controls.removed {
                        Some(removed) => removed.union_with(rules),
                        None => self.controls.removed = Some(rules.clone()),
                    }
                }
            }
            Control::Hide(index) => {
                let asked = program.sanitised.get(index).into_iter();
                asked.for_each(|asked| self.hidden.add(asked));
            }
            Control::HideMatched => {
                let places: Vec<_> = self.places().collect();
                places.into_iter().for_each(|place| self.hidden.add_exactly(place));
            }
            Control::Settings => self.put_settings(policy),
        }
    }

    fn enforces(&self, policy: &Compiled) -> bool {
        !policy.detect_only && self.controls.engine != Some(RuleEngine::DetectionOnly)
    }

    fn decide(&mut self, policy: &Compiled, rule: &Rule, status: u16, location: Option<String>) {
        let enforced = self.enforces(policy);
        if self.outcome.decision.is_none() || enforced && !self.outcome.interrupted() {
            self.outcome.decision = Some(Decision { rule: rule.id, status, location, enforced });
        }
    }
}
