//! Token exchange in the running binary, with a token endpoint that does what a test wants.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::client::Ask;
use tidegate_testkit::gateway::binary;
use tidegate_testkit::origin::closed_port;
use tidegate_testkit::programs::output;
use tidegate_testkit::tokens::{Signer, key_set, now};
use tidegate_testkit::{Gateway, Origin, Reply, Response, wait};

use crate::assert_problem;

const CONFIG: &str = "
auth:
  issuers:
    corp: { issuer: https://id.example.com, audience: [api], keys: { inline: '<keys>' } }
  exchange:
    billing:
      url: http://<endpoint>/token
      client_id: gateway
      client_secret: '${env:GATEWAY_SECRET}'
      audience: billing
      scopes: [pay:read]
      timeout: 500ms
  revocations: { file: <dir>/revoked }
routes:
  - { id: pay, path: /, to: api, auth: { jwt: corp, forward: { headers: { X-User-Id: sub }, token: { exchange: billing } } } }
upstreams: { api: { endpoints: [<origin>] } }
";

/// A gateway, the token endpoint behind it, and who signs callers' tokens.
struct Rig {
    gateway: Gateway,
    endpoint: Origin,
    origin: Origin,
    signer: Signer,
}

impl Rig {
    fn new(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(CONFIG, closed_port(), script)
    }

    fn with(
        config: &str,
        trap: SocketAddr,
        script: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let endpoint =
            Origin::script(move |request| script(&String::from_utf8_lossy(&request.body)));
        let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
        let gateway = Gateway::builder(config)
            .set("origin", origin.address())
            .set("endpoint", endpoint.address())
            .set("trap", trap)
            .set("keys", key_set(&[signer.jwk()]))
            .env("GATEWAY_SECRET", "the secret of the gateway")
            .start();
        Self { gateway, endpoint, origin, signer }
    }

    fn token(&self, subject: &str) -> String {
        self.signer.token(&json!({
            "iss": "https://id.example.com", "aud": "api", "sub": subject, "exp": now() + 300,
            "scope": "pay:read pay:write",
        }))
    }

    fn ask(&self, token: &str) -> Response {
        bearer(token).send(self.gateway.address())
    }

    fn exchanges(&self, result: &str) -> f64 {
        let labels = [("exchange", "billing"), ("result", result)];
        self.gateway.metric("tidegate_auth_exchanges_total", &labels).unwrap_or_default()
    }
}

fn bearer(token: &str) -> Ask {
    Ask::new("GET", "/pay").field("Authorization", &format!("Bearer {token}"))
}

fn issued(token: &str) -> Reply {
    let answer = json!({
        "access_token": token, "token_type": "Bearer", "expires_in": 300,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    Reply::ok(answer.to_string())
}

fn error(status: u16, code: &str) -> Reply {
    Reply::status(status, json!({ "error": code }).to_string())
}

#[test]
fn the_upstream_gets_a_token_of_its_own_and_never_the_callers() {
    let rig = Rig::new(|_form| issued("for-billing"));
    let token = rig.token("ann");
    assert_eq!(rig.ask(&token).status, 200, "{}", rig.gateway.stderr());
    assert_eq!(rig.ask(&token).status, 200);
    let asked = rig.endpoint.received();
    let [call] = &asked[..] else { panic!("one call for two requests: {asked:?}") };
    // RFC 6749 §2.3.1: name and secret are encoded before they are joined.
    let secret = "Basic Z2F0ZXdheTp0aGUlMjBzZWNyZXQlMjBvZiUyMHRoZSUyMGdhdGV3YXk=";
    assert_eq!(call.header("authorization"), Some(secret));
    let form = String::from_utf8_lossy(&call.body);
    assert!(form.contains(&format!("&subject_token={token}&")), "{form}");
    assert!(form.contains("&audience=billing&scope=pay%3Aread"), "{form}");
    for received in rig.origin.received() {
        assert_eq!(received.header("authorization"), Some("Bearer for-billing"));
        assert_eq!(received.header("x-user-id"), Some("ann"));
    }
    let raw = rig.origin.raw();
    let text = String::from_utf8_lossy(&raw);
    assert!(!text.contains(&token), "the caller's token reached the upstream");
    assert!(rig.exchanges("issued") > 0.0);
    // Another caller's token is another one.
    assert_eq!(rig.ask(&rig.token("bob")).status, 200);
    assert_eq!(rig.endpoint.received().len(), 2);
}

#[test]
fn who_brings_the_same_token_waits_for_one_call() {
    let slow = |_form: &str| Reply::Delayed(Duration::from_millis(200), Box::new(issued("slow")));
    let patient = CONFIG.replace("timeout: 500ms", "timeout: 10s");
    let rig = Rig::with(&patient, closed_port(), slow);
    let token = rig.token("ann");
    thread::scope(|threads| {
        let clients: Vec<_> = (0..8).map(|_| threads.spawn(|| rig.ask(&token).status)).collect();
        let statuses: Vec<u16> =
            clients.into_iter().map(|client| client.join().expect("a client")).collect();
        assert_eq!(statuses, [200; 8]);
    });
    assert_eq!(rig.endpoint.received().len(), 1);
}

#[test]
fn without_a_token_in_exchange_nobody_passes() {
    // The endpoint does what the subject asks it for.
    let rig = Rig::new(|form| {
        let token = form.split('&').find_map(|pair| pair.strip_prefix("subject_token="));
        let token = token.unwrap_or_default();
        match subject_of(token).as_str() {
            "grant" => error(400, "invalid_grant"),
            "request" => error(400, "invalid_request"),
            "target" => error(400, "invalid_target"),
            "scope" => error(400, "invalid_scope"),
            "client" => error(401, "invalid_client"),
            "broken" => error(500, "invalid_grant"),
            "html" => Reply::ok("<html>"),
            "same" => issued(token),
            "hang" => Reply::Hang,
            "close" => Reply::Close,
            "fields" => issued("a b"),
            other => panic!("{other}"),
        }
    });
    let check = |subject: &str, status, code| {
        assert_problem(&rig.ask(&rig.token(subject)), status, code);
    };
    check("grant", 401, "invalid_token");
    check("request", 401, "invalid_token");
    check("target", 403, "access_denied");
    check("scope", 403, "access_denied");
    check("client", 503, "auth_unavailable");
    check("broken", 503, "auth_unavailable");
    check("html", 503, "auth_unavailable");
    check("same", 503, "auth_unavailable");
    check("hang", 503, "auth_unavailable");
    check("close", 503, "auth_unavailable");
    check("fields", 503, "auth_unavailable");
    assert_eq!(rig.origin.received().len(), 0, "nothing went on");
    assert!((rig.exchanges("refused") - 4.0).abs() < 0.1);
    assert!((rig.exchanges("failure") - 7.0).abs() < 0.1);
    let line = rig.gateway.logged(|line| line["reason"] == "access_denied");
    assert!(
        line["evidence"].as_str().is_some_and(|told| told.contains("`billing` says")),
        "{line}"
    );
    assert_eq!(line["auth"]["method"], "jwt", "who asked is known: {line}");
}

/// The subject of a token, unchecked.
fn subject_of(token: &str) -> String {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    let claims: Value = serde_json::from_slice(&claims.expect("base64url")).expect("JSON");
    claims["sub"].as_str().expect("a subject").to_owned()
}

#[test]
fn a_revocation_ends_what_was_exchanged_before() {
    let rig = Rig::new(|_form| issued("for-billing"));
    let token = rig.token("ann");
    assert_eq!(rig.ask(&token).status, 200);
    let revoked = Ask::new("POST", "/revoke?sub=ann").body("").send(rig.gateway.admin());
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_problem(&rig.ask(&token), 401, "invalid_token");
    assert_eq!(rig.origin.received().len(), 1);
}

#[test]
fn who_is_isolated_brings_no_token_into_the_quarantine() {
    let trap = Origin::start(Reply::ok("trapped"));
    let config = CONFIG.replace("upstreams: {", "upstreams: { trap: { endpoints: [<trap>] },");
    let config = format!("response: {{ builtin: off, isolate: {{ to: trap }} }}\n{config}");
    let rig = Rig::with(&config, trap.address(), |_form| issued("for-billing"));
    let token = rig.token("ann");
    assert_eq!(rig.ask(&token).text(), "ok");
    let mut add = Command::new(binary());
    add.args(["bans", "add", "--subject", "ann", "--provider", "corp", "--measure", "isolate"]);
    let added = output(add.args(["--admin", &rig.gateway.admin().to_string()]));
    assert!(added.status.success(), "{}", added.stderr);
    assert_eq!(rig.ask(&token).text(), "trapped");
    let raw = trap.raw();
    let text = String::from_utf8_lossy(&raw);
    assert!(!text.contains("for-billing") && !text.contains(&token), "{text}");
    assert_eq!(trap.received()[0].header("authorization"), None);
}

#[test]
fn after_a_reload_nobody_waits_for_a_call_that_asks_for_more() {
    // The first call is under way when the settings change to another audience.
    let patient = CONFIG.replace("timeout: 500ms", "timeout: 10s");
    let rig = Rig::with(&patient, closed_port(), |form| {
        let to = form.split('&').find_map(|pair| pair.strip_prefix("audience="));
        match to.unwrap_or_default() {
            "billing" => Reply::Delayed(Duration::from_secs(1), Box::new(issued("wide"))),
            _ => issued("narrow"),
        }
    });
    let token = rig.token("ann");
    thread::scope(|threads| {
        let first = threads.spawn(|| rig.ask(&token).status);
        wait::until("the first is asked for", || !rig.endpoint.received().is_empty());
        rig.gateway.write_config(&patient.replace("audience: billing", "audience: reports"));
        assert!(rig.gateway.reload().status < 300);
        assert_eq!(rig.ask(&token).status, 200);
        let sent = rig.origin.received();
        let sent: Vec<_> = sent.iter().filter_map(|it| it.header("authorization")).collect();
        assert!(sent.contains(&"Bearer narrow"), "{sent:?}");
        assert_eq!(
            first.join().expect("a client"),
            200,
            "who began under the old settings ends so"
        );
    });
}

#[test]
fn only_what_can_be_exchanged_is() {
    let signer = Signer::new("k1");
    let start = |config: &str| {
        let started = Gateway::builder(config)
            .set("origin", "127.0.0.1:9")
            .set("endpoint", "127.0.0.1:9")
            .set("keys", key_set(&[signer.jwk()]))
            .env("GATEWAY_SECRET", "secret")
            .try_start();
        started.map(drop).map_err(|failed| failed.stderr)
    };
    assert_eq!(start(CONFIG), Ok(()));
    let refused = |config: &str, message: &str| {
        let told = start(config).expect_err("it must not start");
        assert!(told.contains(message), "{told}");
    };
    refused(&CONFIG.replace("jwt: corp, f", "mtls: {}, f"), "no token that could be exchanged");
    refused(&CONFIG.replace("'${env:GATEWAY_SECRET}'", "secret"), "a secret stands in");
    refused(
        &CONFIG.replace("exchange: billing }", "exchange: other }"),
        "nothing in `auth.exchange`",
    );
}
