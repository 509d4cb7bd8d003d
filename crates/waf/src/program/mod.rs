//! What both front ends compile to: rules in the order in which they run, with every name
//! resolved to an index, every jump to a position, every macro to its pieces.
//!
//! The rules of phase 1 come first, then the YAML rules, which look at a value as soon as it is
//! known, then those of the phases 2 to 5. A rule's number is its place in that order.

mod assemble;
mod link;
pub(crate) mod pick;
pub(crate) mod slots;
pub(crate) mod template;
mod variables;
mod yaml;

use std::ops::Range;
use std::sync::Arc;

pub(crate) use assemble::assemble;
pub(crate) use variables::pick_of;

use crate::bits::RuleBits;
use crate::operators::Operator;
use crate::operators::seclang::Compare;
use crate::prefilter::Prefilter;
use crate::seclang::ast::{BodyProcessor, RuleEngine, Sanitise, Severity};
use crate::target::TargetSet;
use crate::transformations::Transformation;
use crate::transformations::trie::Trie;
use pick::{Pick, TxPick};
use slots::{Slot, Slots};
use template::Template;

/// A compiled set of rules.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) rules: Vec<Rule>,
    /// For each [`Stage`], its rules.
    stages: [Range<usize>; Stage::COUNT],
    pub(crate) slots: Slots,
    pub(crate) trie: Trie,
    /// Over the heads of the rules that are searched for; the others need nothing of it.
    pub(crate) prefilter: Prefilter,
    /// The rules that run only where the search found a candidate.
    pub(crate) searched: RuleBits,
    /// For each node of the trie, the searched rules that look at values in that form.
    pub(crate) rules_of_node: Vec<RuleBits>,
    /// For each target, the searched rules that look at it.
    pub(crate) rules_of_target: Vec<RuleBits>,
    /// For each rule, the kinds of values that it looks at.
    wanted: Vec<TargetSet>,
    /// Whether there are SecLang rules.
    pub(crate) has_seclang: bool,
    /// What `ctl` switches off, by [`Control::Remove`].
    pub(crate) removals: Vec<RuleBits>,
    /// Where `ctl` says not to look, by [`Control::RemoveTarget`].
    pub(crate) blind_spots: Vec<BlindSpot>,
    /// What is not told, by [`Control::Hide`].
    pub(crate) sanitised: Vec<Sanitise>,
    /// Whether any rule hides something.
    pub(crate) hides: bool,
}

impl Program {
    /// The slots of these variables of TX with their values; those that no rule knows are left out.
    pub(crate) fn settings(&self, values: &[(&str, u32)]) -> Vec<(Slot, Box<[u8]>)> {
        let slot = |(name, value): &(&str, u32)| {
            Some((self.slots.find(name)?, value.to_string().into_bytes().into()))
        };
        values.iter().filter_map(slot).collect()
    }

    /// The kinds of values that any of these rules looks at.
    pub(crate) fn wanted_by(&self, rules: &RuleBits) -> TargetSet {
        let wanted = rules.iter().filter_map(|rule| self.wanted.get(rule));
        wanted.fold(TargetSet::default(), |all, of_rule| all.union(*of_rule))
    }

    pub(crate) fn rules_of(&self, stage: Stage) -> Range<usize> {
        self.stages.get(stage as usize).cloned().unwrap_or_default()
    }
}

/// When rules run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    RequestHead,
    /// The YAML rules: once behind the head, once behind the body.
    Values,
    RequestBody,
    ResponseHead,
    ResponseBody,
    Logging,
}

impl Stage {
    pub(crate) const COUNT: usize = 6;

    /// In the order in which they come.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::RequestHead,
        Self::Values,
        Self::RequestBody,
        Self::ResponseHead,
        Self::ResponseBody,
        Self::Logging,
    ];
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) phase: u8,
    pub(crate) message: Template,
    pub(crate) logdata: Template,
    pub(crate) tags: Arc<[Box<str>]>,
    pub(crate) severity: Option<Severity>,
    /// The head, then the chained ones.
    pub(crate) links: Box<[Link]>,
    pub(crate) then: Then,
    /// The rule to go on with after a match.
    pub(crate) next: usize,
    /// Whether a match is told.
    pub(crate) log: bool,
    /// What a YAML rule has beside that.
    pub(crate) own: Option<Own>,
}

