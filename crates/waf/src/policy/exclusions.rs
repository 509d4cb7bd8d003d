//! What a policy does not look at: rules that are switched off, and places where some do not look.

use tidegate_core::SettingsError;

use crate::bits::RuleBits;
use crate::program::pick::Pick;
use crate::program::{self, Rule};
use crate::rules::RuleSet;
use crate::seclang;
use crate::settings::{ExclusionSettings, WafSettings};
use crate::target::{Selector, Target};

#[derive(Debug)]
pub(super) struct Exclusion {
    /// `None` stands for every rule.
    pub(super) rules: Option<RuleBits>,
    picks: Vec<Pick>,
}

impl Exclusion {
    pub(super) fn selects(&self, target: Target, name: &[u8]) -> bool {
        self.picks.iter().any(|pick| pick.selects(target, name))
    }
}

/// The rules that are switched off altogether, and the exclusions of single targets.
pub(super) fn compile(
    settings: &WafSettings,
    rules: Option<&RuleSet>,
    errors: &mut Vec<SettingsError>,
) -> (RuleBits, Vec<Exclusion>) {
    let mut disabled = RuleBits::empty(rules.map_or(0, |rules| rules.program.rules.len()));
    let mut exclusions = Vec::new();
    for (index, exclusion) in settings.exclude.iter().flatten().enumerate() {
        let mut found = Vec::new();
        let chosen = chosen_rules(exclusion, rules, &mut found);
        let mut picks = Vec::new();
        for (index, text) in exclusion.targets.iter().enumerate() {
            match place(text) {
                Ok(pick) => picks.push(pick),
                Err(message) => {
                    found.push(SettingsError::new(["targets", &index.to_string()], message));
                }
            }
        }
        match (chosen, picks.is_empty()) {
            (None, true) if found.is_empty() => {
                let error = SettingsError::new(Vec::<String>::new(), "excludes nothing");
                found.push(
                    error.with_hint(
                        "give `rules`, `tags` or `targets`; `mode: off` switches all off",
                    ),
                );
            }
            (Some(rules), true) => disabled.union_with(&rules),
            (rules, _) => exclusions.push(Exclusion { rules, picks }),
        }
        errors.extend(found.into_iter().map(|error| error.under(["exclude", &index.to_string()])));
    }
    (disabled, exclusions)
}

impl WafSettings {
    /// Takes out of the exclusions what these rules do not have: those of the firewall are right
    /// for its shadow as far as the shadow's own rules have the same.
    pub fn keep_known_exclusions(&mut self, rules: &RuleSet) {
        let rules = &rules.program.rules;
        for exclusion in self.exclude.iter_mut().flatten() {
            let named = exclusion.names_rules();
            exclusion.rules.retain(|ids| rules.iter().any(|rule| ids.contains(rule.id)));
            let tagged =
                |tag: &String| rules.iter().any(|rule| rule.tags.iter().any(|it| **it == **tag));
            exclusion.tags.retain(tagged);
            if named && !exclusion.names_rules() {
                exclusion.targets.clear();
            }
        }
        let says = |exclusion: &ExclusionSettings| {
            exclusion.names_rules() || !exclusion.targets.is_empty()
        };
        self.exclude.iter_mut().for_each(|list| list.retain(says));
    }
}

impl ExclusionSettings {
    fn names_rules(&self) -> bool {
        !self.rules.is_empty() || !self.tags.is_empty()
    }
}

/// A part of a request, by the words of YAML rules or, in capitals, by SecLang's.
fn place(text: &str) -> Result<Pick, String> {
    let kind = text.split(':').next().unwrap_or_default();
    if kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return program::pick_of(&seclang::variable(text)?);
    }
    Selector::parse(text).map(|selector| Pick::from(&selector)).map_err(|error| error.to_string())
}

/// The rules that an exclusion names; `None` if it names none.
fn chosen_rules(
    exclusion: &ExclusionSettings,
    rules: Option<&RuleSet>,
    errors: &mut Vec<SettingsError>,
) -> Option<RuleBits> {
    let known = rules.is_some();
    let rules = rules.map(|rules| rules.program.rules.as_slice()).unwrap_or_default();
    let mut chosen = Chosen(RuleBits::empty(rules.len()));
    for (index, ids) in exclusion.rules.iter().enumerate() {
        // The point of the settings is a rule without a number.
        let meant = |rule: &Rule| rule.id > 0 && ids.contains(rule.id);
        if !chosen.insert_all(rules, meant) && known {
            let what = if ids.first == ids.last { "rule" } else { "rule in" };
            let message = format!("there is no {what} {ids}");
            errors.push(SettingsError::new(["rules", &index.to_string()], message));
        }
    }
    for (index, tag) in exclusion.tags.iter().enumerate() {
        let tagged = |rule: &Rule| rule.tags.iter().any(|other| **other == **tag);
        if !chosen.insert_all(rules, tagged) && known {
            let message = format!("no rule has the tag `{tag}`");
            let error = SettingsError::new(["tags", &index.to_string()], message);
            errors.push(error.with_hint(format!("known are {}", known_tags(rules))));
        }
    }
    exclusion.names_rules().then_some(chosen.0)
}

struct Chosen(RuleBits);

impl Chosen {
    /// Adds the rules that are meant, and says whether there are any.
    fn insert_all(&mut self, rules: &[Rule], meant: impl Fn(&Rule) -> bool) -> bool {
        let mut any = false;
        for (index, _) in rules.iter().enumerate().filter(|(_, rule)| meant(rule)) {
            self.0.insert(index);
            any = true;
        }
        any
    }
}

/// More are not told; the Core Rule Set has over a hundred.
const MAX_TOLD: usize = 30;

fn known_tags(rules: &[Rule]) -> String {
    let mut tags: Vec<&str> =
        rules.iter().flat_map(|rule| rule.tags.iter()).map(|tag| &**tag).collect();
    tags.sort_unstable();
    tags.dedup();
    let more = if tags.len() > MAX_TOLD { ", …" } else { "" };
    tags.truncate(MAX_TOLD);
    format!("{}{more}", tags.join(", "))
}
