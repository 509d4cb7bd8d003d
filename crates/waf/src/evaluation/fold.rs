//! What the rules do the same for every request is done once, when a policy is compiled: variables
//! that are always set to the same, gates that always open or never do. The rules between a gate
//! that always jumps and its mark then cost nothing.
//!
//! The rules are walked in their order with what is known of each variable at that point. A rule
//! whose inputs are all known runs here, on the engine itself; any other may match or not, and
//! makes what it writes unknown. A rule can be left out at run time if what it does is nothing, or
//! only writes that no rule before it, which does run, could see or undo.

use super::Evaluation;
use super::ask::NO_RULE;
use super::tx::Tx;
use super::work::Work;
use crate::bits::RuleBits;
use crate::policy::Compiled;
use crate::program::slots::Slot;
use crate::program::template::{Piece, Template};
use crate::program::{
    Change, Condition, Control, From, Link, Question, Rule, RuleField, Set, SetName, Stage, Then,
};

/// What is left to do for each request.
#[derive(Debug)]
pub(crate) struct Folded {
    /// TX before the first rule.
    pub(crate) variables: Tx,
    /// The rules that still have to run.
    pub(crate) live: RuleBits,
}

/// Runs what is the same for every request; `enabled` are the rules that the policy runs at all.
pub(crate) fn fold(policy: &Compiled, enabled: &RuleBits) -> Folded {
    let program = &policy.rules.program;
    let mut walk = Walk {
        policy,
        evaluation: Evaluation::default(),
        snapshot: Tx::new(&program.slots),
        live: enabled.clone(),
        state: Some(State::new(Tx::new(&program.slots), program.slots.len())),
        jumps: Vec::new(),
        left: None,
        removable: RuleBits::empty(program.rules.len()),
        touched: Slots::none(program.slots.len()),
        gates: Vec::new(),
    };
    walk.evaluation.reset(policy);
    walk.evaluation.work = Work::new(u64::MAX);
    for stage in Stage::ALL {
        walk.stage(stage, enabled);
    }
    for (gate, to) in walk.gates.into_iter().rev() {
        if (gate + 1..to).any(|index| walk.live.contains(index)) {
            walk.live.insert(gate);
        }
    }
    Folded { variables: walk.snapshot, live: walk.live }
}

/// A set of variables.
#[derive(Clone, Debug)]
struct Slots(Vec<bool>);

impl Slots {
    fn none(len: usize) -> Self {
        Self(vec![false; len])
    }

    fn contains(&self, slot: Slot) -> bool {
        self.0.get(slot.index()) == Some(&true)
    }

    fn set(&mut self, slot: Slot, contained: bool) {
        if let Some(known) = self.0.get_mut(slot.index()) {
            *known = contained;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let slots = (0..).map(Slot).zip(&self.0);
        slots.filter(|(_, contained)| **contained).map(|(slot, _)| slot)
    }

    fn union_with(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| *a && *b)
    }
}

/// What is known of the variables, in all inspections that get to one point.
#[derive(Clone, Debug)]
struct State {
    tx: Tx,
    unknown: Slots,
}

impl State {
    fn new(tx: Tx, slots: usize) -> Self {
        Self { tx, unknown: Slots::none(slots) }
    }

    /// What is known if it is either this or the other.
    fn join(&mut self, other: &Self) {
        for slot in (0..).map(Slot).take(self.unknown.0.len()) {
            if other.unknown.contains(slot) || self.tx.value(slot) != other.tx.value(slot) {
                self.unknown.set(slot, true);
            }
        }
    }
}

fn join(state: &mut Option<State>, other: &State) {
    match state {
        Some(state) => state.join(other),
        None => *state = Some(other.clone()),
    }
}

struct Walk<'a> {
    policy: &'a Compiled,
    evaluation: Evaluation,
    snapshot: Tx,
    live: RuleBits,
    /// At the rule at hand; `None` if no inspection gets there.
    state: Option<State>,
    /// Jumps that were taken, perhaps: to where, and what is known then.
    jumps: Vec<(usize, State)>,
    /// What is known if the rest of a stage was left out.
    left: Option<State>,
    /// Rules that others may switch off.
    removable: RuleBits,
    /// What the rules that stay read and write.
    touched: Slots,
    /// Rules that always jump, and to where.
    gates: Vec<(usize, usize)>,
}

/// What is known of a rule before it runs.
enum Outcome {
    /// It does the same for every request: whether it matches, and what is known then.
    Known(bool, State),
    /// It never matches as a whole, and no part of it has an effect.
    Never,
    /// It may match, or, if only its first links can, have their effects.
    Open { matches: bool },
}

