//! The YAML front end: one file of rules, as `config/rules/README.md` describes it.

use super::yaml::{self, Kind, Mistake, Node};
use super::{Examples, Rule, RuleError, RuleFile};
use crate::operators::{self, Argument, Operator};
use crate::target::Selector;
use crate::transformations::{self, Transformation};

type Chain = Vec<&'static Transformation>;

/// Reads a file: its rules with their lines, and its mistakes.
pub(crate) fn read(file: &RuleFile) -> Vec<Result<(usize, Rule), RuleError>> {
    let error = |rule, mistake: Mistake| RuleError {
        file: file.name.clone(),
        line: mistake.line,
        rule,
        message: mistake.message,
    };
    let root = match yaml::parse(&file.text) {
        Ok(root) => root,
        Err(mistake) => return vec![Err(error(None, mistake))],
    };
    let (frame, nodes) = match Frame::read(&root) {
        Ok(read) => read,
        Err(mistake) => return vec![Err(error(None, mistake))],
    };
    let read_rule = |node: &Node| {
        let rule = read_rule(&frame, node);
        rule.map(|rule| (node.line, rule)).map_err(|mistake| error(id_of(node), mistake))
    };
    nodes.iter().map(read_rule).collect()
}

/// What a file says once for all of its rules.
#[derive(Default)]
struct Frame<'a> {
    tags: Vec<Box<str>>,
    chains: Vec<(&'a str, Chain)>,
    defaults: &'a [(String, Node)],
}

impl<'a> Frame<'a> {
    fn read(root: &'a Node) -> Result<(Self, &'a [Node]), Mistake> {
        let mut frame = Self::default();
        let mut rules = None;
        for (key, node) in root.map()? {
            match key.as_str() {
                "tags" => frame.tags = tags(node)?,
                "chains" => {
                    for (name, steps) in node.map()? {
                        frame.chains.push((name, chain(steps)?));
                    }
                }
                "defaults" => frame.defaults = node.map()?,
                "rules" => rules = Some(node.list()?),
                _ => {
                    let known = "chains, defaults, rules, tags";
                    return Err(unknown_key(key, node.line, known));
                }
            }
        }
        let rules = rules.ok_or_else(|| Mistake::new(root.line, "`rules` is missing"))?;
        Ok((frame, rules))
    }

    fn chain(&self, node: &Node) -> Result<Chain, Mistake> {
        let Kind::Text(name) = &node.kind else { return chain(node) };
        let known = self.chains.iter().find(|(known, _)| known == name);
        known.map(|(_, chain)| chain.clone()).ok_or_else(|| {
            let names: Vec<&str> = self.chains.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            Mistake::new(node.line, format!("no chain is called `{name}`; this file has: {names}"))
        })
    }
}

fn chain(node: &Node) -> Result<Chain, Mistake> {
    let step = |node: &Node| {
        let name = node.text()?;
        transformations::transformation(name).ok_or_else(|| {
            let known: Vec<&str> = transformations::reference().map(|(name, _)| name).collect();
            unknown("transformation", name, node.line, &known.join(", "))
        })
    };
    node.list()?.iter().map(step).collect()
}

fn id_of(node: &Node) -> Option<u32> {
    let (_, id) = node.map().ok()?.iter().find(|(key, _)| key == "id")?;
    id.number().ok()
}

/// A rule while its keys are read.
#[derive(Default)]
struct Draft {
    id: Option<u32>,
    message: Option<Box<str>>,
    score: Option<u32>,
    sensitivity: Option<u8>,
    tags: Vec<Box<str>>,
    targets: Option<Vec<Selector>>,
    except: Vec<Selector>,
    chain: Chain,
    operator: Option<Box<dyn Operator>>,
    also: Vec<Box<dyn Operator>>,
    unless: Vec<Box<dyn Operator>>,
    examples: Examples,
}

fn read_rule(frame: &Frame<'_>, node: &Node) -> Result<Rule, Mistake> {
    let mut draft = Draft::default();
    for (key, value) in frame.defaults.iter().chain(node.map()?) {
        draft.take(frame, key, value)?;
    }
    let missing = |key: &str| Mistake::new(node.line, format!("`{key}` is missing"));
    let selectors = draft.targets.ok_or_else(|| missing("targets"))?;
    let mut tags = frame.tags.clone();
    tags.extend(draft.tags);
    Ok(Rule {
        id: draft.id.ok_or_else(|| missing("id"))?,
        message: draft.message.ok_or_else(|| missing("message"))?,
        score: draft.score.ok_or_else(|| missing("severity"))?,
        sensitivity: draft.sensitivity.ok_or_else(|| missing("sensitivity"))?,
        tags,
        selectors,
        except: draft.except,
        chain: draft.chain,
        operator: draft.operator.ok_or_else(|| {
            let known: Vec<&str> = operators::reference().map(|(name, _)| name).collect();
            Mistake::new(node.line, format!("an operator is missing: one of {}", known.join(", ")))
        })?,
        also: draft.also,
        unless: draft.unless,
        examples: draft.examples,
    })
}

