//! Token exchange (RFC 8693): what is asked, what answers mean, and for how long they are used.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use serde_json::{Value, json};
use tidegate_auth::exchange::TradeError;
use tidegate_auth::settings::{AccessSettings, AuthSettings};
use tidegate_auth::{
    Access, Answer, Auth, Caller, Exchanger, Need, Trade, Traded, Verdict, Waited,
};
use tidegate_core::{Clock, Reason, Request};
use tidegate_testkit::tokens::{Signer, key_set};

const NOW: u64 = 1_800_000_000;
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

struct Rig {
    auth: Auth,
    access: Access,
    signer: Signer,
}

fn settings(signer: &Signer, exchange: &Value) -> Value {
    let mut all = json!({
        "url": "https://id.example.com/token", "client_id": "gate way", "client_secret": "s:cret",
        "audience": ["billing"], "scopes": ["pay:read"],
    });
    for (name, value) in exchange.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({
        "issuers": { "corp": {
            "issuer": "https://id.example.com", "audience": ["api"],
            "keys": { "inline": key_set(&[signer.jwk()]) },
        } },
        "exchange": { "billing": all },
    })
}

fn compiled(settings: &Value, previous: Option<&Auth>) -> Auth {
    let settings: AuthSettings = serde_json::from_value(settings.clone()).unwrap();
    let mut errors = Vec::new();
    let auth = Auth::compile(&settings, previous, &mut errors);
    assert_eq!(errors, []);
    auth
}

fn access(auth: &Auth, settings: &Value) -> Result<Access, Vec<String>> {
    let read = serde_json::from_value(settings.clone());
    let settings: AccessSettings = read.map_err(|error| vec![error.to_string()])?;
    let told = |errors: Vec<tidegate_core::SettingsError>| {
        errors.into_iter().map(|error| format!("{}: {}", error.path.join("."), error.message))
    };
    Access::compile(&settings, auth).map_err(|errors| told(errors).collect())
}

impl Rig {
    fn new(exchange: &Value) -> Self {
        let signer = Signer::new("k1");
        let auth = compiled(&settings(&signer, exchange), None);
        let route = json!({ "jwt": "corp", "forward": { "token": { "exchange": "billing" } } });
        let access = access(&auth, &route).unwrap();
        Self { auth, access, signer }
    }

    fn exchanger(&self) -> &Exchanger {
        self.auth.exchangers().next().unwrap()
    }

    fn token(&self, lasts: u64) -> String {
        self.signer.token(&json!({
            "iss": "https://id.example.com", "aud": "api", "sub": "ann", "exp": NOW + lasts,
        }))
    }