impl Walk<'_> {
    fn stage(&mut self, stage: Stage, enabled: &RuleBits) {
        if let Some(left) = &self.left {
            join(&mut self.state, left);
        }
        let range = self.policy.rules.program.rules_of(stage);
        for index in range.clone() {
            self.land(index);
            if !enabled.contains(index) {
                continue;
            }
            if let Some(rule) = self.policy.rules.program.rules.get(index)
                && rule.own.is_none()
            {
                self.rule(index, rule);
            }
        }
        self.land(range.end);
    }

    /// Takes in the jumps that end here.
    fn land(&mut self, index: usize) {
        for (_, state) in self.jumps.extract_if(.., |(to, _)| *to <= index) {
            join(&mut self.state, &state);
        }
    }

    fn rule(&mut self, index: usize, rule: &Rule) {
        let Some(state) = self.state.take() else {
            self.live.remove(index);
            return;
        };
        let program = &self.policy.rules.program;
        let certain =
            self.left.is_none() && self.jumps.is_empty() && !self.removable.contains(index);
        let (matched, after, stays) = match self.outcome(rule, &state) {
            Outcome::Never => {
                self.live.remove(index);
                self.state = Some(state);
                return;
            }
            Outcome::Known(matched, after) if !self.removable.contains(index) => {
                let written = self.written(rule);
                let jumps = matched && rule.next != index + 1;
                let silent = self.evaluation.outcome.rule_score == 0 && rule.is_silent();
                let writes = after.tx_differs(&state, &written);
                let folds = (silent || !matched)
                    && (!writes || certain && !jumps && !written.intersects(&self.touched));
                if folds && jumps {
                    // It comes back if a rule that it jumps over is reached from elsewhere.
                    self.gates.push((index, rule.next));
                    self.touched.union_with(&read(rule, program.slots.len()));
                }
                if folds && writes {
                    after.copy(&written, &mut self.snapshot);
                }
                (Some(matched), after, !folds)
            }
            Outcome::Known(..) => (None, self.after_any(rule, &state), true),
            Outcome::Open { matches } => {
                (if matches { None } else { Some(false) }, self.after_any(rule, &state), true)
            }
        };
        if stays {
            self.touched.union_with(&self.written(rule));
            self.touched.union_with(&read(rule, program.slots.len()));
        } else {
            self.live.remove(index);
        }
        self.go_on(index, rule, matched, after);
    }

    /// Follows the ways on behind a rule that matches, does not, or may.
    fn go_on(&mut self, index: usize, rule: &Rule, matched: Option<bool>, after: State) {
        if matched == Some(false) {
            self.state = Some(after);
            return;
        }
        let removals = &self.policy.rules.program.removals;
        for control in rule.links.iter().flat_map(|link| &link.controls) {
            if let Control::Remove(which) = control
                && let Some(rules) = removals.get(*which)
            {
                self.removable.union_with(rules);
            }
        }
        if !matches!(rule.then, Then::Pass) {
            join(&mut self.left, &after);
        }
        if rule.next == index + 1 {
            self.state = Some(after);
            return;
        }
        self.state = matched.is_none().then(|| after.clone());
        self.jumps.push((rule.next, after));
    }

    fn outcome(&mut self, rule: &Rule, state: &State) -> Outcome {
        if is_known(rule, state, &self.policy.rules.program.slots) {
            self.evaluation.tx = state.tx.clone();
            let matched = self.evaluation.matches(self.policy, NO_RULE, rule);
            let controls = rule.links.iter().flat_map(|link| &link.controls);
            if matched && controls.into_iter().any(|control| *control == Control::Settings) {
                self.evaluation.put_settings(self.policy);
            }
            let mut after =
                State { tx: self.evaluation.tx.clone(), unknown: state.unknown.clone() };
            if matched {
                self.written(rule).iter().for_each(|slot| after.unknown.set(slot, false));
            }
            return Outcome::Known(matched, after);
        }
        let mut written = Slots::none(state.unknown.0.len());
        let mut effects = false;
        for link in &rule.links {
            let known = link.condition.as_ref().is_some_and(|condition| {
                is_condition_known(condition, state)
                    && !reads(condition).any(|slot| written.contains(slot))
            });
            if known && !self.holds(rule, link, state) {
                return if effects { Outcome::Open { matches: false } } else { Outcome::Never };
            }
            effects |= link.capture || !link.set.is_empty();
            written.union_with(&self.written_by(link));
        }
        Outcome::Open { matches: true }
    }

    /// Whether the condition of a link, whose inputs are known, holds.
    fn holds(&mut self, rule: &Rule, link: &Link, state: &State) -> bool {
        let Some(condition) = &link.condition else { return true };
        self.evaluation.tx = state.tx.clone();
        self.evaluation.holds(self.policy, rule, link, condition)
    }

    /// What is known if a rule matched or not.
    fn after_any(&self, rule: &Rule, state: &State) -> State {
        let mut after = state.clone();
        after.unknown.union_with(&self.written(rule));
        after
    }

    fn written(&self, rule: &Rule) -> Slots {
        let mut written = Slots::none(self.policy.rules.program.slots.len());
        rule.links.iter().for_each(|link| written.union_with(&self.written_by(link)));
        written
    }

    /// The variables that a link may write.
    fn written_by(&self, link: &Link) -> Slots {
        let slots = &self.policy.rules.program.slots;
        let mut written = Slots::none(slots.len());
        if link.capture {
            (0..crate::program::slots::CAPTURES).for_each(|group| written.set(Slot(group), true));
        }
        for set in &link.set {
            match &set.name {
                SetName::Known(slot) => written.set(*slot, true),
                SetName::Expanded(name) => {
                    let start = match name.pieces.first() {
                        Some(Piece::Text(text)) => text.to_ascii_lowercase(),
                        _ => Vec::new(),
                    };
                    let could = |slot: &Slot| slots.name(*slot).as_bytes().starts_with(&start);
                    let all = (0..).map(Slot).take(slots.len());
                    all.filter(could).for_each(|slot| written.set(slot, true));
                }
            }
        }
        if link.controls.contains(&Control::Settings) {
            self.policy.settings.iter().for_each(|(slot, _)| written.set(*slot, true));
        }
        written
    }
}

