//! Against a real authorization server, `oidc-provider` on Node: discovery, rotation under load,
//! and the server killed and returning. `scripts/setup --tests` installs it into `tests/oidc`;
//! `TIDEGATE_OIDC_PROVIDER` names another folder with its `node_modules`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tidegate_testkit::client::Ask;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::tokens::{Signer, now};
use tidegate_testkit::{Gateway, Load, Origin, Reply, wait};

use crate::assert_problem;

const CONFIG: &str = "
auth:
  issuers:
    corp: { issuer: 'http://<provider>', audience: ['https://api.example.com'], algorithms: [ES256], refresh: 2s }
  introspection:
    opaque: { url: 'http://<provider>/token/introspection', client_id: gateway, client_secret: '${env:GATEWAY_SECRET}', cache: 1s }
  exchange:
    billing: { url: 'http://<provider>/token', client_id: gateway, client_secret: '${env:GATEWAY_SECRET}', audience: 'https://billing.example.com', scopes: [pay:read] }
    nowhere: { url: 'http://<provider>/token', client_id: gateway, client_secret: '${env:GATEWAY_SECRET}', client_auth: post, audience: 'https://nowhere.example.com' }
routes:
  - { path: /billing, to: api, auth: { any: [{ jwt: corp }, { introspection: opaque }], forward: { token: { exchange: billing } } } }
  - { path: /nowhere, to: api, auth: { jwt: corp, forward: { token: { exchange: nowhere } } } }
  - { path: /opaque, to: api, auth: { introspection: opaque, scopes: [pay:read] } }
  - { path: /bound, to: api, auth: { jwt: corp, bound: true } }
  - { path: /pay, to: api, auth: { jwt: corp, scopes: [pay:read], forward: { headers: { X-Client: client } } } }
upstreams: { api: { endpoints: [<origin>] } }
";

/// The provider, on a port that stays its own.
struct Provider {
    address: SocketAddr,
    folder: PathBuf,
    /// The file that keeps its keys, if they are to survive it.
    keys: Option<PathBuf>,
    running: Option<Running>,
}

/// The folder with the provider's packages; `None`, with a printed line, where it is not.
fn folder() -> Option<PathBuf> {
    if !programs::are_installed(&["node"]) {
        return None;
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc");
    let folder = std::env::var_os("TIDEGATE_OIDC_PROVIDER").map_or(own, PathBuf::from);
    if folder.join("node_modules/oidc-provider").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no oidc-provider in {}: run scripts/setup --tests", folder.display());
    None
}

impl Provider {
    fn start(folder: PathBuf) -> Self {
        Self::keeping(folder, None)
    }

    fn keeping(folder: PathBuf, keys: Option<PathBuf>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut provider = Self { address, folder, keys, running: None };
        provider.run();
        provider
    }

    fn run(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc/provider.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(&self.folder).arg(self.address.port().to_string());
        command.args(&self.keys);
        command.stderr(std::process::Stdio::null());
        self.running = Some(programs::start(&mut command).accepting(self.address));
    }

    /// An access token for a client's own purposes (RFC 6749 §4.4).
    fn token(&self, scope: &str) -> String {
        self.ask_for(&format!("grant_type=client_credentials&scope={scope}"))
    }

    fn ask_for(&self, form: &str) -> String {
        let answer = Ask::new("POST", "/token")
            .host(&self.address.to_string())
            .field("Authorization", &basic("shop"))
            .field("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
            .send(self.address);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }

    fn rotate(&self) {
        assert_eq!(Ask::new("GET", "/test/rotate").send(self.address).status, 200);
    }
}

fn basic(client: &str) -> String {
    use base64::Engine as _;
    let secret = format!("{client}:{client}-secret-of-sufficient-length");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(secret))
}

fn gateway(origin: &Origin, provider: &Provider) -> Gateway {
    Gateway::builder(CONFIG)
        .set("origin", origin.address())
        .set("provider", provider.address)
        .env("GATEWAY_SECRET", "gateway-secret-of-sufficient-length")
        .start()
}

fn pay(token: &str) -> Ask {
    bearer("/pay", token)
}

fn bearer(path: &str, token: &str) -> Ask {
    Ask::new("GET", path).field("Authorization", &format!("Bearer {token}"))
}

/// The claims of a token, unchecked.
fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).expect("a JWT");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    serde_json::from_slice(&claims.expect("base64url")).expect("JSON")
}

