//! What it costs to find out who asks and what they may do: a token that is remembered, one that is
//! seen for the first time beside the raw library and a peer, key sets, API keys, refusals.
//! Targets: a remembered token 1 µs, ES256 within 10 % of the library's own verification.
//! `examples/tokens.rs` takes the ratios round by round, and the memory of 100,000 tokens.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Method;
use serde_json::{Value, json};
use tidegate_auth::jose::{Algorithm, KeySet, Token};
use tidegate_auth::settings::ReportSettings;
use tidegate_auth::{Authenticated, ScopeReport, Verdict};
use tidegate_benches::tokens::{
    Failed, Keys, NOW, Peer, Raw, Stand, bearer, claims, encode, head, request,
};
use tidegate_core::Reason;

/// Setting up goes right, or there is nothing to measure.
fn must<T>(made: Result<T, Failed>) -> T {
    made.unwrap_or_else(|error| unreachable!("{error}"))
}

fn keys() -> Keys {
    must(Keys::new())
}

fn stand(keys: &Keys, cache: &str, access: Value) -> Stand {
    must(Stand::new(keys, cache, access))
}

fn remembered(c: &mut Criterion) {
    let mut group = c.benchmark_group("auth/remembered");
    let keys = keys();
    let token = must(keys.token(Algorithm::Es256, &claims(1)));
    let head = must(bearer(&token));
    let request = request(&head);
    let told = json!({ "headers": {
        "X-User-Id": "subject", "X-Client": "client", "X-Scopes": "scopes",
    } });
    for (name, access) in [
        ("the token alone", json!({ "jwt": "corp" })),
        ("scopes and roles", json!({ "jwt": "corp", "scopes": ["pay:read"], "roles": ["clerk"] })),
        (
            "scopes, three fields told",
            json!({ "jwt": "corp", "scopes": ["pay:read"], "forward": told }),
        ),
    ] {
        let stand = stand(&keys, "32MiB", access);
        assert!(stand.passes(&head, &request), "it holds");
        group.bench_function(name, |b| b.iter(|| black_box(stand.verdict(black_box(&request)))));
    }
    // What no cache by a hash of the token can do without.
    group.bench_function("its SHA-256 alone", |b| {
        use aws_lc_rs::digest::{SHA256, digest};
        b.iter(|| digest(&SHA256, black_box(token.as_bytes())));
    });
    let many = stand(&keys, "256MiB", json!({ "jwt": "corp" }));
    let heads: Vec<_> = (0..10_000)
        .map(|number| must(bearer(&must(keys.token(Algorithm::Es256, &claims(number))))))
        .collect();
    assert!(heads.iter().all(|head| many.passes(head, &request)), "they hold");
    let mut each = heads.iter().cycle();
    group.bench_function("10,000 tokens in turn", |b| {
        b.iter(|| each.next().map(|head| many.passes(black_box(head), &request)));
    });
    group.finish();
}

fn first_time(c: &mut Criterion) {
    let keys = keys();
    // Nothing fits into it, so that remembering is left out; `examples/tokens.rs` has it in.
    let stand = stand(&keys, "16B", json!({ "jwt": "corp" }));
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut group = c.benchmark_group(format!("auth/first time/{}", algorithm.name()));
        let token = must(keys.token(algorithm, &claims(1)));
        let head = must(bearer(&token));
        let request = request(&head);
        let raw = must(Raw::new(&keys, algorithm, &token));
        let peer = must(Peer::new(&keys, algorithm));
        assert!(raw.verifies() && peer.passes(&token) && stand.passes(&head, &request));
        group.bench_function("aws-lc-rs, the signature alone", |b| b.iter(|| raw.verifies()));
        group.bench_function("the signature, by our key", |b| {
            b.iter(|| raw.verifies_with_own_key());
        });
        group.bench_function("the whole check", |b| b.iter(|| black_box(stand.verdict(&request))));
        group.bench_function("jsonwebtoken, decode", |b| b.iter(|| peer.passes(black_box(&token))));
        group.bench_function("taken apart, unverified", |b| {
            b.iter(|| black_box(Token::read(black_box(&token)).is_ok()));
        });
        group.finish();
    }
}

fn key_sets(c: &mut Criterion) {
    let mut group = c.benchmark_group("auth/key set");
    let keys = keys();
    let token = must(keys.token(Algorithm::Es256, &claims(1)));
    let Ok(token) = Token::read(&token) else { return };
    for size in [1_usize, 16, 256] {
        let own = must(keys.jwk(Algorithm::Es256));
        let other = |number: usize| {
            let mut jwk = own.clone();
            if let Some(members) = jwk.as_object_mut() {
                members.insert("kid".to_owned(), format!("other-{number}").into());
            }
            jwk
        };
        // The one that is looked for stands last.
        let all: Vec<Value> = (1..size).map(other).chain([own.clone()]).collect();
        let text = json!({ "keys": all }).to_string();
        let Ok(set) = KeySet::read(text.as_bytes(), &Algorithm::ALL) else { return };
        group.bench_function(BenchmarkId::new("look-up", size), |b| {
            b.iter(|| black_box(set.candidates(black_box(&token.header)).next().is_some()));
        });
        group.bench_function(BenchmarkId::new("read", size), |b| {
            b.iter(|| black_box(KeySet::read(text.as_bytes(), &Algorithm::ALL).is_ok()));
        });
    }
    group.finish();
}

