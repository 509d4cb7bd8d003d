//! Directives that change rules which stand elsewhere: `SecRuleRemove*` and `SecRuleUpdate*`.
//!
//! Those by id are about the rules before them or, if none of these has the id, about those behind
//! them; those by tag and message are about all rules.

use super::ast::{IdRange, Pattern, Place};
use super::error::Report;
use super::raw::{RawAction, RawItem, RawRule};

/// Which rules a directive means.
#[derive(Debug)]
pub(super) enum Rules {
    /// Each range, and the link of the chain.
    Ids(Vec<IdRange>, usize),
    Msg(Pattern),
    Tag(Pattern),
}

/// What happens to them.
#[derive(Debug)]
pub(super) enum Change {
    Actions(Vec<RawAction>),
    Remove,
    /// The variables to add; the text whose place they take, if they replace one.
    Targets {
        add: String,
        instead_of: Option<String>,
    },
}

/// A directive and where it stands among the items.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) place: Place,
    pub(super) rules: Rules,
    pub(super) change: Change,
    /// How many items stood before it.
    pub(super) at: usize,
}

/// Applies all updates in their order, and tells of those that are about no rule.
pub(super) fn apply(updates: &[Update], items: &mut [RawItem], report: &mut Report) {
    let mut removed = vec![false; items.len()];
    for update in updates {
        let (mut earlier, mut later) = (Vec::new(), Vec::new());
        for (index, item) in items.iter().enumerate() {
            let RawItem::Rule(rule) = item else { continue };
            if removed.get(index) != Some(&true) && update.rules.mean(rule) {
                if index < update.at { earlier.push(index) } else { later.push(index) }
            }
        }
        let chosen = match update.rules {
            Rules::Ids(..) if earlier.is_empty() => later,
            Rules::Ids(..) => earlier,
            Rules::Msg(_) | Rules::Tag(_) => [earlier, later].concat(),
        };
        if chosen.is_empty() {
            report.note(&update.place, "it is about no rule that there is");
        }
        for index in chosen {
            match (&update.change, items.get_mut(index)) {
                (Change::Remove, _) => {
                    if let Some(removed) = removed.get_mut(index) {
                        *removed = true;
                    }
                }
                (change, Some(RawItem::Rule(rule))) => update.rules.change(rule, change),
                _ => {}
            }
        }
    }
    // A removed rule is still a place to skip to.
    for (item, removed) in items.iter_mut().zip(removed) {
        if let (true, RawItem::Rule(rule)) = (removed, &*item) {
            let label = rule.id.to_string().into();
            *item = RawItem::Marker { label };
        }
    }
}

impl Rules {
    fn mean(&self, rule: &RawRule) -> bool {
        let Some(head) = rule.links.first() else { return false };
        match self {
            Self::Ids(ranges, _) => ranges.iter().any(|range| range.contains(rule.id)),
            Self::Msg(pattern) => head.value("msg").is_some_and(|msg| pattern.matches(msg)),
            Self::Tag(pattern) => head.values("tag").any(|tag| pattern.matches(tag)),
        }
    }

    fn change(&self, rule: &mut RawRule, change: &Change) {
        let link = if let Self::Ids(_, link) = self { *link } else { 0 };
        let Some(link) = rule.links.get_mut(link) else { return };
        match change {
            Change::Remove => {}
            Change::Targets { add, instead_of } => {
                let Some(condition) = &mut link.condition else { return };
                if let Some(old) = instead_of {
                    let parts: Vec<&str> = condition
                        .variables
                        .split('|')
                        .filter(|part| !part.trim().eq_ignore_ascii_case(old.trim()))
                        .collect();
                    condition.variables = parts.join("|");
                }
                condition.more.push(add.clone());
            }
            Change::Actions(actions) => {
                for action in actions {
                    let group = group(&action.name);
                    link.actions
                        .retain(|known| group.is_none() || self::group(&known.name) != group);
                }
                link.actions.extend(actions.iter().cloned());
            }
        }
    }
}

/// Actions of which the last one counts; `None` for those that add up.
fn group(name: &str) -> Option<&str> {
    match name {
        "allow" | "block" | "deny" | "drop" | "pass" | "proxy" | "redirect" => Some("disruptive"),
        "log" | "nolog" | "auditlog" | "noauditlog" => Some("log"),
        "skip" | "skipafter" => Some("skip"),
        "ctl" | "setvar" | "tag" | "t" | "expirevar" | "initcol" | "setenv" => None,
        name => Some(name),
    }
}