#[test]
fn tokens_of_a_real_provider_pass_over_rotation_and_its_death() {
    let Some(folder) = folder() else { return };
    let origin = Origin::start(Reply::ok("ok"));
    let mut provider = Provider::start(folder);
    let gateway = gateway(&origin, &provider);
    let token = provider.token("pay:read");
    let answer = pay(&token).send(gateway.address());
    assert_eq!(answer.status, 200, "{} {}", answer.text(), gateway.stderr());
    assert_eq!(origin.received()[0].header("x-client"), Some("shop"));
    let narrow = provider.token("pay:write");
    assert_problem(&pay(&narrow).send(gateway.address()), 403, "insufficient_scope");

    // Keys are rotated while requests run: none of them may fail.
    let load = Load::asking(gateway.address(), 4, &pay(&token));
    load.wait_for(50);
    provider.rotate();
    wait::until("the new key is taken", || {
        let fresh = provider.token("pay:read");
        pay(&fresh).send(gateway.address()).status == 200
    });
    load.wait_for(50);

    // The provider is gone: what was issued passes on.
    let fresh = provider.token("pay:read");
    provider.running = None;
    wait::until("a fetch fails", || {
        let failures = [("issuer", "corp"), ("result", "failure")];
        gateway.metric("tidegate_auth_key_fetches_total", &failures).is_some_and(|n| n > 0.0)
    });
    assert_eq!(pay(&fresh).send(gateway.address()).status, 200);
    load.wait_for(50);
    load.stop().assert_unharmed();

    // It returns with other keys: its new tokens pass, those of the lost key do not.
    provider.run();
    wait::until("tokens of the provider that returned pass", || {
        let fresh = provider.token("pay:read");
        pay(&fresh).send(gateway.address()).status == 200
    });
    assert_problem(&pay(&token).send(gateway.address()), 401, "invalid_token");
}

#[test]
fn opaque_tokens_pass_by_introspection_until_they_are_revoked() {
    let Some(folder) = folder() else { return };
    let origin = Origin::start(Reply::ok("ok"));
    let mut provider = Provider::start(folder);
    let gateway = gateway(&origin, &provider);
    let resource = "resource=https://api.example.com/opaque";
    let token =
        provider.ask_for(&format!("grant_type=client_credentials&scope=pay:read&{resource}"));
    assert!(!token.contains('.'), "an opaque token: {token}");
    let ask = |token: &str| {
        Ask::new("GET", "/opaque")
            .field("Authorization", &format!("Bearer {token}"))
            .send(gateway.address())
    };
    assert_eq!(ask(&token).status, 200);
    assert_problem(&ask("unknown"), 401, "invalid_token");
    let revoked = Ask::new("POST", "/token/revocation")
        .host(&provider.address.to_string())
        .field("Authorization", &basic("shop"))
        .field("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"))
        .send(provider.address);
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    wait::until("the revoked token is refused", || ask(&token).status == 401);
    provider.running = None;
    assert_problem(&ask("another"), 503, "auth_unavailable");
}

#[test]
fn a_token_that_is_bound_to_a_key_passes_with_each_proof_once() {
    let Some(folder) = folder() else { return };
    let origin = Origin::start(Reply::ok("ok"));
    let provider = Provider::start(folder);
    let gateway = gateway(&origin, &provider);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc/dpop.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg(&provider.folder).arg(format!("http://{}", provider.address));
    command.arg("GET").arg(format!("http://{}/bound", gateway.address()));
    let output = programs::output(&mut command);
    assert!(output.status.success(), "{}", output.stderr);
    let made: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    let token = made["token"].as_str().expect("a token");
    let send = |scheme: &str, proof: &serde_json::Value| {
        Ask::new("GET", "/bound")
            .host(&gateway.address().to_string())
            .field("Authorization", &format!("{scheme} {token}"))
            .field("DPoP", proof.as_str().expect("a proof"))
            .send(gateway.address())
    };
    assert_eq!(send("DPoP", &made["proofs"][0]).status, 200, "{}", gateway.stderr());
    assert_problem(&send("DPoP", &made["proofs"][0]), 401, "invalid_token");
    assert_eq!(send("DPoP", &made["proofs"][1]).status, 200);
    assert_problem(&send("DPoP", &made["stranger"]), 401, "invalid_token");
    assert_problem(&send("Bearer", &made["proofs"][1]), 401, "invalid_token");
    let free = provider.token("pay:read");
    let unbound = Ask::new("GET", "/bound").field("Authorization", &format!("Bearer {free}"));
    assert_problem(&unbound.send(gateway.address()), 401, "invalid_token");
}

