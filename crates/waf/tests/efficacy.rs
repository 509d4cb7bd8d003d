//! How the built-in rules do on lists of attacks and benign values that are not in the repository:
//! `TIDEGATE_WAF_CORPUS=dir cargo test -p tidegate-waf --test efficacy -- --nocapture`, where
//! `dir` holds `attack/*.txt` and `benign/*.txt` with one value a line. Without it, nothing runs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::unwrap_in_result,
    reason = "a test's helpers may fail and tell what they see"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use tidegate_core::{Clock, Request};
use tidegate_waf::{Policy, RuleSet, Verdict, WafSettings};

#[test]
fn the_rules_tell_attacks_from_benign_values() {
    let Some(corpus) = std::env::var_os("TIDEGATE_WAF_CORPUS") else { return };
    let corpus = Path::new(&corpus);
    let sensitivity =
        std::env::var_os("TIDEGATE_WAF_SENSITIVITY").and_then(|level| level.to_str()?.parse().ok());
    let settings = WafSettings { sensitivity, ..WafSettings::default() };
    let policy = Policy::compile(&settings, RuleSet::builtin().unwrap()).unwrap();
    let attacks = judge(&policy, &corpus.join("attack"), true);
    let benign = judge(&policy, &corpus.join("benign"), false);
    println!("true positives {:.2} %, true negatives {:.2} %", attacks * 100.0, benign * 100.0);
    assert!(attacks >= 0.90 && benign >= 0.98);
}

/// Whole requests, one as JSON a line, as `tests/suites/gotestwaf --export` writes them:
/// `TIDEGATE_WAF_CASES=file`. What is wrong is told of the half that rules may be tuned on; of the
/// other half only the shares are.
#[test]
fn the_rules_tell_requests_apart() {
    let Some(file) = std::env::var_os("TIDEGATE_WAF_CASES") else { return };
    let mut shares: BTreeMap<(u8, String, bool), (usize, usize)> = BTreeMap::new();
    for sensitivity in 1..=4 {
        let settings = WafSettings { sensitivity: Some(sensitivity), ..WafSettings::default() };
        let policy = Policy::compile(&settings, RuleSet::builtin().unwrap()).unwrap();
        for line in fs::read_to_string(&file).unwrap().lines() {
            let case: Case = serde_json::from_str(line).unwrap();
            let found = case.refused(&policy);
            let key = (sensitivity, case.half.clone(), case.attack);
            let (right, all) = shares.entry(key).or_default();
            *all += 1;
            *right += usize::from(found.is_some() == case.attack);
            if sensitivity == 1 && case.half == "tune" && found.is_some() != case.attack {
                println!("wrong {} [{}] {found:?} {}", case.set, case.how, case.payload);
            }
        }
    }
    for ((sensitivity, half, attack), (right, all)) in shares {
        let share = right as f64 * 100.0 / all as f64;
        println!(
            "= sensitivity {sensitivity}, {half}, attacks {attack}: {right} of {all}, {share:.1} %"
        );
    }
}

#[derive(serde::Deserialize)]
struct Case {
    set: String,
    attack: bool,
    how: String,
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    half: String,
    payload: String,
}

impl Case {
    /// The rules that matched, if the request is refused; a head that is none is refused, too.
    fn refused(&self, policy: &Policy) -> Option<Vec<u32>> {
        let mut head = http::Request::builder().method(&*self.method).uri(&*self.target);
        for (name, value) in &self.headers {
            head = head.header(name, value.as_bytes());
        }
        let body = self.body.clone().unwrap_or_default();
        if self.body.is_some() {
            head = head.header("content-length", body.len());
        }
        let Ok(head) = head.header("host", "127.0.0.1").body(()) else { return Some(Vec::new()) };
        let (head, ()) = head.into_parts();
        let request = Request {
            head: &head,
            host: "127.0.0.1",
            path: head.uri.path(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: Clock::System.now(),
        };
        let mut inspection = policy.begin();
        let mut verdict = inspection.head(&request);
        if matches!(verdict, Verdict::Pass) && self.body.is_some() {
            let content_type = head.headers.get("content-type").and_then(|it| it.to_str().ok());
            verdict = inspection.body(content_type, body.as_bytes(), true);
        }
        let matches = inspection.summary().unwrap_or_default().matches;
        let refused = matches!(verdict, Verdict::Block(_));
        refused.then(|| matches.iter().map(|found| found.rule).collect())
    }
}

/// The share of lines that are judged as they should be, averaged over all lines.
fn judge(policy: &Policy, folder: &Path, attack: bool) -> f64 {
    let (mut right, mut all) = (0_usize, 0_usize);
    let mut rules: BTreeMap<u32, usize> = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        let (mut hits, mut lines) = (0_usize, 0_usize);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            let found = inspect(policy, line);
            if found.is_some() == attack {
                hits += 1;
            } else {
                println!("{name}: {found:?} {}", line.escape_ascii());
            }
            if !attack {
                found.into_iter().flatten().for_each(|rule| *rules.entry(rule).or_default() += 1);
            }
        }
        println!("= {name}: {hits} of {lines}");
        right += hits;
        all += lines;
    }
    println!("= rules that were wrong: {rules:?}");
    right as f64 / all.max(1) as f64
}

/// The rules that matched, if the value as a parameter is refused.
fn inspect(policy: &Policy, value: &[u8]) -> Option<Vec<u32>> {
    let encoded: String = value.iter().map(|byte| format!("%{byte:02X}")).collect();
    let (head, ()) = http::Request::builder()
        .uri(format!("/search?q={}", encoded.get(..30_000).unwrap_or(&encoded)))
        .header("user-agent", "Mozilla/5.0")
        .body(())
        .unwrap()
        .into_parts();
    let request = Request {
        head: &head,
        host: "example.com",
        path: "/search",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    };
    let mut inspection = policy.begin();
    match inspection.head(&request) {
        Verdict::Pass => None,
        Verdict::Block(_) => {
            let summary = inspection.summary().unwrap();
            Some(summary.matches.iter().map(|found| found.rule).collect())
        }
    }
}