impl State {
    fn tx_differs(&self, before: &Self, among: &Slots) -> bool {
        among.iter().any(|slot| {
            before.unknown.contains(slot) || self.tx.value(slot) != before.tx.value(slot)
        })
    }

    fn copy(&self, slots: &Slots, to: &mut Tx) {
        for slot in slots.iter().filter(|slot| !self.unknown.contains(*slot)) {
            match self.tx.value(slot) {
                Some(value) => to.set(slot, value),
                None => to.remove(slot),
            }
        }
    }
}

impl Rule {
    /// Whether its match is seen in nothing but variables.
    fn is_silent(&self) -> bool {
        let controls = self.links.iter().flat_map(|link| &link.controls);
        !self.log
            && matches!(self.then, Then::Pass)
            && controls.into_iter().all(|control| *control == Control::Settings)
    }
}

/// Whether all that a rule asks and writes follows from what is known.
fn is_known(rule: &Rule, state: &State, slots: &crate::program::slots::Slots) -> bool {
    let is_set_known = |set: &Set| {
        let SetName::Known(slot) = set.name else { return false };
        let known = !state.unknown.contains(slot);
        match &set.change {
            Change::Remove => true,
            Change::Set(value) => (known || !slots.counts(slot)) && is_text_known(value, state),
            Change::Add(value) | Change::Subtract(value) => known && is_text_known(value, state),
        }
    };
    rule.links.iter().all(|link| {
        link.condition.as_ref().is_none_or(|condition| is_condition_known(condition, state))
            && link.set.iter().all(is_set_known)
    })
}

fn is_condition_known(condition: &Condition, state: &State) -> bool {
    let plain = |source: &crate::program::Source| match &source.from {
        From::Tx(pick) => pick.others.is_none(),
        From::Arena(_) | From::Matched(_) | From::Rule(_) => false,
    };
    condition.sources.iter().all(plain)
        && reads(condition).all(|slot| !state.unknown.contains(slot))
        && match &condition.question {
            Question::Compiled(_) => true,
            Question::Expanded(_, argument) => is_text_known(argument, state),
        }
}

/// The variables that a condition looks at.
fn reads(condition: &Condition) -> impl Iterator<Item = Slot> {
    let of_source = |source: &crate::program::Source| match &source.from {
        From::Tx(pick) => pick.slots.to_vec(),
        From::Arena(_) | From::Matched(_) | From::Rule(_) => Vec::new(),
    };
    let mut slots: Vec<Slot> = condition.sources.iter().flat_map(of_source).collect();
    if let Question::Expanded(_, argument) = &condition.question {
        slots.extend(mentioned(argument));
    }
    slots.into_iter()
}

fn is_text_known(text: &Template, state: &State) -> bool {
    text.pieces.iter().all(|piece| match piece {
        Piece::Text(_) => true,
        Piece::Tx(slot) => !state.unknown.contains(*slot),
        Piece::Rule(field) => matches!(field, RuleField::Id | RuleField::Severity),
        Piece::Arena(_) | Piece::Matched(_) => false,
    })
}

fn mentioned(text: &Template) -> impl Iterator<Item = Slot> + '_ {
    text.pieces.iter().filter_map(|piece| match piece {
        Piece::Tx(slot) => Some(*slot),
        Piece::Arena(_) | Piece::Matched(_) | Piece::Rule(_) | Piece::Text(_) => None,
    })
}

/// All variables that a rule reads, for what it decides, writes or tells.
fn read(rule: &Rule, slots: usize) -> Slots {
    let mut read = Slots::none(slots);
    let mut texts = vec![&rule.message, &rule.logdata];
    if let Then::Redirect { to, .. } = &rule.then {
        texts.push(to);
    }
    for link in &rule.links {
        for set in &link.set {
            if let (SetName::Known(slot), Change::Add(_) | Change::Subtract(_)) =
                (&set.name, &set.change)
            {
                read.set(*slot, true);
            }
            texts.extend(set.templates());
        }
        let condition = link.condition.iter();
        condition.flat_map(reads).for_each(|slot| read.set(slot, true));
    }
    texts.into_iter().flat_map(mentioned).for_each(|slot| read.set(slot, true));
    read
}
