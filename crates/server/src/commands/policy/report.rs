//! What a policy would have done, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_core::Decision;
use tidegate_engine::trial::policy::Replay;

use crate::cli::PolicyTestArgs;
use crate::terminal;

pub(super) fn tell(args: &PolicyTestArgs, replay: &Replay, bad: usize) -> Result<()> {
    if args.json {
        for (decision, met) in replay.decided() {
            let mut value = serde_json::to_value(&**decision)?;
            if let Value::Object(fields) = &mut value {
                fields.insert("time".to_owned(), stamp(decision.time).into());
                fields.insert("until".to_owned(), decision.until.map(stamp).into());
                fields.insert("target".to_owned(), decision.target.to_string().into());
                fields.insert("target_kind".to_owned(), decision.target.kind().into());
                fields.insert("met".to_owned(), (*met).into());
                if let Some(Value::Object(evidence)) = fields.get_mut("evidence") {
                    let since = decision.evidence.since.map(stamp);
                    evidence.insert("since".to_owned(), since.into());
                    let times = decision.evidence.samples.iter().map(|sample| stamp(sample.time));
                    let samples = evidence.get_mut("samples").and_then(Value::as_array_mut);
                    for (sample, time) in samples.into_iter().flatten().zip(times) {
                        if let Some(field) = sample.get_mut("time") {
                            *field = time.into();
                        }
                    }
                }
            }
            terminal::say(&value.to_string())?;
        }
        return Ok(terminal::say(&json!({ "summary": summary(replay, bad) }).to_string())?);
    }
    for (decision, met) in replay.decided() {
        terminal::say(&line(decision, *met))?;
    }
    Ok(terminal::say(&sentence(replay, bad))?)
}

/// One decision in one line.
fn line(decision: &Decision, met: u64) -> String {
    let mut line = format!(
        "{}  {:8} {}  by {}, offence {}: {} events",
        stamp(decision.time),
        decision.measure.name(),
        decision.target,
        decision.rule,
        decision.offence,
        decision.evidence.count,
    );
    if let Some(since) = decision.evidence.since {
        let seconds = decision.time.duration_since(since).unwrap_or_default().as_secs_f64();
        let _written = write!(line, " in {seconds:.1} s");
    }
    if let Some(until) = decision.until {
        let seconds = until.duration_since(decision.time).unwrap_or_default().as_secs();
        let _written = write!(line, "; for {seconds} s");
    }
    if met > 0 {
        let _written = write!(line, ", {met} requests met");
    }
    let standing = decision.standing.name();
    if standing != "enforced" {
        let _written = write!(line, " ({standing})");
    }
    line
}

fn summary(replay: &Replay, bad: usize) -> Value {
    let counts = replay.counts();
    let mut measures: BTreeMap<&str, u64> = BTreeMap::new();
    for (decision, _) in replay.decided() {
        *measures.entry(decision.measure.name()).or_default() += 1;
    }
    json!({
        "requests": counts.requests,
        "notices": counts.notices,
        "bad_lines": bad,
        "first": counts.times.map(|(first, _)| stamp(first)),
        "last": counts.times.map(|(_, last)| stamp(last)),
        "decisions": replay.decided().len(),
        "measures": measures,
        "requests_met": counts.met,
        "cap_reached": counts.capped,
        "rules": replay.policy().rules().count(),
        "bytes": replay.policy().bytes(replay.now()),
    })
}

fn sentence(replay: &Replay, bad: usize) -> String {
    let counts = replay.counts();
    let mut text = format!("{} requests and {} notices", counts.requests, counts.notices);
    if let Some((first, last)) = counts.times {
        let _written = write!(text, " from {} to {}", stamp(first), stamp(last));
    }
    if bad > 0 {
        let _written = write!(text, ", {bad} bad lines");
    }
    let _written = write!(
        text,
        ": {} decisions of {} rules would have met {} requests; the cap was reached {} times; \
         counting held {} KiB",
        replay.decided().len(),
        replay.policy().rules().count(),
        counts.met,
        counts.capped,
        replay.policy().bytes(replay.now()) / 1024,
    );
    text
}

/// RFC 3339 in UTC, with milliseconds.
fn stamp(time: SystemTime) -> String {
    let mut text = Vec::new();
    tidegate_core::record::time(&mut text, time);
    String::from_utf8(text).unwrap_or_default()
}
