//! Sinks against real receivers, each killed and revived under load. What must have arrived is
//! known from elsewhere: every request has its line in the access log, with the same id.

mod collector;
mod http;
mod kafka;
mod kafka_front;
mod nats;
mod nats_account;
mod redis;
mod scram;
mod syslog;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tidegate_testkit::client::{Ask, Connection};
use tidegate_testkit::gateway::Builder;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::tls::Leaf;
use tidegate_testkit::{Ca, Gateway, Origin, Reply, wait};

/// A record as it arrived: its idempotency key, and its text.
type Arrived = (String, String);

/// What must never be shown.
const SECRET: &str = "s3cret-token";

/// How many requests a load has.
const REQUESTS: usize = 1200;

/// What a receiver got, over its deaths.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Arrived>>>);

impl Inbox {
    fn add(&self, key: &str, record: &str) {
        self.0.lock().push((key.to_owned(), record.to_owned()));
    }

    fn all(&self) -> Vec<Arrived> {
        self.0.lock().clone()
    }
}

/// A gateway with one sink, `soc`, that gets every request; `kind` is the rest of its settings.
fn gateway(origin: &Origin, kind: &str) -> Builder {
    let config = format!(
        "sinks: {{ soc: {{ events: all, spool: {{ path: spool }}, \
         retry: {{ first: 50ms, max: 500ms }}, timeout: 2s, {kind} }} }}\n\
         routes: [{{ path: /, to: api }}]\nupstreams: {{ api: {{ endpoints: [<origin>] }} }}\n"
    );
    Gateway::builder(&config).set("origin", origin.address())
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The files `ca.pem`, `us.pem` and `us.key`: whom to trust, and who we are.
fn identity(gateway: Builder, ca: &Ca, us: &Leaf) -> Builder {
    gateway.file("ca.pem", ca.pem()).file("us.pem", &us.cert).file("us.key", &us.key)
}

/// An upstream that takes its time, so that a load lasts as long as trouble takes.
fn origin() -> Origin {
    Origin::start(Reply::Delayed(Duration::from_millis(8), Box::new(Reply::ok("ok"))))
}

/// Sends so many requests over four connections.
fn send(gateway: &Gateway, count: usize) {
    send_to(gateway.address(), count);
}

fn send_to(address: SocketAddr, count: usize) {
    let client = |_number| {
        thread::spawn(move || {
            let mut connection = Connection::open(address);
            for number in 0..count / 4 {
                let ask = Ask::new("GET", &format!("/item/{number}?q=1"));
                assert_eq!(ask.send_on(&mut connection).status, 200);
            }
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    for client in clients {
        client.join().expect("a client");
    }
}

/// Sends [`REQUESTS`] while `trouble` is made, which can wait until so many were answered.
fn under_load(gateway: &Gateway, trouble: impl FnOnce(&dyn Fn(usize))) {
    let address = gateway.address();
    let load = thread::spawn(move || send_to(address, REQUESTS));
    trouble(&|requests| {
        wait::until("requests run", || count(gateway, "taken_total") >= requests as f64);
    });
    assert!(!load.is_finished(), "the trouble came during the load");
    load.join().expect("the load");
}

/// A counter or gauge of the sink.
fn count(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("tidegate_sink_{name}"), &[("sink", "soc")]).expect("a sample")
}

/// Waits until so many requests have ended and nothing waits any more.
#[track_caller]
fn settle(gateway: &Gateway, requests: usize) {
    wait::until("the requests have ended", || gateway.access_log().len() >= requests);
    let settled = wait::holds_within(wait::PATIENCE, || {
        count(gateway, "waiting") == 0.0 && count(gateway, "failing") == 0.0
    });
    assert!(settled, "{}\n{}", sink_metrics(gateway), gateway.stderr());
}

fn sink_metrics(gateway: &Gateway) -> String {
    let metrics = gateway.metrics();
    metrics.lines().filter(|line| line.starts_with("tidegate_sink")).collect::<Vec<_>>().join("\n")
}

/// Every request of the access log arrived, nothing else did, and the counters say the same.
/// Duplicates are told by their keys.
#[track_caller]
fn assert_complete(gateway: &Gateway, arrived: &[Arrived], requests: usize) {
    let id = |record: &Value| record["request_id"].as_str().map(str::to_owned);
    let mut by_key: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, record) in arrived {
        let before = by_key.insert(key, record);
        assert!(before.is_none_or(|before| before == record), "{key} stands for two records");
    }
    let parse = |text: &&str| serde_json::from_str::<Value>(text).expect("a record in JSON");
    let ids: Vec<_> = by_key.values().map(parse).filter_map(|record| id(&record)).collect();
    let unique: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(unique.len(), ids.len(), "one request under two keys");
    wait::until("the access log is written", || gateway.access_log().len() >= requests);
    let logged: BTreeSet<_> = gateway.access_log().iter().filter_map(id).collect();
    assert_eq!(logged.len(), requests);
    let missing = logged.difference(&unique).count();
    assert_eq!((missing, unique.len()), (0, requests), "{}", sink_metrics(gateway));
    let [taken, sent, recovered] = ["taken_total", "sent_total", "recovered_total"];
    let (taken, sent) = (count(gateway, taken), count(gateway, sent));
    assert_eq!(count(gateway, "dropped_total"), 0.0);
    assert_eq!(taken + count(gateway, recovered), sent);
    assert_eq!(by_key.len() as f64, sent);
    eprintln!(
        "sent {requests} requests, {} records arrived, {} of them twice",
        arrived.len(),
        arrived.len() - by_key.len()
    );
}

/// The folder of Python's packages for the receivers; `None`, with a printed line, where it is not.
fn venv() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/siem/venv");
    let folder = std::env::var_os("TIDEGATE_SIEM_VENV").map_or(own, PathBuf::from);
    if folder.join("bin/nats-server").is_file() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no receivers in {}", folder.display());
    eprintln!("skipped: no receivers in {}: run scripts/setup --tests", folder.display());
    None
}
