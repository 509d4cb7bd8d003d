//! Against a real authorization server, `oidc-provider` on Node: discovery, rotation under load,
//! and the server killed and returning. `scripts/setup --tests` installs it into `tests/oidc`;
//! `TIDEGATE_OIDC_PROVIDER` names another folder with its `node_modules`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_testkit::client::Ask;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{Gateway, Load, Origin, Reply, wait};

use crate::assert_problem;

const CONFIG: &str = "
auth:
  issuers:
    corp: { issuer: 'http://<provider>', audience: ['https://api.example.com'], algorithms: [ES256], refresh: 2s }
  introspection:
    opaque: { url: 'http://<provider>/token/introspection', client_id: gateway, client_secret: '${env:GATEWAY_SECRET}', cache: 1s }
routes:
  - { path: /opaque, to: api, auth: { introspection: opaque, scopes: [pay:read] } }
  - { path: /bound, to: api, auth: { jwt: corp, bound: true } }
  - { path: /pay, to: api, auth: { jwt: corp, scopes: [pay:read], forward: { headers: { X-Client: client } } } }
upstreams: { api: { endpoints: [<origin>] } }
";

/// The provider, on a port that stays its own.
struct Provider {
    address: SocketAddr,
    folder: PathBuf,
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
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut provider = Self { address, folder, running: None };
        provider.run();
        provider
    }

    fn run(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc/provider.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(&self.folder).arg(self.address.port().to_string());
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
    Ask::new("GET", "/pay").field("Authorization", &format!("Bearer {token}"))
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
