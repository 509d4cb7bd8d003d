//! SecLang's semantics, each with a few rules and a request.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use tidegate_core::{Clock, Request};

use crate::rules::RuleSet;
use crate::{CrsSource, Policy, SecLangSources, Verdict, WafSettings, seclang};

/// The ids of the rules that match, and the status if the request is refused.
fn run(rules: &str, uri: &str, body: &str) -> (Vec<u32>, Option<u16>) {
    inspect(&seclang::parse(Path::new("test.conf"), rules).unwrap(), uri, body)
}

fn inspect(rules: &seclang::ast::Rules, uri: &str, body: &str) -> (Vec<u32>, Option<u16>) {
    let rules = Arc::new(RuleSet::assemble(&[], Some(rules)).unwrap());
    let policy = Policy::compile(&WafSettings::default(), Arc::clone(&rules)).unwrap();
    let mut builder = http::Request::builder()
        .uri(uri)
        .header("host", "example.com")
        .header("user-agent", "test")
        .header("cookie", "a=1; session=xyz");
    if !body.is_empty() {
        builder = builder
            .method("POST")
            .header("content-length", body.len())
            .header("content-type", "application/x-www-form-urlencoded");
    }
    let head = builder.body(()).unwrap().into_parts().0;
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
    if matches!(verdict, Verdict::Pass) {
        let content_type = (!body.is_empty()).then_some("application/x-www-form-urlencoded");
        verdict = inspection.body(content_type, body.as_bytes(), true);
    }
    inspection.finish();
    let matches = inspection.summary().unwrap_or_default().matches;
    let status = match verdict {
        Verdict::Pass => None,
        Verdict::Block(denial) => Some(denial.status.as_u16()),
    };
    (matches.iter().map(|found| found.rule).collect(), status)
}

#[track_caller]
fn check(rules: &str, uri: &str, ids: &[u32]) {
    assert_eq!(run(rules, uri, "").0, ids, "{uri}");
}

#[test]
fn rules_run_in_order_and_deny() {
    let rules = r#"
        SecRule ARGS "@streq x" "id:1,phase:2,deny,status:406,log"
        SecRule REQUEST_METHOD "@streq GET" "id:2,phase:1,pass,log"
        SecRule ARGS "@streq x" "id:3,phase:2,pass,log"
        SecAction "id:4,phase:5,pass,log"
    "#;
    assert_eq!(run(rules, "/?a=x", ""), (vec![2, 1, 4], Some(406)));
    assert_eq!(run(rules, "/?a=y", ""), (vec![2, 4], None));
}

#[test]
fn variables_are_set_added_and_compared() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,nolog,setvar:tx.five=5,setvar:tx.Score=0"
        SecRule ARGS "@streq x" "id:2,phase:2,pass,nolog,setvar:'tx.score=+%{tx.five}'"
        SecRule TX:SCORE "@eq 10" "id:3,phase:2,pass,log"
        SecAction "id:4,phase:2,pass,nolog,setvar:!tx.score"
        SecRule &TX:score "@eq 0" "id:5,phase:2,pass,log"
        SecRule TX:five "@ge %{tx.four}" "id:6,phase:2,pass,log"
    "#;
    check(rules, "/?a=x&b=x", &[3, 5, 6]);
    check(rules, "/?a=x&b=y", &[5, 6]);
}

#[test]
fn a_chain_needs_all_links() {
    let rules = r#"
        SecRule ARGS "@streq x" "id:1,phase:2,pass,log,setvar:tx.head=1,chain"
            SecRule MATCHED_VAR_NAME "@streq ARGS:b" "setvar:tx.whole=1"
        SecRule &TX:head "@eq 1" "id:2,phase:2,pass,log"
        SecRule &TX:whole "@eq 1" "id:3,phase:2,pass,log"
    "#;
    check(rules, "/?b=x", &[1, 2, 3]);
    check(rules, "/?a=x", &[2]);
    check(rules, "/?b=y", &[]);
}

#[test]
fn jumps_land_behind_markers() {
    let rules = r#"
        SecRule ARGS:jump "@streq 1" "id:1,phase:1,pass,nolog,skipAfter:END"
        SecAction "id:2,phase:1,pass,log"
        SecMarker END
        SecRule ARGS:skip "@streq 1" "id:3,phase:1,pass,nolog,skip:1"
        SecAction "id:4,phase:1,pass,log"
        SecAction "id:5,phase:1,pass,log"
    "#;
    check(rules, "/", &[2, 4, 5]);
    check(rules, "/?jump=1", &[4, 5]);
    check(rules, "/?skip=1", &[2, 5]);
}

