//! Neither the prefilter nor what is done beforehand loses anything: with them and without them,
//! every request gets the same matches. The corpus is the rules' own examples, the inputs of CRS's
//! own tests, payload pieces put together at random, and random bytes.
//!
//! The built-in rules are always tested; the Core Rule Set is if `TIDEGATE_CRS` names a checkout or
//! Debian's package is there.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test's helpers may fail and tell")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::json;
use tidegate_core::{Clock, Request};
use tidegate_waf::{CrsSource, Policy, RuleSet, SecLangSources, WafSettings};

/// A policy and its exhaustive twin.
struct Pair {
    fast: Policy,
    exhaustive: Policy,
}

const TYPES: [&str; 3] = ["application/x-www-form-urlencoded", "application/json", "text/plain"];

impl Pair {
    fn new(settings: serde_json::Value, rules: Arc<RuleSet>) -> Self {
        let settings: WafSettings = serde_json::from_value(settings).unwrap();
        let exhaustive = Policy::exhaustive(&settings, Arc::clone(&rules)).unwrap();
        Self { fast: Policy::compile(&settings, rules).unwrap(), exhaustive }
    }

    #[track_caller]
    fn check(&self, value: &[u8]) {
        TYPES.iter().for_each(|content_type| self.check_as(value, content_type));
    }

    #[track_caller]
    fn check_as(&self, value: &[u8], content_type: &str) {
        assert_eq!(
            matches(&self.fast, value, content_type),
            matches(&self.exhaustive, value, content_type),
            "{content_type}: {}",
            value.escape_ascii()
        );
    }
}

static BUILTIN: LazyLock<Pair> = LazyLock::new(|| {
    let settings = json!({
        "mode": "detect", "sensitivity": 4, "threshold": u32::MAX, "budget": { "work": "1s" },
    });
    Pair::new(settings, RuleSet::builtin().unwrap())
});

/// The Core Rule Set with the least and with the most that it looks at.
static CRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let Some(path) = crs() else {
        eprintln!("skipped: TIDEGATE_CRS names no checkout, and there is no package of it");
        return Vec::new();
    };
    let crs = Some(CrsSource { path, setup: None });
    let sources = SecLangSources { crs, ..SecLangSources::default() };
    let rules = RuleSet::with_seclang(&[], &sources).unwrap();
    let pair = |paranoia: u8| {
        let settings =
            json!({ "mode": "detect", "paranoia": paranoia, "budget": { "work": "1s" } });
        Pair::new(settings, Arc::clone(&rules))
    };
    vec![pair(1), pair(4)]
});

fn crs() -> Option<PathBuf> {
    let package = Path::new("/usr/share/modsecurity-crs");
    let named = std::env::var_os("TIDEGATE_CRS").map(PathBuf::from);
    named.or_else(|| package.join("rules").is_dir().then(|| package.to_owned()))
}

#[track_caller]
fn check(value: &[u8]) {
    BUILTIN.check(value);
}

/// The texts of CRS's own tests: what stands behind `uri:` and `data:`.
fn suite(folder: &Path, inputs: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            suite(&path, inputs);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let lines = text.lines().map(str::trim_start);
            let input = |line: &str| {
                line.strip_prefix("uri: ").or(line.strip_prefix("data: ")).map(str::to_owned)
            };
            inputs.extend(lines.filter_map(input));
        }
    }
}

/// The matches of a value as a parameter, in a cookie and as a body of the given type.
fn matches(policy: &Policy, value: &[u8], content_type: &str) -> (u32, Vec<(u32, Box<str>)>) {
    let encoded: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
    let head = http::Request::builder()
        .uri(format!("/a?{encoded}=1&q={encoded}"))
        .method("POST")
        .header("cookie", format!("c={encoded}"))
        .header("user-agent", value.escape_ascii().to_string())
        .header("content-type", content_type)
        .header("content-length", value.len())
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let request = Request {
        head: &head,
        host: "example.com",
        path: "/a",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    };
    let mut inspection = policy.begin();
    let _head = inspection.head(&request);
    let _body = inspection.body(Some(content_type), value, true);
    inspection.finish();
    let summary = inspection.summary().unwrap_or_default();
    (summary.score, summary.matches.into_iter().map(|found| (found.rule, found.target)).collect())
}

#[test]
fn the_rules_own_examples_match_the_same() {
    for file in RuleSet::builtin_files() {
        for (line, content_type) in file.text.lines().zip(TYPES.iter().cycle()) {
            BUILTIN.check_as(line.as_bytes(), content_type);
            BUILTIN.check_as(line.to_ascii_uppercase().as_bytes(), "text/plain");
        }
    }
}

#[test]
fn the_inputs_of_crs_match_the_same() {
    let mut inputs = Vec::new();
    if let Some(folder) = crs() {
        suite(&folder.join("tests/regression/tests"), &mut inputs);
    }
    inputs.sort_unstable();
    inputs.dedup();
    // All of them take hours: `TIDEGATE_EVERY=1`.
    let every = std::env::var_os("TIDEGATE_EVERY").and_then(|it| it.to_str()?.parse().ok());
    let every = every.unwrap_or(400);
    for input in inputs.iter().step_by(every) {
        CRS.iter().for_each(|pair| pair.check(input.as_bytes()));
    }
}

const PIECES: &[&str] = &[
    "'",
    "\"",
    "`",
    "(",
    ")",
    "<",
    ">",
    "{{",
    "}}",
    "${",
    "}",
    ";",
    "|",
    "&&",
    "--",
    "#",
    "/*",
    "*/",
    "=",
    " ",
    "%20",
    "%27",
    "&lt;",
    "\\x3c",
    "\\u0027",
    "/",
    "\\",
    "..",
    "../",
    "%2e%2e%2f",
    "\0",
    "\u{ff07}",
    "\u{200b}",
    "1",
    "0x41",
    "or",
    "AND",
    "union",
    "SELECT",
    "from",
    "users",
    "sleep(5)",
    "script",
    "img",
    "src",
    "onerror",
    "alert(1)",
    "javascript:",
    "document.cookie",
    "etc/passwd",
    "cat",
    "whoami",
    "wget",
    "http://",
    "127.0.0.1",
    "169.254.169.254",
    "jndi:ldap",
    "__class__",
    "7*7",
    "php://filter",
    "<?php",
    "system(",
    "$ne",
    "\r\n",
    "Set-Cookie:",
    "<!ENTITY",
    "java.lang",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn pieces_put_together_match_the_same(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 1..12),
    ) {
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn random_bytes_match_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn random_text_matches_the_same(text in "[ -~]{0,120}") {
        check(text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn crs_matches_the_same(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 1..12),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        text in "[ -~]{0,60}",
    ) {
        for pair in CRS.iter() {
            pair.check(pieces.concat().as_bytes());
            pair.check(&bytes);
            pair.check(text.as_bytes());
        }
    }
}
