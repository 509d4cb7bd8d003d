//! `tidegate bans`: list, explain, add and lift the bans of a running Tidegate.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::admin_client::ask;
use crate::cli::{AdminArgs, BansCommand};
use crate::terminal;

pub(crate) fn execute(command: &BansCommand) -> Result<ExitCode> {
    match command {
        BansCommand::List(admin) => list(admin),
        BansCommand::Explain { address, admin } => {
            let target = format!("/bans?address={}", encoded(&address.to_string()));
            ask(admin, "GET", &target)?.print("not explained")
        }
        BansCommand::Add { network, duration, reason, admin } => {
            let duration = duration.iter().map(|text| format!("&for={}", encoded(text)));
            let target = format!(
                "/bans?network={}&reason={}{}",
                encoded(network),
                encoded(reason),
                duration.collect::<String>(),
            );
            ask(admin, "POST", &target)?.print("not banned")
        }
        BansCommand::Lift { network, admin } => {
            let target = format!("/bans?network={}", encoded(network));
            ask(admin, "DELETE", &target)?.print("not lifted")
        }
    }
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
    let text = |key: &str| ban.get(key).and_then(Value::as_str).unwrap_or_default();
    let until = ban.get("until").and_then(Value::as_u64);
    let until = until.map_or("never".to_owned(), |until| until.to_string());
    format!("{}\t{until}\t{}\t{}", text("network"), text("source"), text("reason"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ban_is_one_line_of_four_fields() {
        let ban =
            json!({ "network": "10.0.0.0/8", "until": null, "source": "admin", "reason": "x" });
        assert_eq!(line(&ban), "10.0.0.0/8\tnever\tadmin\tx");
        let ban = json!({ "network": "::1", "until": 5, "source": "s", "reason": "" });
        assert_eq!(line(&ban), "::1\t5\ts\t");
    }
}
