//! What the firewall costs a request, blocking: the built-in rules at sensitivity 1 and, if
//! `TIDEGATE_CRS` names a checkout, the unmodified OWASP Core Rule Set at paranoia level 1.
//!
//! `TIDEGATE_CRS=coreruleset cargo bench -p tidegate-benches --bench waf`

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a benchmark that cannot be set up may stop, and tells what it leaves out"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_benches::inspection::{cases, head, inspect, request};
use tidegate_benches::rules;
use tidegate_waf::{Policy, RuleSet, WafSettings};

fn measure(criterion: &mut Criterion, name: &str, rules: Arc<RuleSet>) {
    let policy = Policy::compile(&WafSettings::default(), rules).expect("the defaults compile");
    let mut group = criterion.benchmark_group(name);
    for case in cases() {
        let head = head(&case);
        let request = request(&head);
        assert_eq!(inspect(&policy, &request, &case), case.passes, "{}", case.name);
        group.bench_function(case.name, |bencher| {
            bencher.iter(|| inspect(&policy, black_box(&request), &case));
        });
    }
    group.finish();
}

fn waf(criterion: &mut Criterion) {
    measure(criterion, "waf", rules(None).expect("the built-in rules compile"));
    match std::env::var_os("TIDEGATE_CRS") {
        Some(crs) => {
            let rules = rules(Some(Path::new(&crs))).expect("the Core Rule Set compiles");
            measure(criterion, "crs", rules);
        }
        None => eprintln!("TIDEGATE_CRS names no checkout: the Core Rule Set is not measured"),
    }
}

criterion_group!(benches, waf);
criterion_main!(benches);