fn api_keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("auth/API key");
    for size in [10_u32, 100_000] {
        let key = |number: u32| format!("k3y-{number:040}");
        let entries: Vec<Value> = (0..size)
            .map(|number| {
                use aws_lc_rs::digest::{SHA256, digest};
                let hash = digest(&SHA256, key(number).as_bytes());
                let hash: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
                json!({ "id": format!("shop-{number}"), "sha256": hash, "scopes": ["pay:read"] })
            })
            .collect();
        let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
        let Ok(()) = file.write_all(json!({ "keys": entries }).to_string().as_bytes()) else {
            return;
        };
        let auth = json!({ "api_keys": { "partners": { "file": file.path() } } });
        let stand = must(Stand::with(auth, json!({ "api_key": "partners" })));
        for (name, key) in [("known", key(7)), ("unknown", key(size + 1))] {
            let head = must(head("x-api-key", &key));
            let request = request(&head);
            assert_eq!(stand.passes(&head, &request), name == "known");
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| black_box(stand.verdict(&request)));
            });
        }
    }
    group.finish();
}

fn refusals(c: &mut Criterion) {
    let mut group = c.benchmark_group("auth/refused");
    let keys = keys();
    let stand = stand(&keys, "32MiB", json!({ "jwt": "corp", "scopes": ["pay:admin"] }));
    let good = must(keys.token(Algorithm::Es256, &claims(1)));
    let (signed, _signature) = good.rsplit_once('.').unwrap_or_default();
    let none = format!("{}.{}.", encode(r#"{"alg":"none","typ":"at+jwt"}"#), encode("{}"));
    let mut old = claims(1);
    if let Some(members) = old.as_object_mut() {
        members.insert("exp".to_owned(), (*NOW - 3_600).into());
    }
    let large = format!("{}.e30.AAAA", "A".repeat(8_000));
    let stranger = must(must(Keys::new()).token(Algorithm::Es256, &claims(1)));
    let cases = [
        ("a scope is missing", good.clone()),
        ("alg none", none),
        ("another signature", format!("{signed}.{}", encode([7; 64]))),
        ("another key's", stranger),
        ("expired", must(keys.token(Algorithm::Es256, &old))),
        ("8 kB of nothing", large),
        ("no token", "a.b".to_owned()),
    ];
    for (name, token) in cases {
        let head = must(bearer(&token));
        let request = request(&head);
        assert!(!stand.passes(&head, &request), "{name}");
        group.bench_function(name, |b| b.iter(|| black_box(stand.verdict(&request))));
    }
    let bare = must(head("x-nothing", "1"));
    let request = request(&bare);
    let Verdict::Refused(denial, _who) = stand.verdict(&request) else { return };
    assert_eq!(denial.reason, Reason::Unauthenticated);
    group.bench_function("no credential", |b| b.iter(|| black_box(stand.verdict(&request))));
    group.finish();
}

/// What the report of scopes adds to a request that passes.
fn report(c: &mut Criterion) {
    let mut group = c.benchmark_group("auth/report");
    let keys = keys();
    let stand = stand(&keys, "64MiB", json!({ "jwt": "corp", "scopes": ["pay:read"] }));
    let who = |number| {
        let head = must(bearer(&must(keys.token(Algorithm::Es256, &claims(number)))));
        match stand.verdict(&request(&head)) {
            Verdict::Permitted(permitted) => permitted.who().clone(),
            _ => unreachable!("it holds"),
        }
    };
    let report = ScopeReport::new(&ReportSettings::default(), *NOW);
    let pass = |who: &Authenticated| {
        report.passed(("pay", &stand.access), &Method::GET, black_box(who), *NOW);
    };
    let one = who(1);
    group.bench_function("one client", |b| b.iter(|| pass(&one)));
    let many: Vec<Authenticated> = (0..1_000).map(who).collect();
    let mut each = many.iter().cycle();
    group.bench_function("1,000 tokens in turn", |b| b.iter(|| each.next().map(pass)));
    // Another thread notes the same client all the time, and a third gathers.
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                pass(&one);
            }
        });
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                report.gather(&stand.auth, *NOW);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        group.bench_function("one client, beside others", |b| b.iter(|| pass(&one)));
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

criterion_group!(benches, remembered, first_time, key_sets, api_keys, refusals, report);
criterion_main!(benches);
