//! A day of traffic through the shipped response policy, every rule enforced: who is caught, how
//! soon, and who is hurt although they did nothing. The seed is fixed, so the day replays.
//!
//! `UPDATE_GENERATED=1` writes the table into `docs/guide/response.md`.

mod actors;
mod day;

use std::fmt::Write as _;
use std::path::Path;

use actors::{ATTACKERS, Aim, NORMAL};
use day::{Day, Outcome};

#[test]
fn attackers_are_stopped_and_normal_clients_are_not() {
    let day = Day::run(1);
    let table = table(&day);
    eprintln!("{table}");
    for group in ATTACKERS {
        let outcome = day.outcome(group.name);
        let caught = match group.aim {
            Aim::Nothing => outcome.sources,
            Aim::Told => outcome.detected,
            Aim::Stopped => outcome.stopped,
        };
        assert_eq!(caught, outcome.sources, "{}: {outcome:?}", group.name);
    }
    for group in NORMAL.iter().filter(|group| group.aim == Aim::Nothing) {
        let outcome = day.outcome(group.name);
        assert_eq!(outcome.stopped, 0, "{}: {outcome:?}", group.name);
    }
    write(&table);
}

#[test]
fn the_same_seed_makes_the_same_day() {
    let (one, other) = (Day::run_hours(7, 2), Day::run_hours(7, 2));
    assert_eq!(table(&one), table(&other));
    assert!(one.events > 10_000, "{}", one.events);
}

fn share(part: usize, of: usize) -> usize {
    part * 100 / of.max(1)
}

fn table(day: &Day) -> String {
    let mut text = "| who | sources | events | told | stopped | first told after | first stopped after | events before |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (group, normal) in
        ATTACKERS.iter().map(|group| (group, false)).chain(NORMAL.iter().map(|group| (group, true)))
    {
        let outcome = day.outcome(group.name);
        let Outcome { sources, events, detected, stopped, .. } = outcome;
        let kind = if normal { "normal: " } else { "" };
        let _written = writeln!(
            text,
            "| {kind}{} | {sources} | {events} | {} | {} | {} | {} | {} |",
            group.name,
            of(*detected, *sources),
            of(*stopped, *sources),
            seconds(outcome.median_to_told()),
            seconds(outcome.median_to_stop()),
            outcome.median_events().map_or("-".to_owned(), |events| events.to_string()),
        );
    }
    let _written = writeln!(
        text,
        "\n{} events of {} sources in {} h; the cap was reached {} times; at the end {} KiB were \
         held for counting.",
        day.events,
        day.sources,
        day.hours,
        day.capped,
        day.bytes / 1024
    );
    text
}

fn of(part: usize, sources: usize) -> String {
    format!("{part} ({} %)", share(part, sources))
}

fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.0} s"),
        Some(seconds) => format!("{:.0} min", seconds / 60.0),
    }
}

/// Puts the table between its marks in the guide, if `UPDATE_GENERATED` asks for it.
fn write(table: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_none() {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/response.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    std::fs::write(&page, format!("{before}{BEGIN}\n{table}{END}{after}")).unwrap();
}

const BEGIN: &str = "<!-- simulated day -->\n";
const END: &str = "<!-- end of the simulated day -->";
