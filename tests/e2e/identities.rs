//! What an identity is good for beyond the route's door: limits, logs, audit records, fields for
//! the upstream; and that nobody else makes one up.

use std::process::Command;

use serde_json::{Value, json};
use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::programs::output;
use tidegate_testkit::tls::trusting;
use tidegate_testkit::tokens::{Signer, encode, key_set, now};
use tidegate_testkit::{Ca, Connection, Gateway, Origin, Reply, needs, wait};

use crate::assert_problem;

const AUTH: &str = "
auth:
  issuers:
    corp: { issuer: https://id.example.com, audience: [api], keys: { inline: '<keys>' } }
  log_key: '${env:LOG_KEY}'
";

fn gateway(rest: &str, origin: &Origin, signer: &Signer) -> tidegate_testkit::gateway::Builder {
    Gateway::builder(&format!("{AUTH}{rest}\nupstreams: {{ api: {{ endpoints: [<origin>] }} }}\n"))
        .set("origin", origin.address())
        .set("keys", key_set(&[signer.jwk()]))
        .env("LOG_KEY", "a-key-of-sufficient-length")
}

fn claims(subject: &str) -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "api", "sub": subject, "client_id": "shop",
        "iat": now(), "exp": now() + 300, "org": { "unit": "payments" },
    })
}

fn bearer(path: &str, token: &str) -> Ask {
    Ask::new("GET", path).field("Authorization", &format!("Bearer {token}"))
}

#[test]
fn each_subject_has_a_bucket_wherever_it_comes_from_and_a_name_in_the_log() {
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let route = "routes: [{ id: all, path: /, to: api, auth: { jwt: corp }, \
                 rate_limit: { key: subject, rate: 1/h, burst: 2 } }]";
    let gateway = gateway(route, &origin, &signer).start();
    // Each request has a token of its own: it is the subject that counts.
    let ask = |subject: &str, jti: u32| {
        let mut claims = claims(subject);
        claims["jti"] = json!(jti.to_string());
        bearer("/", &signer.token(&claims)).send(gateway.address())
    };
    assert_eq!([ask("ann", 1).status, ask("ann", 2).status], [200, 200]);
    assert_problem(&ask("ann", 3), 429, "rate_limited");
    assert_eq!(ask("bob", 4).status, 200, "another subject, from the same address");
    assert_eq!(origin.received().len(), 3);
    // A token that does not hold spends nobody's.
    for _ in 0..5 {
        let forged = Signer::new("k1").token(&claims("carol"));
        assert_problem(&bearer("/", &forged).send(gateway.address()), 401, "invalid_token");
    }
    assert_eq!(ask("carol", 5).status, 200);

    wait::until("all are logged", || gateway.access_log().len() == 10);
    let lines = gateway.access_log();
    let subject = |line: &Value| line["auth"]["subject"].as_str().unwrap_or_default().to_owned();
    let of = |status: u16| lines.iter().filter(move |line| line["status"] == status);
    let mut passed: Vec<String> = of(200).map(subject).collect();
    passed.sort();
    passed.dedup();
    assert_eq!(passed.len(), 3, "one pseudonym for each of three: {passed:?}");
    assert!(!passed.iter().any(|shown| shown.is_empty() || shown.contains("ann")), "{passed:?}");
    for line in of(200) {
        let auth = &line["auth"];
        assert_eq!((&auth["method"], &auth["provider"]), (&json!("jwt"), &json!("corp")));
        assert_eq!(auth["client"], "shop");
    }
    // The same key gives the same pseudonym in another process.
    let again = self::gateway(route, &origin, &signer).start();
    assert_eq!(bearer("/", &signer.token(&claims("ann"))).send(again.address()).status, 200);
    let shown = subject(&again.logged(|line| line["status"] == 200));
    assert!(passed.contains(&shown), "{shown} {passed:?}");
}

