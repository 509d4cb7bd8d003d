//! What goes wrong, and what is asked for then.

use std::fmt;

use tidegate_traffic::random::{below, mix};

use crate::world::Behaviour::{Errors, Freezes, Good, Refuses, Slow};
use crate::world::{Change, Chooser, Plan, Report, run};

/// Everything switched on; `BALANCE` is to be filled in.
pub(crate) const FULL: &str = r#""balance":BALANCE,"outlier":{"latency":{},"max_ejected":"40%"},
    "slow_start":{"window":"10s"},"zones":{"min_endpoints":3,"isolate":{"time":"20s"}},
    "health":{"interval":"2s","rise":2,"fall":3}"#;
/// The same without active checks, which would pass.
const PASSIVE: &str = r#""balance":BALANCE,"outlier":{"latency":{},"max_ejected":"40%"},
    "slow_start":{"window":"10s"}"#;
const PLAIN: &str = r#""balance":"round_robin","panic_threshold":"0%""#;

const BALANCES: [(&str, &str); 4] = [
    ("round_robin", r#""round_robin""#),
    ("least_request", r#""least_request""#),
    ("peak_ewma", r#""peak_ewma""#),
    ("maglev, 150 %", r#"{"hash":"path","bounded_load":"150%"}"#),
];

/// One way for things to go wrong.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    zones: usize,
    seconds: f64,
    changes: fn() -> Vec<Change>,
    settings: &'static str,
    /// When it begins.
    pub(crate) onset: f64,
    /// The largest share of requests that may fail.
    pub(crate) failed: f64,
    /// After how many seconds hardly any may fail.
    pub(crate) recovery: f64,
}

const COUNT: usize = 12;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "crash",
        summary: "one of 12 refuses connections for 60 s",
        zones: 1,
        seconds: 180.0,
        changes: || vec![(60.0, 3, Refuses), (120.0, 3, Good)],
        settings: FULL,
        onset: 60.0,
        failed: 0.0001,
        recovery: 1.0,
    },
    Scenario {
        name: "freeze",
        summary: "one of 12 accepts and never answers, for 60 s",
        zones: 1,
        seconds: 180.0,
        changes: || vec![(60.0, 3, Freezes), (120.0, 3, Good)],
        settings: FULL,
        onset: 60.0,
        failed: 0.0001,
        recovery: 1.0,
    },
    Scenario {
        name: "errors",
        summary: "one of 12 answers 500 at once for 60 s; nobody checks its health",
        zones: 1,
        seconds: 180.0,
        changes: || vec![(60.0, 3, Errors), (120.0, 3, Good)],
        settings: PASSIVE,
        onset: 60.0,
        failed: 0.0001,
        recovery: 1.0,
    },
    Scenario {
        name: "slow",
        summary: "one of 12 takes 30 times as long for 60 s",
        zones: 1,
        seconds: 180.0,
        changes: || vec![(60.0, 3, Slow(30.0)), (120.0, 3, Good)],
        settings: FULL,
        onset: 60.0,
        failed: 0.0001,
        recovery: 1.0,
    },
    Scenario {
        name: "flapping",
        summary: "three of 12 go down and up every 7 s for 84 s",
        zones: 1,
        seconds: 180.0,
        changes: flapping,
        settings: FULL,
        onset: 60.0,
        failed: 0.001,
        recovery: 84.0,
    },
    Scenario {
        name: "rolling restart",
        summary: "all 12 restart one after another, 4 s each",
        zones: 1,
        seconds: 180.0,
        changes: rolling,
        settings: FULL,
        onset: 60.0,
        failed: 0.0001,
        recovery: 1.0,
    },
    Scenario {
        name: "zone freezes",
        summary: "one of three zones never answers for 60 s; a proxy in each zone",
        zones: 3,
        seconds: 180.0,
        changes: || zone(Freezes),
        settings: FULL,
        onset: 60.0,
        failed: 0.001,
        recovery: 5.0,
    },
    Scenario {
        name: "zone vanishes",
        summary: "one of three zones refuses connections for 60 s; a proxy in each zone",
        zones: 3,
        seconds: 180.0,
        changes: || zone(Refuses),
        settings: FULL,
        onset: 60.0,
        failed: 0.001,
        recovery: 5.0,
    },
    Scenario {
        name: "bad day",
        summary: "an hour of random crashes, freezes, errors and lags, up to three at a time",
        zones: 3,
        seconds: 3_600.0,
        changes: bad_day,
        settings: FULL,
        onset: 0.0,
        failed: 0.001,
        recovery: 3_600.0,
    },
];

fn flapping() -> Vec<Change> {
    let turn = |n: usize| {
        let behaviour = if n.is_multiple_of(2) { Refuses } else { Good };
        [2, 5, 9].map(|endpoint| (60.0 + 7.0 * n as f64, endpoint, behaviour))
    };
    (0..12).flat_map(turn).collect()
}

fn rolling() -> Vec<Change> {
    let restart = |n: usize| {
        let at = 60.0 + 5.0 * n as f64;
        [(at, n, Refuses), (at + 4.0, n, Good)]
    };
    (0..COUNT).flat_map(restart).collect()
}

fn zone(behaviour: crate::world::Behaviour) -> Vec<Change> {
    let in_zone = (0..COUNT).filter(|n| n % 3 == 1);
    in_zone.flat_map(|n| [(60.0, n, behaviour), (120.0, n, Good)]).collect()
}

fn bad_day() -> Vec<Change> {
    let mut changes = Vec::new();
    for (lane, first) in [10.0, 23.0, 41.0].into_iter().enumerate() {
        let mut at = first;
        for nth in 0_u64.. {
            let random = mix(nth << 8 | lane as u64);
            let endpoint = below(random, COUNT / 3) * 3 + lane;
            let behaviour = [Refuses, Freezes, Errors, Slow(30.0)][below(mix(random), 4)];
            let lasts = 5.0 + below(mix(random ^ 1), 40) as f64;
            if at + lasts > 3_580.0 {
                break;
            }
            changes.push((at, endpoint, behaviour));
            changes.push((at + lasts, endpoint, Good));
            at += lasts + 10.0 + below(mix(random ^ 2), 50) as f64;
        }
    }
    changes
}

/// What came of a scenario, by who chose.
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) oracle: Report,
    pub(crate) plain: Report,
    pub(crate) full: Vec<(&'static str, Report)>,
}

