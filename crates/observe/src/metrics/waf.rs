//! Matches of the web application firewall by rule.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_core::event::WafSummary;

use super::family::{Count, Families};
use super::live::OTHER;

/// What the firewall itself matched.
pub(super) const LIVE: (&str, &str) = (
    "tidegate_waf_matches_total",
    "Matches of web application firewall rules, by the rule's number.",
);
/// What its shadows matched.
pub(super) const SHADOW: (&str, &str) = (
    "tidegate_waf_shadow_matches_total",
    "Matches of rules in shadows of the firewall, by the rule's number.",
);

/// A counter for each rule that ever matched, found without a lock.
#[derive(Debug, Default)]
pub(super) struct RuleMatches {
    /// Sorted by rule.
    rules: ArcSwap<Vec<(u32, Arc<Count>)>>,
    other: Count,
}

/// More rules than this are counted together.
const MAX_RULES: usize = 1_000;

impl RuleMatches {
    pub(super) fn record(&self, waf: &WafSummary) {
        for found in &waf.matches {
            self.count(found.rule);
        }
    }

    fn count(&self, rule: u32) {
        let at = |rules: &[(u32, Arc<Count>)]| rules.binary_search_by_key(&rule, |(key, _)| *key);
        let mut rules = self.rules.load();
        if at(&rules).is_err() && rules.len() < MAX_RULES {
            self.rules.rcu(|old| {
                let mut new = Vec::clone(old);
                if let Err(place) = at(old) {
                    new.insert(place, (rule, Arc::default()));
                }
                new
            });
            rules = self.rules.load();
        }
        let count = at(&rules).ok().and_then(|place| rules.get(place));
        count.map_or(&self.other, |(_, count)| count).add(1);
    }

    pub(super) fn show(&self, (name, help): (&str, &str), families: &mut Families) {
        families.counters(name, help, |family| {
            for (rule, count) in self.rules.load().iter() {
                family.counter(&[("rule", &rule.to_string())], count.value());
            }
            family.counter_if_any(&[("rule", OTHER)], self.other.value());
        });
    }
}
