//! From a rule as it was written to a rule that is understood.

use super::actions::{self, Parsed};
use super::ast::{Condition, Disruptive, Jump, Link, Operator, Rule, Template};
use super::defaults::{self, Defaults, disruptive};
use super::error::{Report, unknown};
use super::pattern::{self, PatternError};
use super::raw::{RawAction, RawCondition, RawLink, RawRule};
use super::{names, variables};

/// Understands a rule. `None` if there is a mistake in it, or it is left out.
pub(super) fn understand(raw: &RawRule, report: &mut Report) -> Option<Rule> {
    let head = raw.links.first()?;
    let before = report.errors.len();
    let mut reader =
        Reader { rule: blank(raw, head), defaults: &raw.defaults, foreign: raw.foreign, report };
    reader.head(head);
    let mut unsupported = None;
    for (index, link) in raw.links.iter().enumerate() {
        let link = reader.link(link, index, &mut unsupported);
        reader.rule.links.push(link);
    }
    let rule = reader.rule;
    match unsupported {
        Some(why) if raw.foreign => {
            report.note(&head.place, format!("rule {} is left out: {why}", rule.id));
            return None;
        }
        Some(why) => report.rule_error(&head.place, Some(rule.id), why),
        None => {}
    }
    (report.errors.len() == before).then_some(rule)
}

fn blank(raw: &RawRule, head: &RawLink) -> Rule {
    let defaults = &raw.defaults;
    Rule {
        place: head.place.clone(),
        id: raw.id,
        phase: 2,
        links: Vec::new(),
        disruptive: defaults.disruptive.clone(),
        status: defaults.status,
        log: defaults.log,
        audit_log: defaults.audit_log,
        severity: None,
        tags: Vec::new(),
        ver: None,
        rev: None,
        maturity: None,
        accuracy: None,
        jump: None,
    }
}

struct Reader<'r> {
    rule: Rule,
    defaults: &'r Defaults,
    foreign: bool,
    report: &'r mut Report,
}

