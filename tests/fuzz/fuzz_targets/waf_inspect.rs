//! Rules on any value, the built-in ones at the highest sensitivity and, if `TIDEGATE_CRS` names a
//! checkout, the Core Rule Set at the highest level: nothing may panic, and neither the prefilter
//! nor what is done beforehand may lose a match that exhaustive matching finds.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{CrsSource, Policy, RuleSet, SecLangSources, WafSettings};

static POLICIES: LazyLock<Vec<(Policy, Policy)>> = LazyLock::new(|| {
    let settings = |more: &str| -> WafSettings {
        let text = format!(r#"{{"mode":"detect","budget":{{"work":"1s"}},{more}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let pair = |settings: WafSettings, rules: Arc<RuleSet>| {
        let exhaustive = Policy::exhaustive(&settings, rules.clone()).unwrap();
        (Policy::compile(&settings, rules).unwrap(), exhaustive)
    };
    let mut pairs = Vec::new();
    match std::env::var_os("TIDEGATE_CRS") {
        Some(path) => {
            let crs = Some(CrsSource { path: path.into(), setup: None });
            let sources = SecLangSources { crs, ..SecLangSources::default() };
            let rules = RuleSet::with_seclang(&[], &sources).unwrap();
            pairs.push(pair(settings(r#""paranoia":1"#), rules.clone()));
            pairs.push(pair(settings(r#""paranoia":4"#), rules));
        }
        None => pairs.push(pair(settings(r#""sensitivity":4"#), RuleSet::builtin().unwrap())),
    }
    pairs
});

fn matches(policy: &Policy, content_type: &str, value: &[u8]) -> (u32, Vec<(u32, Box<str>)>) {
    let mut inspection = policy.begin();
    let _verdict = inspection.body(Some(content_type), value, true);
    let summary = inspection.summary().unwrap_or_default();
    let matches = summary.matches.into_iter().map(|found| (found.rule, found.target));
    (summary.score, matches.collect())
}

fuzz_target!(|value: &[u8]| {
    if value.len() > 1_000 {
        return;
    }
    for (fast, exhaustive) in POLICIES.iter() {
        for content_type in ["application/x-www-form-urlencoded", "text/plain"] {
            assert_eq!(matches(fast, content_type, value), matches(exhaustive, content_type, value));
        }
    }
});
