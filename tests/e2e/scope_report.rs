//! The report of scopes in the running binary: over reloads and restarts, as JSON and as text.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::gateway::binary;
use tidegate_testkit::programs::output;
use tidegate_testkit::tokens::{Signer, key_set, now};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

const CONFIG: &str = "
auth:
  issuers:
    corp: { issuer: https://id.example.com, audience: [api], keys: { inline: '<keys>' } }
  report: { file: <state>/scopes.json, subjects: true }
  log_key: '${env:LOG_KEY}'
routes:
  - { id: money, path: /money, to: api, auth: { jwt: corp, scopes: [pay:read], methods: { GET: {}, POST: { scopes: [pay:write] } } } }
  - { id: ledger, path: /ledger, to: api, auth: { jwt: corp, scopes: [ledger:read] } }
  - { id: open, path: /, to: api, auth: none }
upstreams: { api: { endpoints: [<origin>] } }
";

fn start(origin: &Origin, signer: &Signer, state: &str) -> Gateway {
    Gateway::builder(CONFIG)
        .set("origin", origin.address())
        .set("keys", key_set(&[signer.jwk()]))
        .set("state", state)
        .env("LOG_KEY", "a-key-of-sufficient-length")
        .start()
}

fn report(gateway: &Gateway) -> Value {
    let answer = get(gateway.admin(), "/report/scopes");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What `tidegate report scopes` prints.
fn told(gateway: &Gateway, arguments: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["report", "scopes", "--admin", &gateway.admin().to_string()]).args(arguments);
    let output = output(&mut command);
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

/// A request by the client `shop`, which has three scopes.
fn shop_asks(gateway: &Gateway, signer: &Signer, method: &str, path: &str) -> u16 {
    let claims = json!({
        "iss": "https://id.example.com", "aud": "api", "sub": "ann", "client_id": "shop",
        "exp": now() + 300, "scope": "pay:read pay:write pay:admin",
    });
    let token = format!("Bearer {}", signer.token(&claims));
    Ask::new(method, path).field("Authorization", &token).send(gateway.address()).status
}

fn client(report: &Value, name: &str) -> Option<Value> {
    let clients = report["clients"].as_array()?;
    clients.iter().find(|row| row["client"] == name || row["subject"] == name).cloned()
}

#[test]
fn what_was_granted_and_used_is_told_by_client_and_by_route() {
    let folder = tempfile::tempdir().expect("a folder");
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let gateway = start(&origin, &signer, folder.path().to_str().expect("a path"));
    let ask = |path| shop_asks(&gateway, &signer, "GET", path);
    assert_eq!([ask("/money"), ask("/money")], [200, 200]);
    assert_eq!(ask("/ledger"), 403, "who is refused used nothing");
    assert_eq!(ask("/"), 200, "a route for everybody grants nothing");
    wait::until("two passes are known", || report(&gateway)["clients"][0]["passes"] == 2);
    let report = report(&gateway);
    let shop = client(&report, "shop").expect("the shop");
    assert_eq!(shop["provider"], "corp");
    assert_eq!(shop["unused"], json!(["pay:admin", "pay:write"]));
    let routes = report["routes"].as_array().expect("routes");
    let of = |name: &str| routes.iter().find(|route| route["route"] == name).expect("a route");
    assert_eq!(of("money")["never"], json!(["pay:write"]));
    assert_eq!(of("money")["passed"][0]["clients"][0]["client"], "shop");
    assert_eq!(of("ledger")["never"], json!(["ledger:read"]));
    assert_eq!(routes.len(), 2, "open routes need nothing: {routes:?}");
}

#[test]
fn a_subject_without_a_client_is_named_as_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let mut gateway = start(&origin, &signer, folder.path().to_str().expect("a path"));
    let claims = json!({
        "iss": "https://id.example.com", "aud": "api", "sub": "bob", "exp": now() + 300,
        "scope": "ledger:read",
    });
    let token = format!("Bearer {}", signer.token(&claims));
    let answer = Ask::new("GET", "/ledger").field("Authorization", &token).send(gateway.address());
    assert_eq!(answer.status, 200);
    let line = gateway.logged(|line| line["route"] == "ledger" && line["status"] == 200);
    let shown = line["auth"]["subject"].as_str().expect("a subject").to_owned();
    wait::until("the subject is known", || client(&report(&gateway), &shown).is_some());
    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(15)).success());
    let file = std::fs::read_to_string(folder.path().join("scopes.json")).expect("the file");
    assert!(!file.contains("bob") && file.contains(&shown), "{file}");
}

#[test]
fn it_outlives_a_reload_and_the_process_and_is_told_to_people() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().to_str().expect("a path");
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let mut gateway = start(&origin, &signer, state);
    let ask = |gateway: &Gateway, method| shop_asks(gateway, &signer, method, "/money");
    assert_eq!([ask(&gateway, "GET"), ask(&gateway, "GET")], [200, 200]);
    let since = report(&gateway)["since"].clone();
    gateway.write_config(&CONFIG.replace("id: ledger, path: /ledger", "id: books, path: /ledger"));
    assert!(gateway.reload().status < 300);
    assert_eq!(ask(&gateway, "POST"), 200);
    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(15)).success());
    let gateway = start(&origin, &signer, state);
    let kept = report(&gateway);
    let shop = client(&kept, "shop").expect("the shop");
    assert_eq!((&kept["since"], &shop["passes"]), (&since, &json!(3)));
    assert_eq!(shop["unused"], json!(["pay:admin"]));
    let text = told(&gateway, &[]);
    for line in ["corp/shop  3 passes", "pay:admin                unused", "POST needs pay:write"] {
        assert!(text.contains(line), "{text}");
    }
    let unused = told(&gateway, &["--unused"]);
    assert!(unused.contains("pay:admin") && !unused.contains("pay:write"), "{unused}");
    let json: Value = serde_json::from_str(&told(&gateway, &["--json"])).expect("JSON");
    assert_eq!(json["clients"], kept["clients"]);
}

#[test]
fn a_report_that_is_not_kept_is_said_so() {
    let (origin, signer) = (Origin::start(Reply::ok("ok")), Signer::new("k1"));
    let config = CONFIG.replace("  report: { file: <state>/scopes.json, subjects: true }\n", "");
    let gateway = Gateway::builder(&config)
        .set("origin", origin.address())
        .set("keys", key_set(&[signer.jwk()]))
        .env("LOG_KEY", "a-key-of-sufficient-length")
        .start();
    let answer = get(gateway.admin(), "/report/scopes");
    assert_eq!(
        (answer.status, answer.text().trim()),
        (404, "the configuration has no `auth.report`")
    );
    // It begins with a reload, and a file that is no report is set aside.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("scopes.json"), "{").expect("writes");
    let file = folder.path().join("scopes.json");
    let begins = format!("  report: {{ file: {} }}\n", file.display());
    let told = "  report: { file: <state>/scopes.json, subjects: true }\n";
    gateway.write_config(&CONFIG.replace(told, &begins));
    assert!(gateway.reload().status < 300);
    assert_eq!(report(&gateway)["clients"], json!([]));
    assert!(folder.path().join("scopes.json.bad").exists());
    assert!(gateway.stderr().contains("set aside"), "{}", gateway.stderr());
}
