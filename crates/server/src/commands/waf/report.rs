//! What a trial came to, for people and for programs.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_engine::Trial;
use tidegate_engine::trial::{RuleCost, Sample, WafMatch, WafSummary};

use crate::cli::WafTestArgs;
use crate::terminal;

/// Tells of trials as they come, and counts them.
pub(super) struct Report<'a> {
    args: &'a WafTestArgs,
    /// Of many, only those that something was found in are told in full.
    many: bool,
    tried: usize,
    refused: usize,
    detected: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a WafTestArgs, count: usize) -> Self {
        Self { args, many: count != 1, tried: 0, refused: 0, detected: 0 }
    }

    pub(super) fn add(&mut self, sample: &Sample, trial: &Trial) -> Result<()> {
        self.tried += 1;
        self.refused += usize::from(trial.refused.is_some());
        let detected = trial.waf.as_ref().is_some_and(|waf| waf.blocked && waf.detect_only);
        self.detected += usize::from(detected);
        if self.args.json {
            terminal::say(&json_of(sample, trial).to_string())?;
        } else if !self.many || trial.refused.is_some() || trial.waf.is_some() {
            terminal::say(&text_of(sample, trial, self.args.costs))?;
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<ExitCode> {
        if self.many && !self.args.json {
            let Self { tried, refused, detected, .. } = self;
            terminal::say(&format!(
                "{tried} tried, {refused} refused, {detected} would be refused in block mode"
            ))?;
        }
        Ok(if self.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn json_of(sample: &Sample, trial: &Trial) -> Value {
    let refused = trial.refused.as_ref().map(|refused| {
        json!({
            "stage": refused.stage,
            "status": refused.status,
            "reason": refused.reason,
            "evidence": refused.evidence,
        })
    });
    let cost = |cost: &RuleCost| {
        json!({
            "rule": cost.rule,
            "phase": cost.phase,
            "runs": cost.runs,
            "matched": cost.matched,
            "work": cost.work,
        })
    };
    json!({
        "request": sample.line(),
        "route": trial.route,
        "mode": trial.mode,
        "refused": refused,
        "waf": trial.waf.as_ref().map(summary),
        "waf_shadow": trial.shadow.as_ref().map(summary),
        "work": trial.work,
        "budget": trial.budget,
        "costs": trial.costs.iter().map(cost).collect::<Vec<_>>(),
    })
}

fn summary(waf: &WafSummary) -> Value {
    let found = |found: &WafMatch| {
        json!({
            "rule": found.rule,
            "phase": found.phase,
            "message": found.message,
            "severity": found.severity,
            "tags": found.tags.iter().collect::<Vec<_>>(),
            "target": found.target,
            "piece": found.piece,
            "logdata": found.logdata,
            "score": found.score,
            "total": found.total,
        })
    };
    json!({
        "score": waf.score,
        "blocked": waf.blocked,
        "detect_only": waf.detect_only,
        "exceeded": waf.exceeded,
        "decided_by": waf.decided_by,
        "matches": waf.matches.iter().map(found).collect::<Vec<_>>(),
    })
}

fn text_of(sample: &Sample, trial: &Trial, costs: usize) -> String {
    let mut text = format!("{}\n", sample.line());
    let mut line = |words: String| writeln!(text, "  {words}").unwrap_or_default();
    if let Some(route) = &trial.route {
        line(format!("route {route}, firewall {}", trial.mode));
    }
    line(verdict(trial));
    for (name, waf) in [("", &trial.waf), ("shadow: ", &trial.shadow)] {
        let Some(waf) = waf else { continue };
        if !name.is_empty() {
            let would = if waf.blocked { "would refuse" } else { "would pass" };
            line(format!("{name}{would}, score {}", waf.score));
        }
        for found in &waf.matches {
            tell(name, found, &mut line);
        }
    }
    if trial.work > 0 {
        tell_costs(trial, costs, &mut line);
    }
    text
}

fn verdict(trial: &Trial) -> String {
    let exceeded = trial.waf.as_ref().and_then(|waf| waf.exceeded);
    let more = exceeded.map(|what| format!("; more {what} than waf.budget allows"));
    let more = more.unwrap_or_default();
    match (&trial.refused, &trial.waf) {
        (Some(refused), _) => {
            let (stage, status, reason) = (refused.stage, refused.status, refused.reason);
            let why = behind(&refused.evidence);
            format!("refused by {stage}: {status} {reason}{why}{more}")
        }
        (None, Some(waf)) if waf.blocked => {
            format!("passes, but would be refused in block mode: score {}{more}", waf.score)
        }
        (None, Some(waf)) => format!("passes: score {}{more}", waf.score),
        (None, None) => "passes: nothing was found".to_owned(),
    }
}

fn tell(name: &str, found: &WafMatch, line: &mut impl FnMut(String)) {
    let WafMatch { rule, message, target, piece, score, total, logdata, phase, .. } = found;
    let severity = if found.severity.is_empty() { "" } else { " " };
    line(format!("{name}{rule}{severity}{}: {message}", found.severity));
    if !target.is_empty() {
        line(format!("    in {target}: {piece}"));
    }
    if !logdata.is_empty() {
        line(format!("    says {logdata}"));
    }
    let tags = behind(&found.tags.join(" "));
    line(format!("    phase {phase}, adds {score}, makes {total}{tags}"));
}

/// What stands behind a semicolon, if there is anything.
fn behind(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; {text}") }
}

fn tell_costs(trial: &Trial, costs: usize, line: &mut impl FnMut(String)) {
    let rules: u64 = trial.costs.iter().map(|cost| cost.work).sum();
    let (ran, search) = (trial.costs.len(), trial.work.saturating_sub(rules));
    line(format!(
        "work {} of {}: search {}, {ran} rules {}",
        time(trial.work),
        time(trial.budget),
        time(search),
        time(rules),
    ));
    for cost in trial.costs.iter().take(costs) {
        let matched = if cost.matched { ", matched" } else { "" };
        line(format!("    {} phase {}: {}{matched}", cost.rule, cost.phase, time(cost.work)));
    }
}

/// Steps of about a nanosecond as the time that they stand for.
fn time(work: u64) -> String {
    match work {
        0..10_000 => format!("{work} ns"),
        10_000..10_000_000 => format!("{} us", work / 1_000),
        _ => format!("{} ms", work / 1_000_000),
    }
}
