//! The links of SecLang's rules: conditions, variables to set, and controls.

use std::cell::RefCell;
use std::path::Path;

use super::slots::{Slots, prefix};
use super::{Change, Condition, Control, From, Link, Question, Set, SetName, variables};
use crate::footprint::Footprint;
use crate::operators::seclang::{Argument, operator};
use crate::seclang::ast::{self, Action, Ctl, IdRange, Pattern, Piece, Sanitise};
use crate::transformations::Transformation;
use crate::transformations::seclang::{Step, step};
use crate::transformations::trie::Trie;

/// What all rules share while they are compiled.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) slots: Slots,
    /// The files that operators read.
    pub(super) footprint: RefCell<Footprint>,
    pub(super) trie: Trie,
    /// Which rules each [`Control::Remove`] means.
    pub(super) removals: Vec<Who>,
    /// Which rules each [`Control::RemoveTarget`] means, and where.
    pub(super) blind_spots: Vec<(Who, super::Pick)>,
    /// What each [`Control::Hide`] means.
    pub(super) sanitised: Vec<Sanitise>,
}

/// Rules, as `ctl` names them.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Id(IdRange),
    Message(Pattern),
    Tag(Pattern),
}

impl Shared {
    pub(super) fn link(&mut self, link: &ast::Link) -> Result<Link, String> {
        let transformations: Vec<&'static Transformation> = link
            .transformations
            .iter()
            .map(|name| transformation(name))
            .collect::<Result<_, _>>()?;
        let condition = link.condition.as_ref().map(|condition| self.condition(condition));
        let mut set = Vec::new();
        let mut controls = Vec::new();
        for action in &link.actions {
            match action {
                Action::SetVar(change) => set.push(self.set(change)?),
                Action::SetEnv { name, value } => set.push(self.set_env(name, value)?),
                Action::Ctl(ctl) => controls.extend(self.control(ctl)?),
                Action::Sanitise(Sanitise::Matched) => controls.push(Control::HideMatched),
                Action::Sanitise(asked) => {
                    controls.push(Control::Hide(self.sanitised.len()));
                    self.sanitised.push(asked.clone());
                }
                // Collections last for one request here, so there is nothing to load or expire.
                Action::DeprecateVar { .. } | Action::ExpireVar { .. } | Action::InitCol { .. } => {
                }
            }
        }
        Ok(Link {
            condition: condition.transpose()?,
            node: self.trie.node(&transformations),
            transformations: transformations.into(),
            multi_match: link.multi_match,
            capture: link.capture,
            set: set.into(),
            controls: controls.into(),
        })
    }

    fn condition(&mut self, condition: &ast::Condition) -> Result<Condition, String> {
        let mut sources = Vec::new();
        let mut excepted = Vec::new();
        for variable in condition.variables.iter().filter(|variable| !variable.excluded) {
            sources.push(variables::source(variable, &mut self.slots)?);
        }
        for variable in condition.variables.iter().filter(|variable| variable.excluded) {
            match variables::excluded(variable, &mut self.slots)? {
                Some(stored) => exclude(&mut sources, &stored.slots),
                None => excepted.push(variables::pick(variable)?),
            }
        }
        let question = self.question(&condition.operator)?;
        let negated = condition.operator.negated;
        Ok(Condition { sources: sources.into(), excepted: excepted.into(), question, negated })
    }

    fn question(&mut self, written: &ast::Operator) -> Result<Question, String> {
        let known = operator(&written.name)
            .ok_or_else(|| format!("the operator @{} is not supported", written.name))?;
        let literal = match written.argument.literal() {
            Some(text) => text.to_owned(),
            None => match known.dynamic() {
                Some(compare) => {
                    let argument = variables::template(&written.argument, &mut self.slots)?;
                    return Ok(Question::Expanded(compare, argument));
                }
                None => as_written(&written.argument),
            },
        };
        let read = |path: &Path| self.footprint.borrow_mut().read(path);
        let argument = Argument { text: literal.as_bytes(), base: &written.folder, read: &read };
        known
            .build(&argument)
            .map(Question::Compiled)
            .map_err(|message| format!("@{} {message}", written.name))
    }