    fn ask(&self, token: &str, waited: &Waited, now: u64) -> Verdict {
        let request = http::Request::get("/pay").header("authorization", format!("Bearer {token}"));
        let (head, ()) = request.body(()).unwrap().into_parts();
        let request = Request {
            head: &head,
            host: "api.example.com",
            path: "/pay",
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: Clock::System.now(),
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        self.access.check(&request, &Caller { time, certificate: None }, waited)
    }

    /// The trade that a token waits for.
    #[track_caller]
    fn trade(&self, token: &str) -> Trade {
        match self.ask(token, &Waited::default(), NOW) {
            Verdict::Wait(Need::Exchange(trade)) => trade,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn learn(&self, trade: &Trade, status: u16, body: &Value) -> Result<Traded, TradeError> {
        let Ok(status) = StatusCode::from_u16(status) else { panic!("{status} is no status") };
        self.exchanger().learn(trade, (status, body.to_string().as_bytes()), NOW)
    }

    /// What goes upstream in `Authorization` at a time; `None` if it has to be asked for.
    #[track_caller]
    fn sent(&self, token: &str, now: u64) -> Option<String> {
        match self.ask(token, &Waited::default(), now) {
            Verdict::Permitted(permitted) => {
                let forwarded = permitted.forwarded();
                assert!(!forwarded.keeps_credential());
                let mut fields = forwarded.fields();
                let Some((name, value)) = fields.next() else { panic!("nothing is sent") };
                assert!(fields.next().is_none() && *name == header::AUTHORIZATION);
                assert!(value.is_sensitive());
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
            Verdict::Wait(Need::Exchange(_)) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn good(more: &Value) -> Value {
    let mut answer = json!({
        "access_token": "for-billing", "issued_token_type": ACCESS_TOKEN, "token_type": "bearer",
        "expires_in": 100,
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(answer.as_object_mut().unwrap().remove(name)),
            value => answer[name] = value.clone(),
        }
    }
    answer
}

#[test]
fn the_endpoint_is_asked_for_less_than_the_caller_has() {
    let rig = Rig::new(&json!({ "resource": "https://billing.example.com/" }));
    let asked = rig.exchanger().inquiry("a.b.c");
    assert_eq!(
        asked.body.unwrap(),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=a.b.c\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
         &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
         &audience=billing&resource=https%3A%2F%2Fbilling.example.com%2F&scope=pay%3Aread"
    );
    // RFC 6749 §2.3.1: name and secret are encoded before they are joined.
    assert_eq!(asked.headers["authorization"], "Basic Z2F0ZSUyMHdheTpzJTNBY3JldA==");
    let rig = Rig::new(&json!({ "client_auth": "post", "subject_token_type": "jwt" }));
    let asked = rig.exchanger().inquiry("a.b.c");
    assert!(!asked.headers.contains_key("authorization"));
    let body = asked.body.unwrap();
    assert!(body.contains("token-type%3Ajwt&"), "{body}");
    assert!(body.ends_with("&client_id=gate%20way&client_secret=s%3Acret"), "{body}");
}

#[test]
fn the_upstream_gets_the_new_token_for_as_long_as_both_hold() {
    let rig = Rig::new(&json!({}));
    let token = rig.token(300);
    let trade = rig.trade(&token);
    let traded = rig.learn(&trade, 200, &good(&json!({}))).unwrap();
    // Who waited gets it even if nothing is remembered.
    let mut waited = Waited::default();
    waited.note(&Need::Exchange(trade.clone()), Some(Answer::Traded(traded)));
    assert!(matches!(rig.ask(&token, &waited, NOW), Verdict::Permitted(_)));
    assert_eq!(rig.sent(&token, NOW).unwrap(), "Bearer for-billing");
    // Ten seconds before its end it is asked for again.
    assert!(rig.sent(&token, NOW + 90).is_some());
    assert_eq!(rig.sent(&token, NOW + 91), None);

    // The caller's token ends first.
    let short = rig.token(20);
    rig.learn(&rig.trade(&short), 200, &good(&json!({}))).unwrap();
    assert!(rig.sent(&short, NOW + 18).is_some());
    assert_eq!(rig.sent(&short, NOW + 19), None, "within the skew it passes, and is asked for");

    // The settings may say less.
    let rig = Rig::new(&json!({ "cache": "30s" }));
    let token = rig.token(300);
    rig.learn(&rig.trade(&token), 200, &good(&json!({}))).unwrap();
    assert!(rig.sent(&token, NOW + 30).is_some() && rig.sent(&token, NOW + 31).is_none());

    // Of a token whose end is not known, or near, nothing is remembered.
    for lasts in [Value::Null, json!(10), json!("100")] {
        let token = rig.token(301);
        let trade = rig.trade(&token);
        rig.learn(&trade, 200, &good(&json!({ "expires_in": lasts }))).unwrap();
        assert_eq!(rig.sent(&token, NOW), None);
    }
}

#[test]
fn without_an_answer_nobody_passes() {
    let rig = Rig::new(&json!({}));
    let token = rig.token(300);
    let mut waited = Waited::default();
    waited.note(&Need::Exchange(rig.trade(&token)), None);
    let Verdict::Refused(denial, who) = rig.ask(&token, &waited, NOW) else { panic!() };
    assert_eq!((denial.reason, denial.status.as_u16()), (Reason::AuthUnavailable, 503));
    assert!(who.is_some(), "it is known who asked");
}

#[test]
fn answers_that_are_none_are_not_taken() {
    let rig = Rig::new(&json!({ "max_token": "1KiB" }));
    let token = rig.token(300);
    let trade = rig.trade(&token);
    #[track_caller]
    fn check(rig: &Rig, trade: &Trade, more: &Value, expected: &str) {
        let error = rig.learn(trade, 200, &good(more)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(rig.sent(&trade.token, NOW), None, "nothing is remembered");
    }
    check(&rig, &trade, &json!({ "access_token": null }), "access_token");
    check(&rig, &trade, &json!({ "access_token": token }), "own token");
    check(&rig, &trade, &json!({ "access_token": "a\r\nx-user: root" }), "token68");
    check(&rig, &trade, &json!({ "access_token": "a".repeat(1025) }), "too large");
    check(&rig, &trade, &json!({ "issued_token_type": null }), "issued_token_type");
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    check(&rig, &trade, &json!({ "issued_token_type": refresh }), "issued_token_type");
    check(&rig, &trade, &json!({ "token_type": "N_A" }), "token_type");
    check(&rig, &trade, &json!({ "token_type": "DPoP" }), "token_type");
    let twice = (StatusCode::OK, &br#"{"access_token":"a","access_token":"b"}"#[..]);
    assert!(rig.exchanger().learn(&trade, twice, NOW).is_err());
}

#[test]
fn what_the_endpoint_says_of_the_token_is_the_callers_fault_and_nothing_else_is() {
    let rig = Rig::new(&json!({}));
    #[track_caller]
    fn check(rig: &Rig, (status, error): (u16, &str), expected: Option<(Reason, u16)>) {
        let token = rig.token(300 + u64::from(status) + error.len() as u64);
        let trade = rig.trade(&token);
        let told = json!({ "error": error, "error_description": "no\u{1b}[1m, a.b.c" });
        let learned = rig.learn(&trade, status, &told);
        let Some((reason, answer)) = expected else {
            assert!(learned.is_err(), "{error} {learned:?}");
            assert_eq!(rig.sent(&token, NOW), None);
            return;
        };
        assert!(learned.is_ok(), "{learned:?}");
        // It is remembered for five seconds.
        for now in [NOW, NOW + 5] {
            let verdict = rig.ask(&token, &Waited::default(), now);
            let Verdict::Refused(denial, _) = verdict else { panic!("{error}") };
            assert_eq!((denial.reason, denial.status.as_u16()), (reason, answer), "{error}");
            assert_eq!(denial.evidence.unwrap(), format!("`billing` says {error}"));
        }
        assert_eq!(rig.sent(&token, NOW + 6), None);
    }
    let invalid = Some((Reason::InvalidToken, 401));
    let denied = Some((Reason::AccessDenied, 403));
    check(&rig, (400, "invalid_grant"), invalid);
    // RFC 8693 §2.2.2 has this for a subject token that is not taken.
    check(&rig, (400, "invalid_request"), invalid);
    check(&rig, (401, "invalid_token"), invalid);
    check(&rig, (400, "invalid_target"), denied);
    check(&rig, (400, "invalid_scope"), denied);
    check(&rig, (403, "access_denied"), denied);
    check(&rig, (401, "invalid_client"), None);
    check(&rig, (400, "unauthorized_client"), None);
    check(&rig, (400, "unsupported_grant_type"), None);
    check(&rig, (429, "slow_down"), None);
    check(&rig, (500, "invalid_grant"), None);
    check(&rig, (302, "invalid_grant"), None);
}

#[test]
fn only_tokens_can_be_exchanged_and_for_less() {
    let rig = Rig::new(&json!({}));
    let to = |way: Value| {
        let mut route = json!({ "forward": { "token": { "exchange": "billing" } } });
        route.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        access(&rig.auth, &route).map(drop)
    };
    assert_eq!(to(json!({ "jwt": "corp" })), Ok(()));
    let no_token = "forward.token: a way of this route shows no token that could be exchanged";
    assert_eq!(to(json!({ "mtls": {} })), Err(vec![no_token.to_owned()]));
    let mixed = json!({ "any": [{ "jwt": "corp" }, { "mtls": {} }] });
    assert_eq!(to(mixed), Err(vec![no_token.to_owned()]));
    let unknown = json!({ "jwt": "corp", "forward": { "token": { "exchange": "other" } } });
    let unknown = access(&rig.auth, &unknown).map(drop).unwrap_err();
    assert!(unknown[0].starts_with("forward.token.exchange: nothing"), "{unknown:?}");

    let wrong = |more: &Value| {
        let settings: AuthSettings = serde_json::from_value(settings(&rig.signer, more)).unwrap();
        let mut errors = Vec::new();
        drop(Auth::compile(&settings, None, &mut errors));
        errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("; ")
    };
    let same = wrong(&json!({ "audience": [], "scopes": [] }));
    assert!(same.contains("as much as the old one"), "{same}");
    assert!(wrong(&json!({ "scopes": ["a b"] })).contains("no scope"));
    assert!(wrong(&json!({ "url": "http://id.example.com/token" })).contains("without TLS"));
    assert!(wrong(&json!({ "timeout": "0s" })).contains("zero"));
}

#[test]
fn a_reload_keeps_tokens_unless_the_settings_change_and_a_revocation_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(&json!({}));
    let mut all = settings(&rig.signer, &json!({}));
    all["revocations"] = json!({ "file": folder.path().join("revoked") });
    let route = json!({ "jwt": "corp", "forward": { "token": { "exchange": "billing" } } });
    let reload = |rig: &mut Rig, all: &Value| {
        rig.auth = compiled(all, Some(&rig.auth));
        rig.access = access(&rig.auth, &route).unwrap();
    };
    let token = rig.token(300);
    rig.learn(&rig.trade(&token), 200, &good(&json!({}))).unwrap();
    reload(&mut rig, &all);
    assert!(rig.sent(&token, NOW).is_some(), "kept over a reload");

    std::fs::write(folder.path().join("revoked"), "{\"sub\":\"ann\"}\n").unwrap();
    rig.auth.revocations().unwrap().read_again().unwrap();
    let Verdict::Refused(denial, _) = rig.ask(&token, &Waited::default(), NOW) else { panic!() };
    assert_eq!(denial.reason, Reason::InvalidToken);
    // Even if the revocation is taken back, the token that was got before it is not used again.
    std::fs::write(folder.path().join("revoked"), "").unwrap();
    rig.auth.revocations().unwrap().read_again().unwrap();
    assert_eq!(rig.sent(&token, NOW), None);

    rig.learn(&rig.trade(&token), 200, &good(&json!({}))).unwrap();
    all["exchange"]["billing"]["audience"] = json!(["another"]);
    reload(&mut rig, &all);
    assert_eq!(rig.sent(&token, NOW), None, "a token for another audience");
}

#[test]
fn what_is_remembered_is_bounded() {
    let rig = Rig::new(&json!({ "cache_size": "64KiB" }));
    let trade = rig.trade(&rig.token(300));
    for caller in 0..10_000_u32 {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&caller.wrapping_mul(0x9e37_79b9).to_be_bytes());
        let trade = Trade { digest, ..trade.clone() };
        rig.learn(&trade, 200, &good(&json!({}))).unwrap();
    }
    let (count, bytes) = rig.exchanger().remembered();
    assert!(count > 100 && bytes <= 64 * 1024, "{count} {bytes}");
}
