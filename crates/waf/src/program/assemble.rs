//! Both front ends' rules, put into their order; what refers to other rules is resolved here.

use std::ops::Range;

use super::link::{Shared, Who};
use super::slots::Slots;
use super::template::Template;
use super::{
    Allow, BlindSpot, Condition, Control, From, Link, Program, Question, Rule, Stage, Then,
    variables, yaml,
};
use crate::bits::RuleBits;
use crate::footprint::Footprint;
use crate::prefilter::{Prefilter, Required};
use crate::rules::{self, RuleError};
use crate::seclang::ast::{self, Disruptive, Item, Jump};
use crate::target::{Target, TargetSet};

/// Puts the rules of both front ends together.
pub(crate) fn assemble(
    own: Vec<rules::Rule>,
    seclang: Option<&ast::Rules>,
    footprint: &mut Footprint,
) -> Result<Program, Vec<RuleError>> {
    let mut shared = Shared::default();
    let mut drafts = Drafts::default();
    for item in seclang.into_iter().flat_map(|rules| &rules.items) {
        drafts.add(item, &mut shared);
    }
    footprint.add(shared.footprint.take());
    if !drafts.errors.is_empty() {
        return Err(drafts.errors);
    }
    let own = own.into_iter().map(|rule| yaml::compile(rule, &mut shared.trie)).collect();
    let (rules, stages) = drafts.in_order(own, &mut shared.slots);
    index(rules, stages, shared)
}

/// SecLang's rules by their phase, while they come in.
#[derive(Default)]
struct Drafts {
    phases: [Phase; 5],
    errors: Vec<RuleError>,
}

#[derive(Default)]
struct Phase {
    rules: Vec<(Rule, Option<Jump>)>,
    /// Labels, each with the number of rules before it.
    labels: Vec<(Box<str>, usize)>,
}

impl Drafts {
    fn add(&mut self, item: &Item, shared: &mut Shared) {
        match item {
            Item::Marker { label, .. } => {
                for phase in &mut self.phases {
                    phase.labels.push((label.clone(), phase.rules.len()));
                }
            }
            Item::Settings => {
                let [first, ..] = &mut self.phases;
                first.rules.push((settings_point(), None));
            }
            Item::Rule(rule) => match compile(rule, shared) {
                Ok(compiled) => {
                    let phase = usize::from(rule.phase.clamp(1, 5)) - 1;
                    if let Some(phase) = self.phases.get_mut(phase) {
                        phase.rules.push((compiled, rule.jump.clone()));
                        phase.labels.push((rule.id.to_string().into(), phase.rules.len()));
                    }
                }
                Err(message) => self.errors.push(RuleError {
                    file: rule.place.file.to_string(),
                    line: rule.place.line,
                    rule: Some(rule.id),
                    message,
                }),
            },
        }
    }

    /// All rules in their order, with their jumps, and where each stage's rules are.
    fn in_order(
        self,
        own: Vec<Rule>,
        slots: &mut Slots,
    ) -> (Vec<Rule>, [Range<usize>; Stage::COUNT]) {
        let mut rules = Vec::new();
        let mut stages: [Range<usize>; Stage::COUNT] = Default::default();
        let [head, body, response, response_body, logging] =
            self.phases.map(|phase| phase.with_jumps());
        let parts = [head, own, body, response, response_body, logging];
        for (part, stage) in parts.into_iter().zip(&mut stages) {
            let start = rules.len();
            rules.extend(part);
            *stage = start..rules.len();
            for (index, rule) in rules.iter_mut().enumerate().skip(start) {
                rule.next = (rule.next.saturating_add(start)).clamp(index + 1, stage.end);
                resolve(rule, slots);
            }
        }
        (rules, stages)
    }
}

impl Phase {
    fn with_jumps(self) -> Vec<Rule> {
        let labels = self.labels;
        let behind = |index: usize, jump: Option<Jump>| match jump {
            None => 0,
            Some(Jump::Over(rules)) => index.saturating_add(rules as usize).saturating_add(1),
            Some(Jump::After(label)) => labels
                .iter()
                .find(|(known, at)| *known == label && *at > index)
                .map_or(usize::MAX / 2, |(_, at)| *at),
        };
        let with_jump = |(index, (mut rule, jump)): (usize, (Rule, Option<Jump>))| {
            rule.next = behind(index, jump);
            rule
        };
        self.rules.into_iter().enumerate().map(with_jump).collect()
    }
}

