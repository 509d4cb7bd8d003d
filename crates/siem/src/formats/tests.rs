//! What records of every format say, and that they hold whatever a client sends.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use http::Method;
use proptest::prelude::*;
use serde_json::Value;
use tidegate_core::{Event, Notice, Reason};

use super::fixture::{for_each_event, node, notices, ordinary, with_full_event};
use super::*;

fn record(format: Format, event: &Event<'_>) -> String {
    let mut out = Vec::new();
    format.event(&mut out, &node(), event);
    String::from_utf8(out).unwrap()
}

fn note(format: Format, notice: &Notice) -> String {
    let mut out = Vec::new();
    format.notice(&mut out, &node(), notice);
    String::from_utf8(out).unwrap()
}

/// The pairs of a record by their names, its header apart; panics if it is not in its format.
pub(super) fn parsed(format: Format, record: &str) -> (Vec<String>, Vec<(String, String)>) {
    assert!(!record.contains(['\n', '\r']), "{record:?}");
    match format {
        Format::Cef => cef(record),
        Format::Leef => leef(record),
        _ => {
            let value: Value = serde_json::from_str(record)
                .unwrap_or_else(|error| panic!("{}: {error}: {record}", format.name()));
            let mut pairs = Vec::new();
            flat(&value, String::new(), &mut pairs);
            (Vec::new(), pairs)
        }
    }
}

fn flat(value: &Value, path: String, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flat(value, path, pairs);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| flat(item, path.clone(), pairs)),
        Value::String(text) => pairs.push((path, text.clone())),
        other => pairs.push((path, other.to_string())),
    }
}

/// Seven fields between bars, then `name=value` with spaces between; `\` escapes.
fn cef(record: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut header = vec![String::new()];
    let mut chars = record.chars();
    while header.len() < 8 {
        match chars.next().expect("a header of seven fields") {
            '\\' => header.last_mut().unwrap().push(chars.next().unwrap()),
            '|' => header.push(String::new()),
            other => header.last_mut().unwrap().push(other),
        }
    }
    header.pop();
    assert_eq!(header[0], "CEF:0");
    assert!(header[6].parse::<u8>().unwrap() <= 10);
    (header, cef_pairs(chars.as_str()))
}

fn cef_pairs(text: &str) -> Vec<(String, String)> {
    // A name ends at an `=` that no `\` escapes, and begins after the last space before it.
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut piece = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => piece.push(match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                escaped @ ('\\' | '=') => escaped,
                other => panic!("`{other}` needs no escape"),
            }),
            '=' => {
                let (value, name) = match piece.rsplit_once(' ') {
                    Some((value, name)) => (value.to_owned(), name.to_owned()),
                    None => (String::new(), piece.clone()),
                };
                assert!(name.chars().all(|char| char.is_ascii_alphanumeric()), "{name:?}");
                if let Some(last) = pairs.last_mut() {
                    last.1 = value;
                }
                pairs.push((name, String::new()));
                piece.clear();
            }
            other => piece.push(other),
        }
    }
    if let Some(last) = pairs.last_mut() {
        last.1 = piece;
    }
    pairs
}

fn leef(record: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut fields = record.splitn(7, '|');
    let header: Vec<_> = fields.by_ref().take(6).map(str::to_owned).collect();
    assert_eq!([&*header[0], &*header[5]], ["LEEF:2.0", "x09"]);
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a pair");
        assert!(name.chars().all(|char| char.is_ascii_alphanumeric()), "{name:?}");
        (name.to_owned(), value.to_owned())
    };
    (header, fields.next().unwrap().split('\t').map(pair).collect())
}

#[track_caller]
fn check(format: Format, event: &Event<'_>, name: &str, expected: &str) {
    let (_, pairs) = parsed(format, &record(format, event));
    let found = pairs.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
    assert_eq!(found, Some(expected), "{name} in {pairs:#?}");
}

#[test]
fn formats_have_the_names_that_the_configuration_uses() {
    for format in Format::ALL {
        let named: Format = serde_json::from_value(format.name().into()).unwrap();
        assert_eq!(named, format);
    }
}

