//! What must hold for any bytes on the way of a token, whoever makes them up: the fuzz target
//! `tokens` and the test of mutations share it. What passes is looked at again by `jsonwebtoken` and
//! `serde_json`, which know nothing of our reading.
//!
//! The first byte of an input says what the rest is: `j` the header and the claims of a token, a
//! line each, which is signed; `p` the same of a proof beside a bound token; `r` a request, a line
//! for its target and each field; `t` a token; `k` a key set; `i` an introspection response.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use tidegate_auth::jose::{Algorithm, KeySet, Token};
use tidegate_auth::json::{Json, Object};
use tidegate_auth::settings::{AccessSettings, AuthSettings};
use tidegate_auth::{Access, Auth, Caller, Identity, Verdict, Waited};
use tidegate_core::{Clock, Request};

/// The time in which everything happens.
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com";
const API_KEY: &str = "0123456789abcdef-of-the-shop";

/// Looks at an input; panics if something does not hold. Returns whether what it says was taken.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else { return false };
    let lines = || {
        let at = rest.iter().position(|byte| *byte == b'\n')?;
        Some((&rest[..at], &rest[at + 1..]))
    };
    match kind {
        b'j' => lines().is_some_and(|(header, claims)| check_signed(header, claims)),
        b'p' => lines().is_some_and(|(header, claims)| check_proof(header, claims)),
        b'r' => check_request(rest),
        b't' => check_token(rest),
        b'k' => check_keys(rest),
        b'i' => check_answer(rest),
        _ => false,
    }
}

/// Inputs to begin with, and whether each is taken; they are the files of `tests/fuzz/seeds/tokens`.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>, bool)> {
    let header = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#;
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":["api","b"],"exp":{},"iat":{NOW},"nbf":{NOW}.5,"sub":"ann","scope":"a b","roles":["c"],"jti":"7","deep":{{"claim":[1,true,null,"\u00e9"]}}}}"#,
        NOW + 60
    );
    // Without a `kid`: the key set has none.
    let bare = r#"{"alg":"EdDSA","typ":"at+jwt"}"#;
    let token = sign(&ISSUER_KEY, bare.as_bytes(), claims.as_bytes());
    let proof_header = json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk(&CLIENT_KEY) });
    let proof = json!({
        "htm": "GET", "htu": "https://api.example.com/pay", "iat": NOW, "jti": "1",
        "ath": encode(sha256(bound_token().as_bytes())),
    });
    let keys = json!({ "keys": [jwk(&ISSUER_KEY), jwk(&CLIENT_KEY), {
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "key_ops": ["verify"],
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    }] });
    let answer = json!({
        "active": true, "sub": "ann", "client_id": "shop", "scope": "a b", "exp": NOW + 60,
    });
    let named = |kind: char, text: String| [kind.to_string(), text].concat().into_bytes();
    vec![
        ("token", named('j', format!("{bare}\n{claims}")), true),
        ("token_of_no_key", named('j', format!("{header}\n{claims}")), false),
        ("token_none", named('j', format!("{{\"alg\":\"none\"}}\n{claims}")), false),
        ("proof", named('p', format!("{proof_header}\n{proof}")), true),
        ("request", named('r', format!("/pay?a=b\nauthorization: Bearer {token}\nx: y")), true),
        ("request_query", named('r', format!("/pay?access_token={token}\nx: y")), false),
        ("request_key", named('r', format!("/pay\nx-api-key: {API_KEY}")), true),
        ("text", named('t', token), true),
        ("keys", named('k', keys.to_string()), true),
        ("answer", named('i', answer.to_string()), true),
        ("answer_without_time", named('i', r#"{"active":true,"exp":-1}"#.to_owned()), false),
    ]
}

/// The issuer's key and the client's, always the same, so that seeds stay good.
static ISSUER_KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| key(1));
static CLIENT_KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| key(2));
static RIG: LazyLock<Rig> = LazyLock::new(Rig::new);

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn sign(key: &Ed25519KeyPair, header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    format!("{signed}.{}", encode(key.sign(signed.as_bytes())))
}

/// The public half of a key as a JWK.
pub(crate) fn jwk(key: &Ed25519KeyPair) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) })
}