/// Finds the variables that patterns mean, now that all are known.
fn resolve(rule: &mut Rule, slots: &Slots) {
    for link in &mut rule.links {
        let sources = link.condition.as_mut().map(|condition| &mut condition.sources);
        for source in sources.into_iter().flatten() {
            if let From::Tx(pick) = &mut source.from {
                pick.resolve(slots);
            }
        }
    }
}

fn compile(rule: &ast::Rule, shared: &mut Shared) -> Result<Rule, String> {
    let links: Vec<Link> =
        rule.links.iter().map(|link| shared.link(link)).collect::<Result<_, _>>()?;
    let message = rule.links.iter().find_map(|link| link.msg.as_ref());
    let logdata = rule.links.iter().find_map(|link| link.logdata.as_ref());
    let mut template = |text: Option<&ast::Template>| {
        text.map_or_else(
            || Ok(Template::default()),
            |text| variables::template(text, &mut shared.slots),
        )
    };
    let (message, logdata) = (template(message)?, template(logdata)?);
    let then = match &rule.disruptive {
        Disruptive::Allow => Then::Allow(Allow::Transaction),
        Disruptive::AllowPhase => Then::Allow(Allow::Phase),
        Disruptive::AllowRequest => Then::Allow(Allow::Request),
        Disruptive::Deny | Disruptive::Drop => Then::Deny { status: rule.status.unwrap_or(403) },
        Disruptive::Pass => Then::Pass,
        Disruptive::Redirect(to) => {
            Then::Redirect { status: rule.status.unwrap_or(302), to: template(Some(to))? }
        }
    };
    Ok(Rule {
        id: rule.id,
        phase: rule.phase,
        message,
        logdata,
        tags: rule.tags.iter().filter_map(|tag| tag.literal().map(Box::from)).collect(),
        severity: rule.severity,
        links: links.into(),
        then,
        next: 0,
        log: rule.log,
        own: None,
    })
}

/// The point where a policy's values are put into TX.
fn settings_point() -> Rule {
    let link = Link {
        condition: None,
        node: 0,
        transformations: Box::default(),
        multi_match: false,
        capture: false,
        set: Box::default(),
        controls: Box::new([Control::Settings]),
    };
    Rule {
        id: 0,
        phase: 1,
        message: Template::default(),
        logdata: Template::default(),
        tags: Vec::new().into(),
        severity: None,
        links: Box::new([link]),
        then: Then::Pass,
        next: 0,
        log: false,
        own: None,
    }
}

/// Builds the indexes that the evaluation needs.
fn index(
    rules: Vec<Rule>,
    stages: [Range<usize>; Stage::COUNT],
    shared: Shared,
) -> Result<Program, Vec<RuleError>> {
    let select = |takes: &dyn Fn(&Rule) -> bool| {
        let mut bits = RuleBits::empty(rules.len());
        let taken = rules.iter().enumerate().filter(|(_, rule)| takes(rule));
        taken.for_each(|(index, _)| bits.insert(index));
        bits
    };
    let prefilter = Prefilter::new(rules.iter().map(required).collect()).map_err(|error| {
        let message = format!("the literals of all rules together are too many: {error}");
        vec![RuleError { file: "all files".into(), line: 0, rule: None, message }]
    })?;
    let removals = shared.removals.iter().map(|who| select(&|rule| who.means(rule))).collect();
    let blind_spots = shared
        .blind_spots
        .into_iter()
        .map(|(who, pick)| BlindSpot { rules: select(&|rule| who.means(rule)), pick })
        .collect();
    let nodes = shared.trie.nodes();
    Ok(Program {
        wanted: rules.iter().map(wanted).collect(),
        has_seclang: rules.iter().any(|rule| rule.own.is_none()),
        searched: select(&|rule| rule.searched().is_some()),
        rules_of_node: (0..nodes.len())
            .map(|node| select(&|rule| rule.looks_at_node(node, &shared.trie)))
            .collect(),
        rules_of_target: Target::all()
            .map(|target| select(&|rule| rule.looks_at(target)))
            .collect(),
        prefilter,
        removals,
        hides: rules.iter().any(Rule::hides),
        sanitised: shared.sanitised,
        blind_spots,
        slots: shared.slots,
        trie: shared.trie,
        rules,
        stages,
    })
}