    fn set(&mut self, change: &ast::SetVar) -> Result<Set, String> {
        let prefix = prefix(change.collection);
        let name = match change.name.literal() {
            Some(name) => SetName::Known(self.slots.intern(&format!("{prefix}{name}"))),
            None => {
                let mut name = change.name.clone();
                if !prefix.is_empty() {
                    name.pieces.insert(0, Piece::Text(prefix.into()));
                }
                SetName::Expanded(variables::template(&name, &mut self.slots)?)
            }
        };
        let mut value = |text| variables::template(text, &mut self.slots);
        let change = match &change.change {
            ast::Change::Add(text) => Change::Add(value(text)?),
            ast::Change::Remove => Change::Remove,
            ast::Change::Set(text) => Change::Set(value(text)?),
            ast::Change::Subtract(text) => Change::Subtract(value(text)?),
        };
        Ok(Set { name, change })
    }

    fn set_env(&mut self, name: &ast::Template, value: &ast::Template) -> Result<Set, String> {
        let mut name = name.clone();
        name.pieces.insert(0, Piece::Text("env.".into()));
        let name = match name.pieces.as_slice() {
            [Piece::Text(prefix), Piece::Text(rest)] => {
                SetName::Known(self.slots.intern(&format!("{prefix}{rest}")))
            }
            _ => SetName::Expanded(variables::template(&name, &mut self.slots)?),
        };
        Ok(Set { name, change: Change::Set(variables::template(value, &mut self.slots)?) })
    }

    fn control(&mut self, ctl: &Ctl) -> Result<Option<Control>, String> {
        Ok(Some(match ctl {
            Ctl::ForceRequestBodyVariable(force) => Control::ForceBody(*force),
            Ctl::RemoveById(ids) => self.remove(Who::Id(*ids)),
            Ctl::RemoveByMsg(pattern) => self.remove(Who::Message(pattern.clone())),
            Ctl::RemoveByTag(pattern) => self.remove(Who::Tag(pattern.clone())),
            Ctl::RemoveTargetById(ids, variable) => self.blind(Who::Id(*ids), variable)?,
            Ctl::RemoveTargetByMsg(pattern, variable) => {
                self.blind(Who::Message(pattern.clone()), variable)?
            }
            Ctl::RemoveTargetByTag(pattern, variable) => {
                self.blind(Who::Tag(pattern.clone()), variable)?
            }
            Ctl::RequestBodyAccess(access) => Control::RequestBody(*access),
            Ctl::RequestBodyProcessor(processor) => Control::BodyProcessor(*processor),
            Ctl::ResponseBodyAccess(access) => Control::ResponseBody(*access),
            Ctl::RuleEngine(engine) => Control::RuleEngine(*engine),
            // The audit log is not written by rules, and limits are the policy's.
            Ctl::AuditEngine(_) | Ctl::RequestBodyLimit(_) | Ctl::ResponseBodyLimit(_) => {
                return Ok(None);
            }
        }))
    }

    fn remove(&mut self, who: Who) -> Control {
        self.removals.push(who);
        Control::Remove(self.removals.len() - 1)
    }

    fn blind(&mut self, who: Who, variable: &ast::Variable) -> Result<Control, String> {
        self.blind_spots.push((who, variables::pick(variable)?));
        Ok(Control::RemoveTarget(self.blind_spots.len() - 1))
    }
}

fn transformation(name: &str) -> Result<&'static Transformation, String> {
    match step(name) {
        Some(Step::Apply(transformation)) => Ok(transformation),
        Some(Step::Forget) | None => Err(format!("the transformation t:{name} is not supported")),
    }
}

fn exclude(sources: &mut [super::Source], slots: &[super::Slot]) {
    for source in sources {
        if let From::Tx(pick) = &mut source.from {
            pick.slots = pick.slots.iter().copied().filter(|slot| !slots.contains(slot)).collect();
        }
    }
}

/// The text with its macros as they were written.
fn as_written(template: &ast::Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Macro { name, key: None } => format!("%{{{name}}}"),
        Piece::Macro { name, key: Some(key) } => format!("%{{{name}.{key}}}"),
    };
    template.pieces.iter().map(piece).collect()
}