#[test]
fn what_a_token_claims_is_recorded_as_the_route_says() {
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let rest = "
audit: { path: <dir>/audit, origin: edge-1.example/audit, key: audit.key, checkpoint_every: 20ms, redaction: { key: '${file:hash.key}' } }
routes:
  - { id: pay, path: /, to: api, auth: { jwt: corp }, audit: { event: payment, durable: before_response, subject: 'claim:sub', fields: { unit: 'claim:org.unit', client: 'claim:client_id', missing: 'claim:none' } } }";
    let key = tidegate_audit::note::SigningKey::from_seed("edge-1.example/audit", [7; 32]);
    let gateway = gateway(rest, &origin, &signer)
        .file("audit.key", &key.expect("a key").to_secret_text())
        .file("hash.key", "0123456789abcdef0123456789abcdef")
        .start();
    assert_eq!(bearer("/", &signer.token(&claims("ann"))).send(gateway.address()).status, 200);
    assert_eq!(bearer("/", &signer.token(&claims("ann"))).send(gateway.address()).status, 200);
    let records = || crate::audit::records(&gateway);
    wait::until("both are recorded", || {
        records().iter().filter(|record| record["kind"] == "request").count() == 2
    });
    let all = records();
    let payments: Vec<&Value> = all.iter().filter(|record| record["kind"] == "request").collect();
    let subject = payments[0]["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("hmac:"), "{subject}");
    for payment in &payments {
        assert_eq!(payment["subject"], subject, "one subject, one pseudonym");
        assert_eq!(payment["fields"]["unit"], "payments", "{payment}");
        assert_eq!(payment["fields"]["client"], "shop");
        assert!(payment["fields"]["missing"].is_null());
    }
    assert!(!all.iter().any(|record| record.to_string().contains("\"ann\"")), "{all:#?}");
}

#[test]
fn a_token_that_is_bound_to_a_certificate_passes_with_it_alone() {
    let (origin, ca, clients) = (Origin::start(Reply::ok("ok")), Ca::new("ca"), Ca::new("clients"));
    let signer = Signer::new("k1");
    let rest = "
listeners: [{ address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key, client_auth: { ca: <dir>/clients.pem, mode: optional } } }]
routes:
  - { id: bound, path: /bound, to: api, auth: { jwt: corp, bound: true } }
  - { id: all, path: /, to: api, auth: { jwt: corp } }";
    let leaf = ca.server(&["api.example.com"]);
    let gateway = gateway(rest, &origin, &signer)
        .file("tls.crt", &leaf.cert)
        .file("tls.key", &leaf.key)
        .file("clients.pem", clients.pem())
        .start();
    let (alice, mallory) = (clients.client("alice"), clients.client("mallory"));
    let mut bound = claims("ann");
    bound["cnf"] = json!({ "x5t#S256": encode(alice.thumbprint()) });
    let (bound, free) = (signer.token(&bound), signer.token(&claims("ann")));
    let with = |identity: Option<&tidegate_testkit::Leaf>, ask: &Ask| {
        let trust = trusting(&ca);
        let trust = identity.into_iter().fold(trust, tidegate_testkit::tls::Trust::identity);
        let config = trust.config();
        let mut connection = Connection::tls(gateway.address(), "api.example.com", &config);
        ask.clone().host("api.example.com").send_on(&mut connection)
    };
    assert_eq!(with(Some(&alice), &bearer("/", &bound)).status, 200, "{}", gateway.stderr());
    assert_eq!(with(Some(&alice), &bearer("/bound", &bound)).status, 200);
    // A stolen token is worth nothing with another certificate, or none (RFC 8705 §3).
    assert_problem(&with(Some(&mallory), &bearer("/", &bound)), 401, "invalid_token");
    assert_problem(&with(None, &bearer("/", &bound)), 401, "invalid_token");
    assert_problem(&with(Some(&alice), &bearer("/bound", &free)), 401, "invalid_token");
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn nobody_writes_an_identity_in_any_spelling_over_http_1_or_2() {
    needs!("curl");
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let rest = "
listeners: [{ address: 127.0.0.1:0, h2c: true }]
routes:
  - { id: known, path: /known, to: api, auth: { jwt: corp, forward: { headers: { X-User-Id: sub, X-Scopes: scopes } } } }
  - { id: open, path: /, to: api, auth: none }";
    let gateway = gateway(rest, &origin, &signer).start();
    let token = signer.token(&claims("ann"));
    let spellings = [
        "X-User-Id: root",
        "x-user-id: root",
        "X-USER-ID: root",
        "X_User_Id: root",
        "x_user-id: root",
        "X-User_Id: root",
        "X-User-Id:root, ann",
        "X-Scopes: admin",
    ];
    let own = |name: &str| {
        let name = name.replace('_', "-");
        name.eq_ignore_ascii_case("x-user-id") || name.eq_ignore_ascii_case("x-scopes")
    };
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for spelling in spellings {
            for path in ["known", "", "nowhere"] {
                let before = origin.received().len();
                let mut command = Command::new("curl");
                command.args(["-sS", "-o", "/dev/null", "-w", "%{response_code}", version]);
                command.args(["-H", spelling, "-H", &format!("Authorization: Bearer {token}")]);
                // Twice, and named by `Connection`, which HTTP/2 does not know.
                command.args(["-H", spelling]);
                if version == "--http1.1" {
                    command.args(["-H", "Connection: x-user-id, X-Scopes"]);
                }
                let done = output(command.arg(format!("http://{}/{path}", gateway.address())));
                let received = origin.received().split_off(before);
                let Some(request) = received.first() else {
                    assert_eq!(done.stdout, "400", "{version} {spelling} {path}");
                    assert!(spelling.contains('_'), "only underscores are refused: {spelling}");
                    continue;
                };
                let told: Vec<&(String, String)> =
                    request.fields.iter().filter(|(name, _)| own(name)).collect();
                let told: Vec<_> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
                let known = [("x-user-id", "ann"), ("x-scopes", "")];
                let wanted = if path == "known" { &known[..] } else { &[] };
                let lower: Vec<_> =
                    told.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
                let lower: Vec<_> = lower.iter().map(|(name, value)| (&**name, *value)).collect();
                for field in &lower {
                    assert!(wanted.contains(field), "{version} {spelling} {path}: {told:?}");
                }
                assert_eq!(lower.len(), wanted.len(), "{version} {spelling} {path}: {told:?}");
            }
        }
    }
    assert_eq!(get(gateway.admin(), "/healthz").status, 200);
}
