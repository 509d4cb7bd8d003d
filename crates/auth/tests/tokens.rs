//! What a token must be to pass, and the classic attacks: each refused, with the right answer.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::request::Parts;
use serde_json::{Value, json};
use tidegate_auth::settings::{AccessSettings, AuthSettings};
use tidegate_auth::{Access, Auth, Caller, Verdict, Waited};
use tidegate_core::{Clock, Reason, Request};
use tidegate_testkit::tokens::{RsaSigner, Signer, encode, key_set};

/// When all of this happens, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com";

struct Rig {
    signer: Signer,
    rsa: RsaSigner,
    auth: Auth,
    access: Access,
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "api", "sub": "ann", "client_id": "shop", "jti": "1",
        "iat": NOW - 10, "exp": NOW + 300, "scope": "pay:read pay:write",
    })
}

fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

impl Rig {
    fn new(issuer: &Value, access: &Value) -> Self {
        let (signer, rsa) = (Signer::new("k1"), RsaSigner::new("k2"));
        let mut settings = json!({
            "issuer": ISSUER, "audience": ["api"],
            "keys": { "inline": key_set(&[signer.jwk(), rsa.jwk()]) },
        });
        for (name, value) in issuer.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let settings = json!({
            "issuers": { "corp": settings },
            "resource": { "identifier": "https://api.example.com" },
        });
        let settings: AuthSettings = serde_json::from_value(settings).unwrap();
        let mut errors = Vec::new();
        let auth = Auth::compile(&settings, None, &mut errors);
        assert_eq!(errors, []);
        let settings: AccessSettings = serde_json::from_value(access.clone()).unwrap();
        let access = Access::compile(&settings, &auth).unwrap();
        Self { signer, rsa, auth, access }
    }

