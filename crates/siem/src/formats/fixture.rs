//! Events and notices for tests: an ordinary one, one in which every field says something, and one
//! of every kind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, Version};
use tidegate_core::decision::{Decision, Evidence, Measure, Sample, Standing, Target};
use tidegate_core::event::{Applied, Identity, WafMatch, WafSummary};
use tidegate_core::{Event, Notice, NoticeKind, Reason};

use super::Node;

/// 2026-11-23T07:00:00.042Z.
pub(super) const TIME: Duration = Duration::from_millis(1_795_417_200_042);

pub(super) fn node() -> Node {
    Node { host: "gate-1".into(), version: "0.1.0".into(), pid: 42 }
}

/// An ordinary request.
pub(super) fn ordinary() -> Event<'static> {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Event {
        time: SystemTime::UNIX_EPOCH + TIME,
        request_id: "0193b1c8",
        listener: "0.0.0.0:8443",
        client,
        peer: SocketAddr::new(client, 50_000),
        scheme: "https",
        server: Some(SocketAddr::from(([198, 51, 100, 7], 8443))),
        tls: Some("TLSv1.3"),
        tls_cipher: Some("TLS_AES_128_GCM_SHA256"),
        tls_server_name: Some("api.example.com"),
        version: Version::HTTP_2,
        method: Some(&Method::GET),
        host: "api.example.com",
        path: "/pay/1",
        query: Some("limit=50&token=hidden"),
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

pub(super) fn findings() -> WafSummary {
    let found = |rule, target: &str, piece: &str, score| WafMatch {
        rule,
        message: "SQL injection: a=b|c\\d".into(),
        target: target.into(),
        piece: piece.into(),
        score,
        total: score,
        tags: vec!["attack-sqli".into()].into(),
        severity: "CRITICAL",
        logdata: "found".into(),
        phase: 2,
    };
    WafSummary {
        score: 10,
        blocked: true,
        detect_only: false,
        exceeded: Some("work"),
        decided_by: None,
        sanitised: vec!["pin".into()],
        matches: vec![
            found(942_100, "query:id", "1' or \"1\"=\"1", 5),
            found(942_101, "query:password", "hidden", 4),
        ],
    }
}

/// An event in which every field says something.
pub(super) fn with_full_event<R>(test: impl FnOnce(&Event<'_>) -> R) -> R {
    let waf = findings();
    let identity = Identity {
        method: "jwt",
        provider: "corp".into(),
        subject: Some("q1w2e3".into()),
        client: Some("shop".into()),
    };
    test(&Event {
        peer: SocketAddr::from(([10, 9, 8, 7], 1234)),
        client_certificate: Some("c0ffee"),
        query: Some("id=1&token=hidden&pin=hidden"),
        referer: Some("https://a.example/?password=hidden"),
        country: Some("DE"),
        asn: Some(64_500),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        span_id: Some("00f067aa0ba902b7"),
        status: 403,
        reason: Some(Reason::WafBlocked),
        evidence: Some("rule 942100\nsecond line"),
        retries: &["reset"],
        hedge: Some("won"),
        waf: Some(&waf),
        waf_shadow: Some(&waf),
        dry_run_limits: &["logins", "all"],
        identity: Some(&identity),
        credential: Some("5e884898da28047151d0e56f8dc62927"),
        measure: Some(Applied { measure: Measure::Tarpit, rule: "scanners" }),
        ..ordinary()
    })
}

pub(super) fn decision(standing: Standing, measure: Measure) -> Decision {
    let time = SystemTime::UNIX_EPOCH + TIME;
    Decision {
        time,
        rule: "credential-stuffing".into(),
        measure,
        target: Target::Network("192.0.2.0/24".parse().unwrap()),
        until: Some(time + Duration::from_secs(600)),
        standing,
        offence: 2,
        evidence: Evidence {
            count: 11,
            since: Some(time - Duration::from_secs(60)),
            samples: vec![Sample {
                time,
                request_id: "0193b1c8".into(),
                client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
                route: Some("login".into()),
                status: 401,
                reason: Some(Reason::InvalidToken),
            }],
        },
    }
}

/// A notice of every kind, short and with all that one can say.
pub(super) fn notices() -> Vec<Notice> {
    let time = SystemTime::UNIX_EPOCH + TIME;
    let short = NoticeKind::ALL.iter().map(|kind| Notice::new(time, *kind, "it happened"));
    let full = NoticeKind::ALL.iter().map(|kind| Notice {
        client: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9))),
        listener: Some("0.0.0.0:8443".into()),
        upstream: Some("api".into()),
        endpoint: Some(SocketAddr::from(([10, 0, 1, 11], 8080))),
        by: Some("admin".into()),
        details: vec![("count", "17".into()), ("cause", "a=b|c\\d\ne\tf".into())],
        decision: Some(Arc::new(decision(Standing::Enforced, Measure::Block))),
        ..Notice::new(time, *kind, "it happened")
    });
    let standings = [
        Standing::Capped,
        Standing::DryRun,
        Standing::Enforced,
        Standing::Panic,
        Standing::Protected,
    ];
    let decided = standings.into_iter().flat_map(|standing| {
        Measure::ALL.map(|measure| Notice {
            decision: Some(Arc::new(decision(standing, measure))),
            ..Notice::new(time, NoticeKind::Decided, "decided")
        })
    });
    short.chain(full).chain(decided).collect()
}

/// Calls `test` with an event for every reason, every measure, and what an event can be like.
pub(super) fn for_each_event(mut test: impl FnMut(&Event<'_>)) {
    let mut findings = findings();
    let unknown = Method::from_bytes(b"M-SEARCH").unwrap();
    let anonymous = Identity { method: "api_key", provider: "keys".into(), ..Identity::default() };
    test(&ordinary());
    with_full_event(&mut test);
    for reason in Reason::ALL {
        let status = reason.status().as_u16();
        test(&Event { reason: Some(*reason), status, evidence: Some("why"), ..ordinary() });
        let base = Event { reason: Some(*reason), status, ..Event::default() };
        test(&Event { listener: "[::1]:80", request_id: "0", ..base });
        with_full_event(|full| test(&Event { reason: Some(*reason), status, ..full.clone() }));
    }
    for measure in Measure::ALL {
        let measure = Some(Applied { measure, rule: "scanners" });
        test(&Event { measure, ..ordinary() });
        test(&Event { measure, reason: Some(Reason::RateLimited), status: 429, ..ordinary() });
    }
    for method in [&Method::CONNECT, &Method::PATCH, &Method::TRACE, &unknown] {
        test(&Event { method: Some(method), ..ordinary() });
    }
    let (v6, identity) = (SocketAddr::from(([1, 2, 3, 4, 5, 6, 7, 8], 9)), Some(&anonymous));
    test(&Event { client: v6.ip(), peer: v6, server: Some(v6), identity, ..ordinary() });
    findings.blocked = false;
    test(&Event { waf: Some(&findings), ..ordinary() });
    findings.decided_by = Some(942_101);
    test(&Event { waf: Some(&findings), waf_shadow: Some(&findings), ..ordinary() });
    let many = WafSummary { matches: vec![findings.matches[0].clone(); 100], ..findings.clone() };
    test(&Event { waf: Some(&many), waf_shadow: Some(&many), ..ordinary() });
    let reason = Some(Reason::InvalidToken);
    test(&Event { identity, reason, status: 401, ..ordinary() });
    test(&Event { dry_run_limits: &["logins"], method: Some(&unknown), ..ordinary() });
    test(&Event { status: 502, tls: None, query: None, upstream: None, ..ordinary() });
}
