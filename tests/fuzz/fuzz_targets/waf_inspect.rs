//! The built-in rules at the highest sensitivity on any value: nothing may panic, and the
//! prefilter must lose no match that exhaustive matching finds.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{Mode, Policy, RuleSet, WafSettings};

static POLICIES: LazyLock<(Policy, Policy)> = LazyLock::new(|| {
    let settings = WafSettings {
        mode: Some(Mode::Detect),
        sensitivity: Some(4),
        ..WafSettings::default()
    };
    let rules = RuleSet::builtin().unwrap();
    let exhaustive = Policy::without_prefilter(&settings, rules.clone()).unwrap();
    (Policy::compile(&settings, rules).unwrap(), exhaustive)
});

fn matches(policy: &Policy, content_type: &str, value: &[u8]) -> (u32, Vec<u32>) {
    let mut inspection = policy.begin();
    let _verdict = inspection.body(Some(content_type), value, true);
    let summary = inspection.summary().unwrap_or_default();
    (summary.score, summary.matches.iter().map(|found| found.rule).collect())
}

fuzz_target!(|value: &[u8]| {
    // Long values would spend the budget of the exhaustive run, which then sees less.
    if value.len() > 1_000 {
        return;
    }
    let (fast, exhaustive) = &*POLICIES;
    for content_type in ["application/x-www-form-urlencoded", "text/plain"] {
        assert_eq!(matches(fast, content_type, value), matches(exhaustive, content_type, value));
    }
});
