//! What each directive means: rules and markers become items, chains are put together, and what
//! is about other rules is kept until all are there.

use std::path::PathBuf;
use std::sync::Arc;

use super::actions::id_range;
use super::ast::{EngineSettings, IdRange, Pattern, Place};
use super::defaults::{self, Defaults};
use super::engine;
use super::error::{Report, unknown};
use super::lexer::Directive;
use super::raw::{self, RawCondition, RawItem, RawLink, RawRule};
use super::updates::{Change, Rules, Update};

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) report: Report,
    pub(super) items: Vec<RawItem>,
    pub(super) updates: Vec<Update>,
    pub(super) engine: EngineSettings,
    /// Whether what is read comes with a rule set ([`RawRule::foreign`]).
    pub(super) foreign: bool,
    defaults: [Arc<Defaults>; 6],
    /// A rule whose chain goes on with the next one.
    chain: Option<RawRule>,
}

/// Directives about rules; those about the engine are in [`engine`].
const NAMES: [&str; 13] = [
    "Include",
    "IncludeOptional",
    "SecAction",
    "SecDefaultAction",
    "SecMarker",
    "SecRule",
    "SecRuleRemoveById",
    "SecRuleRemoveByMsg",
    "SecRuleRemoveByTag",
    "SecRuleUpdateActionById",
    "SecRuleUpdateTargetById",
    "SecRuleUpdateTargetByMsg",
    "SecRuleUpdateTargetByTag",
];

