//! Thousands of virtual seconds with endpoints that crash, freeze, lag, fail and flap and zones
//! that vanish, from seeds that replay: what callers see, beside an oracle that knows everything
//! and plain round robin that knows nothing.
//!
//! `UPDATE_GENERATED=1` writes the figures to `docs/resilience.md`.

#![cfg(test)]

mod figures;
mod response;
mod scenarios;
mod world;

use scenarios::{FULL, SCENARIOS};
use world::{Chooser, Plan, run};

/// Every scenario: nearly nobody notices, nearly as few as with the oracle, and it is over soon.
#[test]
fn callers_hardly_notice() {
    let mut rows = Vec::new();
    for scenario in SCENARIOS {
        let row = scenario.run();
        eprintln!("{row}");
        let (plain, full) = (&row.plain, &row.full);
        let name = scenario.name;
        for (balance, report) in full {
            let failed = report.failed_share();
            assert!(failed <= scenario.failed, "{name} {balance}: {failed}");
            assert!(failed <= plain.failed_share(), "{name} {balance}: {failed}");
            let recovery = report.recovery(scenario.onset);
            assert!(recovery <= scenario.recovery, "{name} {balance}: {recovery} s");
        }
        rows.push(row);
    }
    figures::write(&rows);
}

fn steady(weights: &[u32], seconds: f64, rate: f64) -> Plan {
    let weights = weights.to_vec();
    Plan { seed: 7, seconds, rate, weights, zones: 1, changes: Vec::new(), even: false }
}

/// Every share is what the weights say, but for this part of it.
#[track_caller]
fn check_fairness(balance: &str, weights: &[u32], even: bool, tolerance: f64) {
    let settings = FULL.replace("BALANCE", balance);
    let chooser = Chooser::Pools { settings: &settings, retries: 2 };
    let report = run(&Plan { even, ..steady(weights, 1_000.0, 250.0) }, chooser);
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    for (share, weight) in report.shares(0, 1_000).iter().zip(weights) {
        let ideal = f64::from(*weight) / total;
        let off = (share - ideal).abs() / ideal;
        assert!(off < tolerance, "{balance}: {share} instead of {ideal}");
    }
}

#[test]
fn load_follows_weights_within_two_percent() {
    let hash = r#"{"hash":"path"}"#;
    for balance in [r#""round_robin""#, r#""random""#, r#""least_request""#, hash] {
        check_fairness(balance, &[1; 8], false, 0.02);
        check_fairness(balance, &[1, 2, 3, 1, 3], false, 0.02);
    }
    // Those who answer alike get alike; noise in the latencies is noise in the load.
    let balance = r#""peak_ewma""#;
    check_fairness(balance, &[1; 8], true, 0.02);
    check_fairness(balance, &[1, 2, 3, 1, 3], true, 0.02);
    check_fairness(balance, &[1; 8], false, 0.1);
}

/// After a fault the load settles: no window of five seconds gives anybody half as much again.
#[test]
fn nothing_oscillates_after_a_recovery() {
    use world::Behaviour::{Good, Slow};
    for balance in [r#""round_robin""#, r#""least_request""#, r#""peak_ewma""#] {
        let mut plan = steady(&[1; 10], 200.0, 500.0);
        plan.changes = vec![(40.0, 3, Slow(30.0)), (80.0, 3, Good)];
        let settings = FULL.replace("BALANCE", balance);
        let report = run(&plan, Chooser::Pools { settings: &settings, retries: 2 });
        for from in (150..200).step_by(5) {
            let shares = report.shares(from, from + 5);
            let most = shares.iter().copied().fold(0.0, f64::max);
            let least = shares.iter().copied().fold(1.0, f64::min);
            assert!(most < 0.15 && least > 0.05, "{balance} at {from} s: {shares:?}");
        }
    }
}

#[test]
fn the_same_seed_replays() {
    let scenario = &SCENARIOS[0];
    let settings = FULL.replace("BALANCE", r#""peak_ewma""#);
    let chooser = Chooser::Pools { settings: &settings, retries: 2 };
    let (one, other) = (run(&scenario.plan(), chooser), run(&scenario.plan(), chooser));
    assert_eq!(one.seconds, other.seconds);
    assert_eq!(one.tries, other.tries);
}
