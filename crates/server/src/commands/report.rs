//! `tidegate report`: what a running Tidegate recorded, as text or JSON.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::admin_client::ask;
use crate::cli::ReportCommand;
use crate::terminal;

/// More of those who passed with a scope are only counted; JSON has them all.
const MAX_NAMED: usize = 5;

pub(crate) fn execute(command: &ReportCommand) -> Result<ExitCode> {
    let ReportCommand::Scopes { unused, json, admin } = command;
    let answer = ask(admin, "GET", "/report/scopes")?;
    if *json || !answer.is_success() {
        return answer.print("no report");
    }
    let report: Value = serde_json::from_str(&answer.body).context("the answer is not JSON")?;
    let mut text = String::new();
    clients(&mut text, &report, *unused);
    routes(&mut text, &report, *unused);
    left_out(&mut text, &report);
    terminal::say(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each scope of each client: used how often and where, or not.
fn clients(out: &mut String, report: &Value, unused: bool) {
    line(out, format_args!("clients, since {}", date(report, "since")));
    for client in list(report, "clients") {
        if unused && list(client, "unused").is_empty() {
            continue;
        }
        let name = who(client);
        let (passes, last) =
            (counted(number(client, "passes"), "pass", "passes"), date(client, "last"));
        line(out, format_args!("  {name}  {passes}, last {last}"));
        for scope in list(client, "scopes") {
            let scope_name = text(scope, "scope");
            let routes = list(scope, "routes");
            let used = scope.get("used").filter(|used| used.is_object());
            let Some(used) = used else {
                // What is older than what is known may have been used before.
                let granted = scope.get("granted").map_or(0, |granted| number(granted, "first"));
                let since = minute(granted.max(number(report, "known_since")));
                line(out, format_args!("    {scope_name:<24} unused, granted since {since}"));
                continue;
            };
            if !unused {
                let names: Vec<String> = routes.iter().map(|route| text(route, "route")).collect();
                let more = scope.get("elsewhere").is_some_and(Value::is_object);
                let more = if more { ", and others" } else { "" };
                line(
                    out,
                    format_args!(
                        "    {scope_name:<24} {} from {} to {} on {}{more}",
                        counted(number(used, "passes"), "use", "uses"),
                        date(used, "first"),
                        date(used, "last"),
                        names.join(", "),
                    ),
                );
            }
        }
    }
}

/// For each route what it needs, and who passed with it.
fn routes(out: &mut String, report: &Value, unused: bool) {
    line(out, format_args!("routes"));
    for route in list(report, "routes") {
        let never: Vec<String> = list(route, "never").iter().filter_map(shown).collect();
        if unused && never.is_empty() {
            continue;
        }
        let gone = route.get("gone").is_some();
        let what = if gone { "is gone".to_owned() } else { needs(route) };
        line(out, format_args!("  {}  {what}", text(route, "route")));
        for scope in list(route, "passed").iter().filter(|_| !unused) {
            let clients = list(scope, "clients");
            let named = clients
                .iter()
                .take(MAX_NAMED)
                .map(|client| format!("{} ({})", who(client), number(client, "passes")));
            let mut named = named.collect::<Vec<_>>().join(", ");
            if let more @ 1.. = clients.len().saturating_sub(MAX_NAMED) {
                named.push_str(&format!(", and {more} more"));
            }
            line(out, format_args!("    {:<24} {named}", text(scope, "scope")));
        }
        for scope in never {
            line(out, format_args!("    {scope:<24} nobody passed with it"));
        }
    }
}

fn needs(route: &Value) -> String {
    let each = list(route, "needs").iter().filter_map(|needs| {
        let names = |key| -> Vec<String> { list(needs, key).iter().filter_map(shown).collect() };
        let (all, any) = (names("all"), names("any"));
        let mut wanted = Vec::new();
        if !all.is_empty() {
            wanted.push(all.join(" and "));
        }
        if !any.is_empty() {
            wanted.push(format!("one of {}", any.join(", ")));
        }
        let method = text(needs, "method");
        let prefix = if method == "*" { String::new() } else { format!("{method} ") };
        (!wanted.is_empty()).then(|| format!("{prefix}needs {}", wanted.join(" and ")))
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { "needs no scope".to_owned() } else { each.join("; ") }
}

/// What is missing above, which makes 'unused' and 'nobody' uncertain.
fn left_out(out: &mut String, report: &Value) {
    let missing = report.get("left_out").unwrap_or(&Value::Null);
    let kinds = [
        ("passes", "passes came too fast to be noted"),
        ("of_clients", "passes of clients beyond `max_clients`"),
        ("of_scopes", "passes with scopes beyond `max_scopes` or `max_entries`"),
        ("of_routes", "uses on routes beyond `max_routes` or `max_entries`"),
    ];
    for (key, what) in kinds {
        if let passes @ 1.. = number(missing, key) {
            line(out, format_args!("left out: {passes} {what}"));
        }
    }
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&format!("{text}\n"));
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(shown).unwrap_or_default()
}

/// A text as a terminal may have it: names are chosen by clients, and could steer it.
fn shown(value: &Value) -> Option<String> {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let escape = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    Some(value.as_str()?.chars().map(escape).collect())
}

fn who(client: &Value) -> String {
    let provider = text(client, "provider");
    match (client.get("client"), client.get("subject").and_then(shown)) {
        (Some(name), _) => format!("{provider}/{}", shown(name).unwrap_or_default()),
        (None, Some(subject)) => format!("{provider}/subject {subject}"),
        (None, None) => format!("{provider}/(subjects without a client)"),
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// The day and minute in UTC of a number of seconds since 1970.
fn date(value: &Value, key: &str) -> String {
    minute(number(value, key))
}

/// See [`date`].
fn minute(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let at = Timestamp::from_second(seconds).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(seconds: u64, expected: &str) {
        assert_eq!(date(&json!({ "at": seconds }), "at"), expected);
    }

    #[test]
    fn dates_are_read_by_people() {
        check(0, "1970-01-01 00:00");
        check(951_782_400, "2000-02-29 00:00");
        check(1_798_761_599, "2026-12-31 23:59");
        check(4_107_542_400, "2100-03-01 00:00");
    }

    fn report() -> Value {
        let times = json!({ "first": 0, "last": 60, "passes": 3 });
        let with = |mut value: Value| {
            for (name, time) in times.as_object().into_iter().flatten() {
                value[name] = time.clone();
            }
            value
        };
        let used = json!({
            "scope": "pay:read", "granted": times, "used": times, "elsewhere": null,
            "routes": [with(json!({ "route": "money" }))],
        });
        let unused = json!({
            "scope": "pay:admin", "granted": times, "used": null, "elsewhere": null, "routes": [],
        });
        let client = with(json!({
            "provider": "corp", "client": "shop", "scopes": [used, unused], "unused": ["pay:admin"],
        }));
        let who = with(json!({ "provider": "corp", "client": "shop" }));
        let money = json!({
            "route": "money", "never": ["pay:write"],
            "needs": [
                { "method": "*", "all": ["pay:read"], "any": [] },
                { "method": "POST", "all": [], "any": ["pay:write", "pay:admin"] },
            ],
            "passed": [{ "scope": "pay:read", "clients": [who] }],
        });
        json!({
            "since": 0, "known_since": 0, "clients": [client], "routes": [money],
            "left_out": { "passes": 0, "of_clients": 7, "of_scopes": 0, "of_routes": 0 },
        })
    }

    #[test]
    fn names_do_not_steer_the_terminal() {
        let name = |name: &str| who(&json!({ "provider": "corp", "client": name }));
        assert_eq!(name("shop\u{1b}[2J\nroot"), "corp/shop\\u{1b}[2J\\nroot");
        assert_eq!(name("a\u{202e}b"), "corp/a\\u{202e}b");
        let subject = json!({ "provider": "corp", "subject": "x1" });
        assert_eq!(who(&subject), "corp/subject x1");
        let all = json!({ "provider": "corp", "subject": null });
        assert_eq!(who(&all), "corp/(subjects without a client)");
    }

    #[test]
    fn it_tells_what_was_used_and_what_not() {
        let told = |unused| {
            let mut text = String::new();
            clients(&mut text, &report(), unused);
            routes(&mut text, &report(), unused);
            left_out(&mut text, &report());
            text
        };
        assert_eq!(
            told(false),
            "\
clients, since 1970-01-01 00:00
  corp/shop  3 passes, last 1970-01-01 00:01
    pay:read                 3 uses from 1970-01-01 00:00 to 1970-01-01 00:01 on money
    pay:admin                unused, granted since 1970-01-01 00:00
routes
  money  needs pay:read; POST needs one of pay:write, pay:admin
    pay:read                 corp/shop (3)
    pay:write                nobody passed with it
left out: 7 passes of clients beyond `max_clients`
"
        );
        assert!(!told(true).contains("pay:read  ") && told(true).contains("pay:admin  "));
    }
}