impl Reader {
    /// Takes one directive.
    pub(super) fn directive(&mut self, directive: Directive, place: &Place, folder: &Arc<PathBuf>) {
        let Directive { name, words, .. } = directive;
        let known = name.to_ascii_lowercase();
        if known != "secrule" && known != "secaction" {
            self.break_chain();
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = match (known.as_str(), words.as_slice()) {
            ("secrule", [variables, operator]) => {
                self.rule(Some((variables, operator)), "", place.clone(), folder)
            }
            ("secrule", [variables, operator, actions]) => {
                self.rule(Some((variables, operator)), actions, place.clone(), folder)
            }
            ("secaction", [actions]) => self.rule(None, actions, place.clone(), folder),
            ("secmarker", [label]) => {
                self.items.push(RawItem::Marker { label: (*label).into() });
                Ok(())
            }
            ("secdefaultaction", [actions]) => self.default_action(actions),
            ("secruleremovebyid", ids @ [_, ..]) => id_ranges(ids).map(|ids| {
                self.update(place, Rules::Ids(ids, 0), Change::Remove);
            }),
            ("secruleremovebymsg", [msg]) => {
                self.update(place, Rules::Msg(Pattern::new(msg)), Change::Remove);
                Ok(())
            }
            ("secruleremovebytag", [tag]) => {
                self.update(place, Rules::Tag(Pattern::new(tag)), Change::Remove);
                Ok(())
            }
            ("secruleupdatetargetbyid", [ids, targets @ ..]) => {
                id_and_link(ids).and_then(|rules| self.targets(place, rules, targets))
            }
            ("secruleupdatetargetbymsg", [msg, targets @ ..]) => {
                self.targets(place, Rules::Msg(Pattern::new(msg)), targets)
            }
            ("secruleupdatetargetbytag", [tag, targets @ ..]) => {
                self.targets(place, Rules::Tag(Pattern::new(tag)), targets)
            }
            ("secruleupdateactionbyid", [ids, actions]) => self.actions(place, ids, actions),
            (rules, words) if NAMES.iter().any(|name| name.eq_ignore_ascii_case(rules)) => {
                Err(format!("`{name}` cannot take {} words", words.len()))
            }
            _ => match engine::directive(&known, &words, &mut self.engine) {
                Some(Ok(None)) => Ok(()),
                Some(Ok(Some(note))) => {
                    self.report.note(place, format!("`{name}` has no effect: {note}"));
                    Ok(())
                }
                Some(Err(error)) => Err(format!("`{name}`: {error}")),
                None => Err(unknown("directive", &name, NAMES.into_iter().chain(engine::names()))),
            },
        };
        if let Err(message) = done {
            self.report.error(place, message);
        }
    }

    /// What follows does not continue a chain.
    pub(super) fn break_chain(&mut self) {
        if let Some(rule) = self.chain.take()
            && let Some(last) = rule.links.last()
        {
            let id = (rule.id > 0).then_some(rule.id);
            self.report.rule_error(&last.place, id, "its chain is not continued by a SecRule");
        }
    }

    pub(super) fn end_of_file(&mut self) {
        self.break_chain();
    }

    fn rule(
        &mut self,
        condition: Option<(&str, &str)>,
        actions: &str,
        place: Place,
        folder: &Arc<PathBuf>,
    ) -> Result<(), String> {
        let actions = match raw::actions(actions) {
            Ok(actions) => actions,
            Err(error) => {
                // The rest of its chain has no head to belong to.
                self.chain = None;
                return Err(error);
            }
        };
        let condition = condition.map(|(variables, operator)| RawCondition {
            variables: variables.to_owned(),
            more: Vec::new(),
            operator: operator.to_owned(),
        });
        let link = RawLink { place, folder: Arc::clone(folder), condition, actions };
        let chained = link.has("chain");
        let mut rule = match self.chain.take() {
            Some(mut rule) => {
                rule.links.push(link);
                rule
            }
            None => self.head(link),
        };
        if chained {
            self.chain = Some(rule);
        } else {
            rule.foreign = self.foreign;
            self.items.push(RawItem::Rule(Box::new(rule)));
        }
        Ok(())
    }

    fn head(&self, link: RawLink) -> RawRule {
        let id = link.value("id").and_then(|id| id.parse().ok()).unwrap_or(0);
        let phase = link.value("phase").and_then(|phase| defaults::phase(phase).ok()).unwrap_or(2);
        let defaults = self.defaults.get(usize::from(phase)).cloned().unwrap_or_default();
        RawRule { id, links: vec![link], defaults, foreign: self.foreign }
    }

    fn default_action(&mut self, actions: &str) -> Result<(), String> {
        let (phase, defaults) = defaults::parse(&raw::actions(actions)?)?;
        if let Some(slot) = self.defaults.get_mut(usize::from(phase)) {
            *slot = Arc::new(defaults);
        }
        Ok(())
    }

    fn targets(&mut self, place: &Place, rules: Rules, words: &[&str]) -> Result<(), String> {
        let (add, instead_of) = match words {
            [add] => (*add, None),
            [add, old] => (*add, Some((*old).to_owned())),
            _ => return Err("it takes the rules and the variables".to_owned()),
        };
        super::variables::parse(add).map_err(|errors| errors.join(", "))?;
        self.update(place, rules, Change::Targets { add: add.to_owned(), instead_of });
        Ok(())
    }

    fn actions(&mut self, place: &Place, ids: &str, actions: &str) -> Result<(), String> {
        let rules = id_and_link(ids)?;
        let actions = raw::actions(actions)?;
        if let Some(wrong) =
            actions.iter().find(|a| matches!(a.name.as_str(), "id" | "phase" | "chain"))
        {
            return Err(format!("`{}` of a rule cannot be changed", wrong.name));
        }
        self.update(place, rules, Change::Actions(actions));
        Ok(())
    }

    fn update(&mut self, place: &Place, rules: Rules, change: Change) {
        let at = self.items.len();
        self.updates.push(Update { place: place.clone(), rules, change, at });
    }
}

/// Ids and ranges, between blanks or commas.
fn id_ranges(words: &[&str]) -> Result<Vec<IdRange>, String> {
    let parts = words.iter().flat_map(|word| word.split([',', ' ', '\t']));
    parts.filter(|part| !part.is_empty()).map(id_range).collect()
}

/// Ids and ranges, or `id:n` for the chain's link number n.
fn id_and_link(text: &str) -> Result<Rules, String> {
    match text.split_once(':') {
        Some((id, link)) => {
            let link = link.parse().map_err(|_error| format!("`{link}` is no number of a link"))?;
            Ok(Rules::Ids(vec![id_range(id)?], link))
        }
        None => Ok(Rules::Ids(id_ranges(&[text])?, 0)),
    }
}