impl Scenario {
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            seed: 42,
            seconds: self.seconds,
            rate: if self.seconds > 1_000.0 { 60.0 } else { 240.0 },
            weights: vec![1; COUNT],
            zones: self.zones,
            changes: (self.changes)(),
            even: false,
        }
    }

    pub(crate) fn run(&'static self) -> Row {
        let plan = self.plan();
        let full = BALANCES.map(|(name, balance)| {
            let settings = self.settings.replace("BALANCE", balance);
            (name, run(&plan, Chooser::Pools { settings: &settings, retries: 2 }))
        });
        Row {
            scenario: self,
            oracle: run(&plan, Chooser::Oracle),
            plain: run(&plan, Chooser::Pools { settings: PLAIN, retries: 0 }),
            full: full.into(),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let onset = self.scenario.onset;
        let others = [("oracle", &self.oracle), ("plain", &self.plain)];
        let all = others.into_iter().chain(self.full.iter().map(|(name, report)| (*name, report)));
        for (name, report) in all {
            writeln!(
                f,
                "{:16} {name:14} failed {:8.4} %  p50 {:6.1} ms  p99 {:6.1} ms  p99.9 {:6.1} ms  recovered in {:4.0} s",
                self.scenario.name,
                report.failed_share() * 100.0,
                report.latency(0.5),
                report.latency(0.99),
                report.latency(0.999),
                report.recovery(onset),
            )?;
        }
        Ok(())
    }
}