/// A token that is bound to the client's key.
fn bound_token() -> String {
    let x = encode(CLIENT_KEY.public_key().as_ref());
    let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let claims = json!({
        "iss": ISSUER, "aud": "api", "exp": NOW + 60, "sub": "ann",
        "cnf": { "jkt": encode(sha256(thumbprint.as_bytes())) },
    });
    sign(&ISSUER_KEY, br#"{"alg":"EdDSA","typ":"at+jwt"}"#, claims.to_string().as_bytes())
}

/// Providers, and a route that takes each way.
struct Rig {
    auth: Auth,
    access: Access,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let hash: String =
            sha256(API_KEY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let keys = json!({ "keys": [{ "id": "shop", "sha256": hash }] }).to_string();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, keys).expect("writes");
        let published = json!({ "keys": [jwk(&ISSUER_KEY)] }).to_string();
        let settings = json!({
            "issuers": { "corp": {
                "issuer": ISSUER, "audience": ["api"], "keys": { "inline": published },
                "algorithms": ["EdDSA", "ES256", "RS256"],
            } },
            "introspection": { "opaque": {
                "url": "https://id.example.com/introspect", "client_id": "gateway",
                "client_secret": "gateway-secret",
            } },
            "api_keys": { "partners": { "file": file } },
        });
        let settings: AuthSettings = serde_json::from_value(settings).expect("settings");
        let mut errors = Vec::new();
        let auth = Auth::compile(&settings, None, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        let access = json!({
            "any": [{ "jwt": "corp" }, { "introspection": "opaque" }, { "api_key": "partners" }],
            "forward": { "headers": { "X-User-Id": "subject", "X-All": "deep.claim" } },
        });
        let access: AccessSettings = serde_json::from_value(access).expect("settings");
        let access = Access::compile(&access, &auth).expect("compiles");
        Self { auth, access, _folder: folder }
    }

    fn verdict(&self, head: &Parts) -> Verdict {
        let request = Request {
            head,
            host: "api.example.com",
            path: head.uri.path(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: Clock::System.now(),
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        self.access.check(&request, &Caller { time, certificate: None }, &Waited::default())
    }

    /// Who a request is let pass as.
    fn passes(&self, head: &Parts) -> Option<Identity> {
        match self.verdict(head) {
            Verdict::Permitted(permitted) => Some(permitted.identity().clone()),
            Verdict::Open => panic!("the route is for nobody without a credential"),
            Verdict::Wait(_) | Verdict::Refused(..) => None,
        }
    }
}

fn with_token(token: &str) -> Option<Parts> {
    let request = http::Request::get("https://api.example.com/pay");
    let request = request.header("authorization", format!("Bearer {token}"));
    Some(request.body(()).ok()?.into_parts().0)
}

/// Signed by the issuer: what passes says what it must, by another reader.
fn check_signed(header: &[u8], claims: &[u8]) -> bool {
    let token = sign(&ISSUER_KEY, header, claims);
    let Some(head) = with_token(&token) else { return false };
    let Some(who) = RIG.passes(&head) else { return false };
    assert_holds(&token, &who);
    let again = RIG.passes(&head).expect("what is remembered passes as well");
    assert_eq!((who.subject, who.scopes, who.claims), (again.subject, again.scopes, again.claims));
    // The same text under another key is nobody's.
    let forged = sign(&CLIENT_KEY, header, claims);
    assert!(with_token(&forged).is_none_or(|head| RIG.passes(&head).is_none()));
    true
}

/// That a token is what it passed for.
fn assert_holds(token: &str, who: &Identity) {
    let (signed, signature) = token.rsplit_once('.').expect("a token");
    let x = encode(ISSUER_KEY.public_key().as_ref());
    let key = DecodingKey::from_ed_components(&x).expect("a key");
    let named = jsonwebtoken::Algorithm::EdDSA;
    let verified = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, named);
    assert!(verified.expect("a signature"), "{token}");
    let part = |index: usize| -> Value {
        let part = token.split('.').nth(index).expect("a part");
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let (header, claims) = (part(0), part(1));
    assert_eq!(header["alg"], "EdDSA", "neither none nor another key's");
    let kind = header["typ"].as_str().expect("a type").to_ascii_lowercase();
    assert!(["at+jwt", "application/at+jwt"].contains(&kind.as_str()), "{kind}");
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    assert_eq!(claims["iss"], ISSUER);
    let audience = &claims["aud"];
    let listed = audience.as_array().is_some_and(|all| all.contains(&json!("api")));
    assert!(audience == "api" || listed, "{audience}");
    let now = u32::try_from(NOW).map(f64::from).expect("a time of this century");
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().expect("a number"));
    assert!(time("exp").expect("an end").floor() + 30.0 > now, "it is over");
    for name in ["nbf", "iat"] {
        assert!(time(name).is_none_or(|begins| begins.floor() <= now + 30.0), "{name}");
    }
    assert!(claims.get("cnf").is_none(), "a bound token needs a proof");
    assert!(same_object(&who.claims, &claims), "{claims} is not {}", who.claims);
    assert_eq!(who.subject.as_deref(), claims.get("sub").and_then(Value::as_str));
    let scopes = claims.get("scope").or(claims.get("scp"));
    let mut granted: Vec<&str> = match scopes {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    granted.retain(|scope| !scope.is_empty());
    granted.sort_unstable();
    granted.dedup();
    assert!(who.scopes.iter().map(|scope| &**scope).eq(granted), "{:?} of {claims}", who.scopes);
}

/// Whether two readers found the same.
fn same(own: &Json, theirs: &Value) -> bool {
    match (own, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(own), Value::Bool(theirs)) => own == theirs,
        (Json::Number(own), Value::Number(theirs)) => own == theirs,
        (Json::String(own), Value::String(theirs)) => **own == **theirs,
        (Json::List(own), Value::Array(theirs)) => {
            own.len() == theirs.len() && own.iter().zip(theirs).all(|(own, their)| same(own, their))
        }
        (Json::Object(own), theirs) => same_object(own, theirs),
        _ => false,
    }
}

fn same_object(own: &Object, theirs: &Value) -> bool {
    let Some(theirs) = theirs.as_object() else { return false };
    own.members().count() == theirs.len()
        && own.members().all(|(name, own)| theirs.get(name).is_some_and(|value| same(own, value)))
}

/// By the client's key beside its token: what passes is for this request, and passes once.
fn check_proof(header: &[u8], claims: &[u8]) -> bool {
    // Proofs are remembered, so each input begins anew.
    let rig = Rig::new();
    let (token, proof) = (bound_token(), sign(&CLIENT_KEY, header, claims));
    let asks = |method: &str, scheme: &str, proof: &str| {
        let request = http::Request::builder().method(method).uri("https://api.example.com/pay");
        let request = request.header("authorization", format!("{scheme} {token}"));
        let request = request.header("dpop", proof).body(()).ok();
        request.is_some_and(|request| rig.passes(&request.into_parts().0).is_some())
    };
    // None of these is for this request, whatever the proof says.
    assert!(!asks("GET", "Bearer", &proof), "a bound token passes as a bearer token");
    assert!(!asks("GET", "DPoP", &sign(&ISSUER_KEY, header, claims)), "another key's proof");
    if !asks("GET", "DPoP", &proof) {
        return false;
    }
    assert!(!asks("GET", "DPoP", &proof), "a proof passes twice");
    assert!(!asks("POST", "DPoP", &proof), "a proof is for one method");
    let claims: Value = serde_json::from_slice(claims).expect("JSON");
    let header: Value = serde_json::from_slice(header).expect("JSON");
    assert_eq!((&header["alg"], &claims["htm"]), (&json!("EdDSA"), &json!("GET")));
    assert_eq!(header["jwk"]["x"], jwk(&CLIENT_KEY)["x"]);
    assert_eq!(claims["ath"], encode(sha256(token.as_bytes())));
    let address: http::Uri = claims["htu"].as_str().expect("an address").parse().expect("one");
    assert_eq!((address.scheme_str(), address.path()), (Some("https"), "/pay"));
    assert!(address.host().is_some_and(|host| host.eq_ignore_ascii_case("api.example.com")));
    assert!(claims["jti"].as_str().is_some_and(|id| !id.is_empty()));
    true
}

/// Any target and fields: only a credential that holds lets pass.
fn check_request(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut request = http::Request::get(lines.next().unwrap_or_default());
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        request = request.header(name, value.get(1..).unwrap_or_default().trim_ascii());
    }
    let Ok(request) = request.body(()) else { return false };
    let head = request.into_parts().0;
    let Some(who) = RIG.passes(&head) else { return false };
    let tokens: Vec<_> = head.headers.get_all("authorization").iter().collect();
    match who.method {
        tidegate_auth::Method::Jwt => {
            let [field] = tokens[..] else { panic!("{} tokens pass", tokens.len()) };
            let field = field.to_str().expect("a text").trim();
            let (scheme, token) = field.split_once(' ').expect("a scheme");
            assert!(scheme.eq_ignore_ascii_case("bearer"), "{scheme}");
            assert_holds(token.trim_start(), &who);
        }
        tidegate_auth::Method::ApiKey => {
            let keys: Vec<_> = head.headers.get_all("x-api-key").iter().collect();
            assert_eq!(keys, [API_KEY]);
            // No key makes up for a token that does not hold.
            let shows_token = |field: &&&http::HeaderValue| {
                let text = String::from_utf8_lossy(field.as_bytes()).trim().to_ascii_lowercase();
                text.starts_with("bearer ") || text.starts_with("dpop ")
            };
            assert_eq!(tokens.iter().filter(shows_token).count(), 0);
        }
        other => panic!("nobody can pass by {other:?} here"),
    }
    let query = head.uri.query().unwrap_or_default();
    let mut names = query.split(['&', ';']).filter_map(|pair| pair.split('=').next());
    assert!(!names.any(|name| decoded(name) == b"access_token"), "a token in the query: {query}");
    true
}

/// A name of a query, percent signs read.
fn decoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}