/// The YAML rules' own notions; such a rule counts once a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    /// What a match adds to the request's score.
    pub(crate) score: u32,
    /// The sensitivity from which it runs, 1 to 4.
    pub(crate) sensitivity: u8,
}

/// What a whole match leads to.
#[derive(Debug)]
pub(crate) enum Then {
    Allow(Allow),
    Deny { status: u16 },
    Pass,
    Redirect { status: u16, to: Template },
}

/// How much of the rest is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Allow {
    Phase,
    Request,
    Transaction,
}

/// One condition of a rule.
#[derive(Debug)]
pub(crate) struct Link {
    /// `None` always holds.
    pub(crate) condition: Option<Condition>,
    /// The end of its chain in [`Program::trie`].
    pub(crate) node: usize,
    pub(crate) transformations: Box<[&'static Transformation]>,
    pub(crate) multi_match: bool,
    pub(crate) capture: bool,
    /// Done each time that a value matches.
    pub(crate) set: Box<[Set]>,
    /// Done when the whole chain matched.
    pub(crate) controls: Box<[Control]>,
}

/// Where to look and what for.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) sources: Box<[Source]>,
    pub(crate) excepted: Box<[Pick]>,
    pub(crate) question: Question,
    pub(crate) negated: bool,
}

impl Condition {
    pub(crate) fn excepts(&self, target: crate::target::Target, name: &[u8]) -> bool {
        self.excepted.iter().any(|pick| pick.selects(target, name))
    }
}

/// Values of one variable, or their number.
#[derive(Debug)]
pub(crate) struct Source {
    /// The variable's name, for MATCHED_VAR_NAME and the log.
    pub(crate) label: &'static str,
    pub(crate) counted: bool,
    pub(crate) from: From,
}

#[derive(Debug)]
pub(crate) enum From {
    Arena(Pick),
    Matched(Matched),
    Rule(RuleField),
    Tx(TxPick),
}

/// MATCHED_VAR and its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Name,
    Names,
    Value,
    Values,
}

/// What a rule can say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleField {
    Id,
    LogData,
    Message,
    Severity,
}

/// An operator, with its argument if that is known.
#[derive(Debug)]
pub(crate) enum Question {
    Compiled(Box<dyn Operator>),
    Expanded(Compare, Template),
}

/// A change of a variable.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) name: SetName,
    pub(crate) change: Change,
}

impl Set {
    /// The texts that it puts together.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let name = match &self.name {
            SetName::Expanded(name) => Some(name),
            SetName::Known(_) => None,
        };
        let value = match &self.change {
            Change::Add(value) | Change::Set(value) | Change::Subtract(value) => Some(value),
            Change::Remove => None,
        };
        name.into_iter().chain(value)
    }
}

#[derive(Debug)]
pub(crate) enum SetName {
    Known(Slot),
    Expanded(Template),
}

#[derive(Debug)]
pub(crate) enum Change {
    Add(Template),
    Remove,
    Set(Template),
    Subtract(Template),
}

/// What a match changes of the rest of the inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    BodyProcessor(BodyProcessor),
    ForceBody(bool),
    /// An index of [`Program::sanitised`]: what it names is not told.
    Hide(usize),
    /// What the rule matched is not told.
    HideMatched,
    /// An index of [`Program::removals`].
    Remove(usize),
    /// An index of [`Program::blind_spots`].
    RemoveTarget(usize),
    RequestBody(bool),
    ResponseBody(bool),
    RuleEngine(RuleEngine),
    /// The policy's own values are put into TX.
    Settings,
}

/// Rules and where they do not look.
#[derive(Debug)]
pub(crate) struct BlindSpot {
    pub(crate) rules: RuleBits,
    pub(crate) pick: Pick,
}
