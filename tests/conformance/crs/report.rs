//! The result as a table: a row per file, what failed and why, what the gateway refused itself.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What became of one test.
#[derive(Clone, Debug)]
pub(crate) struct Result {
    pub(crate) id: String,
    pub(crate) file: String,
    /// What is wrong, with what was logged.
    pub(crate) failure: Option<String>,
    /// Why the gateway itself refused one of the requests.
    pub(crate) refusal: Option<String>,
}

/// How many tests passed.
pub(crate) fn passed(results: &[Result]) -> usize {
    results.iter().filter(|result| result.failure.is_none()).count()
}

/// The rows of the table in Markdown, with their sum.
pub(crate) fn table(results: &[Result]) -> String {
    let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for result in results {
        let (passed, all) = files.entry(&result.file).or_default();
        *passed += usize::from(result.failure.is_none());
        *all += 1;
    }
    let mut text = "| file | passed | of |\n|---|---|---|\n".to_owned();
    for (file, (passed, all)) in files {
        writeln!(text, "| {file} | {passed} | {all} |").expect("writes");
    }
    writeln!(text, "| **all** | **{}** | **{}** |", passed(results), results.len())
        .expect("writes");
    text
}

/// Each failed test with what is wrong.
pub(crate) fn failures(results: &[Result]) -> String {
    let failed = |result: &Result| Some(format!("{}: {}\n", result.id, result.failure.as_ref()?));
    results.iter().filter_map(failed).collect()
}

/// Which tests the gateway refused itself, by reason.
pub(crate) fn refusals(results: &[Result]) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for result in results {
        if let Some(reason) = &result.refusal {
            reasons.entry(reason).or_default().push(&result.id);
        }
    }
    let line = |(reason, tests): (&str, Vec<&str>)| {
        format!("{} × {reason}: {}\n", tests.len(), tests.join(" "))
    };
    reasons.into_iter().map(line).collect()
}