/// Any text as a token: there is one form of each.
fn check_token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(token) = Token::read(text) {
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(parts.len(), 3);
        let header = URL_SAFE_NO_PAD.decode(parts[0]).expect("base64url");
        let raw = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
        let again = format!("{}.{}.{}", encode(&header), encode(&raw), encode(&token.signature));
        assert_eq!(again, text);
        let theirs: Value = serde_json::from_slice(&raw).expect("JSON");
        assert!(same_object(&token.claims, &theirs));
        assert_ne!(token.header.members.text("alg"), Some("none"));
    }
    // What stands around a token in its field is not the token's.
    let Some(who) = with_token(text).and_then(|head| RIG.passes(&head)) else { return false };
    assert_holds(text.trim_matches([' ', '\t']), &who);
    true
}

/// Any text as a key set: what is taken is public, and for the algorithms that it is for.
fn check_keys(bytes: &[u8]) -> bool {
    let Ok(keys) = KeySet::read(bytes, &Algorithm::ALL) else { return false };
    let theirs: Value = serde_json::from_slice(bytes).expect("JSON");
    let listed = theirs["keys"].as_array().expect("a list");
    assert_eq!(keys.len() + keys.passed_over().len(), listed.len());
    let secret = |jwk: &Value| ["d", "p", "q", "k"].iter().any(|name| jwk.get(name).is_some());
    assert!(!keys.is_empty() && !listed.iter().any(secret));
    true
}

/// Any bytes as an answer about a token: what passes was called active.
fn check_answer(bytes: &[u8]) -> bool {
    let introspector = RIG.auth.introspectors().next().expect("an endpoint");
    let token = "an-opaque-token";
    let hash = sha256(token.as_bytes()).try_into().expect("32 bytes");
    let forgotten = br#"{"active":false}"#;
    introspector.learn(hash, forgotten, NOW).expect("an answer");
    let told = introspector.learn(hash, bytes, NOW).is_ok();
    let head = with_token(token).expect("a request");
    let passes = RIG.passes(&head);
    // What was learned is not for the inputs that come after.
    introspector.learn(hash, forgotten, NOW).expect("an answer");
    let Some(who) = passes else { return false };
    let theirs: Value = serde_json::from_slice(bytes).expect("JSON");
    assert!(told && theirs["active"] == true && theirs.get("cnf").is_none());
    assert_eq!(who.subject.as_deref(), theirs.get("sub").and_then(Value::as_str));
    let ends = theirs.get("exp").and_then(Value::as_f64);
    let now = u32::try_from(NOW).map(f64::from).expect("a time of this century");
    assert!(ends.is_none_or(|ends| ends > now), "it is over");
    true
}
