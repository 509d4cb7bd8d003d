//! Inspections, for counting instructions: `inspect <checkout of CRS, or -> <case, or all>
//! <rounds>`, under `valgrind --tool=callgrind` for instructions; the difference of two runs is
//! what the further rounds cost. It tells the microseconds of the fastest round of each case.

use std::path::Path;

use tidegate_benches::inspection::{cases, head, inspect, request};
use tidegate_benches::rules;
use tidegate_core::Clock;
use tidegate_waf::{Policy, WafSettings};

#[expect(clippy::print_stdout, reason = "that is its output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("inspect <checkout of CRS, or -> <case> <rounds>");
    let (crs, wanted, rounds) = (next()?, next()?, next()?.parse::<u32>()?);
    let rules = rules((crs != "-").then_some(Path::new(&crs)))?;
    let policy =
        Policy::compile(&WafSettings::default(), rules).map_err(|errors| format!("{errors:?}"))?;
    for case in cases().iter().filter(|case| wanted == "all" || wanted == case.name) {
        let head = head(case);
        let request = request(&head);
        let mut fastest = u128::MAX;
        let mut passes = true;
        for _ in 0..rounds {
            let before = Clock::System.now();
            passes = inspect(&policy, &request, case);
            fastest = fastest.min(Clock::System.now().duration_since(before).as_nanos());
        }
        let said = if passes { "passes" } else { "is refused" };
        println!("{:24} {:9.1} µs, {said}", case.name, fastest as f64 / 1e3);
    }
    Ok(())
}
