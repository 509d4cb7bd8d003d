//! Whole requests through a policy: where attacks are seen, what passes, what settings change.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use http::request::Parts;
use proptest::prelude::*;
use tidegate_core::event::WafSummary;
use tidegate_core::units::ByteSize;
use tidegate_core::{Clock, Reason, Request};
use tidegate_waf::{
    BodySettings, ExclusionSettings, Mode, OverLimit, Policy, RuleFile, RuleSet, Verdict,
    WafSettings,
};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| RuleSet::builtin().unwrap());

fn policy(settings: &WafSettings) -> Policy {
    Policy::compile(settings, Arc::clone(&RULES)).unwrap()
}

fn get(uri: &str) -> http::request::Builder {
    http::Request::builder().uri(uri).header("host", "example.com").header("user-agent", "test")
}

fn post(content_type: &str) -> Parts {
    parts(get("/form").method("POST").header("content-type", content_type))
}

fn parts(builder: http::request::Builder) -> Parts {
    builder.body(()).unwrap().into_parts().0
}

fn request(head: &Parts) -> Request<'_> {
    Request {
        head,
        host: "example.com",
        path: head.uri.path(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    }
}

fn inspect(policy: &Policy, head: &Parts, body: &[u8]) -> (Option<Reason>, Option<WafSummary>) {
    let mut inspection = policy.begin();
    let mut verdict = inspection.head(&request(head));
    if matches!(verdict, Verdict::Pass) {
        let content_type = head.headers.get("content-type").map(|value| value.to_str().unwrap());
        verdict = inspection.body(content_type, body, true);
    }
    let reason = match verdict {
        Verdict::Pass => None,
        Verdict::Block(denial) => Some(denial.reason),
    };
    (reason, inspection.summary())
}

#[track_caller]
fn check(head: &Parts, body: &[u8], blocked_at: Option<&str>) {
    let (reason, summary) = inspect(&policy(&WafSettings::default()), head, body);
    match blocked_at {
        Some(target) => {
            assert_eq!(reason, Some(Reason::WafBlocked), "{head:?}");
            let matches = summary.unwrap().matches;
            assert!(matches.iter().any(|found| &*found.target == target), "{matches:?}");
        }
        None => assert_eq!(reason, None, "{head:?} {summary:?}"),
    }
}

#[test]
fn attacks_are_seen_wherever_they_stand() {
    check(&parts(get("/?id=1%27%20or%20%271%27=%271")), b"", Some("query:id"));
    check(&parts(get("/?x[$ne]=1")), b"", Some("query_name:x[$ne]"));
    check(&parts(get("/users/1'%20union%20select%20null--")), b"", Some("path"));
    check(&parts(get("/static/..%2f..%2fsecret")), b"", Some("uri"));
    check(&parts(get("/").header("cookie", "a=b; c=<script>x</script>")), b"", Some("cookie:c"));
    check(&parts(get("/").header("x-api", "${jndi:ldap://x}")), b"", Some("header:x-api"));
    check(&parts(get("/").header("user-agent", "() { :; }; id")), b"", Some("header:user-agent"));
    check(&parts(get("/").header("proxy", "http://x")), b"", Some("header_name:proxy"));
    check(&parts(get("/").header("user-agent", "sqlmap/1")), b"", Some("header:user-agent"));
}

