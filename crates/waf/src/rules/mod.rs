//! [`RuleSet`]: rules, compiled. The YAML front end (`file`) and the rules that come with Tidegate
//! (`builtin`) are here, the form that every front end ends in is [`crate::program`].

mod builtin;
mod file;
mod yaml;

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::footprint::Footprint;
use crate::operators::Operator;
use crate::program::{self, Program, Stage};
use crate::seclang::ast::EngineSettings;
use crate::seclang::{self, SecLangSources, ast};
use crate::settings::RuleSources;
use crate::target::Selector;
use crate::transformations::Transformation;

/// One YAML rule, read.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) message: Box<str>,
    /// What a match adds to the request's score.
    pub(crate) score: u32,
    /// The sensitivity from which it runs, 1 to 4.
    pub(crate) sensitivity: u8,
    pub(crate) tags: Vec<Box<str>>,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) except: Vec<Selector>,
    pub(crate) chain: Vec<&'static Transformation>,
    pub(crate) operator: Box<dyn Operator>,
    /// These must match the same value too.
    pub(crate) also: Vec<Box<dyn Operator>>,
    /// None of these may match the same value.
    pub(crate) unless: Vec<Box<dyn Operator>>,
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests run the examples"))]
    pub(crate) examples: Examples,
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
    pub(crate) program: Program,
    messages: Vec<Box<str>>,
    /// What directives say about bodies and their limits.
    engine: EngineSettings,
    notes: Vec<String>,
    /// The files that were read.
    footprint: Footprint,
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

    /// Compiles the rules that a policy's settings ask for.
    ///
    /// # Errors
    /// All mistakes of all files, each with its file, line and rule.
    pub fn of_sources(sources: &RuleSources) -> Result<Arc<Self>, RuleErrors> {
        let files = if sources.builtin { builtin::files() } else { Vec::new() };
        if sources.seclang.is_empty() {
            return Self::compile(&files);
        }
        Self::with_seclang(&files, &sources.seclang)
    }

    /// Compiles files of YAML rules into one set.
    ///
    /// # Errors
    /// All mistakes of all files, each with its file, line and rule.
    pub fn compile(files: &[RuleFile]) -> Result<Arc<Self>, RuleErrors> {
        Self::assemble(files, None).map(Arc::new)
    }

    /// Compiles YAML rules together with the files of SecLang that `sources` names.
    ///
    /// # Errors
    /// All mistakes of all files, each with its file, line and rule.
    pub fn with_seclang(
        files: &[RuleFile],
        sources: &SecLangSources,
    ) -> Result<Arc<Self>, RuleErrors> {
        let loaded = seclang::load(sources)?;
        let mut rules = Self::assemble(files, Some(&loaded.rules))?;
        rules.footprint.add(loaded.footprint);
        Ok(Arc::new(rules))
    }

    /// Compiles rules that were read into one set.
    pub(crate) fn assemble(
        files: &[RuleFile],
        seclang: Option<&ast::Rules>,
    ) -> Result<Self, RuleErrors> {
        let rules = read_all(files);
        let mut footprint = Footprint::default();
        let program = match rules {
            Ok(rules) => program::assemble(rules, seclang, &mut footprint),
            Err(mut errors) => Err({
                let more = program::assemble(Vec::new(), seclang, &mut footprint);
                errors.extend(more.err().into_iter().flatten());
                errors
            }),
        };
        let program = program.map_err(RuleErrors)?;
        let text =
            |rule: &program::Rule| String::from_utf8_lossy(&rule.message.as_written()).into();
        Ok(Self {
            messages: program.rules.iter().map(text).collect(),
            program,
            engine: seclang.map(|rules| rules.engine.clone()).unwrap_or_default(),
            notes: seclang
                .map(|rules| rules.notes.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            footprint,
        })
    }

    /// What was read and has no effect here, or means less than its author may think: one line
    /// each, with file and line.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the files' directives say about bodies and their limits.
    pub(crate) fn engine(&self) -> &EngineSettings {
        &self.engine
    }

    /// Whether there are YAML rules, which a threshold of their own decides over.
    pub(crate) fn has_own(&self) -> bool {
        !self.program.rules_of(Stage::Values).is_empty()
    }

    /// Whether the files are still as they were when the set was compiled: reading them again
    /// would make the same rules.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.footprint.is_current()
    }

    /// Every rule, in the order in which they run.
    pub fn rules(&self) -> impl Iterator<Item = RuleSummary<'_>> {
        let rules = self.program.rules.iter().zip(&self.messages).filter(|(rule, _)| rule.id > 0);
        rules.map(|(rule, message)| RuleSummary {
            id: rule.id,
            message,
            score: rule.own.map_or(0, |own| own.score),
            sensitivity: rule.own.map_or(1, |own| own.sensitivity),
            tags: &rule.tags,
        })
    }
}

/// The YAML rules of all files, in the order of their ids.
fn read_all(files: &[RuleFile]) -> Result<Vec<Rule>, Vec<RuleError>> {
    let mut rules = Vec::new();
    let mut errors = Vec::new();
    let mut seen: FxHashMap<u32, &str> = FxHashMap::default();
    for file in files {
        for read in file::read(file) {
            match read {
                Ok((line, rule)) => {
                    if let Some(other) = seen.insert(rule.id, &file.name) {
                        let message = format!("its id is used in {other} already");
                        let name = file.name.clone();
                        errors.push(RuleError { file: name, line, rule: Some(rule.id), message });
                    }
                    rules.push(rule);
                }
                Err(error) => errors.push(error),
            }
        }
    }
    rules.sort_by_key(|rule| rule.id);
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
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
