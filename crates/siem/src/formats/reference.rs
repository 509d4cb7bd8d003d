//! `docs/reference/events.md` lists every kind of notice and every field of every format, and
//! nothing else.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_core::NoticeKind;

use super::Format;
use super::fixture::{for_each_event, node, notices};
use super::tests::parsed;

const EVENTS: &str = include_str!("../../../../docs/reference/events.md");
const ACCESS_LOG: &str = include_str!("../../../../docs/reference/access-log.md");

type Names = BTreeSet<String>;

/// The rows of the tables of one chapter, cell by cell.
fn rows(chapter: &str) -> Vec<Vec<&'static str>> {
    let text = EVENTS.split("\n## ").find(|text| text.starts_with(chapter)).expect(chapter);
    let rows = text.lines().filter(|line| line.starts_with("| `") || line.starts_with("| -"));
    rows.map(|row| row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect()).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Names {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The fields that a chapter lists in its first column.
fn listed(chapter: &str) -> Names {
    let names = rows(chapter).into_iter().flat_map(|row| quoted(row[0]));
    names.filter(|name| !name.contains('\u{2026}')).collect()
}

/// What a record of a JSON format has, by path: values, and what holds them.
fn paths(value: &Value, path: &str, values: &mut Names, holders: &mut Names) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            holders.insert(path.to_owned());
            members.iter().for_each(|(name, value)| paths(value, &below(name), values, holders));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| paths(item, path, values, holders));
        }
        _ => drop(values.insert(path.to_owned())),
    }
}

/// Every record of requests, then every one of notices.
fn records(format: Format) -> [Vec<String>; 2] {
    let text = |out: Vec<u8>| String::from_utf8(out).unwrap();
    let mut events = Vec::new();
    for_each_event(|event| {
        let mut out = Vec::new();
        format.event(&mut out, &node(), event);
        events.push(text(out));
    });
    let notices = notices().into_iter().map(|notice| {
        let mut out = Vec::new();
        format.notice(&mut out, &node(), &notice);
        text(out)
    });
    [events, notices.collect()]
}

/// Every value of the records is listed, and every name that is listed is there. What stands below
/// one of `open` is told elsewhere.
#[track_caller]
fn check(listed: &Names, records: &[String], open: &[&str]) {
    let (mut values, mut holders) = (Names::new(), Names::new());
    for record in records {
        let value: Value = serde_json::from_str(record).unwrap();
        paths(&value, "", &mut values, &mut holders);
    }
    let is_open = |name: &&String| open.iter().any(|open| name.starts_with(open));
    let missing: Vec<_> =
        values.iter().filter(|name| !listed.contains(*name) && !is_open(name)).collect();
    let unknown: Vec<_> =
        listed.iter().filter(|name| !values.contains(*name) && !holders.contains(*name)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn kinds_of_notices() {
    let rows = rows("Kinds of notices");
    let told: Vec<[String; 3]> = rows
        .iter()
        .map(|row| [row[0].trim_matches('`').to_owned(), row[1].to_owned(), row[2].to_owned()])
        .collect();
    let known: Vec<[String; 3]> = NoticeKind::ALL
        .iter()
        .map(|kind| [kind.code(), kind.area().name(), kind.severity().name()].map(str::to_owned))
        .collect();
    assert_eq!(told, known);
}

#[test]
fn fields_of_plain_json() {
    let own = listed("Plain JSON");
    let [events, notices] = records(Format::Json);
    let head: Names = ["event", "node", "time"].map(str::to_owned).into();
    let log = ACCESS_LOG.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let log: Names = log.map(|name| name.replace("[]", "")).chain(head.clone()).collect();
    check(&log, &events, &[]);
    check(&own.union(&head).cloned().collect(), &notices, &["details."]);
}

#[test]
fn fields_of_ocsf() {
    let open = ["unmapped.waf.", "unmapped.waf_shadow.", "unmapped.details."];
    check(&listed("OCSF"), &records(Format::Ocsf).concat(), &open);
}

#[test]
fn fields_of_ecs() {
    check(&listed("ECS"), &records(Format::Ecs).concat(), &["tidegate."]);
}

#[test]
fn fields_of_cef_and_leef() {
    let rows = rows("CEF and LEEF");
    for (column, format) in [Format::Cef, Format::Leef].into_iter().enumerate() {
        let listed: Names = rows.iter().flat_map(|row| quoted(row[column])).collect();
        let records = records(format).concat();
        let names = records.iter().flat_map(|record| parsed(format, record).1);
        let names = names.map(|(name, _)| name).filter(|name| !name.ends_with("Label"));
        assert_eq!(names.collect::<Names>(), listed, "{}", format.name());
    }
}

#[test]
fn words_for_what_became_of_it() {
    let text = EVENTS.split("\n## ").find(|text| text.starts_with("What became of it")).unwrap();
    let listed: Names = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    for record in records(Format::Cef).concat() {
        let (_, pairs) = parsed(Format::Cef, &record);
        let (_, word) = pairs.into_iter().find(|(name, _)| name == "act").unwrap();
        assert!(listed.contains(&word), "{word}");
    }
}