/// The kinds of values that a rule looks at.
fn wanted(rule: &Rule) -> TargetSet {
    let mut wanted = match &rule.own {
        Some(_) => TargetSet::of(&[Target::Finding]),
        None => TargetSet::of(&CONTROLLING),
    };
    let mut take = |template: &Template| wanted = wanted.union(template.targets());
    [&rule.message, &rule.logdata].into_iter().for_each(&mut take);
    for link in &rule.links {
        for set in &link.set {
            set.templates().for_each(&mut take);
        }
        if let Some(Condition { question: Question::Expanded(_, argument), .. }) = &link.condition {
            take(argument);
        }
    }
    let sources = rule.links.iter().filter_map(|link| link.condition.as_ref());
    for source in sources.flat_map(|condition| &condition.sources) {
        if let From::Arena(pick) = &source.from {
            wanted = wanted.union(pick.targets);
        }
    }
    wanted
}

/// What the engine itself needs of a request beside what rules look at.
const CONTROLLING: [Target; 1] = [Target::ReqbodyProcessor];

/// Kinds whose one value may change while rules run, so that no search can tell who matches.
const CHANGING: [Target; 13] = [
    Target::ArgsCombinedSize,
    Target::Duration,
    Target::FilesCombinedSize,
    Target::InboundDataError,
    Target::OutboundDataError,
    Target::ReqbodyError,
    Target::ReqbodyErrorMsg,
    Target::ReqbodyProcessor,
    Target::ReqbodyProcessorError,
    Target::ReqbodyProcessorErrorMsg,
    Target::RequestBodyLength,
    Target::ResponseContentLength,
    Target::UrlencodedError,
];

fn required(rule: &Rule) -> Required {
    match rule.searched().and_then(|link| link.condition.as_ref()) {
        Some(condition) if !condition.negated => match &condition.question {
            Question::Compiled(operator) => operator.required(),
            Question::Expanded(..) => Required::nothing(),
        },
        _ => Required::nothing(),
    }
}

impl Rule {
    /// Its head, if that looks at nothing but values of the request, so that the search finds
    /// those that it could match.
    pub(crate) fn searched(&self) -> Option<&Link> {
        let head = self.links.first()?;
        let sources = &head.condition.as_ref()?.sources;
        let changing = TargetSet::of(&CHANGING);
        let plain = |source: &super::Source| match &source.from {
            From::Arena(pick) => !source.counted && !pick.targets.intersects(changing),
            From::Matched(_) | From::Rule(_) | From::Tx(_) => false,
        };
        sources.iter().all(plain).then_some(head)
    }

    fn hides(&self) -> bool {
        let mut controls = self.links.iter().flat_map(|link| &link.controls);
        controls.any(|control| matches!(control, Control::Hide(_) | Control::HideMatched))
    }

    fn looks_at(&self, target: Target) -> bool {
        let sources = self.searched().and_then(|link| link.condition.as_ref());
        sources.is_some_and(|condition| {
            condition.sources.iter().any(|source| match &source.from {
                From::Arena(pick) => pick.targets.contains(target),
                From::Matched(_) | From::Rule(_) | From::Tx(_) => false,
            })
        })
    }

    fn looks_at_node(&self, node: usize, trie: &crate::transformations::trie::Trie) -> bool {
        self.searched().is_some_and(|link| {
            link.node == node || link.multi_match && trie.is_above(node, link.node)
        })
    }
}

impl Who {
    fn means(&self, rule: &Rule) -> bool {
        match self {
            Self::Id(ids) => ids.contains(rule.id),
            Self::Tag(pattern) => rule.tags.iter().any(|tag| pattern.matches(tag)),
            Self::Message(pattern) => {
                let message = rule.message.literal().and_then(|text| str::from_utf8(text).ok());
                message.is_some_and(|message| pattern.matches(message))
            }
        }
    }
}
