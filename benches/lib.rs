//! Criterion benchmarks of the heart, and HTTP benchmarks beside the peers.

pub mod inspection;
pub mod tokens;

use std::path::Path;
use std::sync::Arc;

use tidegate_waf::{CrsSource, RuleErrors, RuleSet, SecLangSources};

/// The built-in rules, or those of a checkout of the Core Rule Set.
///
/// # Errors
/// What is wrong with the rules.
pub fn rules(crs: Option<&Path>) -> Result<Arc<RuleSet>, RuleErrors> {
    let Some(path) = crs else { return RuleSet::builtin() };
    let crs = CrsSource { path: path.to_owned(), setup: None };
    RuleSet::with_seclang(&[], &SecLangSources { crs: Some(crs), ..SecLangSources::default() })
}
