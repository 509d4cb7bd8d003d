//! What an inspection found: the score, the matches, the decision.

use tidegate_core::event::WafMatch;

use super::{Evaluation, Evidence};
use crate::bits::RuleBits;
use crate::evidence;
use crate::program::Rule;

/// How many matches a summary keeps; the score counts all.
const MAX_MATCHES: usize = 256;

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The YAML rules' score.
    pub(crate) own_score: u32,
    /// What SecLang's rules added to CRS's counters.
    pub(crate) anomaly_score: u32,
    pub(crate) matches: Vec<WafMatch>,
    pub(crate) decision: Option<Decision>,
    /// What the rule at hand added.
    pub(super) rule_score: u32,
    counted: RuleBits,
}

/// A rule's own decision to refuse.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) rule: u32,
    pub(crate) status: u16,
    /// Where the client is sent instead.
    pub(crate) location: Option<String>,
    /// False if it is only told, because the mode says so.
    pub(crate) enforced: bool,
}

impl Outcome {
    pub(super) fn reset(&mut self, rules: usize) {
        let mut counted = std::mem::take(&mut self.counted);
        counted.reset(rules);
        let mut matches = std::mem::take(&mut self.matches);
        matches.clear();
        *self = Self { counted, matches, ..Self::default() };
    }

    /// The whole score.
    pub(crate) fn score(&self) -> u32 {
        self.own_score.saturating_add(self.anomaly_score)
    }

    /// Whether a rule's decision stands.
    pub(crate) fn interrupted(&self) -> bool {
        self.decision.as_ref().is_some_and(|decision| decision.enforced)
    }

    /// Whether a YAML rule has matched already.
    pub(super) fn counted(&self, rule: usize) -> bool {
        self.counted.contains(rule)
    }

    pub(super) fn has_room(&self) -> bool {
        self.matches.len() < MAX_MATCHES
    }

    pub(super) fn count(&mut self, index: usize, rule: &Rule) -> u32 {
        self.counted.insert(index);
        let (sum, score) = match rule.own {
            Some(own) => (&mut self.own_score, own.score),
            None => (&mut self.anomaly_score, self.rule_score),
        };
        *sum = sum.saturating_add(score);
        score
    }
}

impl Evaluation {
    /// What the rule at hand matched.
    pub(super) fn matched_all(&self) -> impl Iterator<Item = Evidence<'_>> {
        (0..self.matched.len()).filter_map(|index| self.matched.evidence(index))
    }

    /// The record of a match, with what it shows of the request redacted.
    pub(super) fn record(&self, rule: &Rule, score: u32) -> WafMatch {
        let text = |template| {
            let mut out = Vec::new();
            self.known(rule).expand(template, &mut out);
            out
        };
        // A YAML rule shows its first match, SecLang's the last, which MATCHED_VAR means.
        let shown = if rule.own.is_some() { 0 } else { self.matched.len().saturating_sub(1) };
        let found = self.matched.evidence(shown);
        // What a chain found later may be a piece of what it found first.
        let secret = self.matched_all().any(|found| evidence::is_secret(&found));
        let (target, piece) = match &found {
            None => (Box::default(), Box::default()),
            Some(found) if secret => (evidence::place(found), evidence::redacted(found)),
            Some(found) => (evidence::place(found), evidence::piece(found)),
        };
        let logdata =
            if secret { Box::from("[redacted]") } else { evidence::text(&text(&rule.logdata)) };
        WafMatch {
            rule: rule.id,
            message: evidence::text(&text(&rule.message)),
            target,
            piece,
            score,
            total: self.outcome.score(),
            tags: std::sync::Arc::clone(&rule.tags),
            severity: rule.severity.map_or("", crate::seclang::ast::Severity::name),
            logdata,
            phase: rule.phase,
        }
    }
}
