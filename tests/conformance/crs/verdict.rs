//! Whether what came of a stage is what the suite expects, by go-ftw's order of checks.

use regex::Regex;

use crate::run::Outcome;
use crate::suite::Expect;

/// `None` if all is as expected; else what is not.
pub(crate) fn judge(expect: &Expect, outcome: &Outcome) -> Option<String> {
    if expect.no_answer {
        let answered = outcome.status.map(|status| format!("answered with {status}"));
        return answered;
    }
    let Some(status) = outcome.status else { return Some("no answer".into()) };
    if expect.status.is_some_and(|wanted| wanted != status) {
        return Some(format!("status {status}, wanted {}", expect.status.unwrap_or_default()));
    }
    let answer = String::from_utf8_lossy(&outcome.answer);
    if expect.response_contains.as_ref().is_some_and(|it| !matches(it, &answer)) {
        return Some("the answer does not hold what it should".into());
    }
    judge_log(expect, outcome)
}

fn judge_log(expect: &Expect, outcome: &Outcome) -> Option<String> {
    let rules = outcome.rules();
    let absent: Vec<_> = expect.ids.iter().filter(|id| !rules.contains(id)).collect();
    if !absent.is_empty() {
        return Some(format!("missing {absent:?}"));
    }
    let unwanted: Vec<_> = expect.no_ids.iter().filter(|id| rules.contains(id)).collect();
    if !unwanted.is_empty() {
        return Some(format!("unwanted {unwanted:?}"));
    }
    if expect.isolated && rules != expect.ids {
        return Some("other rules matched as well".into());
    }
    let log = outcome.log();
    let found = |pattern: &String| log.iter().any(|line| matches(pattern, line));
    if let Some(pattern) = expect.log.as_ref().filter(|it| !found(it)) {
        return Some(format!("no line like {pattern} in {log:#?}"));
    }
    let pattern = expect.no_log.as_ref().filter(|it| found(it))?;
    Some(format!("a line like {pattern}"))
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).expect("a pattern of the suite").is_match(text)
}
