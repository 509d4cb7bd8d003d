//! Rule files through a policy: what settings say to them, what exclusions and budgets do, and what
//! is told of their matches.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::request::Parts;
use tidegate_core::event::WafSummary;
use tidegate_core::{Clock, Request};
use tidegate_waf::{Policy, RuleSet, Verdict, WafSettings};

/// In the manner of the Core Rule Set: gates by paranoia, counters, a decision behind all.
const RULES: &str = r#"
SecAction "id:900, phase:1, pass, nolog, setvar:tx.inbound_anomaly_score_pl1=0, \
    setvar:tx.inbound_anomaly_score_pl2=0"
SecRule &TX:blocking_paranoia_level "@eq 0" "id:901, phase:1, pass, nolog, \
    setvar:tx.blocking_paranoia_level=1"
SecRule &TX:detection_paranoia_level "@eq 0" "id:902, phase:1, pass, nolog, \
    setvar:tx.detection_paranoia_level=%{TX.blocking_paranoia_level}"
SecRule &TX:inbound_anomaly_score_threshold "@eq 0" "id:903, phase:1, pass, nolog, \
    setvar:tx.inbound_anomaly_score_threshold=5"
SecRule ARGS "@contains evil" "id:1000, phase:2, block, log, msg:'evil', severity:CRITICAL, \
    tag:'attack-evil', tag:'paranoia-level/1', logdata:'found %{MATCHED_VAR}', \
    setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:1010, phase:2, pass, nolog, skipAfter:END-2"
SecRule ARGS "@contains odd" "id:1020, phase:2, block, log, msg:'odd', severity:WARNING, \
    tag:'attack-odd', setvar:'tx.inbound_anomaly_score_pl2=+5'"
SecMarker "END-2"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@ge 1" "id:2001, phase:2, pass, nolog, \
    setvar:'tx.score=+%{tx.inbound_anomaly_score_pl1}'"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@ge 2" "id:2002, phase:2, pass, nolog, \
    setvar:'tx.score=+%{tx.inbound_anomaly_score_pl2}'"
SecRule TX:SCORE "@ge %{tx.inbound_anomaly_score_threshold}" "id:2010, phase:2, deny, log, \
    status:406, msg:'score %{tx.score}'"
"#;

/// A file of rules, for as long as the test runs.
struct Rules {
    file: PathBuf,
}

impl Rules {
    fn new(name: &str, text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-{name}-{}-{number}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        Self { file }
    }