#[test]
fn a_provider_that_dies_and_returns_under_load_is_not_noticed_by_who_has_a_token() {
    let Some(folder) = folder() else { return };
    let kept = tempfile::tempdir().expect("a folder");
    let origin = Origin::start(Reply::ok("ok"));
    let mut provider = Provider::keeping(folder, Some(kept.path().join("keys.json")));
    let gateway = gateway(&origin, &provider);
    let token = provider.token("pay:read");
    assert_eq!(pay(&token).send(gateway.address()).status, 200, "{}", gateway.stderr());
    let fetches = |result| {
        let labels = [("issuer", "corp"), ("result", result)];
        gateway.metric("tidegate_auth_key_fetches_total", &labels).unwrap_or_default()
    };
    let load = Load::asking(gateway.address(), 4, &pay(&token));
    for round in 0..3 {
        load.wait_for(50);
        let failures = fetches("failure");
        provider.running = None;
        wait::until("fetches fail", || fetches("failure") > failures);
        load.wait_for(50);
        // Tokens of the keys that are known pass; of what is not known nobody is asked for ever.
        let unknown = Signer::new(&format!("unknown-{round}")).token(&json!({
            "iss": format!("http://{}", provider.address), "aud": "https://api.example.com",
            "exp": now() + 60,
        }));
        assert_problem(&pay(&unknown).send(gateway.address()), 401, "invalid_token");
        provider.run();
        if round == 1 {
            // It returns, and changes its keys at once.
            provider.rotate();
        }
        let successes = fetches("success");
        wait::until("keys are fetched again", || fetches("success") > successes);
        wait::until("its new tokens pass", || {
            pay(&provider.token("pay:read")).send(gateway.address()).status == 200
        });
    }
    load.wait_for(50);
    let tally = load.stop();
    tally.assert_unharmed();
    eprintln!("{} requests over three deaths", tally.answers());
}

#[test]
fn opaque_tokens_are_refused_while_their_provider_is_dead_and_never_passed_by_mistake() {
    let Some(folder) = folder() else { return };
    let origin = Origin::start(Reply::ok("ok"));
    let mut provider = Provider::start(folder);
    let gateway = gateway(&origin, &provider);
    let form =
        "grant_type=client_credentials&scope=pay:read&resource=https://api.example.com/opaque";
    let token = provider.ask_for(form);
    assert_eq!(bearer("/opaque", &token).send(gateway.address()).status, 200);
    let load = Load::asking(gateway.address(), 4, &bearer("/opaque", &token));
    load.wait_for(50);
    provider.running = None;
    // The last answer is believed for one second, then nobody passes.
    wait::until("nobody passes", || {
        bearer("/opaque", &token).send(gateway.address()).status == 503
    });
    let passed = origin.received().len();
    load.wait_for(50);
    assert_problem(&bearer("/opaque", &token).send(gateway.address()), 503, "auth_unavailable");
    assert_eq!(origin.received().len(), passed, "fail closed");
    // It returns without its memory: the old token is unknown, a new one passes.
    provider.run();
    wait::until("the lost token is refused", || {
        bearer("/opaque", &token).send(gateway.address()).status == 401
    });
    let fresh = provider.ask_for(form);
    assert_eq!(bearer("/opaque", &fresh).send(gateway.address()).status, 200);
    let tally = load.stop();
    let known = tally.statuses.keys().all(|status| [200, 401, 503].contains(status));
    assert!(known && tally.failures.is_empty(), "{tally:?}");
}

#[test]
fn the_upstream_gets_a_token_that_a_real_provider_gave_in_exchange() {
    let Some(folder) = folder() else { return };
    let origin = Origin::start(Reply::ok("ok"));
    let mut provider = Provider::start(folder);
    let gateway = gateway(&origin, &provider);
    let token = provider.token("pay:read+pay:write");
    assert_eq!(
        bearer("/billing", &token).send(gateway.address()).status,
        200,
        "{}",
        gateway.stderr()
    );
    let form =
        "grant_type=client_credentials&scope=pay:read&resource=https://api.example.com/opaque";
    let opaque = provider.ask_for(form);
    assert_eq!(
        bearer("/billing", &opaque).send(gateway.address()).status,
        200,
        "{}",
        gateway.stderr()
    );
    let received = origin.received();
    for request in &received {
        let sent = request.header("authorization").and_then(|field| field.strip_prefix("Bearer "));
        let sent = sent.expect("a token");
        assert!(sent != token && sent != opaque);
        let claims = claims(sent);
        assert_eq!(
            claims["aud"], "https://billing.example.com",
            "for the upstream alone: {claims}"
        );
        assert_eq!(claims["scope"], "pay:read", "with less than the caller has");
        assert_eq!((&claims["client_id"], &claims["act_via"]), (&json!("gateway"), &json!("shop")));
    }
    assert_eq!(received.len(), 2);
    let raw = origin.raw();
    assert!(!String::from_utf8_lossy(&raw).contains(&token), "the caller's token stays here");

    // The provider refuses: more than the caller has, a service that is not there.
    let narrow = provider.token("pay:write");
    assert_problem(&bearer("/billing", &narrow).send(gateway.address()), 403, "access_denied");
    assert_problem(&bearer("/nowhere", &token).send(gateway.address()), 403, "access_denied");
    // It dies: what was exchanged is used on, and nothing else passes.
    let another = provider.token("pay:read");
    provider.running = None;
    assert_eq!(bearer("/billing", &token).send(gateway.address()).status, 200);
    assert_problem(&bearer("/billing", &another).send(gateway.address()), 503, "auth_unavailable");
    provider.run();
    wait::until("it exchanges again", || {
        let fresh = provider.token("pay:read");
        bearer("/billing", &fresh).send(gateway.address()).status == 200
    });
    assert_eq!(origin.received().len(), 4);
}
