//! Everything that the binary tells, in every format, read by what others wrote: one run through
//! every reason and every kind of notice there is. Each is looked for in the log, in a metric and in
//! the sinks, whose records are then put to the validators of `tests/suites/siem`.

mod beside;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_core::Reason;
use tidegate_core::notice::NoticeKind;
use tidegate_testkit::client::Ask;
use tidegate_testkit::origin::{BlackHole, closed_port};
use tidegate_testkit::tokens::{Signer, key_set};
use tidegate_testkit::{Ca, Gateway, Nginx, Origin, Received, Reply, needs, wait};

use crate::audit::with_log;

const CONFIG: &str = "
listeners:
  - { address: 127.0.0.1:0 }
  - { address: 127.0.0.2:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }
  - { address: 127.0.0.3:0, proxy_protocol: { from: [127.0.0.0/8] } }
limits: { handshake_timeout: 1s, body_timeout: 1s, held_bodies: 32KiB }
trusted_proxies: [127.0.0.1]
sinks:
  cef: { format: cef, events: all, file: { path: <dir>/cef } }
  ecs: { format: ecs, events: all, file: { path: <dir>/ecs } }
  json: { format: json, events: all, file: { path: <dir>/json } }
  leef: { format: leef, events: all, file: { path: <dir>/leef } }
  ocsf: { format: ocsf, events: all, file: { path: <dir>/ocsf } }
  soc: { events: all, retry: { first: 50ms, max: 500ms }, webhook: { url: 'http://<soc>/' } }
response:
  cap: 1%
  cap_floor: 1
  throttle: { rate: 1/h, burst: 1 }
  rules:
    probing: { when: { reasons: [no_route] }, leaky: { capacity: 2, leak: 1/h }, ladder: [block], ttl: { first: 3s, jitter: 0% }, enforce: true }
