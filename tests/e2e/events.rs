//! Everything that the binary tells, in every format, read by what others wrote: one run through
//! refusals, findings, limits, identities, failures, reloads, bans and decisions, whose records in
//! files are then put to the validators of `tests/suites/siem`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::origin::closed_port;
use tidegate_testkit::tls::trusting;
use tidegate_testkit::tokens::{Signer, key_set, now};
use tidegate_testkit::{Ca, Connection, Gateway, Origin, Reply, wait};

const CONFIG: &str = "
listeners:
  - { address: 127.0.0.1:0 }
  - { address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }
limits: { handshake_timeout: 1s }
trusted_proxies: [127.0.0.1]
sinks:
  cef: { format: cef, events: all, file: { path: <dir>/cef } }
  ecs: { format: ecs, events: all, file: { path: <dir>/ecs } }
  json: { format: json, events: all, file: { path: <dir>/json } }
  leef: { format: leef, events: all, file: { path: <dir>/leef } }
  ocsf: { format: ocsf, events: all, file: { path: <dir>/ocsf } }
response: {}
auth:
  issuers:
    corp: { issuer: https://id.example.com, audience: [api], keys: { inline: '<keys>' } }
    gone: { issuer: https://gone.example.com, audience: [api], keys: { url: 'http://<closed>/keys', insecure_http: true } }
policies:
  known: { auth: { jwt: corp } }
  guarded: { waf: { mode: block } }
routes:
  - { id: money, path: /money, to: api, policies: [known], auth: { scopes: [pay:write] } }
  - { id: limited, path: /limited, to: api, auth: none, rate_limit: { key: client_ip, rate: 1/h, burst: 1 } }
  - { id: dead, path: /dead, to: dead, auth: none }
  - { id: all, path: /, to: api, policies: [guarded], auth: none }
upstreams:
  api: { endpoints: [<origin>] }
  dead: { endpoints: [<closed>], health: { type: tcp, interval: 100ms, fall: 1 } }
";

const FORMATS: [&str; 5] = ["cef", "ecs", "json", "leef", "ocsf"];

/// The gateway with what it runs between.
struct Stage {
    gateway: Gateway,
    origin: Origin,
    signer: Signer,
    ca: Ca,
}

impl Stage {
    fn set() -> Self {
        let origin = Origin::start(Reply::ok("ok"));
        let (signer, ca) = (Signer::new("k1"), Ca::new("ca"));
        let leaf = ca.server(&["api.example.com"]);
        let gateway = Gateway::builder(CONFIG)
            .set("origin", origin.address())
            .set("closed", closed_port())
            .set("keys", key_set(&[signer.jwk()]))
            .file("tls.crt", &leaf.cert)
            .file("tls.key", &leaf.key)
            .start();
        Self { gateway, origin, signer, ca }
    }

    /// A request of a client behind the trusted proxy.
    fn ask(&self, path: &str, client: &str, token: Option<&str>) -> u16 {
        let ask = Ask::new("GET", path).field("X-Forwarded-For", client);
        let ask = match token {
            Some(token) => ask.field("Authorization", &format!("Bearer {token}")),
            None => ask,
        };
        ask.send(self.gateway.address()).status
    }

    fn records(&self, format: &str) -> Vec<String> {
        let text = fs::read_to_string(self.gateway.folder().join(format)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a record with this text in plain JSON.
    fn told(&self, text: &str) {
        let what = format!("a record with {text}");
        wait::until(&what, || self.records("json").iter().any(|record| record.contains(text)));
    }
}

#[test]
fn all_that_is_told_holds_against_the_schemas_of_others() {
    let mut stage = Stage::set();
    requests(&stage);
    identities(&stage);
    connections(&stage);
    administration(&stage);
    for kind in ["endpoint_down", "upstream_down", "provider_failing", "tls_failed", "decided"] {
        stage.told(&format!("\"notice\":\"{kind}\""));
    }
    stage.gateway.terminate();
    stage.gateway.wait_exit(Duration::from_secs(15));
    drop(stage.origin.received());

    let counts = FORMATS.map(|format| stage.records(format).len());
    assert!(counts.iter().all(|count| *count == counts[0] && *count > 60), "{counts:?}");
    all_kinds_are_told(&stage);
    for format in FORMATS {
        let text = stage.records(format).join("\n");
        assert!(!text.contains("hidden"), "{format}");
    }
    judge(&stage, "ocsf", None);
    judge(&stage, "ecs", Some("node_modules/@elastic/ecs"));
}

fn requests(stage: &Stage) {
    let gateway = &stage.gateway;
    assert_eq!(stage.ask("/?token=hidden&limit=5", "2001:db8::9", None), 200);
    assert_eq!(
        stage.ask("/?id=1'%20OR%20'1'='1'%20--%20&password=hidden", "198.51.100.1", None),
        403
    );
    assert_eq!(stage.ask("/limited", "198.51.100.2", None), 200);
    assert_eq!(stage.ask("/limited", "198.51.100.2", None), 429);
    assert!(stage.ask("/dead", "198.51.100.3", None) >= 502);
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"[..],
        b"GET /\xff\"|=\\%00 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"a|b=c\\d\te\"\r\n\r\n",
        b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x00\x01\x02 nonsense\r\n\r\n",
    ] {
        let mut connection = Connection::open(gateway.address());
        connection.send(bytes);
        drop(connection.read_to_end());
    }
}

fn identities(stage: &Stage) {
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
    assert_eq!(stage.ask("/money", "198.51.100.4", None), 401);
    let forger = Signer::new("k1");
    for n in 0..60 {
        // Each with another token, as somebody would who guesses.
        let mut claims = claims("pay:write");
        claims["sub"] = Value::from(format!("guess-{n}"));
        let status = stage.ask("/money", "198.51.100.5", Some(&forger.token(&claims)));
        assert!([401, 403, 429].contains(&status), "{status}");
    }
}

fn connections(stage: &Stage) {
    let encrypted = stage.gateway.addresses()[1];
    let config = trusting(&stage.ca).config();
    let mut connection = Connection::tls(encrypted, "api.example.com", &config);
    assert_eq!(Ask::new("GET", "/").send_on(&mut connection).status, 200);
    let mut plain = Connection::open(encrypted);
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(plain.read_to_end());
}

fn administration(stage: &Stage) {
    let admin = stage.gateway.admin();
    let ban = "/bans?network=203.0.113.0%2F24&for=1h&reason=test";
    assert_eq!(Ask::new("POST", ban).send(admin).status, 200);
    assert_eq!(stage.ask("/", "203.0.113.9", None), 403);
    assert_eq!(Ask::new("DELETE", "/bans?network=203.0.113.0%2F24").send(admin).status, 200);
    assert!(stage.gateway.reload().status < 300);
    stage.gateway.write_config("routes: [{ path: /, to: nowhere }]\nupstreams: {}\n");
    assert!(stage.gateway.reload().status >= 400);
    assert_eq!(get(admin, "/readyz").status, 200);
}

fn all_kinds_are_told(stage: &Stage) {
    let mut kinds = BTreeSet::new();
    let mut reasons = BTreeSet::new();
    for record in stage.records("json") {
        let value: Value = serde_json::from_str(&record).expect("a record is JSON");
        kinds.extend(value["notice"].as_str().map(str::to_owned));
        reasons.extend(value["reason"].as_str().map(str::to_owned));
    }
    for kind in [
        "admin_call",
        "ban_added",
        "ban_lifted",
        "config_applied",
        "config_refused",
        "process_started",
        "process_stopped",
    ] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    for reason in ["banned", "insufficient_scope", "invalid_token", "rate_limited", "waf_blocked"] {
        assert!(reasons.contains(reason), "{reason} in {reasons:?}");
    }
}

/// Puts the records of a format to the script that checks them.
fn judge(stage: &Stage, format: &str, argument: Option<&str>) {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/siem");
    let python: PathBuf = suite.join("venv/bin/python");
    if !python.exists() || argument.is_some_and(|name| !suite.join(name).exists()) {
        eprintln!("SKIPPED: scripts/setup --tests was not run, {format} is not checked");
        return;
    }
    let mut child = Command::new(python)
        .arg(suite.join(format!("{format}.py")))
        .args(argument.map(|name| suite.join(name)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script starts");
    let records = stage.records(format).join("\n") + "\n";
    let mut input = child.stdin.take().expect("it reads");
    let feeder = std::thread::spawn(move || input.write_all(records.as_bytes()));
    let output = child.wait_with_output().expect("the script ends");
    feeder.join().expect("it was fed").expect("it reads all");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let sum: BTreeMap<String, Value> =
        serde_json::from_str(said.lines().last().unwrap_or_default()).expect("a sum");
    eprintln!("{format}: {sum:?}");
}
