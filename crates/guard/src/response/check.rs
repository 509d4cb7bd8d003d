//! What makes no sense in the settings of one rule.

use std::time::Duration;

use tidegate_core::{Measure, SettingsError};

use super::settings::{KeySettings, RuleSettings};
use super::when;

/// The most different values that a rule may count.
const MOST_VALUES: u32 = 10_000;

/// The longest that a rule may look back, or a measure last.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

pub(super) fn errors_in(rule: &RuleSettings) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    let mut wrong = |path: &[&str], message: &str, hint: &str| {
        let error = SettingsError::new(path.iter().copied(), message);
        errors.push(if hint.is_empty() { error } else { error.with_hint(hint) });
    };
    match &rule.when {
        None => wrong(&["when"], "nothing says which events count", "add `when: { .. }`"),
        Some(given) if when::is_empty(given) => {
            let hint = "add a condition; `status: [100-599]` if every request is meant";
            wrong(&["when"], "no condition is given, so every request would count", hint);
        }
        Some(_) => {}
    }
    match (&rule.leaky, &rule.distinct) {
        (None, None) => {
            let hint = "add `leaky: { capacity: 10, leak: 10/m }` or `distinct: { .. }`";
            wrong(&[], "nothing says how many are too many", hint);
        }
        (Some(_), Some(_)) => wrong(&["distinct"], "a rule has either `leaky` or `distinct`", ""),
        _ => {}
    }
    buckets(rule, &mut wrong);
    ladder(rule, &mut wrong);
    time(rule, &mut wrong);
    if let Some(KeySettings::Prefix { ipv4, ipv6 }) = rule.key {
        if !(8..=32).contains(&ipv4) {
            wrong(&["key", "prefix", "ipv4"], "an IPv4 prefix is from 8 to 32 here", "");
        }
        if !(16..=128).contains(&ipv6) {
            wrong(&["key", "prefix", "ipv6"], "an IPv6 prefix is from 16 to 128 here", "");
        }
    }
    errors
}

fn buckets(rule: &RuleSettings, wrong: &mut impl FnMut(&[&str], &str, &str)) {
    if let Some(leaky) = rule.leaky {
        let full = leaky.leak.interval().checked_mul(leaky.capacity.get());
        if full.is_none_or(|full| full > LONGEST) {
            wrong(&["leaky"], "a full bucket would leak for over a year", "");
        }
    }
    if let Some(distinct) = rule.distinct {
        if distinct.more_than.get() > MOST_VALUES {
            wrong(&["distinct", "more_than"], "more than 10000 values are not counted", "");
        }
        if distinct.within.0.is_zero() || distinct.within.0 > LONGEST {
            wrong(&["distinct", "within"], "a window is from 1ms to a year", "");
        }
    }
}

fn ladder(rule: &RuleSettings, wrong: &mut impl FnMut(&[&str], &str, &str)) {
    let Some(ladder) = &rule.ladder else { return };
    if ladder.is_empty() {
        wrong(&["ladder"], "the ladder has no step", "write `[alert]` to be told only");
    }
    if !ladder.is_sorted() {
        wrong(&["ladder"], "a further offence would be answered more mildly", "");
    }
    let upstream = rule.key.as_ref().is_some_and(KeySettings::is_upstream);
    let fits = |measure: &Measure| matches!(measure, Measure::Alert | Measure::Isolate);
    if upstream && !ladder.iter().all(fits) {
        let hint = "write `alert` or `isolate`";
        wrong(&["ladder"], "an endpoint or a zone can only be isolated", hint);
    }
    let notices = rule.when.as_ref().is_some_and(|when| !when.notices.is_empty());
    if notices && !upstream && rule.key.as_ref().is_some_and(|key| *key != KeySettings::ClientIp) {
        let hint = "write `endpoint`, `zone` or `client_ip`";
        wrong(&["key"], "notices have no such key", hint);
    }
}

fn time(rule: &RuleSettings, wrong: &mut impl FnMut(&[&str], &str, &str)) {
    if let Some(ttl) = rule.ttl {
        if !(1.0..=100.0).contains(&ttl.factor) {
            wrong(&["ttl", "factor"], "a factor is from 1 to 100", "");
        }
        if ttl.first.0.is_zero() || ttl.max.0 > LONGEST {
            wrong(&["ttl"], "a measure lasts from 1ms to a year", "");
        }
        if ttl.first > ttl.max {
            wrong(&["ttl", "max"], "the longest is shorter than the first", "");
        }
        if ttl.jitter.basis_points() > 5_000 {
            wrong(&["ttl", "jitter"], "chance decides about at most 50%", "");
        }
    }
    if rule.remember.is_some_and(|remember| remember.0 > LONGEST) {
        wrong(&["remember"], "nobody is remembered for over a year", "");
    }
}
