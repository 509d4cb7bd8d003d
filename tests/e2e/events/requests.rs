//! Requests that end in each of the reasons.

use serde_json::{Value, json};
use tidegate_testkit::client::{Ask, Connection};
use tidegate_testkit::tokens::{Signer, now};
use tidegate_testkit::wait;

use super::Stage;

/// What is answered, found, limited and too large.
pub(super) fn ordinary(stage: &Stage) {
    assert_eq!(stage.ask("/?token=hidden&limit=5", "2001:db8::9", None), 200);
    let attack = "/?id=1'%20OR%20'1'='1'%20--%20&password=hidden";
    assert_eq!(stage.ask(attack, "198.51.100.1", None), 403);
    assert_eq!(stage.ask("/limited", "198.51.100.2", None), 200);
    assert_eq!(stage.ask("/limited", "198.51.100.2", None), 429);
    assert_eq!(stage.ask("/limited", "198.51.100.40", None), 403);
    assert_eq!(stage.ask("/nothing", "198.51.100.3", None), 404);
    let post = |path: &str, size: usize| {
        let ask = Ask::new("POST", path).field("X-Forwarded-For", "198.51.100.3");
        let ask = ask.field("Content-Type", "application/x-www-form-urlencoded");
        ask.body(format!("text={}", "x".repeat(size))).send(stage.gateway.address()).status
    };
    assert_eq!(post("/small", 2_000), 413);
    assert_eq!(post("/", 40_000), 503, "more than all requests together may hold");
    let mut stalled = Connection::open(stage.gateway.address());
    stalled.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    drop(stalled.read_to_end());
}

/// What cannot be read, or is never served.
pub(super) fn unreadable(stage: &Stage) {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9_000));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "a".repeat(40_000));
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\xff\"|=\\%00 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"a|b=c\\d\te\"\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x00\x01\x02 nonsense\r\n\r\n",
        long.as_bytes(),
        large.as_bytes(),
    ] {
        let mut connection = Connection::open(stage.gateway.address());
        // It may be refused before all of it is sent.
        connection.try_send(bytes).ok();
        connection.try_response().ok();
    }
}

/// Who may pass, who may not, and of whom it cannot be said.
pub(super) fn identities(stage: &Stage) {
    let claims = |scope: &str| {
        json!({
            "iss": "https://id.example.com", "aud": "api", "sub": "ann", "client_id": "shop",
            "iat": now(), "exp": now() + 300, "scope": scope,
        })
    };
    let good = stage.signer.token(&claims("pay:write"));
    assert_eq!(stage.ask("/money", "198.51.100.4", Some(&good)), 200);
    let short = stage.signer.token(&claims("pay:read"));
    assert_eq!(stage.ask("/money", "198.51.100.4", Some(&short)), 403);
    assert_eq!(stage.ask("/admins", "198.51.100.4", Some(&good)), 403);
    assert_eq!(stage.ask("/money", "198.51.100.4", None), 401);
    assert_eq!(stage.ask("/money?access_token=x", "198.51.100.4", Some(&good)), 400);
    assert_eq!(stage.ask("/gone", "198.51.100.4", Some(&of_gone(stage))), 503);
    let forger = Signer::new("k1");
    for n in 0..60 {
        // Each with another token, as somebody would who guesses.
        let mut claims = claims("pay:write");
        claims["sub"] = Value::from(format!("guess-{n}"));
        let status = stage.ask("/money", "198.51.100.5", Some(&forger.token(&claims)));
        assert!([401, 403, 429].contains(&status), "{status}");
    }
}

/// A token of the issuer whose keys cannot be had for now.
pub(super) fn of_gone(stage: &Stage) -> String {
    stage.signer.token(&json!({
        "iss": "https://gone.example.com", "aud": "api", "sub": "bob", "iat": now(),
        "exp": now() + 300,
    }))
}

/// What upstreams do to requests, and clients that do not wait for it.
pub(super) fn upstreams(stage: &Stage) {
    let ask = |path: &str| stage.ask(path, "198.51.100.6", None);
    assert_eq!([ask("/silent"), ask("/hole")], [504, 504]);
    let mut half = Connection::open(stage.gateway.address());
    half.send(&Ask::new("GET", "/late").bytes());
    assert!(half.try_response().is_err(), "it has begun, and is not over in time");
    assert_eq!([ask("/broken/reset"), ask("/broken/garbage"), ask("/secret")], [502, 502, 502]);
    assert_eq!([ask("/nobody"), ask("/nobody"), ask("/nobody")], [502, 502, 503]);
    wait::until("the check finds it", || ask("/dead") == 503);
    for _ in 0..8 {
        assert_eq!([ask("/ejects"), ask("/suspects")], [200, 200]);
    }
    let mut leaves = Connection::open(stage.gateway.address());
    leaves.send(&Ask::new("GET", "/broken/left").bytes());
    let arrived = || stage.origin.received().iter().any(|got| got.target == "/broken/left");
    wait::until("it waits", arrived);
    drop(leaves);
    stage.gateway.logged(|line| line["reason"] == "client_closed");
}
