//! Ways beside JWT: API keys, certificates, introspection, bound tokens; what is revoked, and what
//! a policy service says.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tidegate_auth::identity::Certificate;
use tidegate_auth::settings::{AccessSettings, AuthSettings};
use tidegate_auth::{Access, Answer, Auth, Caller, Need, Permitted, Verdict, Waited, Word};
use tidegate_core::{Clock, Reason, Request};
use tidegate_testkit::tokens::{Signer, encode, key_set};

const NOW: u64 = 1_800_000_000;

struct Rig {
    auth: Auth,
    access: Access,
}

impl Rig {
    fn new(auth: &Value, access: &Value) -> Self {
        let settings: AuthSettings = serde_json::from_value(auth.clone()).unwrap();
        let mut errors = Vec::new();
        let auth = Auth::compile(&settings, None, &mut errors);
        assert_eq!(errors, []);
        let settings: AccessSettings = serde_json::from_value(access.clone()).unwrap();
        let access = Access::compile(&settings, &auth).unwrap();
        Self { auth, access }
    }

    fn ask(&self, head: &Parts, certificate: Option<&Certificate>, waited: &Waited) -> Verdict {
        let request = Request {
            head,
            host: "api.example.com",
            path: head.uri.path(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: Clock::System.now(),
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        self.access.check(&request, &Caller { time, certificate }, waited)
    }

    fn get(&self, fields: &[(&str, &str)]) -> Verdict {
        self.ask(&head(fields), None, &Waited::default())
    }
}

fn head(fields: &[(&str, &str)]) -> Parts {
    let request = http::Request::get("/pay?x=1").header("host", "api.example.com");
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

#[track_caller]
fn permitted(verdict: Verdict) -> Box<Permitted> {
    match verdict {
        Verdict::Permitted(permitted) => permitted,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(verdict: Verdict, reason: Reason, evidence: &str) -> HeaderMap {
    let Verdict::Refused(denial, _who) = verdict else { panic!("{verdict:?}") };
    let told = denial.evidence.unwrap_or_default();
    assert!(denial.reason == reason && told.contains(evidence), "{:?} {told}", denial.reason);
    denial.headers
}

fn hex(key: &str) -> String {
    digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const KEY: &str = "a-key-of-sufficient-length";

fn key_file(folder: &Path, keys: &Value) -> Value {
    let file = folder.join("keys.json");
    std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    json!({ "api_keys": { "partners": { "file": file } } })
}

#[test]
fn an_api_key_is_somebody_and_changes_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let shop = json!({ "id": "shop", "sha256": hex(KEY), "scopes": ["pay:read"] });
    let old = json!({ "id": "old", "sha256": hex("another-key-of-some-length"), "expires": NOW });
    let auth = key_file(folder.path(), &json!([shop, old]));
    let rig = Rig::new(&auth, &json!({ "api_key": "partners", "scopes": ["pay:read"] }));
    let who = permitted(rig.get(&[("x-api-key", KEY)]));
    assert_eq!(who.identity().subject.as_deref(), Some("shop"));
    refused(rig.get(&[]), Reason::Unauthenticated, "");
    let check = |key: &str, evidence: &str| {
        refused(rig.get(&[("x-api-key", key)]), Reason::InvalidToken, evidence);
    };
    check("another-key-of-some-length", "time is over");
    check("a-key-that-nobody-has-given-out", "unknown API key");
    check("short", "so long or short");
    let twice = [("x-api-key", KEY), ("X-API-KEY", KEY)];
    refused(rig.get(&twice), Reason::InvalidToken, "several API keys");
    key_file(folder.path(), &json!([{ "id": "new", "sha256": hex("the-next-key-of-the-shop") }]));
    assert_eq!(rig.auth.api_keys().next().unwrap().read_again(), Ok(1));
    check(KEY, "unknown API key");
    std::fs::write(folder.path().join("keys.json"), "{}").unwrap();
    assert!(rig.auth.api_keys().next().unwrap().read_again().is_err(), "what was read stays");
    refused(rig.get(&[("x-api-key", "the-next-key-of-the-shop")]), Reason::InsufficientScope, "");
}

#[test]
fn a_certificate_is_somebody_by_its_names() {
    let access =
        json!({ "mtls": { "uri": ["spiffe://corp/pay"], "scopes": ["pay"] }, "scopes": ["pay"] });
    let rig = Rig::new(&json!({}), &access);
    let certificate = |uri: &str| Certificate { uris: vec![uri.into()], ..Certificate::default() };
    let ask =
        |certificate: Option<&Certificate>| rig.ask(&head(&[]), certificate, &Waited::default());
    let who = permitted(ask(Some(&certificate("spiffe://corp/pay"))));
    assert_eq!(who.identity().subject.as_deref(), Some("spiffe://corp/pay"));
    refused(ask(Some(&certificate("spiffe://corp/other"))), Reason::InvalidToken, "names");
    refused(ask(None), Reason::Unauthenticated, "");
}

fn introspection(more: &Value) -> Value {
    let mut settings = json!({
        "url": "https://id.example.com/introspect", "client_id": "gateway",
        "client_secret": "secret",
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    json!({ "introspection": { "corp": settings } })
}

#[test]
fn an_opaque_token_is_asked_about_once_and_refused_without_an_answer() {
    let rig = Rig::new(&introspection(&json!({})), &json!({ "introspection": "corp" }));
    let ask = |waited: &Waited| rig.ask(&head(&[("authorization", "Bearer opaque")]), None, waited);
    let Verdict::Wait(need) = ask(&Waited::default()) else { panic!("nobody is asked") };
    let mut waited = Waited::default();
    waited.note(&need, None);
    refused(ask(&waited), Reason::AuthUnavailable, "no answer");
    let Need::Introspect(question) = &need else { panic!("{need:?}") };
    assert!(!format!("{need:?}").contains("opaque"), "tokens are not printed");
    let learn = |answer: Value| {
        question.introspector.learn(question.digest, answer.to_string().as_bytes(), NOW)
    };
    assert!(learn(json!({ "active": "true" })).is_err());
    assert!(matches!(ask(&Waited::default()), Verdict::Wait(_)));
    learn(json!({ "active": true, "sub": "ann", "scope": "a b", "exp": NOW + 9 })).unwrap();
    let who = permitted(ask(&Waited::default()));
    assert!(who.identity().has_scope("b") && who.identity().subject.as_deref() == Some("ann"));
    for answer in [
        json!({ "active": false }),
        json!({ "active": true, "exp": NOW }),
        json!({ "active": true, "nbf": NOW + 1 }),
        json!({ "active": true, "exp": -1 }),
        json!({ "active": true, "exp": (NOW + 9).to_string() }),
        json!({ "active": true, "nbf": true }),
    ] {
        learn(answer).unwrap();
        refused(ask(&Waited::default()), Reason::InvalidToken, "not active");
    }
}

#[test]
fn several_ways_are_looked_at_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::new("k");
    let mut auth = key_file(folder.path(), &json!([{ "id": "shop", "sha256": hex(KEY) }]));
    auth["introspection"] = introspection(&json!({}))["introspection"].clone();
    auth["issuers"] = json!({ "jwt": issuer(&signer) });
    let ways = json!([{ "jwt": "jwt" }, { "introspection": "corp" }, { "api_key": "partners" }]);
    let rig = Rig::new(&auth, &json!({ "any": ways }));
    let token = format!("Bearer {}", signer.token(&claims(&json!({}))));
    let method = |fields: &[(&str, &str)]| permitted(rig.get(fields)).identity().method.name();
    assert_eq!(method(&[("authorization", &token)]), "jwt");
    assert_eq!(method(&[("x-api-key", KEY)]), "api_key");
    assert!(matches!(rig.get(&[("authorization", "Bearer opaque")]), Verdict::Wait(_)));
    // A bad token is not made up for by a good key.
    let both = [("authorization", "Bearer a.b.c"), ("x-api-key", KEY)];
    refused(rig.get(&both), Reason::InvalidToken, "");
}

fn issuer(signer: &Signer) -> Value {
    json!({
        "issuer": "https://id.example.com", "audience": ["api"],
        "keys": { "inline": key_set(&[signer.jwk()]) },
    })
}

fn claims(more: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example.com", "aud": "api", "sub": "ann", "client_id": "shop",
        "jti": "t1", "iat": NOW, "exp": NOW + 300,
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn what_is_revoked_passes_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (signer, file) = (Signer::new("k"), folder.path().join("revoked"));
    let auth = json!({ "issuers": { "jwt": issuer(&signer) }, "revocations": { "file": file } });
    let rig = Rig::new(&auth, &json!({ "jwt": "jwt" }));
    let token = format!("Bearer {}", signer.token(&claims(&json!({}))));
    let check = |lines: &str, evidence: Option<&str>| {
        std::fs::write(&file, lines).unwrap();
        rig.auth.revocations().unwrap().read_again().unwrap();
        let verdict = rig.get(&[("authorization", &token)]);
        match evidence {
            Some(evidence) => drop(refused(verdict, Reason::InvalidToken, evidence)),
            None => drop(permitted(verdict)),
        }
    };
    check("", None);
    check("{\"jti\":\"t1\"}\n", Some("the token is revoked"));
    check("{\"jti\":\"t2\"}\n\n{\"sub\":\"ann\"}\n", Some("the subject's"));
    check("{\"client\":\"shop\"}", Some("the client's"));
    check(&format!("{{\"sub\":\"ann\",\"before\":{}}}", NOW - 1), None);
    check(&format!("{{\"sub\":\"ann\",\"before\":{NOW}}}"), Some("the subject's"));
    check(&format!("{{\"sub\":\"ann\",\"until\":{}}}", NOW - 1), None);
    std::fs::write(&file, "{\"subject\":\"ann\"}").unwrap();
    let error = rig.auth.revocations().unwrap().read_again().unwrap_err();
    assert!(error.contains("line 1: unknown member `subject`"), "{error}");
}

/// A proof of possession, with changes to its header and claims.
fn proof(signer: &Signer, token: &str, header: &Value, claims: &Value) -> String {
    let mut jwk = signer.jwk();
    for name in ["alg", "use", "kid"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    let mut head = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
    let mut body = json!({
        "jti": format!("{:?}", Clock::System.now()), "htm": "GET",
        "htu": "https://api.example.com/pay", "iat": NOW,
        "ath": encode(digest(&SHA256, token.as_bytes())),
    });
    for (changes, of) in [(header, &mut head), (claims, &mut body)] {
        for (name, value) in changes.as_object().unwrap() {
            of[name] = value.clone();
        }
    }
    signer.sign(&head, &body)
}

/// The thumbprint of a signer's key (RFC 7638).
fn thumbprint(signer: &Signer) -> String {
    let jwk = signer.jwk();
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    encode(digest(&SHA256, text.as_bytes()))
}

#[test]
fn a_bound_token_needs_a_fresh_proof_by_its_key() {
    let (signer, holder) = (Signer::new("k"), Signer::new("holder"));
    let auth = json!({ "issuers": { "jwt": issuer(&signer) } });
    let rig = Rig::new(&auth, &json!({ "jwt": "jwt", "bound": true }));
    let token = signer.token(&claims(&json!({ "cnf": { "jkt": thumbprint(&holder) } })));
    let send =
        |proof: &str| rig.get(&[("authorization", &format!("DPoP {token}")), ("dpop", proof)]);
    let none = json!({});
    let good = proof(&holder, &token, &none, &none);
    permitted(send(&good));
    let headers = refused(send(&good), Reason::InvalidToken, "used before");
    assert_eq!(headers["www-authenticate"], "DPoP error=\"invalid_dpop_proof\"");
    let check = |header: Value, claims: Value, evidence: &str| {
        let proof = proof(&holder, &token, &header, &claims);
        refused(send(&proof), Reason::InvalidToken, evidence);
    };
    check(json!({}), json!({ "htm": "POST" }), "another method");
    check(json!({}), json!({ "htu": "https://api.example.com/other" }), "another address");
    check(json!({}), json!({ "htu": "https://evil.example.com/pay" }), "another address");
    check(json!({}), json!({ "htu": "http://api.example.com/pay" }), "another address");
    check(json!({}), json!({ "ath": "x" }), "another token");
    check(json!({}), json!({ "iat": NOW - 61 }), "too old");
    check(json!({}), json!({ "iat": NOW + 6 }), "from the future");
    check(json!({}), json!({ "jti": "" }), "no usable `jti`");
    check(json!({ "typ": "JWT" }), json!({}), "not of the type");
    check(json!({ "jwk": { "kty": "oct", "k": "AA" } }), json!({}), "key cannot be used");
    let thief = Signer::new("thief");
    refused(send(&proof(&thief, &token, &none, &none)), Reason::InvalidToken, "another key");
    refused(send("x"), Reason::InvalidToken, "1 parts");
    let bearer = format!("Bearer {token}");
    refused(rig.get(&[("authorization", &bearer)]), Reason::InvalidToken, "without the scheme");
    let dpop = format!("DPoP {token}");
    refused(rig.get(&[("authorization", &dpop)]), Reason::InvalidToken, "no proof");
    let free = format!("Bearer {}", signer.token(&claims(&none)));
    refused(rig.get(&[("authorization", &free)]), Reason::InvalidToken, "bound to nobody");
}

#[test]
fn a_nonce_is_told_and_then_demanded() {
    let (signer, holder) = (Signer::new("k"), Signer::new("holder"));
    let auth = json!({ "issuers": { "jwt": issuer(&signer) }, "dpop": { "nonce": true } });
    let rig = Rig::new(&auth, &json!({ "jwt": "jwt" }));
    let token = signer.token(&claims(&json!({ "cnf": { "jkt": thumbprint(&holder) } })));
    let send = |claims: Value| {
        let proof = proof(&holder, &token, &json!({}), &claims);
        rig.get(&[("authorization", &format!("DPoP {token}")), ("dpop", &proof)])
    };
    let headers = refused(send(json!({})), Reason::InvalidToken, "nonce");
    assert_eq!(headers["www-authenticate"], "DPoP error=\"use_dpop_nonce\"");
    let nonce = headers["dpop-nonce"].to_str().unwrap();
    permitted(send(json!({ "nonce": nonce })));
    refused(send(json!({ "nonce": "x" })), Reason::InvalidToken, "nonce");
}

#[test]
fn a_token_that_is_bound_to_a_certificate_needs_it() {
    let signer = Signer::new("k");
    let rig = Rig::new(&json!({ "issuers": { "jwt": issuer(&signer) } }), &json!({ "jwt": "jwt" }));
    let bound = json!({ "cnf": { "x5t#S256": encode([7; 32]) } });
    let token = format!("Bearer {}", signer.token(&claims(&bound)));
    let ask = |thumbprint| {
        let certificate = Certificate { thumbprint, ..Certificate::default() };
        rig.ask(&head(&[("authorization", &token)]), Some(&certificate), &Waited::default())
    };
    permitted(ask([7; 32]));
    refused(ask([8; 32]), Reason::InvalidToken, "another certificate");
}

#[test]
fn a_policy_service_has_the_last_word() {
    let signer = Signer::new("k");
    let opa = json!({ "url": "https://opa.example.com/v1/data/allow", "dialect": "opa",
        "response_headers": ["x-level"] });
    let auth = json!({ "issuers": { "jwt": issuer(&signer) }, "authorizers": { "opa": opa } });
    let rig = Rig::new(&auth, &json!({ "jwt": "jwt", "external": "opa" }));
    let head = head(&[("authorization", &format!("Bearer {}", signer.token(&claims(&json!({})))))]);
    let Verdict::Wait(need) = rig.ask(&head, None, &Waited::default()) else { panic!("not asked") };
    let Need::Authorize(service, who) = &need else { panic!("{need:?}") };
    assert_eq!(who.identity().subject.as_deref(), Some("ann"));
    let told = |word: Option<Word>| {
        let mut waited = Waited::default();
        waited.note(&need, word.map(Answer::Word));
        rig.ask(&head, None, &waited)
    };
    let word = |status: StatusCode, body: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-level", "gold".parse().unwrap());
        headers.insert("x-other", "no".parse().unwrap());
        service.word(status, &headers, body.as_bytes())
    };
    for body in [r#"{"result":true}"#, r#"{"result":{"allow":true}}"#] {
        let permitted = permitted(told(word(StatusCode::OK, body)));
        let fields: Vec<_> =
            permitted.forwarded().fields().map(|(name, _)| name.as_str()).collect();
        assert_eq!(fields, ["x-level"]);
    }
    for body in [r#"{"result":false}"#, "{}", r#"{"result":{"allow":"true"}}"#] {
        refused(told(word(StatusCode::OK, body)), Reason::AccessDenied, "`opa` says 403");
    }
    for (status, body) in [(StatusCode::OK, "x"), (StatusCode::INTERNAL_SERVER_ERROR, "{}")] {
        refused(told(word(status, body)), Reason::AuthUnavailable, "no answer from `opa`");
    }
}
