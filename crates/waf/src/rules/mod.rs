//! Rules and how they become a [`RuleSet`]: the YAML front end (`file`), the rules that come with
//! Tidegate (`builtin`), and the compiled form that every front end ends in.

mod builtin;
mod file;
mod yaml;

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::bits::RuleBits;
use crate::operators::Operator;
use crate::prefilter::{Prefilter, Required};
use crate::target::{Selector, Target, TargetSet};
use crate::transformations::trie::Trie;

/// One rule, compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) message: Box<str>,
    /// What a match adds to the request's score.
    pub(crate) score: u32,
    /// The sensitivity from which it runs, 1 to 4.
    pub(crate) sensitivity: u8,
    pub(crate) tags: Vec<Box<str>>,
    pub(crate) targets: TargetSet,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) except: Vec<Selector>,
    /// Its chain's node in [`RuleSet::trie`].
    pub(crate) node: usize,
    pub(crate) operator: Box<dyn Operator>,
    /// These must match the same value too.
    pub(crate) also: Vec<Box<dyn Operator>>,
    /// None of these may match the same value.
    pub(crate) unless: Vec<Box<dyn Operator>>,
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests run the examples"))]
    pub(crate) examples: Examples,
}

impl Rule {
    /// Whether the rule looks at this value of a kind that it looks at.
    pub(crate) fn selects(&self, target: Target, name: &[u8]) -> bool {
        self.selectors.iter().any(|selector| selector.selects(target, name))
            && !self.except.iter().any(|selector| selector.selects(target, name))
    }
}

/// Values that a rule must match and must pass; tests run them.
#[derive(Debug, Default)]
pub(crate) struct Examples {
    pub(crate) hits: Vec<String>,
    pub(crate) passes: Vec<String>,
}

/// What can be told of a rule without its program.
#[derive(Clone, Copy, Debug)]
pub struct RuleSummary<'a> {
    /// Its number.
    pub id: u32,
    /// What a match of it means.
    pub message: &'a str,
    /// What a match adds to the score.
    pub score: u32,
    /// The sensitivity from which it runs, 1 to 4.
    pub sensitivity: u8,
    /// Its tags, the family first.
    pub tags: &'a [Box<str>],
}

/// A file of rules: its name, for errors, and its text.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// How errors name it.
    pub name: String,
    /// The YAML.
    pub text: String,
}

/// A compiled set of rules, shared by all routes.
#[derive(Debug)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) trie: Trie,
    pub(crate) prefilter: Prefilter,
    /// For each node, the rules that look at values in that form.
    pub(crate) rules_of_node: Vec<RuleBits>,
    /// For each [`Target`], the rules that look at it.
    pub(crate) rules_of_target: Vec<RuleBits>,
}

impl RuleSet {
    /// The rules that come with Tidegate (`config/rules`).
    ///
    /// # Errors
    /// Never, unless the embedded files were broken at build time; tests compile them.
    pub fn builtin() -> Result<Arc<Self>, RuleErrors> {
        Self::compile(&builtin::files())
    }

    /// The files that come with Tidegate, to be compiled together with others.
    #[must_use]
    pub fn builtin_files() -> Vec<RuleFile> {
        builtin::files()
    }

    /// Compiles files of rules into one set.
    ///
    /// # Errors
    /// All mistakes of all files, each with its file, line and rule.
    pub fn compile(files: &[RuleFile]) -> Result<Arc<Self>, RuleErrors> {
        let mut trie = Trie::default();
        let mut rules = Vec::new();
        let mut errors = Vec::new();
        let mut seen: FxHashMap<u32, &str> = FxHashMap::default();
        for file in files {
            for read in file::read(file, &mut trie) {
                match read {
                    Ok((line, rule)) => {
                        if let Some(other) = seen.insert(rule.id, &file.name) {
                            let message = format!("its id is used in {other} already");
                            let name = file.name.clone();
                            errors.push(RuleError {
                                file: name,
                                line,
                                rule: Some(rule.id),
                                message,
                            });
                        }
                        rules.push(rule);
                    }
                    Err(error) => errors.push(error),
                }
            }
        }
        if !errors.is_empty() {
            return Err(RuleErrors(errors));
        }
        rules.sort_by_key(|rule| rule.id);
        Self::assemble(rules, trie).map(Arc::new)
    }

    fn assemble(rules: Vec<Rule>, trie: Trie) -> Result<Self, RuleErrors> {
        let required: Vec<Required> = rules.iter().map(|rule| rule.operator.required()).collect();
        let prefilter = Prefilter::new(required).map_err(|error| {
            let message = format!("the literals of all rules together are too many: {error}");
            RuleErrors(vec![RuleError { file: "all files".into(), line: 0, rule: None, message }])
        })?;
        let select = |takes: &dyn Fn(&Rule) -> bool| {
            let mut bits = RuleBits::empty(rules.len());
            rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| takes(rule))
                .for_each(|(index, _)| bits.insert(index));
            bits
        };
        let rules_of_node =
            (0..trie.nodes().len()).map(|node| select(&|rule| rule.node == node)).collect();
        let rules_of_target = Target::ALL
            .iter()
            .map(|target| select(&|rule| rule.targets.contains(*target)))
            .collect();
        Ok(Self { rules, trie, prefilter, rules_of_node, rules_of_target })
    }

    /// Every rule, in the order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = RuleSummary<'_>> {
        self.rules.iter().map(|rule| RuleSummary {
            id: rule.id,
            message: &rule.message,
            score: rule.score,
            sensitivity: rule.sensitivity,
            tags: &rule.tags,
        })
    }
}

/// One mistake in a file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The rule, if its id is known.
    pub rule: Option<u32>,
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(rule) = self.rule {
            write!(f, "rule {rule}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All mistakes of the files that were compiled together; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct RuleErrors(pub Vec<RuleError>);
