//! CRS's own regression suite against the running binary, with unmodified rules.
//!
//! `TIDEGATE_CRS` names a checkout of coreruleset/coreruleset; without it the suite is skipped.
//! `TIDEGATE_CRS_ONLY` picks tests by a pattern on their ids, `TIDEGATE_CRS_REPORT` names a file
//! for the table, and with `TIDEGATE_CRS_REFUSALS` set the suite runs without rules and only says
//! which requests the gateway refuses by itself. `tests/suites/crs` sets them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod decisions;
mod engine;
mod report;
mod rig;
mod run;
mod suite;
mod verdict;
mod wire;
mod yaml;

use std::env;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::suite::{Override, Test};

/// What must come out differently here, and why.
const OVERRIDES: &str = include_str!("overrides.yaml");

#[test]
fn the_suite_of_crs_passes() {
    let Some(crs) = env::var_os("TIDEGATE_CRS").map(PathBuf::from) else {
        eprintln!("skipped: TIDEGATE_CRS names no checkout of CRS");
        return;
    };
    let tests = picked(suite::read(&crs.join("tests/regression/tests")).expect("the suite"));
    let without_rules = env::var_os("TIDEGATE_CRS_REFUSALS").is_some();
    let results = run_all(&tests, (!without_rules).then_some(&*crs));
    println!("refused by the gateway itself:\n{}", report::refusals(&results));
    if without_rules {
        return;
    }
    if let Some(file) = env::var_os("TIDEGATE_CRS_REPORT") {
        std::fs::write(file, report::table(&results)).expect("writes");
    }
    println!("failed:\n{}", report::failures(&results));
    let passed = report::passed(&results);
    println!("{passed} of {} passed", results.len());
    assert_eq!(passed, results.len(), "tests failed");
}

#[test]
fn overrides_are_few_and_explained() {
    let overrides = suite::overrides(OVERRIDES).expect("overrides");
    assert!(overrides.len() <= 10);
    for it in overrides {
        assert!(it.reason.len() > 20, "{}: why?", it.test);
    }
}

/// The same expectations put to the engine alone, statuses aside. It is quick, and tells the
/// engine's differences from those of the way there.
#[test]
fn the_engine_finds_what_the_suite_expects() {
    let Some(crs) = env::var_os("TIDEGATE_CRS").map(PathBuf::from) else {
        eprintln!("skipped: TIDEGATE_CRS names no checkout of CRS");
        return;
    };
    let tests = picked(suite::read(&crs.join("tests/regression/tests")).expect("the suite"));
    let engine = engine::Engine::new(&crs);
    let outcome =
        |stage: &suite::Stage| engine.outcome(&wire::request(&stage.input).expect("a request"));
    let mut outcomes = tests.iter().flat_map(|test| &test.stages).map(outcome);
    let findings_only = |test: &Test| {
        let mut test = test.clone();
        for stage in &mut test.stages {
            (stage.expect.status, stage.expect.no_answer) = (None, false);
        }
        test
    };
    let judge = |test| judge(&findings_only(test), &[], &mut outcomes);
    let results: Vec<_> = tests.iter().map(judge).collect();
    println!("failed:\n{}", report::failures(&results));
    println!("{} of {} passed in the engine", report::passed(&results), results.len());
}

fn picked(tests: Vec<Test>) -> Vec<Test> {
    let only = env::var_os("TIDEGATE_CRS_ONLY").and_then(|only| only.into_string().ok());
    let Some(only) = only else { return tests };
    let only = Regex::new(&only).expect("a pattern");
    tests.into_iter().filter(|test| only.is_match(&test.id)).collect()
}

fn run_all(tests: &[Test], crs: Option<&Path>) -> Vec<report::Result> {
    let overrides = suite::overrides(OVERRIDES).expect("overrides");
    let origin = rig::origin();
    let gateway = rig::gateway(crs, &origin);
    let stages = tests.iter().flat_map(|test| test.stages.iter().map(move |it| (&test.id, it)));
    let request = |(id, stage): (&String, &suite::Stage)| {
        wire::request(&stage.input).unwrap_or_else(|error| panic!("{id}: {error}"))
    };
    let requests: Vec<_> = stages.map(request).collect();
    let mut outcomes = run::all(&gateway, &requests).into_iter();
    let judge = |test| judge(test, &overrides, &mut outcomes);
    tests.iter().map(judge).collect()
}

fn judge(
    test: &Test,
    overrides: &[Override],
    outcomes: &mut impl Iterator<Item = run::Outcome>,
) -> report::Result {
    let expected_here = overrides.iter().find(|it| it.test == test.id);
    let mut failure = None;
    let mut refusal = None;
    for (stage, outcome) in test.stages.iter().zip(outcomes) {
        let expect = expected_here.map_or(&stage.expect, |it| &it.expect);
        if let Some(what) = verdict::judge(expect, &outcome) {
            failure.get_or_insert(format!("{what}; logged {:?}", outcome.rules()));
        }
        refusal = refusal.or_else(|| outcome.refusal());
    }
    let file = test.file.display().to_string();
    report::Result { id: test.id.clone(), file, failure, refusal }
}
