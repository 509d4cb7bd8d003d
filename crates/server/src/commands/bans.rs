//! `tidegate bans`: list, explain, add and lift the bans of a running Tidegate.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::admin_client::ask;
use crate::cli::{AdminArgs, BansCommand, OtherTarget};
use crate::terminal;

pub(crate) fn execute(command: &BansCommand) -> Result<ExitCode> {
    match command {
        BansCommand::List(admin) => list(admin),
        BansCommand::Explain { address, target, admin } => {
            let address = address.map(|address| address.to_string());
            let query = query(&[("address", address.as_deref())], target);
            ask(admin, "GET", &format!("/bans?{query}"))?.print("not explained")
        }
        BansCommand::Add { network, target, measure, duration, reason, wide, admin } => {
            let own = [
                ("network", network.as_deref()),
                ("measure", measure.as_deref()),
                ("for", duration.as_deref()),
                ("reason", Some(reason.as_str()).filter(|reason| !reason.is_empty())),
                ("wide", wide.then_some("true")),
            ];
            ask(admin, "POST", &format!("/bans?{}", query(&own, target)))?.print("not banned")
        }
        BansCommand::Lift { network, target, measure, source, admin } => {
            let own = [
                ("network", network.as_deref()),
                ("measure", measure.as_deref()),
                ("source", source.as_deref()),
            ];
            ask(admin, "DELETE", &format!("/bans?{}", query(&own, target)))?.print("not lifted")
        }
    }
}

/// A query of these values and the target's.
fn query(own: &[(&str, Option<&str>)], target: &OtherTarget) -> String {
    let OtherTarget { subject, client, provider, token_hash, route, endpoint, zone, upstream } =
        target;
    let others = [
        ("subject", subject),
        ("client", client),
        ("provider", provider),
        ("token", token_hash),
        ("route", route),
        ("endpoint", endpoint),
        ("zone", zone),
        ("upstream", upstream),
    ];
    let others = others.into_iter().map(|(name, value)| (name, value.as_deref()));
    let pairs = own.iter().copied().chain(others);
    let pairs = pairs.filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
    pairs.collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Prints page after page.
fn list(admin: &AdminArgs) -> Result<ExitCode> {
    let mut after = String::new();
    loop {
        let answer = ask(admin, "GET", &format!("/bans?after={after}"))?;
        if !answer.is_success() {
            return answer.print("no list");
        }
        let page: Value = serde_json::from_str(&answer.body).context("the answer is not JSON")?;
        for ban in page.get("bans").and_then(Value::as_array).into_iter().flatten() {
            terminal::say(&line(ban))?;
        }
        let Some(next) = page.get("next").and_then(Value::as_str) else {
            return Ok(ExitCode::SUCCESS);
        };
        after = encoded(next);
    }
}

fn line(ban: &Value) -> String {
    let text = |key: &str| ban.get(key).and_then(Value::as_str);
    let until = ban.get("until").and_then(Value::as_i64);
    let until = until.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let until = until.map_or("never".to_owned(), |until| until.to_string());
    let kinds = ["subject", "client", "token", "route", "endpoint", "zone"];
    let named = kinds.iter().find_map(|kind| Some(format!("{kind} {}", text(kind)?)));
    let owner = text("provider").or(text("upstream")).map(|owner| format!(" of {owner}"));
    let target = match text("network") {
        Some(network) => network.to_owned(),
        None => format!("{}{}", named.unwrap_or_default(), owner.unwrap_or_default()),
    };
    let word = |key| text(key).unwrap_or_default();
    format!("{target}\t{}\t{until}\t{}\t{}", word("measure"), word("source"), word("reason"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(ban: &Value, expected: &str) {
        assert_eq!(line(ban), expected);
    }

    #[test]
    fn a_ban_is_one_line_of_five_fields() {
        let ban = json!({
            "network": "10.0.0.0/8", "measure": "block", "until": null, "source": "admin",
            "reason": "x",
        });
        check(&ban, "10.0.0.0/8\tblock\tnever\tadmin\tx");
        let ban = json!({
            "subject": "ann", "provider": "corp", "measure": "tarpit", "until": 1_795_461_722, "source": "s",
            "reason": "",
        });
        check(&ban, "subject ann of corp\ttarpit\t2026-11-23T19:22:02Z\ts\t");
    }

    #[test]
    fn a_query_names_what_is_given() {
        let target = OtherTarget {
            subject: Some("ann@corp".to_owned()),
            provider: Some("corp".to_owned()),
            ..OtherTarget::default()
        };
        assert_eq!(
            query(&[("for", Some("1h")), ("network", None)], &target),
            "for=1h&subject=ann%40corp&provider=corp"
        );
    }
}
