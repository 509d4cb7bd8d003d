//! The readers of request bodies: any content type and any bytes, whole and cut off. Nothing may
//! panic, the work stays within its budget, and what is cut off never finds more broken than the
//! whole does.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{Mode, Policy, RuleFile, RuleSet, WafSettings};

/// One cheap rule on every kind of value, through every transformation.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let chain: Vec<&str> =
        tidegate_waf::reference::transformations().map(|(name, _)| name).collect();
    let targets: Vec<&str> = tidegate_waf::reference::targets().map(|(name, _)| name).collect();
    let rule = |id: usize, chain: &str| {
        format!(
            "  - {{ id: {id}, message: m, severity: notice, sensitivity: 1, targets: [{}], transform: [{chain}], contains: zz }}\n",
            targets.join(", ")
        )
    };
    let mut text = format!("rules:\n{}", rule(1, &chain.join(", ")));
    for (index, step) in chain.iter().enumerate() {
        text.push_str(&rule(index + 2, step));
    }
    let file = RuleFile { name: "fuzz.yaml".into(), text };
    let settings = WafSettings { mode: Some(Mode::Detect), ..WafSettings::default() };
    Policy::compile(&settings, RuleSet::compile(&[file]).unwrap()).unwrap()
});

fuzz_target!(|input: (&str, &[u8], bool)| {
    let (content_type, body, complete) = input;
    for content_type in [
        content_type,
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
    ] {
        let mut inspection = POLICY.begin();
        let _verdict = inspection.body(Some(content_type), body, complete);
        assert!(inspection.work() < 200_000_000);
    }
});