    fn settings(&self, rest: &str) -> WafSettings {
        let file = self.file.display();
        serde_json::from_str(&format!(r#"{{ "seclang": ["{file}"] {rest} }}"#)).unwrap()
    }

    fn policy(&self, rest: &str) -> Policy {
        let settings = self.settings(rest);
        let rules = RuleSet::of_sources(&settings.sources()).unwrap();
        Policy::compile(&settings, rules).unwrap()
    }

    fn errors(&self, rest: &str) -> Vec<String> {
        let settings = self.settings(rest);
        let rules = RuleSet::of_sources(&settings.sources()).unwrap();
        let errors = Policy::compile(&settings, rules).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).unwrap();
    }
}

fn inspect(policy: &Policy, uri: &str, body: &str) -> (Option<u16>, Option<WafSummary>) {
    let mut builder = http::Request::builder().uri(uri).header("host", "example.com");
    if !body.is_empty() {
        let form = "application/x-www-form-urlencoded";
        builder = builder.method("POST").header("content-type", form);
        builder = builder.header("content-length", body.len());
    }
    let head: Parts = builder.body(()).unwrap().into_parts().0;
    let request = Request {
        head: &head,
        host: "example.com",
        path: head.uri.path(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    };
    let mut inspection = policy.begin();
    let mut verdict = inspection.head(&request);
    if matches!(verdict, Verdict::Pass) && !body.is_empty() {
        let form = Some("application/x-www-form-urlencoded");
        verdict = inspection.body(form, body.as_bytes(), true);
    }
    let status = match verdict {
        Verdict::Pass => None,
        Verdict::Block(denial) => Some(denial.status.as_u16()),
    };
    (status, inspection.summary())
}

#[track_caller]
fn check(rest: &str, uri: &str, status: Option<u16>, rules: &[u32]) {
    let rules_of = Rules::new("check", RULES);
    let (found, summary) = inspect(&rules_of.policy(rest), uri, "");
    let matched: Vec<u32> =
        summary.iter().flat_map(|it| &it.matches).map(|found| found.rule).collect();
    assert_eq!((found, matched.as_slice()), (status, rules), "{rest} {uri}");
}

#[test]
fn settings_reach_the_rules() {
    check("", "/?a=evil", Some(406), &[1000, 2010]);
    check("", "/?a=odd", None, &[]);
    check(r#", "paranoia": 2"#, "/?a=odd", Some(406), &[1020, 2010]);
    check(r#", "detection_paranoia": 2"#, "/?a=odd", None, &[1020]);
    check(r#", "threshold": 6"#, "/?a=evil", None, &[1000]);
    check(r#", "threshold": 6, "paranoia": 2"#, "/?a=evil&b=odd", Some(406), &[1000, 1020, 2010]);
    check(r#", "mode": "detect""#, "/?a=evil", None, &[1000, 2010]);
    check(r#", "mode": "off""#, "/?a=evil", None, &[]);
}

#[test]
fn exclusions_leave_the_files_as_they_are() {
    let exclude = |exclusion: &str| format!(r#", "exclude": [{exclusion}]"#);
    check(&exclude(r#"{ "rules": [1000] }"#), "/?a=evil", None, &[]);
    check(&exclude(r#"{ "rules": ["1000-1099"] }"#), "/?a=evil", None, &[]);
    check(&exclude(r#"{ "tags": ["attack-evil"] }"#), "/?a=evil", None, &[]);
    let here = exclude(r#"{ "rules": [1000], "targets": ["query:a"] }"#);
    check(&here, "/?a=evil", None, &[]);
    check(&here, "/?b=evil", Some(406), &[1000, 2010]);
    let pattern = exclude(r#"{ "tags": ["attack-evil"], "targets": ["ARGS:/^a[0-9]$/"] }"#);
    check(&pattern, "/?A1=evil", None, &[]);
    check(&pattern, "/?a11=evil", Some(406), &[1000, 2010]);
    check(&exclude(r#"{ "targets": ["ARGS_GET:a"] }"#), "/?a=evil", None, &[]);
}

#[test]
fn settings_without_a_meaning_are_all_told() {
    let rules = Rules::new("sense", RULES);
    let rest = r#", "paranoia": 3, "detection_paranoia": 2, "outbound_threshold": 4, "exclude":
        [{ "rules": ["1-2"], "tags": ["x"], "targets": ["TX:a", "ARG:a", "ARGS:/(/"] }],
        "body": { "json_depth": 0, "arguments": 6000, "limit": "17MiB" },
        "response": { "types": ["text"], "limit": "17MiB" }, "budget": { "work": "2s" }"#;
    let told = [
        "detection_paranoia: rules that count have to run: it is less than `paranoia`",
        "outbound_threshold: no rule here looks at it",
        "budget.work: 2s is not between 1ms and 1s",
        "body.limit: 17MiB is more than is held back for one request",
        "body.json_depth: must be from 1 to 512",
        "body.arguments: must be from 1 to 5000",
        "response.types.0: `text` is no media type",
        "response.limit: 17MiB is more than is held back for one request",
        "exclude.0.rules.0: there is no rule in 1-2",
        "exclude.0.tags.0: no rule has the tag `x`",
        "exclude.0.targets.0: `TX` is no part of a request",
        "exclude.0.targets.1: `ARG` is no variable; did you mean `ARGS`?",
        "exclude.0.targets.2: the pattern `(` does not compile: unclosed group",
    ];
    assert_eq!(rules.errors(rest), told);
    let builtin: WafSettings = serde_json::from_str(r#"{ "paranoia": 2 }"#).unwrap();
    let errors = Policy::compile(&builtin, RuleSet::builtin().unwrap()).unwrap_err();
    assert_eq!(errors[0].to_string(), "paranoia: no rule here looks at it");
    assert!(errors[0].hint.as_ref().unwrap().contains("sensitivity"));
}

/// Every pattern runs on every value, since nothing in them can be searched for.
const DEAR: &str = r#"
SecRule ARGS "@rx ^[a-z]*[^a-z]$" "id:1, phase:2, deny"
SecRule ARGS "@rx ^[b-z]*[^b-z]$" "id:2, phase:2, deny"
SecRule ARGS "@rx ^[c-z]*[^c-z]$" "id:3, phase:2, deny"
SecRule ARGS "@rx ^[d-z]*[^d-z]$" "id:4, phase:2, deny"
"#;

#[test]
fn a_spent_budget_fails_closed_unless_the_settings_say_otherwise() {
    let rules = Rules::new("budget", DEAR);
    let body = format!("a={}", "x".repeat(60_000));
    let check = |rest: &str, body: &str, status, exceeded, blocked| {
        let (found, summary) = inspect(&rules.policy(rest), "/", body);
        let told = summary.map(|it| (it.exceeded, it.blocked));
        assert_eq!((found, told), (status, Some((Some(exceeded), blocked))), "{rest}");
    };
    check(r#", "budget": { "work": "1ms" }"#, &body, Some(403), "work", true);
    let pass = r#", "budget": { "work": "1ms", "on_exceeded": "pass" }"#;
    check(pass, &body, None, "work", false);
    let detect = r#", "mode": "detect", "budget": { "work": "1ms" }"#;
    check(detect, &body, None, "work", true);
    check(r#", "body": { "arguments": 2 }"#, "a=x&b=x&c=x", Some(403), "values", true);
    let pass = r#", "body": { "arguments": 2 }, "budget": { "on_exceeded": "pass" }"#;
    check(pass, "a=x&b=x&c=x", None, "values", false);
    let (status, summary) = inspect(&rules.policy(""), "/", &body);
    assert!(status.is_none() && summary.is_none(), "{summary:?}");
}

#[test]
fn a_match_tells_all_but_secrets() {
    let rules = Rules::new("told", RULES);
    let (_, summary) = inspect(&rules.policy(""), "/?a=evil%204111111111111111", "");
    let summary = summary.unwrap();
    assert_eq!((summary.decided_by, summary.score), (Some(2010), 5));
    let first = &summary.matches[0];
    assert_eq!((&*first.message, &*first.target, &*first.piece), ("evil", "ARGS:a", "evil"));
    assert_eq!((first.severity, first.phase, first.score, first.total), ("CRITICAL", 2, 5, 5));
    assert_eq!(first.tags.join(" "), "attack-evil paranoia-level/1");
    assert_eq!(&*first.logdata, "found evil ************1111");
    assert_eq!((&*summary.matches[1].message, summary.matches[1].total), ("score 5", 5));
}

#[test]
fn what_rules_sanitise_is_not_told() {
    let asks = [
        "sanitiseArg:pin",
        "sanitiseMatched",
        "sanitizeMatchedBytes:1/2",
        "sanitiseRequestHeader:Host",
    ];
    for (index, ask) in asks.into_iter().enumerate() {
        let rules = Rules::new(
            &format!("sanitise{index}"),
            &format!(
                "SecRule ARGS|REQUEST_HEADERS:Host \"@rx 12|example\" \"id:1, phase:2, pass, log, \
                 logdata:'%{{MATCHED_VAR}}'\"\n\
                 SecRule ARGS:pin|REQUEST_HEADERS:Host \"@rx 12|example\" \"id:2, phase:2, pass, \
                 nolog, {ask}\"\n"
            ),
        );
        let (_, summary) = inspect(&rules.policy(""), "/?pin=1234", "");
        let summary = summary.unwrap();
        let hidden = |target: &str| {
            let found =
                summary.matches.iter().find(|found| found.target.eq_ignore_ascii_case(target));
            found.map(|found| &*found.piece == "[redacted]" && &*found.logdata == "[redacted]")
        };
        let names = summary.sanitised.join(" ");
        match index {
            3 => assert_eq!(hidden("REQUEST_HEADERS:Host"), Some(true), "{summary:?}"),
            0 => assert_eq!(names, "pin"),
            _ => assert_eq!(names, "pin", "{summary:?}"),
        }
    }
}

#[test]
fn a_chain_does_not_tell_what_its_first_link_may_not() {
    let chain = |first: &str| {
        format!(
            "SecRule {first} \"@rx (.*)\" \"id:1, phase:2, pass, log, capture, \
             logdata:'%{{TX.1}} %{{MATCHED_VAR}}', chain\"\nSecRule TX:1 \"@rx 47\"\n\
             SecAction \"id:2, phase:2, pass, nolog, sanitiseArg:pin\"\n"
        )
    };
    for argument in ["pin", "password", "open"] {
        let rules = Rules::new(&format!("chain-{argument}"), &chain(&format!("ARGS:{argument}")));
        let (_, summary) = inspect(&rules.policy(""), &format!("/?{argument}=4711"), "");
        let told = format!("{:?}", summary.unwrap().matches);
        assert_eq!(told.contains("47"), argument == "open", "{told}");
    }
}

#[test]
fn a_set_is_current_until_a_file_changes() {
    let rules = Rules::new("current", RULES);
    let set: Arc<RuleSet> = RuleSet::of_sources(&rules.settings("").sources()).unwrap();
    assert!(set.is_current());
    std::fs::write(&rules.file, format!("{RULES}\n")).unwrap();
    assert!(!set.is_current());
    std::fs::write(&rules.file, RULES).unwrap();
    assert!(set.is_current());
}
