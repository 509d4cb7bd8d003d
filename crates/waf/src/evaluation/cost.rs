//! What each rule costs, counted while a request is tried out of order.

use crate::program::Rule;

/// What one rule did and cost in one inspection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCost {
    /// The rule's number.
    pub rule: u32,
    /// SecLang's phase, 1 to 5.
    pub phase: u8,
    /// How often it ran.
    pub runs: u32,
    /// Whether it matched, told or not.
    pub matched: bool,
    /// What it cost, in steps of about a nanosecond; the search for candidates is not in it.
    pub work: u64,
}

/// The costs of the rules that ran, by their place in the program; only if someone asks for them.
#[derive(Debug, Default)]
pub(crate) struct Costs(Option<Vec<RuleCost>>);

impl Costs {
    /// Counts from now on.
    pub(crate) fn of(rules: usize) -> Self {
        Self(Some(vec![RuleCost::default(); rules]))
    }

    pub(super) fn note(&mut self, index: usize, rule: &Rule, work: u64, matched: bool) {
        let Some(costs) = &mut self.0 else { return };
        if let Some(cost) = costs.get_mut(index) {
            (cost.rule, cost.phase) = (rule.id, rule.phase);
            cost.runs += 1;
            cost.matched |= matched;
            cost.work += work;
        }
    }

    /// The rules that ran, the dearest first.
    pub(crate) fn dearest(&self) -> Vec<RuleCost> {
        let ran = self.0.iter().flatten().filter(|cost| cost.runs > 0 && cost.rule > 0);
        let mut costs: Vec<RuleCost> = ran.copied().collect();
        costs.sort_by_key(|cost| (std::cmp::Reverse(cost.work), cost.rule));
        costs
    }
}