#[test]
fn a_record_in_cef() {
    let expected = concat!(
        "CEF:0|Tidegate|Tidegate|0.1.0|rate_limited|Too many requests|3|",
        "rt=1795417200042 dvchost=gate-1 externalId=0193b1c8 cat=request act=blocked ",
        "outcome=failure src=192.0.2.1 spt=50000 dst=198.51.100.7 dpt=8443 proto=TCP ",
        "requestMethod=GET request=https://api.example.com/pay/1?limit\\=50&token\\=*** ",
        "requestClientApplication=curl/8 app=HTTP/2 in=10 out=1000 reason=rate_limited ",
        "msg=limit \\\\a\\nb cs1Label=route cs1=pay cs2Label=upstream cs2=api ",
        "cs3Label=endpoint cs3=10.0.1.11:8080 tidegateTls=TLSv1.3 ",
        "tidegateServerName=api.example.com cn1Label=status cn1=429 ",
        "cn2Label=durationMillis cn2=12",
    );
    let reason = Some(Reason::RateLimited);
    let event = Event { reason, status: 429, evidence: Some("limit \\a\nb"), ..ordinary() };
    assert_eq!(record(Format::Cef, &event), expected);
}

#[test]
fn a_record_in_leef() {
    let expected = concat!(
        "LEEF:2.0|Tidegate|Tidegate|0.1.0|request|x09|",
        "devTime=1795417200042\tdevHost=gate-1\tsev=1\trequestId=0193b1c8\tcat=request\t",
        "action=allowed\toutcome=success\tsrc=192.0.2.1\tsrcPort=50000\tdst=198.51.100.7\t",
        "dstPort=8443\tproto=TCP\tmethod=GET\t",
        "url=https://api.example.com/pay/1?limit=50&token=***\tuserAgent=curl/8\t",
        "protocol=HTTP/2\tsrcBytes=10\tdstBytes=1000\troute=pay\tupstream=api\t",
        "endpoint=10.0.1.11:8080\ttls=TLSv1.3\tserverName=api.example.com\tstatus=200\t",
        "durationMillis=12",
    );
    assert_eq!(record(Format::Leef, &ordinary()), expected);
}

#[test]
fn records_in_ocsf_have_the_class_that_fits() {
    let class = |reason: Option<Reason>, status| {
        let value: Value =
            serde_json::from_str(&record(Format::Ocsf, &Event { reason, status, ..ordinary() }))
                .unwrap();
        ["class_uid", "type_uid", "action_id", "disposition_id", "status_id"]
            .map(|name| value[name].as_u64().unwrap())
    };
    assert_eq!(class(None, 200), [4002, 400_203, 1, 1, 1]);
    assert_eq!(class(Some(Reason::Banned), 403), [4002, 400_203, 2, 2, 2]);
    assert_eq!(class(Some(Reason::MalformedRequest), 400), [4002, 400_203, 2, 25, 2]);
    assert_eq!(class(Some(Reason::InsufficientScope), 403), [4002, 400_203, 2, 26, 2]);
    assert_eq!(class(Some(Reason::InvalidToken), 401), [3002, 300_201, 2, 26, 2]);
    assert_eq!(class(Some(Reason::UpstreamReset), 502), [4002, 400_203, 1, 27, 2]);
}

#[test]
fn the_rule_that_mattered_is_named() {
    with_full_event(|event| {
        check(Format::Ocsf, event, "firewall_rule.uid", "942100");
        check(Format::Ecs, event, "rule.id", "942100");
        check(Format::Ecs, event, "event.kind", "alert");
        check(Format::Cef, event, "tidegateWafRule", "942100");
        check(Format::Leef, event, "wafRule", "942100");
        check(Format::Json, event, "waf.matches.rule", "942100");
        check(Format::Ocsf, event, "actor.user.uid", "q1w2e3");
        check(Format::Cef, event, "suser", "q1w2e3");
        check(Format::Cef, event, "tidegateMeasureRule", "scanners");
        check(Format::Cef, event, "tidegateDryRunLimits", "logins all");
        check(Format::Json, event, "measure.name", "tarpit");
    });
}

