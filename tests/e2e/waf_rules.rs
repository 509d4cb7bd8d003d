//! Rule files in the running binary: what they refuse and detect, what settings make of them, what
//! is told, and what a reload does with changed and with broken ones.

use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

use crate::{ALL_TO_API, assert_problem};

/// In the manner of the Core Rule Set: gates by paranoia, counters, a decision behind all.
const RULES: &str = r#"
SecRule &TX:blocking_paranoia_level "@eq 0" "id:901, phase:1, pass, nolog, \
    setvar:tx.blocking_paranoia_level=1"
SecRule &TX:inbound_anomaly_score_threshold "@eq 0" "id:903, phase:1, pass, nolog, \
    setvar:tx.inbound_anomaly_score_threshold=5"
SecRule ARGS "@pmFromFile words.data" "id:1000, phase:2, block, log, msg:'a bad word', \
    severity:CRITICAL, tag:'attack-word', t:none,t:lowercase, logdata:'found %{MATCHED_VAR}', \
    setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@lt 2" "id:1010, phase:2, pass, nolog, skipAfter:END-2"
SecRule ARGS "@contains odd" "id:1020, phase:2, block, log, msg:'odd', severity:WARNING, \
    setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecMarker "END-2"
SecRule TX:inbound_anomaly_score_pl1 "@ge %{tx.inbound_anomaly_score_threshold}" "id:2010, \
    phase:2, deny, log, status:406, msg:'score %{tx.inbound_anomaly_score_pl1}'"
"#;

const ROUTE: (&str, &str) = ("route", "all");

fn gateway(origin: &Origin, waf: &str) -> Gateway {
    let config = format!("defaults: {{ waf: {waf} }}\n{ALL_TO_API}");
    Gateway::builder(&config)
        .set("origin", origin.address())
        .file("rules/a.conf", RULES)
        .file("rules/words.data", "evil\nwicked\n")
        .start()
}

#[test]
fn rule_files_refuse_detect_and_exclude() {
    let origin = Origin::start(Reply::ok("ok"));
    let refusing = gateway(&origin, "{ seclang: [rules/*.conf] }");
    assert_eq!(get(refusing.address(), "/?q=good").status, 200);
    let answer = get(refusing.address(), "/?q=an+EVIL+card+4111111111111111");
    assert_problem(&answer, 406, "waf_blocked");
    let line = refusing.logged(|line| line["status"] == 406);
    let (waf, found) = (&line["waf"], &line["waf"]["matches"][0]);
    assert_eq!((&waf["decided_by"], &waf["score"]), (&2010.into(), &5.into()), "{line}");
    assert_eq!((&found["rule"], &found["severity"]), (&1000.into(), &"CRITICAL".into()));
    assert_eq!((&found["target"], &found["tags"][0]), (&"ARGS:q".into(), &"attack-word".into()));
    assert_eq!(found["logdata"], "found an evil card ************1111");
    assert_eq!((&found["score"], &found["total"]), (&5.into(), &5.into()));
    let form = Ask::new("POST", "/")
        .field("Content-Type", "application/x-www-form-urlencoded")
        .body("a=wicked");
    assert_problem(&form.send(refusing.address()), 406, "waf_blocked");

    let detecting = gateway(&origin, "{ seclang: [rules/*.conf], mode: detect }");
    assert_eq!(get(detecting.address(), "/?q=evil").status, 200);
    assert_eq!(detecting.logged(|line| line["waf"]["blocked"] == true)["waf"]["decided_by"], 2010);

    let excluding =
        "{ seclang: [rules/*.conf], exclude: [{ rules: [1000-1009], targets: ['query:q'] }] }";
    let excluding = gateway(&origin, excluding);
    assert_eq!(get(excluding.address(), "/?q=evil").status, 200);
    assert_eq!(get(excluding.address(), "/?r=evil").status, 406);
}

#[test]
fn settings_reach_the_rules_and_the_shadow_has_its_own() {
    let origin = Origin::start(Reply::ok("ok"));
    let strict = gateway(&origin, "{ seclang: [rules/*.conf], paranoia: 2, threshold: 10 }");
    assert_eq!(get(strict.address(), "/?q=evil").status, 200);
    assert_eq!(get(strict.address(), "/?q=evil&r=odd").status, 406);

    let waf = "{ seclang: [rules/*.conf], threshold: 100, exclude: [{ tags: [attack-word] }], \
               shadow: { seclang: [next.conf], threshold: 5, paranoia: 2, exclude: [] } }";
    let shadowed = Gateway::builder(&format!("defaults: {{ waf: {waf} }}\n{ALL_TO_API}"))
        .set("origin", origin.address())
        .file("rules/a.conf", RULES)
        .file("rules/words.data", "evil\n")
        .file("words.data", "evil\n")
        .file("next.conf", &RULES.replace("bad word", "worse word"))
        .start();
    assert_eq!(get(shadowed.address(), "/?q=evil").status, 200);
    let line = shadowed.logged(|line| line["waf_shadow"]["blocked"] == true);
    assert_eq!(line["waf_shadow"]["matches"][0]["message"], "a worse word", "{line}");
    assert!(line["waf"].is_null(), "{line}");
    let matches = || shadowed.metric("tidegate_waf_shadow_matches_total", &[("rule", "1000")]);
    wait::until("the shadow's match is counted", || matches() == Some(1.0));
    assert_eq!(shadowed.metric("tidegate_waf_matches_total", &[("rule", "1000")]), None);
    let would = "tidegate_waf_shadow_would_block_total";
    wait::until(would, || shadowed.metric(would, &[ROUTE]) == Some(1.0));
}

#[test]
fn a_spent_budget_refuses_and_is_counted() {
    let origin = Origin::start(Reply::ok("ok"));
    let waf = "{ seclang: [rules/*.conf], body: { arguments: 2 } }";
    let gateway = gateway(&origin, waf);
    assert_problem(&get(gateway.address(), "/?a=1&b=2&c=3"), 403, "waf_blocked");
    let line = gateway.logged(|line| line["status"] == 403);
    assert_eq!(
        (&line["waf"]["exceeded"], &line["waf"]["blocked"]),
        (&"values".into(), &true.into())
    );
    let counter = "tidegate_waf_budget_exceeded_total";
    wait::until(counter, || gateway.metric(counter, &[ROUTE]) == Some(1.0));
}

#[test]
fn a_reload_reads_changed_rules_and_keeps_the_old_ones_when_they_are_broken() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = gateway(&origin, "{ seclang: [rules/*.conf] }");
    let write = |name: &str, text: &str| {
        std::fs::write(gateway.folder().join(name), text).expect("writes");
    };
    assert_eq!(get(gateway.address(), "/?q=vile").status, 200);
    write("rules/words.data", "vile\n");
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(get(gateway.address(), "/?q=vile").status, 406);
    assert_eq!(get(gateway.address(), "/?q=evil").status, 200);
    write("rules/b.conf", "SecRule ARGS \"@rx (?<!a)b\" \"id:1,deny\"\nSecRul x\n");
    let answer = gateway.reload();
    let told = answer.text();
    assert_ne!(answer.status, 200, "{told}");
    for part in ["rules/b.conf:1: rule 1: ", "rules/b.conf:2: `SecRul` is no directive"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(get(gateway.address(), "/?q=vile").status, 406);
}
