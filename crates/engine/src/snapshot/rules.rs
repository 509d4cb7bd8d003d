//! Rule sets of the web application firewall: one for each distinct set of sources, shared by all
//! routes, and taken over by the next configuration while its files stay as they are.

use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;
use tidegate_core::SettingsError;
use tidegate_waf::{RuleErrors, RuleSet, RuleSources, WafSettings};

/// Rule sets by their sources.
#[derive(Debug, Default)]
pub(super) struct RuleSets {
    known: FxHashMap<RuleSources, Result<Arc<RuleSet>, RuleErrors>>,
}

impl RuleSets {
    /// The rules that these settings ask for: known ones, those of `previous` if their files did
    /// not change, or else compiled now. Mistakes have their path below `waf`.
    pub(super) fn of(
        &mut self,
        settings: &WafSettings,
        previous: Option<&Self>,
    ) -> Result<Arc<RuleSet>, Vec<SettingsError>> {
        let sources = settings.sources();
        if !sources.builtin && sources.seclang.is_empty() {
            let error = SettingsError::new(["builtin"], "there is no rule left");
            return Err(vec![error.with_hint("`mode: off` switches the firewall off")]);
        }
        let rules = self.known.entry(sources).or_insert_with_key(|sources| {
            match previous.and_then(|previous| previous.unchanged(sources)) {
                Some(rules) => Ok(rules),
                None if sources.seclang.is_empty() => builtin(),
                None => RuleSet::of_sources(sources),
            }
        });
        rules.clone().map_err(|errors| located(settings, &errors))
    }

    /// What the files of the rule sets in use say that has no effect here.
    pub(super) fn notes(&self) -> impl Iterator<Item = &str> {
        let sets = self.known.values().filter_map(|set| set.as_ref().ok());
        sets.flat_map(|set| set.notes().iter().map(String::as_str))
    }

    /// Forgets what no policy uses.
    pub(super) fn retain_used(&mut self) {
        self.known.retain(|_, set| set.as_ref().is_ok_and(|set| Arc::strong_count(set) > 1));
    }

    fn unchanged(&self, sources: &RuleSources) -> Option<Arc<RuleSet>> {
        let rules = self.known.get(sources)?.as_ref().ok()?;
        rules.is_current().then(|| Arc::clone(rules))
    }
}

/// The built-in rules by themselves; they do not change while the process runs.
fn builtin() -> Result<Arc<RuleSet>, RuleErrors> {
    static RULES: OnceLock<Result<Arc<RuleSet>, RuleErrors>> = OnceLock::new();
    RULES.get_or_init(RuleSet::builtin).clone()
}

/// Each mistake at the setting that names its file.
fn located(settings: &WafSettings, errors: &RuleErrors) -> Vec<SettingsError> {
    let located = |error: &tidegate_waf::RuleError| {
        SettingsError::new(settings.place_of(&error.file), error.to_string())
    };
    errors.0.iter().map(located).collect()
}
