//! What an event's members say, as the access log writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::event::members;
use super::json::Object;
use super::*;
use crate::event::{Applied, Identity, WafMatch, WafSummary};
use crate::{Event, Measure, Reason};

/// An ordinary event for tests to change.
fn event() -> Event<'static> {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Event {
        time: UNIX_EPOCH + Duration::from_millis(1_795_417_200_042),
        request_id: "0193b1c8",
        listener: "0.0.0.0:8443",
        client,
        peer: SocketAddr::new(client, 50_000),
        scheme: "https",
        tls: Some("TLSv1.3"),
        method: Some(&Method::GET),
        host: "api.example.com",
        path: "/pay/1",
        user_agent: Some("curl/8"),
        route: Some("pay"),
        upstream: Some("api"),
        endpoint: Some(SocketAddr::from(([10, 0, 1, 11], 8080))),
        status: 200,
        upstream_status: Some(200),
        attempts: 1,
        request_bytes: 10,
        response_bytes: 1_000,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_millis(12)),
        overhead: Some(Duration::from_micros(45)),
        upstream_reused: true,
        ..Event::default()
    }
}

fn line(about: &Event<'_>) -> String {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    object.time("time", about.time);
    members(&mut object, about);
    object.end();
    String::from_utf8(out).unwrap()
}

fn parsed(event: &Event<'_>) -> Value {
    let line = line(event);
    assert!(line.ends_with('}') && !line.contains('\n'), "{line:?}");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_line_says_what_happened() {
    let expected = concat!(
        r#"{"time":"2026-11-23T07:00:00.042Z","request_id":"0193b1c8","listener":"0.0.0.0:8443","#,
        r#""client":"192.0.2.1","peer":"192.0.2.1:50000","scheme":"https","tls":"TLSv1.3","#,
        r#""protocol":"HTTP/1.1","method":"GET","host":"api.example.com","path":"/pay/1","#,
        r#""user_agent":"curl/8","route":"pay","upstream":"api","endpoint":"10.0.1.11:8080","#,
        r#""upstream_reused":true,"status":200,"upstream_status":200,"attempts":1,"#,
        r#""request_bytes":10,"response_bytes":1000,"duration_ms":12.345,"#,
        r#""upstream_duration_ms":12.000,"overhead_ms":0.045}"#,
    );
    assert_eq!(line(&event()), expected);
}

/// An event in which every field says something.
fn with_full_event<R>(test: impl FnOnce(&Event<'_>) -> R) -> R {
    let waf = WafSummary {
        score: 5,
        blocked: true,
        detect_only: false,
        exceeded: Some("work"),
        decided_by: Some(949_110),
        sanitised: vec!["pin".into()],
        matches: vec![WafMatch {
            rule: 942_100,
            message: "SQL injection".into(),
            target: "query:id".into(),
            piece: "1' or \"1\"".into(),
            score: 5,
            total: 5,
            tags: vec!["attack-sqli".into()].into(),
            severity: "CRITICAL",
            logdata: "found".into(),
            phase: 2,
        }],
    };
    let limits = ["logins"];
    let identity = Identity {
        method: "jwt",
        provider: "corp".into(),
        subject: Some("q1w2e3".into()),
        client: Some("shop".into()),
    };
    test(&Event {
        identity: Some(&identity),
        credential: Some("5e8848"),
        measure: Some(Applied { measure: Measure::Tarpit, rule: "scanners" }),
        server: Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 443))),
        country: Some("DE"),
        asn: Some(64_500),
        tls_cipher: Some("TLS_AES_128_GCM_SHA256"),
        tls_server_name: Some("api.example.com"),
        client_certificate: Some("c0ffee"),
        span_id: Some("00f067aa0ba902b7"),
        client: IpAddr::V6(Ipv6Addr::LOCALHOST),
        peer: SocketAddr::from((Ipv6Addr::LOCALHOST, 1)),
        query: Some("id=1&token=hidden&pin=hidden"),
        referer: Some("https://a.example/?password=hidden"),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        status: 403,
        reason: Some(Reason::WafBlocked),
        evidence: Some("rule 942100"),
        retries: &["reset"],
        hedge: Some("won"),
        waf: Some(&waf),
        waf_shadow: Some(&waf),
        dry_run_limits: &limits,
        ..event()
    })
}

#[test]
fn a_refusal_says_why() {
    let line = with_full_event(parsed);
    assert_eq!(line["client"], "::1");
    assert_eq!(line["peer"], "[::1]:1");
    assert_eq!(line["query"], "id=1&token=***&pin=***");
    assert_eq!(line["referer"], "https://a.example/?password=***");
    assert_eq!(line["reason"], "waf_blocked");
    assert_eq!(line["evidence"], "rule 942100");
    assert_eq!(line["dry_run_limits"], json!(["logins"]));
    assert_eq!(line["retries"], json!(["reset"]));
    assert_eq!(line["hedge"], "won");
    assert_eq!(line["waf_shadow"]["matches"], line["waf"]["matches"]);
    assert_eq!(line["waf_shadow"]["blocked"], true);
    assert_eq!(
        line["waf"],
        json!({
            "score": 5,
            "blocked": true,
            "detect_only": false,
            "exceeded": "work",
            "decided_by": 949_110,
            "matches": [{
                "rule": 942_100,
                "phase": 2,
                "severity": "CRITICAL",
                "tags": ["attack-sqli"],
                "logdata": "found",
                "total": 5,
                "message": "SQL injection",
                "target": "query:id",
                "piece": "1' or \"1\"",
                "score": 5,
            }],
        })
    );
    assert!(!line.to_string().contains("hidden"));
}