#[test]
fn controls_change_what_follows() {
    let rules = r#"
        SecRule ARGS:off "@streq id" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=10"
        SecRule ARGS:off "@streq tag" "id:2,phase:1,pass,nolog,ctl:ruleRemoveByTag=bad"
        SecRule ARGS:off "@streq arg" "id:3,phase:1,pass,nolog,ctl:ruleRemoveTargetById=10;ARGS:q"
        SecRule ARGS:off "@streq all" "id:4,phase:1,pass,nolog,ctl:ruleEngine=Off"
        SecRule ARGS "@contains evil" "id:10,phase:2,pass,log,tag:bad"
    "#;
    check(rules, "/?q=evil", &[10]);
    for how in ["id", "tag", "arg", "all"] {
        check(rules, &format!("/?off={how}&q=evil"), &[]);
    }
    check(rules, "/?off=arg&r=evil", &[10]);
}

#[test]
fn counts_exclusions_and_negations_see_what_is_empty() {
    let rules = r#"
        SecRule &ARGS "@eq 2" "id:1,phase:2,pass,log"
        SecRule ARGS|!ARGS:a|!REQUEST_COOKIES:/^s/ "!@rx ." "id:2,phase:2,pass,log"
        SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/^s/ "@streq xyz" "id:3,phase:2,pass,log"
        SecRule &REQUEST_HEADERS:Accept "@eq 0" "id:4,phase:1,pass,log"
    "#;
    check(rules, "/?a=&b=", &[4, 1, 2]);
    check(rules, "/?a=&b=x", &[4, 1]);
}

#[test]
fn captures_and_patterns_of_names() {
    let rules = r#"
        SecRule ARGS "@rx ^(\w+)-(\w+)$" "id:1,phase:2,pass,log,capture,setvar:'tx.got_%{tx.1}=%{tx.2}'"
        SecRule TX:/^got_/ "@streq right" "id:2,phase:2,pass,log"
        SecRule ARGS "@contains <" "id:3,phase:2,pass,log,t:none,t:urlDecodeUni,multiMatch"
    "#;
    check(rules, "/?a=left-right", &[1, 2]);
    check(rules, "/?a=left-wrong", &[1]);
    check(rules, "/?a=%253c", &[3]);
}

#[test]
fn allow_leaves_out_the_rest() {
    let rules = r#"
        SecRule ARGS:a "@streq all" "id:1,phase:1,allow,nolog"
        SecRule ARGS:a "@streq phase" "id:2,phase:1,allow:phase,nolog"
        SecAction "id:3,phase:1,pass,log"
        SecAction "id:4,phase:2,pass,log"
        SecAction "id:5,phase:5,pass,log"
    "#;
    check(rules, "/?a=all", &[5]);
    check(rules, "/?a=phase", &[4, 5]);
    check(rules, "/", &[3, 4, 5]);
}

#[test]
fn bodies_are_arguments_in_phase_2() {
    let rules = r#"SecRule ARGS "@streq x" "id:1,phase:2,deny,log""#;
    assert_eq!(run(rules, "/", "a=1&b=x"), (vec![1], Some(403)));
    assert_eq!(run(rules, "/", "a=1&b=y"), (vec![], None));
}

#[test]
fn a_field_is_told_as_the_rule_spells_it() {
    let rules = r#"
        SecRule REQUEST_HEADERS:User-Agent "@streq test" "id:1,phase:1,pass,nolog,setvar:'tx.a=%{MATCHED_VAR_NAME}'"
        SecRule TX:a "@streq REQUEST_HEADERS:User-Agent" "id:2,phase:1,pass,log"
        SecAction "id:3,phase:1,pass,nolog,chain"
            SecRule REQUEST_HEADERS:USER-AGENT "@streq test" "setvar:'tx.b=%{MATCHED_VAR_NAME}'"
        SecRule TX:b "@streq REQUEST_HEADERS:USER-AGENT" "id:4,phase:1,pass,log"
    "#;
    check(rules, "/", &[2, 4]);
}

/// The Core Rule Set as it is; `TIDEGATE_CRS` names its folder.
#[test]
#[ignore = "needs a checkout of the Core Rule Set"]
#[expect(clippy::disallowed_methods, reason = "a test's input is named by its caller")]
fn the_core_rule_set_refuses_an_attack() {
    let folder = std::env::var("TIDEGATE_CRS").unwrap();
    let crs = CrsSource { path: folder.into(), setup: None };
    let sources = SecLangSources { crs: Some(crs), ..SecLangSources::default() };
    let rules = seclang::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).rules;
    let (ids, status) = inspect(&rules, "/?id=1%27%20or%20%271%27=%271%20--", "");
    assert_eq!(status, Some(403), "{ids:?}");
    assert!(ids.contains(&942_100) && ids.contains(&949_110), "{ids:?}");
    let (ids, status) = inspect(&rules, "/?id=1&q=hello", "");
    assert_eq!(status, None, "{ids:?}");
}