#[test]
fn what_the_access_log_hides_stays_hidden() {
    for format in Format::ALL {
        with_full_event(|event| {
            let record = record(format, event);
            assert!(!record.contains("hidden"), "{}: {record}", format.name());
        });
    }
}

#[test]
fn everything_has_a_record_in_every_format() {
    for format in Format::ALL {
        for_each_event(|event| drop(parsed(format, &record(format, event))));
        for notice in notices() {
            parsed(format, &note(format, &notice));
        }
    }
}

#[test]
fn what_a_client_sends_does_not_make_a_record_grow() {
    let long = "\u{20ac}x=1&y|\\\"".repeat(100_000);
    let event = Event {
        path: &long,
        query: Some(&long),
        user_agent: Some(&long),
        referer: Some(&long),
        host: &long,
        evidence: Some(&long),
        tls_server_name: Some(&long),
        ..ordinary()
    };
    for format in Format::ALL {
        let record = record(format, &event);
        let most = if format.is_json() { 50_000 } else { 20_000 };
        assert!(record.len() < most, "{}: {}", format.name(), record.len());
        parsed(format, &record);
    }
}

/// How a text comes out of a format, if it is not cut.
fn told(format: Format, text: &str) -> String {
    let control = |char: char| char.is_ascii_control();
    match format {
        Format::Cef => text.replace(|char| control(char) && !"\n\r".contains(char), " "),
        Format::Leef => text.replace(control, " "),
        _ => text.to_owned(),
    }
}

proptest! {
    #[test]
    fn records_hold_whatever_was_sent(
        path in "(?s)/.{0,40}", agent in "(?s)[\\x00-\\x7f]{1,40}", evidence in "(?s).{1,40}",
        query in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..64),
        status in any::<u16>(), reason in prop::sample::select(Reason::ALL),
    ) {
        let raw = String::from_utf8_lossy(&bytes);
        let method = Method::from_bytes(b"M-SEARCH").unwrap();
        let event = Event {
            path: &path, user_agent: Some(&agent), evidence: Some(&evidence), query: Some(&query),
            referer: Some(&raw), host: &raw, method: Some(&method), status,
            reason: Some(reason), tls_server_name: Some(&raw), ..ordinary()
        };
        for format in Format::ALL {
            let (_, pairs) = parsed(format, &record(format, &event));
            let agents = ["user_agent", "user_agent.original", "http_request.user_agent",
                "requestClientApplication", "userAgent"];
            let shown = pairs.iter().find(|(name, _)| agents.contains(&&**name));
            prop_assert_eq!(&shown.unwrap().1, &told(format, &agent), "{}", format.name());
        }
    }
}

/// Every record that the fixtures give in a format, a line each.
fn corpus(format: Format) -> Vec<u8> {
    let mut lines = Vec::new();
    for_each_event(|event| {
        format.event(&mut lines, &node(), event);
        lines.push(b'\n');
    });
    for notice in notices() {
        format.notice(&mut lines, &node(), &notice);
        lines.push(b'\n');
    }
    lines
}

/// Puts the lines to a script of `tests/suites/siem`, which others' packages stand behind.
fn judge(script: &str, argument: Option<&str>, lines: &[u8]) {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/suites/siem");
    let python = suite.join("venv/bin/python");
    let argument = argument.map(|name| suite.join(name));
    if !python.exists() || argument.as_ref().is_some_and(|path| !path.exists()) {
        eprintln!("SKIPPED: scripts/setup --tests was not run, {script} has nothing to check with");
        return;
    }
    let mut child = Command::new(python)
        .arg(suite.join(script))
        .args(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let feeder = std::thread::spawn(move || input.write_all(&lines));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[test]
fn ocsf_records_hold_against_the_schema() {
    judge("ocsf.py", None, &corpus(Format::Ocsf));
}

#[test]
fn ecs_records_have_published_fields_only() {
    judge("ecs.py", Some("node_modules/@elastic/ecs"), &corpus(Format::Ecs));
}