impl Reader<'_> {
    fn head(&mut self, head: &RawLink) {
        match head.value("id").map(str::parse::<u32>) {
            Some(Ok(id)) if id > 0 => {}
            Some(_) => self.error(head, "its id must be a number from 1 to 4294967295"),
            None => self.error(head, "it needs an id"),
        }
        if let Some(phase) = head.value("phase") {
            match defaults::phase(phase) {
                Ok(phase) => self.rule.phase = phase,
                Err(error) => self.error(head, error),
            }
        }
    }

    fn link(&mut self, raw: &RawLink, index: usize, unsupported: &mut Option<String>) -> Link {
        let mut link = Link {
            condition: raw.condition.as_ref().and_then(|c| self.condition(c, raw, unsupported)),
            transformations: self.transformations(raw),
            capture: raw.has("capture"),
            multi_match: raw.has("multimatch"),
            actions: Vec::new(),
            msg: None,
            logdata: None,
        };
        let defaults = if index == 0 { self.defaults.more.as_slice() } else { &[] };
        for action in defaults.iter().chain(&raw.actions) {
            if let Err(error) = self.action(action, raw, index, &mut link) {
                self.error(raw, error);
            }
        }
        link
    }

    fn condition(
        &mut self,
        raw: &RawCondition,
        link: &RawLink,
        unsupported: &mut Option<String>,
    ) -> Option<Condition> {
        let mut variables = Vec::new();
        let texts = std::iter::once(&raw.variables).chain(&raw.more);
        for text in texts.filter(|text| raw.more.is_empty() || !text.is_empty()) {
            match variables::parse(text) {
                Ok(found) => variables.extend(found),
                Err(errors) => errors.into_iter().for_each(|error| self.error(link, error)),
            }
        }
        let operator = self.operator(&raw.operator, link, unsupported)?;
        Some(Condition { variables, operator })
    }

    fn operator(
        &mut self,
        text: &str,
        link: &RawLink,
        unsupported: &mut Option<String>,
    ) -> Option<Operator> {
        let text = text.trim_start();
        let (negated, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let rest = rest.trim_start();
        let (name, argument) = match rest.strip_prefix('@') {
            Some(rest) => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
            None => ("rx", rest),
        };
        let Some((name, refused)) = names::operator(name.trim()) else {
            self.error(link, unknown("operator", name, names::operators()));
            return None;
        };
        if let Some(why) = refused {
            *unsupported = Some(format!("`@{name}` is not supported: {why}"));
            return None;
        }
        // Blanks belong to a pattern, and to nothing else.
        let is_pattern = matches!(name, "rx" | "rxGlobal");
        let argument = match is_pattern {
            true => Template::parse_lenient(argument),
            false => match Template::parse(argument.trim()) {
                Ok(argument) => argument,
                Err(error) => {
                    self.error(link, error);
                    return None;
                }
            },
        };
        if let (true, Some(pattern)) = (is_pattern, argument.literal()) {
            match pattern::translate(pattern) {
                Ok(_) => {}
                Err(PatternError::Unsupported(error)) => {
                    *unsupported = Some(error);
                    return None;
                }
                Err(PatternError::Broken(error)) => {
                    self.error(link, error);
                    return None;
                }
            }
        }
        let folder = std::sync::Arc::clone(&link.folder);
        Some(Operator { name: name.into(), negated, argument, folder })
    }

    fn transformations(&mut self, link: &RawLink) -> Vec<Box<str>> {
        let mut found: Vec<Box<str>> = Vec::new();
        let inherited = self.defaults.transformations.clone();
        for name in inherited.iter().map(String::as_str).chain(link.values("t")) {
            if name.eq_ignore_ascii_case("none") {
                found.clear();
            } else if let Some(name) = names::transformation(name) {
                found.push(name.into());
            } else {
                self.error(link, unknown("transformation", name, names::transformations()));
            }
        }
        found
    }

    fn action(
        &mut self,
        action: &RawAction,
        raw: &RawLink,
        index: usize,
        link: &mut Link,
    ) -> Result<(), String> {
        let value = action.value.as_deref().unwrap_or_default();
        let rule = &mut self.rule;
        match action.name.as_str() {
            "capture" | "chain" | "id" | "multimatch" | "phase" | "t" => {}
            "msg" => link.msg = Some(Template::parse(value)?),
            "logdata" => link.logdata = Some(Template::parse(value)?),
            "severity" => rule.severity = Some(actions::severity(value)?),
            "tag" => rule.tags.push(Template::parse(value)?),
            "ver" => rule.ver = Some(value.into()),
            "rev" => rule.rev = Some(value.into()),
            "maturity" => rule.maturity = Some(actions::number(value)?),
            "accuracy" => rule.accuracy = Some(actions::number(value)?),
            "status" => rule.status = Some(defaults::status(value)?),
            "skip" => rule.jump = Some(Jump::Over(actions::number(value)?)),
            "skipafter" if value.is_empty() => return Err("`skipAfter` needs a label".into()),
            "skipafter" => rule.jump = Some(Jump::After(value.into())),
            "block" => rule.disruptive = self.defaults.disruptive.clone(),
            name if defaults::log(name, &mut rule.log, &mut rule.audit_log) => {}
            name => match disruptive(name, value)? {
                Some(found) if index > 0 && found != Disruptive::Pass => {
                    return Err(format!("`{name}` belongs to the first rule of the chain"));
                }
                Some(found) => rule.disruptive = found,
                None => match actions::parse(action)? {
                    Parsed::Action(action) => link.actions.push(action),
                    // Its user cannot change what comes with a rule set.
                    Parsed::Ignored(_) if self.foreign => {}
                    Parsed::Ignored(why) => {
                        let message = format!("rule {}: `{name}` has no effect: {why}", rule.id);
                        self.report.note(&raw.place, message);
                    }
                },
            },
        }
        Ok(())
    }

    fn error(&mut self, link: &RawLink, message: impl Into<String>) {
        let id = (self.rule.id > 0).then_some(self.rule.id);
        self.report.rule_error(&link.place, id, message);
    }
}
