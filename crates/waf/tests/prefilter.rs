//! The prefilter loses nothing: with it and without it, every request gets the same matches. The
//! corpus is the rules' own examples, payload pieces put together at random, and random bytes.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use proptest::prelude::*;
use tidegate_core::{Clock, Request};
use tidegate_waf::{Mode, Policy, RuleSet, WafSettings};

static POLICIES: LazyLock<(Policy, Policy)> = LazyLock::new(|| {
    let settings = WafSettings {
        mode: Some(Mode::Detect),
        sensitivity: Some(4),
        threshold: Some(u32::MAX),
        ..WafSettings::default()
    };
    let rules = RuleSet::builtin().unwrap();
    let exhaustive = Policy::without_prefilter(&settings, rules.clone()).unwrap();
    (Policy::compile(&settings, rules).unwrap(), exhaustive)
});

/// The matches of a value as a parameter, in a cookie and as a body of the given type.
fn matches(policy: &Policy, value: &[u8], content_type: &str) -> (u32, Vec<(u32, Box<str>)>) {
    let encoded: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
    let head = http::Request::builder()
        .uri(format!("/a?{encoded}=1&q={encoded}"))
        .header("cookie", format!("c={encoded}"))
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
    let summary = inspection.summary().unwrap_or_default();
    (summary.score, summary.matches.into_iter().map(|found| (found.rule, found.target)).collect())
}

#[track_caller]
fn check(value: &[u8]) {
    let (fast, exhaustive) = &*POLICIES;
    for content_type in ["application/x-www-form-urlencoded", "application/json", "text/plain"] {
        assert_eq!(
            matches(fast, value, content_type),
            matches(exhaustive, value, content_type),
            "{content_type}: {}",
            value.escape_ascii()
        );
    }
}

#[test]
fn the_rules_own_examples_match_the_same() {
    for file in RuleSet::builtin_files() {
        for line in file.text.lines() {
            check(line.as_bytes());
            check(line.to_ascii_uppercase().as_bytes());
        }
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
