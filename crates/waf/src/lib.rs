//! Rules in, a verdict out: the web application firewall.
//!
//! A [`RuleSet`] is compiled once from YAML rules and shared by every route; a [`Policy`] is a
//! route's small overlay on it (mode, sensitivity, threshold, exclusions); an [`Inspection`] is
//! one request's walk through it.
//!
//! The way of a request through the engine:
//!
//! 1. The request's parts are collected as values, each with a mask of the bytes that occur in it
//!    (`values`, `body`).
//! 2. Each value goes through the trie of transformation chains that its kind needs. A step that
//!    the mask shows to change nothing costs nothing (`transformations`).
//! 3. For each distinct transformed value, required byte classes and one Aho-Corasick pass over
//!    all required literals leave a few candidate rules (`prefilter`).
//! 4. Only the candidates run their operator (`operators`).
//!
//! There is no I/O here, nothing panics on input, and no request costs more than a fixed budget of
//! work.

mod bits;
mod body;
mod evaluation;
mod evidence;
mod footprint;
mod inspection;
mod mask;
mod operators;
mod policy;
mod prefilter;
mod program;
mod rules;
mod seclang;
#[cfg(test)]
mod secrules;
mod settings;
mod target;
mod transformations;
mod values;

pub use evaluation::RuleCost;
pub use inspection::{Inspection, Verdict};
pub use policy::Policy;
pub use rules::{RuleError, RuleErrors, RuleFile, RuleSet, RuleSummary};
pub use seclang::{CrsSource, SecLangSources, check_seclang};
pub use settings::{
    BodySettings, BudgetSettings, CrsSettings, ExclusionSettings, Mode, OnExceeded, OverLimit,
    ResponseSettings, RuleIds, RuleSources, SecLangSettings, ShadowSettings, WafSettings,
};
pub use values::RequestFacts;

/// The operators, transformations and targets that a rule can name, as rows of name and summary,
/// for the reference documentation.
pub mod reference {
    pub use crate::operators::reference as operators;
    pub use crate::operators::seclang::reference as seclang_operators;
    pub use crate::target::reference as targets;
    pub use crate::transformations::reference as transformations;
    pub use crate::transformations::seclang::reference as seclang_transformations;
}
