//! What a scrape shows after events.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tidegate_core::Reason;
use tidegate_core::decision::{Evidence, Measure, Standing, Target};
use tidegate_core::event::{WafMatch, WafSummary};

use super::*;
use crate::fixture::event;

fn metrics() -> Metrics {
    Metrics::new(BuildInfo { version: "1.2.3", revision: "abc" })
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render(Exposition::Text)).unwrap()
}

/// The value of one sample, its name and labels written as in the text format.
fn sample(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = text(metrics);
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

#[track_caller]
fn check(metrics: &Metrics, series: &str, expected: impl Into<Option<f64>>) {
    assert_eq!(sample(metrics, series), expected.into(), "{series} in\n{}", text(metrics));
}

fn endpoint(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], 8080))
}

#[test]
fn an_event_is_counted_for_its_route_and_its_upstream() {
    let metrics = metrics();
    let (route, upstream) = (metrics.route("pay"), metrics.upstream("api"));
    upstream.set_endpoints(&[endpoint(11), endpoint(12)]);
    metrics.record(&event(), &route, Some(&upstream));
    check(&metrics, r#"tidegate_requests_total{route="pay",code="2xx"}"#, 1.0);
    check(&metrics, r#"tidegate_requests_total{route="pay",code="5xx"}"#, 0.0);
    check(&metrics, r#"tidegate_requests_total{route="(none)",code="2xx"}"#, 0.0);
    check(&metrics, r#"tidegate_request_duration_seconds_count{route="pay"}"#, 1.0);
    check(&metrics, r#"tidegate_request_duration_seconds_sum{route="pay"}"#, 0.012_345);
    check(&metrics, r#"tidegate_request_duration_seconds_bucket{route="pay",le="0.01"}"#, 0.0);
    check(&metrics, r#"tidegate_request_duration_seconds_bucket{route="pay",le="0.025"}"#, 1.0);
    check(&metrics, r#"tidegate_request_body_bytes_total{route="pay"}"#, 10.0);
    check(&metrics, r#"tidegate_response_body_bytes_total{route="pay"}"#, 1_000.0);
    check(&metrics, r#"tidegate_upstream_duration_seconds_sum{upstream="api"}"#, 0.012);
    check(&metrics, "tidegate_gateway_overhead_seconds_sum", 0.000_045);
    let outcome = |endpoint, outcome| {
        format!(
            r#"tidegate_upstream_requests_total{{upstream="api",endpoint="{endpoint}",outcome="{outcome}"}}"#
        )
    };
    check(&metrics, &outcome("10.0.1.11:8080", "answered"), 1.0);
    check(&metrics, &outcome("10.0.1.12:8080", "answered"), None);
    check(
        &metrics,
        r#"tidegate_upstream_connection_uses_total{upstream="api",reused="true"}"#,
        1.0,
    );
}

#[track_caller]
fn check_outcome(reason: Option<Reason>, upstream_status: Option<u16>, expected: &str) {
    let metrics = metrics();
    let (route, upstream) = (metrics.route("r"), metrics.upstream("u"));
    upstream.set_endpoints(&[endpoint(11)]);
    let event = Event { reason, upstream_status, attempts: 2, retries: &["reset"], ..event() };
    metrics.record(&event, &route, Some(&upstream));
    let series = format!(
        r#"tidegate_upstream_requests_total{{upstream="u",endpoint="10.0.1.11:8080",outcome="{expected}"}}"#
    );
    check(&metrics, &series, 1.0);
    check(&metrics, r#"tidegate_upstream_retries_total{upstream="u",reason="reset"}"#, 1.0);
}

#[test]
fn an_attempt_has_one_outcome() {
    check_outcome(None, Some(200), "answered");
    check_outcome(None, Some(404), "answered");
    check_outcome(None, Some(503), "server_error");
    check_outcome(Some(Reason::UpstreamTimeout), None, "failed");
    check_outcome(Some(Reason::UpstreamReset), Some(200), "failed");
    check_outcome(Some(Reason::ClientClosed), None, "canceled");
    check_outcome(Some(Reason::ClientClosed), Some(200), "answered");
}

#[test]
fn a_refusal_is_counted_by_reason_also_without_a_route() {
    let metrics = metrics();
    let refused = |status, reason| Event { status, reason: Some(reason), ..event() };
    metrics.record(&refused(400, Reason::MalformedRequest), metrics.unrouted(), None);
    metrics.record(&refused(499, Reason::ClientClosed), metrics.unrouted(), None);
    check(&metrics, r#"tidegate_refusals_total{route="(none)",reason="malformed_request"}"#, 1.0);
    check(&metrics, r#"tidegate_requests_total{route="(none)",code="4xx"}"#, 2.0);
    check(&metrics, r#"tidegate_refusals_total{route="(none)",reason="no_route"}"#, None);
}

#[test]
fn a_status_out_of_range_is_no_answer() {
    let metrics = metrics();
    for status in [0, 99, 600, u16::MAX] {
        metrics.record(&Event { status, ..event() }, metrics.unrouted(), None);
    }
    check(&metrics, r#"tidegate_request_duration_seconds_count{route="(none)"}"#, 4.0);
    check(&metrics, r#"tidegate_requests_total{route="(none)",code="5xx"}"#, 0.0);
}

#[test]
fn the_firewall_is_counted_by_rule_and_by_outcome() {
    let metrics = metrics();
    let found = |rule| WafMatch { rule, score: 5, ..WafMatch::default() };
    let mut waf = WafSummary {
        score: 10,
        blocked: true,
        exceeded: Some("work"),
        matches: vec![found(942_100), found(941_100)],
        ..WafSummary::default()
    };
    let route = metrics.route("r");
    metrics.record(&Event { waf: Some(&waf), ..event() }, &route, None);
    waf.detect_only = true;
    metrics.record(&Event { waf: Some(&waf), ..event() }, &route, None);
    check(&metrics, r#"tidegate_waf_matches_total{rule="941100"}"#, 2.0);
    check(&metrics, r#"tidegate_waf_blocked_total{route="r"}"#, 1.0);
    check(&metrics, r#"tidegate_waf_detected_total{route="r"}"#, 1.0);
    check(&metrics, r#"tidegate_waf_budget_exceeded_total{route="r"}"#, 2.0);
    metrics.record(&Event { waf_shadow: Some(&waf), ..event() }, &route, None);
    check(&metrics, r#"tidegate_waf_shadow_matches_total{rule="941100"}"#, 1.0);
    check(&metrics, r#"tidegate_waf_matches_total{rule="941100"}"#, 2.0);
    waf.matches = (0..2_000).map(found).collect();
    metrics.record(&Event { waf: Some(&waf), ..event() }, &route, None);
    check(&metrics, r#"tidegate_waf_matches_total{rule="(other)"}"#, 1_002.0);
}

#[test]
fn a_reload_goes_on_counting_and_drops_what_is_gone() {
    let metrics = metrics();
    let old = (metrics.route("kept"), metrics.route("gone"));
    metrics.record(&event(), &old.0, None);
    metrics.record(&event(), &old.1, None);
    let new = metrics.route("kept");
    drop(old);
    metrics.record(&event(), &new, None);
    check(&metrics, r#"tidegate_requests_total{route="kept",code="2xx"}"#, 2.0);
    check(&metrics, r#"tidegate_requests_total{route="gone",code="2xx"}"#, None);
}

#[test]
fn endpoints_come_and_go_with_their_series() {
    let metrics = metrics();
    let upstream = metrics.upstream("u");
    upstream.set_endpoints(&[endpoint(2), endpoint(1)]);
    let first = upstream.endpoint(endpoint(1)).unwrap();
    first.set_healthy(true);
    first.attempt_failed();
    upstream.set_endpoints(&[endpoint(3), endpoint(1), endpoint(1)]);
    upstream.endpoint(endpoint(3)).unwrap().set_healthy(false);
    let healthy = |endpoint| {
        format!(r#"tidegate_upstream_endpoint_healthy{{upstream="u",endpoint="{endpoint}"}}"#)
    };
    check(&metrics, &healthy("10.0.1.1:8080"), 1.0);
    check(&metrics, &healthy("10.0.1.2:8080"), None);
    check(&metrics, &healthy("10.0.1.3:8080"), 0.0);
    check(
        &metrics,
        r#"tidegate_upstream_requests_total{upstream="u",endpoint="10.0.1.1:8080",outcome="failed"}"#,
        1.0,
    );
}

#[test]
fn a_request_that_is_quicker_than_the_list_is_counted_too() {
    let metrics = metrics();
    let (route, upstream) = (metrics.route("r"), metrics.upstream("u"));
    metrics.record(&event(), &route, Some(&upstream));
    upstream.set_endpoints(&[endpoint(11), endpoint(12)]);
    metrics.record(&event(), &route, Some(&upstream));
    let series = r#"tidegate_upstream_requests_total{upstream="u",endpoint="10.0.1.11:8080",outcome="answered"}"#;
    check(&metrics, series, 2.0);
    for n in 0..1_000_u16 {
        let endpoint = Some(SocketAddr::from(([10, 0, 2, 1], n)));
        metrics.record(&Event { endpoint, ..event() }, &route, Some(&upstream));
    }
    let text = text(&metrics);
    let endpoints = text.lines().filter(|line| line.contains(r#",outcome="answered""#)).count();
    assert_eq!(endpoints, 256 - 1, "bounded, and one of two known has no answer");
    upstream.set_endpoints(&[endpoint(11)]);
    check(&metrics, series, 2.0);
    assert!(!self::text(&metrics).contains("10.0.2.1"), "what was not on the list is gone");
}

#[test]
fn labels_that_concatenate_alike_stay_apart() {
    let metrics = metrics();
    let (one, other) = (metrics.upstream("api1"), metrics.upstream("api"));
    one.set_endpoints(&["0.0.0.1:80".parse().unwrap()]);
    other.set_endpoints(&["10.0.0.1:80".parse().unwrap()]);
    one.endpoint("0.0.0.1:80".parse().unwrap()).unwrap().set_healthy(true);
    other.endpoint("10.0.0.1:80".parse().unwrap()).unwrap().set_healthy(false);
    let text = text(&metrics);
    assert!(text.contains(r#"{upstream="api1",endpoint="0.0.0.1:80"} 1"#), "{text}");
    assert!(text.contains(r#"{upstream="api",endpoint="10.0.0.1:80"} 0"#), "{text}");
}

#[test]
fn cardinality_is_bounded() {
    let metrics = metrics();
    let routes: Vec<_> = (0..3_000).map(|n| metrics.route(&format!("r{n}"))).collect();
    for route in &routes {
        metrics.record(&event(), route, None);
    }
    let upstream = metrics.upstream("u");
    let many: Vec<_> = (0..600_u16).map(|n| SocketAddr::from(([10, 0, 0, 1], n))).collect();
    upstream.set_endpoints(&many);
    for address in &many {
        upstream.endpoint(*address).unwrap().set_healthy(true);
        metrics.record(&Event { endpoint: Some(*address), ..event() }, &routes[0], Some(&upstream));
    }
    let text = text(&metrics);
    let lines = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(lines("tidegate_request_body_bytes_total"), MAX_ROUTES + 2);
    assert_eq!(lines("tidegate_upstream_endpoint_healthy"), 257);
    check(&metrics, r#"tidegate_requests_total{route="(other)",code="2xx"}"#, 1_000.0);
    let other =
        r#"tidegate_upstream_requests_total{upstream="u",endpoint="(other)",outcome="answered"}"#;
    check(&metrics, other, 600.0 - 256.0);
}

#[test]
fn gauges_fall_when_guards_are_dropped() {
    let metrics = metrics();
    let (listener, upstream) = (metrics.listener("[::]:80"), metrics.upstream("u"));
    let guards =
        (metrics.request_started(), upstream.request_started(), listener.connection_opened());
    let series = [
        "tidegate_requests_in_flight",
        r#"tidegate_upstream_requests_in_flight{upstream="u"}"#,
        r#"tidegate_connections{listener="[::]:80"}"#,
    ];
    series.iter().for_each(|series| check(&metrics, series, 1.0));
    drop(guards);
    series.iter().for_each(|series| check(&metrics, series, 0.0));
    check(&metrics, r#"tidegate_connections_accepted_total{listener="[::]:80"}"#, 1.0);
}

#[test]
fn a_failed_reload_is_seen_until_one_succeeds() {
    let metrics = metrics();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    metrics.config_reloaded(true, at(100));
    metrics.config_reloaded(false, at(200));
    check(&metrics, "tidegate_config_last_reload_success", 0.0);
    check(&metrics, "tidegate_config_last_reload_timestamp_seconds", 200.0);
    check(&metrics, "tidegate_config_applied_timestamp_seconds", 100.0);
    metrics.config_reloaded(true, at(300));
    check(&metrics, "tidegate_config_last_reload_success", 1.0);
    check(&metrics, r#"tidegate_config_reloads_total{result="failure"}"#, 1.0);
    check(&metrics, r#"tidegate_config_reloads_total{result="success"}"#, 2.0);
}

#[test]
fn threads_count_exactly() {
    let metrics = metrics();
    let (route, upstream) = (metrics.route("r"), metrics.upstream("u"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    metrics.record(&event(), &route, Some(&upstream));
                }
            });
        }
        for _ in 0..20 {
            drop(metrics.render(Exposition::Text));
        }
    });
    check(&metrics, r#"tidegate_requests_total{route="r",code="2xx"}"#, 20_000.0);
    check(&metrics, r#"tidegate_request_duration_seconds_count{route="r"}"#, 20_000.0);
    check(&metrics, r#"tidegate_request_duration_seconds_bucket{route="r",le="+Inf"}"#, 20_000.0);
}

/// A scrape in which every family has a sample.
fn everything() -> Metrics {
    let metrics = metrics();
    let (route, upstream) = (metrics.route("pay"), metrics.upstream("api"));
    let listener = metrics.listener("0.0.0.0:8443");
    upstream.set_endpoints(&[endpoint(11)]);
    upstream.endpoint(endpoint(11)).unwrap().set_healthy(true);
    upstream.ejected("latency");
    let mut waf = WafSummary { score: 5, blocked: true, ..WafSummary::default() };
    waf.matches.push(WafMatch { rule: 942_100, score: 5, ..WafMatch::default() });
    let limits = ["logins"];
    let refused = Event {
        status: 403,
        reason: Some(Reason::WafBlocked),
        waf: Some(&waf),
        dry_run_limits: &limits,
        ..event()
    };
    let hedged = Event { retries: &["reset"], hedge: Some("won"), ..event() };
    metrics.record(&hedged, &route, Some(&upstream));
    metrics.record(&refused, &route, Some(&upstream));
    let calm = WafSummary::default();
    let shadow = Event { waf_shadow: Some(&calm), ..refused };
    metrics.record(&shadow, &route, Some(&upstream));
    let shadow = Event { waf_shadow: Some(&waf), ..event() };
    metrics.record(&shadow, &route, Some(&upstream));
    waf.detect_only = true;
    waf.exceeded = Some("work");
    metrics.record(&Event { waf: Some(&waf), ..event() }, &route, Some(&upstream));
    metrics.keys_fetched("corp", true);
    metrics.token_exchanged("corp", Exchanged::Issued);
    listener.tls_handshake_failed(TlsFailure::Protocol);
    listener.set_certificates(vec![("a\"b\\c\nd".to_owned(), UNIX_EPOCH + Duration::from_secs(1))]);
    metrics.set_rate_limit_tables(vec![RateLimitTable {
        limit: "pay/0".into(),
        ..Default::default()
    }]);
    metrics.set_audit(AuditSample {
        commit_buckets: vec![(0.001, 1)],
        commit_count: 1,
        anchors: vec![AuditAnchor { anchor: "file /mnt/c".into(), at: 1, ..Default::default() }],
        ..Default::default()
    });
    let dropped = [("queue_full", 1), ("refused", 2), ("not_sent", 3)];
    measures_and_sinks(&metrics);
    metrics.set_traces(Some(TraceSample { sent: 1, dropped, ..Default::default() }));
    // Handles are dropped here, as by a process that ends: show before.
    let shown = metrics.render(Exposition::Text);
    assert!(!shown.is_empty());
    std::mem::forget((route, upstream, listener));
    metrics
}

/// What of the metrics the response policy and the sinks count.
fn measures_and_sinks(metrics: &Metrics) {
    metrics.crowdsec_asked(true);
    metrics.decided(&Decision {
        time: UNIX_EPOCH,
        rule: "scanners".into(),
        measure: Measure::Block,
        target: Target::Route("pay".into()),
        until: None,
        standing: Standing::Enforced,
        offence: 1,
        evidence: Evidence::default(),
    });
    metrics.set_sinks(vec![SinkState {
        name: "soc".to_owned(),
        dropped: vec![("queue_full", 1)],
        spool_bytes: Some(1),
        ..SinkState::default()
    }]);
}

#[test]
fn every_family_has_help_and_the_prefix() {
    let text = text(&everything());
    let families: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 35, "{families:?}");
    assert!(families.is_sorted());
    for family in families {
        assert!(family.starts_with("tidegate_") || family.starts_with("process_"), "{family}");
        assert!(text.contains(&format!("# HELP {family} ")), "{family}");
    }
}

/// promtool knows the conventions; where it is not installed, the end-to-end tests still ask it.
#[test]
fn promtool_accepts_a_scrape() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return };
    let scrape = everything().render(Exposition::Text);
    promtool.stdin.take().unwrap().write_all(&scrape).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

/// The reference names every family, and nothing else.
#[test]
fn the_reference_lists_every_family() {
    let text = text(&everything());
    let shown: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let reference = include_str!("../../../../docs/reference/metrics.md");
    let listed: Vec<_> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .collect();
    let missing: Vec<_> = shown.iter().filter(|name| !listed.contains(name)).collect();
    let unknown: Vec<_> = listed.iter().filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

fn open_metrics(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render(Exposition::OpenMetrics)).unwrap()
}

/// OpenMetrics 1.0: a family's name is that of its samples without their suffix, and no two
/// families may have names that a suffix would make one.
#[test]
fn open_metrics_says_the_same_under_its_own_names() {
    let metrics = everything();
    let (text, open) = (text(&metrics), open_metrics(&metrics));
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1);
    let types = |page: &str| -> Vec<(String, String)> {
        let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    };
    let (classic, modern) = (types(&text), types(&open));
    assert_eq!(classic.len(), modern.len());
    for ((name, kind), (short, same)) in classic.iter().zip(&modern) {
        assert_eq!(kind, same);
        let suffix = if kind == "counter" { "_total" } else { "" };
        assert_eq!(*name, format!("{short}{suffix}"));
    }
    let mut names: Vec<_> = modern.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), modern.len(), "a counter and a gauge must not share a name");
    let samples = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples(&text), samples(&open));
}

#[test]
fn only_open_metrics_names_the_recorded_traces() {
    let metrics = metrics();
    let route = metrics.route("pay");
    let id = "0af7651916cd43dd8448eb211c80319c";
    let one = |id, sampled| Event { trace_id: Some(id), sampled, ..event() };
    metrics.record(&one(id, true), &route, None);
    metrics.record(&one("ffffffffffffffffffffffffffffffff", false), &route, None);
    let open = open_metrics(&metrics);
    let bucket = r#"tidegate_request_duration_seconds_bucket{route="pay",le="0.025"} 2"#;
    let exemplar = format!("{bucket} # {{trace_id=\"{id}\"}} 0.012345 1795417200.054\n");
    assert!(open.contains(&exemplar), "{open}");
    assert!(!open.contains("ffffffff") && !text(&metrics).contains(id));
}