    fn ask(&self, head: &Parts, now: u64) -> Verdict {
        let request = Request {
            head,
            host: "api.example.com",
            path: head.uri.path(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: Clock::System.now(),
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        self.access.check(&request, &Caller { time, certificate: None }, &Waited::default())
    }

    /// The reason why a token is refused, if it is.
    fn reason_at(&self, token: &str, now: u64) -> Option<(Reason, String)> {
        reason(self.ask(&head("GET", "/", &[&format!("Bearer {token}")]), now))
    }

    #[track_caller]
    fn check(&self, token: &str, evidence: Option<&str>) {
        match (self.reason_at(token, NOW), evidence) {
            (None, None) => {}
            (Some((reason, told)), Some(evidence)) => {
                assert_eq!(reason, Reason::InvalidToken, "{told}");
                assert!(told.contains(evidence), "{told:?} does not say {evidence:?}");
            }
            (found, wanted) => panic!("{found:?} instead of {wanted:?}"),
        }
    }
}

fn head(method: &str, target: &str, authorization: &[&str]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for value in authorization {
        request = request.header("authorization", *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn reason(verdict: Verdict) -> Option<(Reason, String)> {
    match verdict {
        Verdict::Permitted(_) => None,
        Verdict::Refused(denial, _who) => {
            let evidence = denial.evidence.clone().unwrap_or_default();
            Some((denial.reason, evidence))
        }
        other => panic!("{other:?}"),
    }
}

fn rig() -> Rig {
    Rig::new(&json!({}), &json!({ "jwt": "corp" }))
}

#[test]
fn claims_must_be_there_right_and_timely() {
    let rig = rig();
    let check = |changes: Value, evidence| rig.check(&rig.signer.token(&with(&changes)), evidence);
    check(json!({}), None);
    check(json!({ "aud": ["other", "api"] }), None);
    check(json!({ "aud": "other" }), Some("another audience"));
    check(json!({ "aud": null }), Some("claim `aud`"));
    check(json!({ "aud": { "api": 1 } }), Some("claim `aud`"));
    check(json!({ "iss": "https://id.example.com/" }), Some("another issuer"));
    check(json!({ "iss": null }), Some("another issuer"));
    check(json!({ "exp": null }), Some("claim `exp`"));
    check(json!({ "exp": "1900000000" }), Some("claim `exp`"));
    check(json!({ "exp": NOW - 29 }), None);
    check(json!({ "exp": NOW - 30 }), Some("expired 30 s ago"));
    check(json!({ "nbf": NOW + 30 }), None);
    check(json!({ "nbf": NOW + 31 }), Some("not valid for another 31 s"));
    check(json!({ "iat": NOW + 60 }), Some("not valid for another 60 s"));
    check(json!({ "sub": 7 }), Some("claim `sub`"));
    check(json!({ "scope": { "a": 1 } }), Some("claim `scope`"));
    check(json!({ "cnf": { "jkt": encode([1; 32]) } }), Some("bound to a key"));
    check(json!({ "cnf": { "x5t#S256": encode([1; 32]) } }), Some("bound to a certificate"));
    check(json!({ "cnf": { "kid": "x" } }), Some("bound by something unknown"));
}

#[test]
fn classic_attacks_are_refused() {
    let rig = rig();
    let good = json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k1" });
    let header = |changes: Value| {
        let mut header = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
                value => header[name] = value.clone(),
            }
        }
        rig.signer.sign(&header, &claims())
    };
    rig.check(&header(json!({})), None);
    rig.check(&header(json!({ "typ": "application/at+jwt" })), None);
    // An ID token, or whatever else the issuer signs.
    rig.check(&header(json!({ "typ": "JWT" })), Some("`typ` is JWT"));
    rig.check(&header(json!({ "typ": null })), Some("`typ` is not there"));
    for name in ["none", "None", "nOnE", "HS256", "HS512", ""] {
        rig.check(&header(json!({ "alg": name })), Some("algorithm is not taken"));
    }
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims().to_string()));
    rig.check(&unsigned, Some("algorithm is not taken"));
    // The key is EC: it is not tried with RSA's algorithms, nor RSA's keys with EC's.
    rig.check(&header(json!({ "alg": "RS256" })), Some("no such key"));
    rig.check(&header(json!({ "alg": "ES384" })), Some("may not use ES384"));
    rig.check(&header(json!({ "kid": "k2" })), Some("no such key"));
    for id in ["../../dev/null", "' OR 1=1 --", "http://attacker.example/keys", "k1\u{0}"] {
        rig.check(&header(json!({ "kid": id })), Some("no such key"));
    }
    // A key that comes with its token proves nothing (CVE-2018-0114).
    let attacker = Signer::new("k1");
    let embedded = json!({
        "typ": "at+jwt", "alg": "ES256", "kid": "k1", "jwk": attacker.jwk(),
        "jku": "https://attacker.example/keys", "x5u": "https://attacker.example/cert",
    });
    rig.check(&attacker.sign(&embedded, &claims()), Some("signature is wrong"));
    let no_id = json!({ "typ": "at+jwt", "alg": "ES256" });
    rig.check(&attacker.sign(&no_id, &claims()), Some("signature is wrong"));
    rig.check(&rig.signer.sign(&no_id, &claims()), None);
    rig.check(&header(json!({ "crit": ["exp"] })), Some("demands an extension"));
    rig.check(&header(json!({ "b64": true })), Some("demands an extension"));
    // Two readers could read two things.
    let twice =
        format!(r#"{{"iss":"{ISSUER}","aud":"api","exp":{},"sub":"a","sub":"b"}}"#, NOW + 9);
    rig.check(&rig.signer.sign_texts(&good.to_string(), &twice), Some("twice"));
    let twice = r#"{"alg":"ES256","alg":"RS256","typ":"at+jwt"}"#;
    rig.check(&rig.signer.sign_texts(twice, &claims().to_string()), Some("twice"));
    let huge = with(&json!({ "pad": "x".repeat(9_000) }));
    rig.check(&rig.signer.token(&huge), Some("larger than 8192 bytes"));
    rig.check(&rig.rsa.token(&claims()), None);
}

#[test]
fn a_signature_is_that_of_its_token() {
    let rig = rig();
    let token = rig.signer.token(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    rig.check(&format!("{signed}."), Some("signature is wrong"));
    rig.check(&format!("{signed}.{}", encode([0; 64])), Some("signature is wrong"));
    rig.check(&format!("{signed}.{signature}AA"), Some(""));
    let other = rig.signer.token(&with(&json!({ "sub": "bob" })));
    let (other, _) = other.rsplit_once('.').unwrap();
    rig.check(&format!("{other}.{signature}"), Some("signature is wrong"));
    rig.check(&format!("{token}.{signature}"), Some("4 parts"));
}

#[test]
fn a_remembered_token_ends_with_its_time() {
    let rig = rig();
    let token = rig.signer.token(&claims());
    for _ in 0..3 {
        assert_eq!(rig.reason_at(&token, NOW), None);
    }
    assert_eq!(rig.auth.issuer("corp").unwrap().remembered().0, 1);
    assert_eq!(rig.reason_at(&token, NOW + 329), None);
    let (reason, evidence) = rig.reason_at(&token, NOW + 330).unwrap();
    assert_eq!(
        (reason, &*evidence),
        (Reason::InvalidToken, "the token expired 30 s ago (issuer `corp`)")
    );
    assert_eq!(rig.auth.issuer("corp").unwrap().remembered().0, 0);
}

#[test]
fn memory_for_remembered_tokens_is_bounded() {
    let rig = Rig::new(&json!({ "cache": "256KiB" }), &json!({ "jwt": "corp" }));
    for number in 0..2_000 {
        let token = rig.signer.token(&with(&json!({ "jti": number.to_string() })));
        assert_eq!(rig.reason_at(&token, NOW), None);
    }
    let (tokens, bytes) = rig.auth.issuer("corp").unwrap().remembered();
    assert!(bytes <= 256 * 1024 && tokens > 50, "{tokens} tokens in {bytes} bytes");
}

#[track_caller]
fn check_answer(verdict: Verdict, reason: Reason, challenge: Option<&str>) {
    let Verdict::Refused(denial, _who) = verdict else { panic!("{verdict:?}") };
    assert_eq!(denial.reason, reason);
    let found = denial.headers.get("www-authenticate").map(|value| value.to_str().unwrap());
    assert_eq!(found, challenge);
}

#[test]
fn answers_are_those_of_rfc_6750() {
    let access = json!({ "jwt": "corp", "scopes": ["pay:refund"] });
    let rig = Rig::new(&json!({}), &access);
    let metadata =
        "resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\"";
    let ask = |target: &str, fields: &[&str]| rig.ask(&head("GET", target, fields), NOW);
    check_answer(ask("/", &[]), Reason::Unauthenticated, Some(&format!("Bearer {metadata}")));
    let basic = ask("/", &["Basic dTpw"]);
    check_answer(basic, Reason::Unauthenticated, Some(&format!("Bearer {metadata}")));
    let invalid = format!("Bearer error=\"invalid_token\", {metadata}");
    check_answer(ask("/", &["Bearer a.b.c"]), Reason::InvalidToken, Some(&invalid));
    let token = format!("Bearer {}", rig.signer.token(&claims()));
    let scope = format!("Bearer error=\"insufficient_scope\", scope=\"pay:refund\", {metadata}");
    check_answer(ask("/", &[&token]), Reason::InsufficientScope, Some(&scope));
    let malformed = format!("Bearer error=\"invalid_request\", {metadata}");
    for (target, fields) in [("/", vec![&*token, &*token]), ("/?access_token=x", vec![&*token])] {
        check_answer(ask(target, &fields), Reason::InvalidAuthRequest, Some(&malformed));
    }
}

#[track_caller]
fn check_access(access: &Value, method: &str, changes: &Value, expected: Option<Reason>) {
    let rig = Rig::new(&json!({}), access);
    let token = format!("Bearer {}", rig.signer.token(&with(changes)));
    let found = reason(rig.ask(&head(method, "/", &[&token]), NOW)).map(|(reason, _)| reason);
    assert_eq!(found, expected, "{access} {method} {changes}");
}

#[test]
fn scopes_roles_and_claims_are_demanded_per_method() {
    let (scope, denied) = (Some(Reason::InsufficientScope), Some(Reason::AccessDenied));
    let none = json!({});
    let check = |access: Value, method, changes: &Value, expected| {
        let mut access = access;
        access["jwt"] = "corp".into();
        check_access(&access, method, changes, expected);
    };
    check(json!({ "scopes": ["pay:read", "pay:write"] }), "GET", &none, None);
    check(json!({ "scopes": ["pay:read", "pay:all"] }), "GET", &none, scope);
    check(json!({ "scopes": { "any": ["pay:all", "pay:read"] } }), "GET", &none, None);
    check(json!({ "scopes": { "any": ["pay:all", "pay"] } }), "GET", &none, scope);
    check(json!({ "scopes": ["pay:read"] }), "GET", &json!({ "scope": null }), scope);
    check(json!({ "scopes": ["a"] }), "GET", &json!({ "scope": null, "scp": ["a", "b"] }), None);
    let roles = json!({ "realm_access": { "roles": ["clerk"] } });
    check(json!({ "roles": ["clerk"] }), "GET", &roles, None);
    check(json!({ "roles": ["clerk"] }), "GET", &none, denied);
    check(
        json!({ "claims": { "org.unit": ["a", 7] } }),
        "GET",
        &json!({ "org": { "unit": 7 } }),
        None,
    );
    check(
        json!({ "claims": { "org.unit": "a" } }),
        "GET",
        &json!({ "org": { "unit": ["b", "a"] } }),
        None,
    );
    check(
        json!({ "claims": { "org.unit": "a" } }),
        "GET",
        &json!({ "org": { "unit": "ab" } }),
        denied,
    );
    let methods = json!({ "methods": { "GET": {}, "POST": { "scopes": ["pay:all"] } } });
    check(methods.clone(), "GET", &none, None);
    check(methods.clone(), "HEAD", &none, None);
    check(methods.clone(), "POST", &none, scope);
    check(methods, "DELETE", &none, denied);
    check(json!({ "methods": { "*": {}, "POST": { "scopes": ["x"] } } }), "PUT", &none, None);
}

#[track_caller]
fn check_error(access: &Value, message: &str) {
    let rig = rig();
    let settings: AccessSettings = serde_json::from_value(access.clone()).unwrap();
    let errors = Access::compile(&settings, &rig.auth).unwrap_err();
    assert!(errors.iter().any(|error| error.to_string().contains(message)), "{errors:?}");
}

#[test]
fn settings_that_would_let_everybody_or_nobody_pass_are_errors() {
    check_error(&json!({}), "not said how clients show who they are");
    check_error(&json!({ "jwt": "crop" }), "nothing in `auth.issuers` is called `crop`");
    check_error(&json!({ "jwt": "corp", "scopes": [] }), "demands nothing");
    check_error(&json!({ "jwt": "corp", "scopes": ["a b"] }), "is no scope");
    check_error(&json!({ "any": [] }), "lets nobody pass");
    check_error(&json!({ "jwt": "corp", "any": [{ "jwt": "corp" }] }), "stands beside");
    check_error(&json!({ "jwt": "corp", "methods": { "get": {} } }), "is no method");
    let forward = json!({ "headers": { "Host": "sub" } });
    check_error(&json!({ "jwt": "corp", "forward": forward }), "not for claims");
}