impl Draft {
    fn take(&mut self, frame: &Frame<'_>, key: &str, value: &Node) -> Result<(), Mistake> {
        match key {
            "id" => self.id = Some(value.number()?),
            "message" => self.message = Some(value.text()?.into()),
            "severity" => self.score = Some(severity(value)?),
            "sensitivity" => self.sensitivity = Some(sensitivity(value)?),
            "tags" => self.tags = tags(value)?,
            "targets" => self.targets = Some(selectors(value)?),
            "except" => self.except = selectors(value)?,
            "transform" => self.chain = frame.chain(value)?,
            "also" => self.also = operator_map(value)?,
            "unless" => self.unless = operator_map(value)?,
            "examples" => self.examples = examples(value)?,
            _ => self.take_operator(key, value)?,
        }
        Ok(())
    }

    fn take_operator(&mut self, key: &str, value: &Node) -> Result<(), Mistake> {
        let operator = operator(key, value)?;
        if self.operator.replace(operator).is_some() {
            let message =
                format!("`{key}` is a second operator; write it under `also` or `unless`");
            return Err(Mistake::new(value.line, message));
        }
        Ok(())
    }
}

fn operator(key: &str, value: &Node) -> Result<Box<dyn Operator>, Mistake> {
    let kind = operators::operator(key).ok_or_else(|| {
        let operators: Vec<&str> = operators::reference().map(|(name, _)| name).collect();
        let known = format!(
            "also, except, examples, id, message, sensitivity, severity, tags, targets, transform, unless, and the operators {}",
            operators.join(", ")
        );
        unknown_key(key, value.line, &known)
    })?;
    let list;
    let argument = match &value.kind {
        Kind::Text(text) => Argument::Text(text),
        Kind::List(_) | Kind::Map(_) => {
            list = value.texts()?;
            Argument::List(&list)
        }
    };
    (kind.build)(argument)
        .map_err(|message| Mistake::new(value.line, format!("`{key}`: {message}")))
}

fn operator_map(node: &Node) -> Result<Vec<Box<dyn Operator>>, Mistake> {
    node.map()?.iter().map(|(key, value)| operator(key, value)).collect()
}

fn severity(node: &Node) -> Result<u32, Mistake> {
    match node.text()? {
        "critical" => Ok(5),
        "error" => Ok(4),
        "warning" => Ok(3),
        "notice" => Ok(2),
        other => Err(unknown("severity", other, node.line, "critical, error, warning, notice")),
    }
}

fn sensitivity(node: &Node) -> Result<u8, Mistake> {
    match node.number()? {
        level @ 1..=4 => Ok(level),
        _ => Err(Mistake::new(node.line, "a sensitivity is 1, 2, 3 or 4")),
    }
}

fn tags(node: &Node) -> Result<Vec<Box<str>>, Mistake> {
    Ok(node.texts()?.into_iter().map(String::into_boxed_str).collect())
}

fn selectors(node: &Node) -> Result<Vec<Selector>, Mistake> {
    let selector = |node: &Node| {
        Selector::parse(node.text()?).map_err(|error| Mistake::new(node.line, error.to_string()))
    };
    node.list()?.iter().map(selector).collect()
}

fn examples(node: &Node) -> Result<Examples, Mistake> {
    let mut examples = Examples::default();
    for (key, list) in node.map()? {
        match key.as_str() {
            "match" => examples.hits = list.texts()?,
            "pass" => examples.passes = list.texts()?,
            _ => return Err(unknown_key(key, list.line, "match, pass")),
        }
    }
    Ok(examples)
}

fn unknown_key(key: &str, line: usize, known: &str) -> Mistake {
    unknown("key", key, line, known)
}

fn unknown(what: &str, name: &str, line: usize, known: &str) -> Mistake {
    Mistake::new(line, format!("`{name}` is no {what}; known are: {known}"))
}