#[test]
fn what_could_not_be_read_is_left_out() {
    let line = parsed(&Event {
        method: None,
        host: "",
        path: "",
        tls: None,
        user_agent: None,
        route: None,
        upstream: None,
        endpoint: None,
        upstream_status: None,
        upstream_duration: None,
        overhead: None,
        attempts: 0,
        ..event()
    });
    let fields: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "time",
        "request_id",
        "listener",
        "client",
        "peer",
        "scheme",
        "protocol",
        "status",
        "attempts",
        "request_bytes",
        "response_bytes",
        "duration_ms",
    ];
    assert_eq!(fields, expected);
}

/// The reference lists every field that a line can have, in the order of the line.
#[test]
fn the_reference_lists_every_field() {
    let line = with_full_event(|event| {
        let waf = event.waf.unwrap();
        let many = WafSummary { matches: vec![waf.matches[0].clone(); 100], ..waf.clone() };
        parsed(&Event { waf: Some(&many), waf_shadow: Some(&many), ..event.clone() })
    });
    let mut fields: Vec<String> = Vec::new();
    for (name, value) in line.as_object().unwrap() {
        fields.push(name.clone());
        for (inner, value) in value.as_object().into_iter().flatten() {
            fields.push(format!("{name}.{inner}"));
            let first = value.get(0).and_then(Value::as_object);
            fields.extend(
                first.into_iter().flatten().map(|(key, _)| format!("{name}.{inner}[].{key}")),
            );
        }
    }
    let reference = include_str!("../../../../docs/reference/access-log.md");
    let listed: Vec<_> =
        reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, fields);
}

#[track_caller]
fn check_time(since: Duration, expected: &str) {
    let time = UNIX_EPOCH + since;
    assert_eq!(parsed(&Event { time, ..event() })["time"], expected);
}

#[test]
fn times_are_rfc_3339_in_utc() {
    check_time(Duration::ZERO, "1970-01-01T00:00:00.000Z");
    check_time(Duration::from_millis(951_782_400_999), "2000-02-29T00:00:00.999Z");
    check_time(Duration::from_micros(4_102_444_799_999_999), "2099-12-31T23:59:59.999Z");
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let agent = "\u{e4}".repeat(10_000);
    let query = format!("a={}&token=hidden", "\u{20ac}".repeat(10_000));
    let line = parsed(&Event { user_agent: Some(&agent), query: Some(&query), ..event() });
    for field in ["user_agent", "query"] {
        let text = line[field].as_str().unwrap();
        assert!(text.ends_with('\u{2026}') && (4_000..4_200).contains(&text.len()), "{field}");
    }
}

#[test]
fn many_matches_are_counted_where_they_have_no_room() {
    let found = WafMatch { message: "\"".repeat(100).into(), ..WafMatch::default() };
    let waf = WafSummary { matches: vec![found; 256], ..WafSummary::default() };
    let event = Event { waf: Some(&waf), waf_shadow: Some(&waf), ..event() };
    let line = parsed(&event);
    let told = line["waf"]["matches"].as_array().unwrap().len();
    assert_eq!(line["waf"]["matches_left"], 256 - told);
    assert!(told > 10 && line.to_string().len() < 20_000, "{told}");
}

#[test]
fn durations_have_three_decimals() {
    let millis = |micros| line(&Event { duration: Duration::from_micros(micros), ..event() });
    assert!(millis(0).contains(r#""duration_ms":0.000,"#));
    assert!(millis(7).contains(r#""duration_ms":0.007,"#));
    assert!(millis(1_234_567).contains(r#""duration_ms":1234.567,"#));
}

proptest! {
    #[test]
    fn a_line_is_json_whatever_was_sent(
        path in "(?s).{0,40}", agent in "(?s)[\\x00-\\x7f]{0,40}", evidence in any::<String>(),
        query in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..64),
        status in any::<u16>(), nanos in any::<u64>(), address in any::<IpAddr>(),
    ) {
        let raw = String::from_utf8_lossy(&bytes);
        let method = Method::from_bytes(b"M-SEARCH").unwrap();
        let duration = Duration::from_nanos(nanos);
        let event = Event {
            path: &path, user_agent: Some(&agent), evidence: Some(&evidence), query: Some(&query),
            referer: Some(&raw), host: &raw, method: Some(&method), status, duration,
            client: address, peer: SocketAddr::new(address, 1), ..event()
        };
        let line = parsed(&event);
        prop_assert_eq!(line["path"].as_str().unwrap_or_default(), &path);
        prop_assert_eq!(line["user_agent"].as_str().unwrap(), &agent);
        prop_assert_eq!(line["evidence"].as_str().unwrap(), &evidence);
        prop_assert_eq!(line["status"].as_u64(), Some(status.into()));
        prop_assert_eq!(line["client"].as_str().unwrap().parse(), Ok(address));
        prop_assert!(line["duration_ms"].as_f64().is_some());
    }
}