#[test]
fn attacks_are_seen_in_bodies() {
    let form = post("application/x-www-form-urlencoded");
    check(&form, b"name=x&note=%3Cscript%3Ealert(1)%3C/script%3E", Some("body:note"));
    let json = post("application/json");
    check(&json, br#"{"a":{"b":["x","1' or '1'='1"]}}"#, Some("body:json.a.b.array_1"));
    check(&json, br#"{"q":"\u003cscript\u003e"}"#, Some("body:json.q"));
    check(&json, b"{'a':1}", Some("finding:json"));
    check(&post("text/xml"), b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///x'>]>", Some("raw_body"));
    check(&post("image/png"), br#"{"q":"1' or '1'='1"}"#, Some("body:json.q"));
    let multipart = post("multipart/form-data; boundary=b");
    let part = |disposition: &str, content: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n--b--\r\n"
        )
    };
    check(&multipart, part("name=q", "; cat /etc/passwd").as_bytes(), Some("body:q"));
    check(&multipart, part("name=f; filename=a.php", "x").as_bytes(), Some("file_name:f"));
    check(&multipart, part("name=f; filename=a.gif", "<?php x").as_bytes(), Some("file:f"));
    check(&multipart, part("filename=a.gif", "x").as_bytes(), Some("finding:multipart"));
    check(&multipart, part("name=f; filename=a.gif", "plain -- text").as_bytes(), None);
}

#[test]
fn evasions_are_undone() {
    for query in [
        "q=%2527%2520or%25201%253d1--",
        "q=%u0027%20or%201=1--",
        "q=1%20%75%6e%69%6f%6e%20%73%65%6c%65%63%74%20null",
        "q=1/*x*/UnIoN/*!50000SeLeCt*/null,null",
        "q=%EF%BC%9Cscript%EF%BC%9Ealert(1)",
        "q=%26lt;script%26gt;",
        "q=%26%2360;script%26%2362;",
        "q=\\u003cscript\\u003e",
        "q=java%09script:alert(1)",
        "q=%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
        "q=..\\..\\..\\boot.ini",
        "q=;c'a't%20/e\\tc/pas%00swd",
        "q=;cat$IFS/etc/passwd",
        "q=uni%00on%20sel%00ect%20null,null",
        "q=1%0auNion%0d%0a%0aselect%0b1",
        "q=PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg%3D%3D",
    ] {
        check(&parts(get(&format!("/?{query}"))), b"", Some("query:q"));
    }
}

#[test]
fn ordinary_requests_pass() {
    for uri in [
        "/",
        "/search?q=union+square+select+hotels&page=2&sort=-price",
        "/search?q=O%27Brien+%26+Sons%2C+Ltd.&tag=c%23&tag=c%2B%2B",
        "/login?redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcb&state=a.b-c_d~e",
        "/files/report%20(final)%20v2.pdf?expr=1+%3C+2&range=5-10",
        "/api/items?filter[price][gte]=10&fields=name,created_at&ids=1;2;3",
        "/note?text=It%27s+5+o%27clock+--+or+later%3B+we%27ll+see",
    ] {
        check(&parts(get(uri)), b"", None);
    }
    check(
        &parts(get("/").header("cookie", "_ga=GA1.2.3; theme=dark; t=eyJhbGciOiJIUzI1NiJ9.e30.x")),
        b"",
        None,
    );
    check(
        &post("application/json; charset=utf-8"),
        br#"{"name":"Jo\u00ebl","n":[1,2.5e3],"ok":true}"#,
        None,
    );
    check(&post("application/x-www-form-urlencoded"), b"a=1&b=Hello%2C+world%21&c=", None);
}

#[test]
fn off_looks_at_nothing_and_detect_refuses_nothing() {
    let attack = parts(get("/?id=1%27%20or%20%271%27=%271"));
    let off = policy(&WafSettings { mode: Some(Mode::Off), ..WafSettings::default() });
    assert!(off.is_off() && off.wants_body(&request(&attack)).is_none());
    assert!(matches!(inspect(&off, &attack, b""), (None, None)));
    let detect = policy(&WafSettings { mode: Some(Mode::Detect), ..WafSettings::default() });
    let (reason, summary) = inspect(&detect, &attack, b"");
    let summary = summary.unwrap();
    assert!(reason.is_none() && summary.blocked && summary.detect_only && summary.score >= 5);
}

#[test]
fn sensitivity_and_threshold_decide() {
    let markup = parts(get("/?q=%3Cb%3Ebold%3C/b%3E"));
    let strict = WafSettings { sensitivity: Some(2), threshold: Some(3), ..WafSettings::default() };
    assert_eq!(inspect(&policy(&WafSettings::default()), &markup, b"").0, None);
    assert_eq!(inspect(&policy(&strict), &markup, b"").0, Some(Reason::WafBlocked));
    let lax = WafSettings { threshold: Some(1_000), ..WafSettings::default() };
    let attack = parts(get("/?id=1%27%20or%20%271%27=%271"));
    let (reason, summary) = inspect(&policy(&lax), &attack, b"");
    assert!(reason.is_none() && !summary.unwrap().blocked);
}

#[test]
fn exclusions_tune_false_alarms_away() {
    let attack = parts(get("/?q=1%27%20or%20%271%27=%271"));
    let exclude = |exclusion: ExclusionSettings| {
        let settings = WafSettings { exclude: Some(vec![exclusion]), ..WafSettings::default() };
        let (reason, summary) = inspect(&policy(&settings), &attack, b"");
        assert_eq!(reason.is_some(), summary.is_some(), "{summary:?}");
        reason
    };
    let targets = |target: &str| vec![target.to_owned()];
    let none = ExclusionSettings::default();
    assert_eq!(exclude(ExclusionSettings { tags: targets("sqli"), ..none.clone() }), None);
    assert_eq!(exclude(ExclusionSettings { targets: targets("query:q"), ..none.clone() }), None);
    let elsewhere = ExclusionSettings { targets: targets("query:p"), ..none.clone() };
    assert_eq!(exclude(elsewhere), Some(Reason::WafBlocked));
    let other_rule = ExclusionSettings { rules: vec![2701.into()], ..none.clone() };
    assert_eq!(exclude(other_rule), Some(Reason::WafBlocked));
    let here = ExclusionSettings { tags: targets("sqli"), targets: targets("args:q"), ..none };
    assert_eq!(exclude(here), None);
}

#[test]
fn settings_that_make_no_sense_are_all_told() {
    let settings = WafSettings {
        mode: None,
        sensitivity: Some(5),
        threshold: Some(0),
        exclude: Some(vec![
            ExclusionSettings::default(),
            ExclusionSettings {
                rules: vec![1.into()],
                tags: vec!["sqly".into()],
                targets: vec!["qery:q".into()],
            },
        ]),
        body: Some(BodySettings { limit: Some(ByteSize::mib(17)), ..BodySettings::default() }),
        ..WafSettings::default()
    };
    let errors = Policy::compile(&settings, Arc::clone(&RULES)).unwrap_err();
    let paths: Vec<String> = errors.iter().map(|error| error.path.join(".")).collect();
    let wanted = [
        "sensitivity",
        "threshold",
        "body.limit",
        "exclude.0",
        "exclude.1.rules.0",
        "exclude.1.tags.0",
        "exclude.1.targets.0",
    ];
    assert_eq!(paths, wanted);
    assert!(serde_json::from_str::<WafSettings>(r#"{"moed":"off"}"#).is_err());
}

#[test]
fn a_body_beyond_the_limit_is_what_the_setting_says() {
    let limited = |mode, over_limit| {
        let over_limit = Some(over_limit);
        let body =
            BodySettings { limit: Some(ByteSize(16)), over_limit, ..BodySettings::default() };
        policy(&WafSettings { mode: Some(mode), body: Some(body), ..WafSettings::default() })
    };
    let small = post("text/plain");
    let large = parts(get("/").method("POST").header("content-length", "17"));
    let attack = b"<script>alert(1)</script>";
    let block = limited(Mode::Block, OverLimit::Block);
    assert_eq!(block.wants_body(&request(&large)), Some(16));
    assert_eq!(inspect(&block, &large, b"").0, Some(Reason::BodyTooLarge));
    assert_eq!(inspect(&block, &small, b"a harmless but long body").0, Some(Reason::BodyTooLarge));
    let detect = limited(Mode::Detect, OverLimit::Block);
    let (reason, summary) = inspect(&detect, &large, b"");
    assert!(reason.is_none() && summary.unwrap().blocked);
    let prefix = limited(Mode::Block, OverLimit::InspectPrefix);
    assert_eq!(inspect(&prefix, &small, attack).0, Some(Reason::WafBlocked));
    assert_eq!(inspect(&prefix, &small, b"a harmless start <script>").0, None);
    let skip = limited(Mode::Block, OverLimit::Skip);
    assert_eq!(skip.wants_body(&request(&large)), None);
    assert_eq!(inspect(&skip, &small, attack).0, None);
}

#[test]
fn too_much_to_inspect_is_a_finding() {
    let form = post("application/x-www-form-urlencoded");
    check(&form, "a=1&".repeat(10_000).as_bytes(), Some("finding:limits"));
    check(&post("application/json"), "[".repeat(60_000).as_bytes(), Some("finding:json"));
}

#[test]
fn secrets_stay_out_of_the_summary() {
    let head = parts(get("/").header("cookie", "session=topsecret<script>"));
    let (_, summary) = inspect(&policy(&WafSettings::default()), &head, b"");
    let summary = format!("{summary:?}");
    assert!(summary.contains("cookie:session") && !summary.contains("topsecret"), "{summary}");
}

#[test]
fn a_wrong_rule_is_told_with_its_file_line_and_id() {
    let file = |text: &str| RuleFile { name: "own.yaml".into(), text: text.into() };
    let rule = "{ id: 9001, message: m, severity: critical, sensitivity: 1, targets: [query], ";
    let broken = |tail: &str| {
        let text = format!("rules:\n  - {rule}{tail} }}\n");
        RuleSet::compile(&[file(&text)]).unwrap_err().to_string()
    };
    assert!(RuleSet::compile(&[file(&format!("rules: [{rule} rx: a }}]"))]).is_ok());
    let start = "own.yaml:2: rule 9001: ";
    for (tail, message) in [
        ("rx: '('", "unclosed group"),
        ("rgx: a", "`rgx` is no key"),
        ("rx: a, contains: b", "second operator"),
        ("rx: a, transform: [lowrcase]", "`lowrcase` is no transformation"),
        ("rx: a, transform: sql", "no chain is called `sql`"),
        ("rx: a, except: [qery]", "`qery` is no part of a request"),
        ("tags: [x]", "an operator is missing"),
        ("present: yes", "takes `true`"),
    ] {
        let error = broken(tail);
        assert!(error.starts_with(start) && error.contains(message), "{error}");
    }
    let twice = file(&format!("rules: [{rule} rx: a }}]"));
    let error = RuleSet::compile(&[twice.clone(), twice]).unwrap_err().to_string();
    assert!(error.contains("its id is used in own.yaml already"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_panics_on_any_body(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        content_type in prop::sample::select(vec![
            "application/json", "multipart/form-data; boundary=b", "text/plain", "",
            "application/x-www-form-urlencoded", "multipart/form-data; boundary=\"",
        ]),
        complete in any::<bool>(),
    ) {
        let policy = policy(&WafSettings { sensitivity: Some(4), ..WafSettings::default() });
        let mut inspection = policy.begin();
        let _verdict = inspection.body(Some(content_type), &bytes, complete);
        let with_boundary = [b"--b\r\n".as_slice(), &bytes].concat();
        let _verdict = inspection.body(Some(content_type), &with_boundary, complete);
    }
}