auth:
  issuers:
    corp: { issuer: https://id.example.com, audience: [api], keys: { inline: '<keys>' } }
    gone: { issuer: https://gone.example.com, audience: [api], keys: { url: 'http://<gone>/keys' } }
policies:
  known: { auth: { jwt: corp } }
  guarded: { waf: { mode: block } }
  once: { auth: none, retries: { attempts: 0 } }
routes:
  - { id: money, path: /money, to: api, policies: [known], auth: { scopes: [pay:write] } }
  - { id: admins, path: /admins, to: api, policies: [known], auth: { roles: [admin] } }
  - { id: gone, path: /gone, to: api, auth: { jwt: gone } }
  - { id: limited, path: /limited, to: api, auth: none, deny: [198.51.100.40], rate_limit: { key: client_ip, rate: 1/h, burst: 1 } }
  - { id: small, path: /small, to: api, auth: none, max_body: 1KiB }
  - { id: kept, path: /kept, to: api, auth: none, audit: { event: payment, durable: before_response } }
  - { id: silent, path: /silent, to: api, policies: [once], timeouts: { first_byte: 300ms } }
  - { id: late, path: /late, to: api, policies: [once], timeouts: { total: 300ms } }
  - { id: broken, path: /broken, to: api, policies: [once] }
  - { id: dead, path: /dead, to: dead, policies: [once] }
  - { id: nobody, path: /nobody, to: nobody, policies: [once] }
  - { id: hole, path: /hole, to: hole, policies: [once], timeouts: { connect: 300ms } }
  - { id: secret, path: /secret, to: secret, policies: [once] }
  - { id: ejects, path: /ejects, to: ejects, auth: none }
  - { id: suspects, path: /suspects, to: suspects, auth: none }
  - { id: home, path: { exact: / }, to: api, policies: [guarded], auth: none }
upstreams:
  api: { endpoints: [<origin>] }
  dead: { endpoints: [<dead>], health: { type: tcp, interval: 100ms, fall: 1, rise: 1 } }
  nobody: { endpoints: [<nobody>], breaker: { min_requests: 2, open: 60s } }
  hole: { endpoints: [<hole>] }
  secret: { endpoints: [<plain>], tls: { sni: api.example.com, ca: <dir>/ca.pem } }
  ejects: { endpoints: [<nobody>, <origin>], outlier: { consecutive_gateway_failures: 2, interval: 1s, ejection_time: 1s } }
  suspects: { endpoints: [<nobody>, <origin>], outlier: { enforce: false, consecutive_gateway_failures: 2 } }
  named: { endpoints: ['localhost:80'] }
  unknown: { endpoints: ['nothing.invalid:80'] }
  zoned:
    endpoints: [{ address: <zoned>, zone: a }, { address: <zoned_too>, zone: a }, { address: <origin>, zone: b }]
    health: { type: tcp, interval: 100ms, fall: 1, rise: 1 }
    zones: { isolate: { time: 1s } }
";

const FORMATS: [&str; 5] = ["cef", "ecs", "json", "leef", "ocsf"];

/// Reasons that no run brings about, and why.
const NEVER: [(Reason, &str); 1] = [(Reason::Internal, "a defect of ours; none is known")];

/// The gateway with what it runs between.
struct Stage {
    gateway: Gateway,
    origin: Origin,
    signer: Signer,
    ca: Ca,
    /// Where nobody listens until [`beside::revive`].
    vacant: BTreeMap<&'static str, SocketAddr>,
    _hole: BlackHole,
    _plain: Nginx,
}

impl Stage {
    fn set() -> Self {
        let origin = Origin::script(answer);
        let (signer, ca) = (Signer::new("k1"), Ca::new("ca"));
        let (hole, plain) = (BlackHole::open(), Nginx::pod("no TLS"));
        let leaf = ca.server(&["api.example.com"]);
        let names = ["soc", "gone", "dead", "nobody", "zoned", "zoned_too"];
        let vacant: BTreeMap<_, _> = names.map(|name| (name, closed_port())).into();
        let builder = with_log("", CONFIG)
            .set("origin", origin.address())
            .set("hole", hole.address())
            .set("plain", plain.address())
            .set("keys", key_set(&[signer.jwk()]))
            .file("ca.pem", ca.pem())
            .file("tls.crt", &leaf.cert)
            .file("tls.key", &leaf.key);
        let set = |builder: tidegate_testkit::gateway::Builder, (name, address): (&&str, _)| {
            builder.set(name, address)
        };
        let gateway = vacant.iter().fold(builder, set).start();
        Self { gateway, origin, signer, ca, vacant, _hole: hole, _plain: plain }
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

    /// How many records of plain JSON have each value of a field.
    fn told(&self, field: &str) -> BTreeMap<String, usize> {
        count(&self.records("json"), field)
    }

    /// Waits for a record of this kind.
    #[track_caller]
    fn saw(&self, kind: NoticeKind) {
        let what = format!("a record of {}", kind.code());
        let seen = || self.told("notice").contains_key(kind.code());
        wait::until_within(Duration::from_secs(60), &what, seen);
    }
}

/// What the origin does, by what it is asked.
fn answer(request: &Received) -> Reply {
    match &*request.target {
        "/silent" | "/broken/left" => Reply::Hang,
        "/late" => Reply::StallAfter(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()),
        "/broken/reset" => Reply::Reset,
        "/broken/garbage" => Reply::RawThenClose(b"nonsense\r\n\r\n".to_vec()),
        _ => Reply::ok("ok"),
    }
}

/// How many lines of JSON have each value of a field.
fn count(lines: &[String], field: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let values = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for value in values.filter_map(|line| line[field].as_str().map(str::to_owned)) {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

#[test]
fn every_reason_and_every_kind_is_told_and_holds_against_the_schemas_of_others() {
    needs!("nginx", "strace");
    let mut stage = Stage::set();
    beside::audit_fails(&stage);
    requests::ordinary(&stage);
    requests::unreadable(&stage);
    requests::identities(&stage);
    requests::upstreams(&stage);
    beside::connections(&stage);
    beside::policy(&stage);
    beside::administration(&stage);
    let _revived = beside::revive(&stage);
    let ends = NoticeKind::ProcessStopped;
    for kind in NoticeKind::ALL.iter().filter(|kind| **kind != ends) {
        stage.saw(*kind);
        let noticed = stage.gateway.metric("tidegate_notices_total", &[("kind", kind.code())]);
        assert!(noticed >= Some(1.0), "no metric counts {}", kind.code());
    }
    let brought_about = |reason: &&Reason| NEVER.iter().all(|(never, _)| never != *reason);
    for reason in Reason::ALL.iter().filter(brought_about) {
        let refused = stage.gateway.metric("tidegate_refusals_total", &[("reason", reason.code())]);
        assert!(refused >= Some(1.0), "no metric counts {}", reason.code());
    }
    stage.gateway.terminate();
    stage.gateway.wait_exit(Duration::from_secs(15));
    stage.saw(ends);
    drop(stage.origin.received());

    let counts = FORMATS.map(|format| stage.records(format).len());
    assert!(counts.iter().all(|count| *count == counts[0] && *count > 150), "{counts:?}");
    logs_and_sinks_say_the_same(&stage);
    for format in FORMATS {
        let text = stage.records(format).join("\n");
        assert!(!text.contains("hidden"), "{format}");
    }
    judge(&stage, "ocsf", None);
    judge(&stage, "ecs", Some("node_modules/@elastic/ecs"));
}

/// The log has each notice that the sinks have, the access log each reason.
#[track_caller]
fn logs_and_sinks_say_the_same(stage: &Stage) {
    let stderr: Vec<String> = stage.gateway.stderr().lines().map(str::to_owned).collect();
    assert_eq!(count(&stderr, "notice"), stage.told("notice"));
    let lines: Vec<String> = stage.gateway.access_log().iter().map(Value::to_string).collect();
    assert_eq!(count(&lines, "reason"), stage.told("reason"));
    let seen: BTreeSet<String> = stage.told("reason").into_keys().collect();
    let all = Reason::ALL.iter().map(|reason| reason.code().to_owned());
    let missing: Vec<_> = all.filter(|code| !seen.contains(code)).collect();
    let never = NEVER.map(|(reason, _why)| reason.code());
    assert_eq!(missing, never, "reasons that nothing told");
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
