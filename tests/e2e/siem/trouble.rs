//! What sinks must never do: slow a request, grow memory, lose what a spool holds, or lose what
//! waits when the configuration changes.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tidegate_testkit::client::{Ask, Connection};
use tidegate_testkit::origin::{BlackHole, Received, closed_port};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

use super::{Inbox, assert_complete, count, gateway, origin, send, settle, sink_metrics};

const API: &str = "routes: [{ path: /, to: api }]\nupstreams: { api: { endpoints: [<origin>] } }\n";

/// The middle of the times of so many requests.
fn median(gateway: &Gateway, count: usize) -> Duration {
    let mut connection = Connection::open(gateway.address());
    let ask = Ask::new("GET", &format!("/{}", "x".repeat(500)));
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let (time, answer) = wait::timed(|| ask.send_on(&mut connection));
            assert_eq!(answer.status, 200);
            time
        })
        .collect();
    times.sort();
    times[count / 2]
}

/// What the process has in memory, in KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a size")
}

#[test]
fn dead_receivers_slow_no_request_and_grow_no_memory() {
    let upstream = Origin::start(Reply::ok("ok"));
    let (hole, hanging) = (BlackHole::open(), Origin::start(Reply::Hang));
    let common = "events: all, queue: 256KiB, timeout: 30s";
    let sinks = format!(
        "sinks:\n  gone: {{ {common}, syslog: {{ address: 'tcp://<gone>' }} }}\n  \
         hole: {{ {common}, syslog: {{ address: 'tcp://<hole>' }} }}\n  \
         hanging: {{ {common}, webhook: {{ url: 'http://<hanging>/' }} }}\n"
    );
    let start = |config: &str| {
        Gateway::builder(config)
            .set("origin", upstream.address())
            .set("gone", closed_port())
            .set("hole", hole.address())
            .set("hanging", hanging.address())
            .start()
    };
    let (with, without) = (start(&format!("{sinks}{API}")), start(API));
    // Both are warm, and the queues are full.
    median(&with, 8000);
    median(&without, 8000);
    let memory = resident(&with);
    let (mut own, mut other) = (Duration::MAX, Duration::MAX);
    for _round in 0..5 {
        own = own.min(median(&with, 1000));
        other = other.min(median(&without, 1000));
    }
    let grown = resident(&with).saturating_sub(memory);
    eprintln!("a request with three dead sinks {own:?}, without {other:?}; {grown} KiB more");
    assert!(own < other * 3 / 2, "{own:?} beside {other:?}");
    // Kept, the requests of these rounds would be more than 15 MiB.
    assert!(grown < 8192, "{grown} KiB");
    for sink in ["gone", "hole", "hanging"] {
        let read = |name: &str, labels: &[(&str, &str)]| {
            let labels = [&[("sink", sink)], labels].concat();
            with.metric(&format!("tidegate_sink_{name}"), &labels).expect("a sample")
        };
        let (taken, dropped) = (read("taken_total", &[]), read("dropped_total", &[]));
        assert!(taken >= 7000.0 && dropped > 5000.0, "{}", sink_metrics(&with));
        assert_eq!(taken, dropped + read("waiting", &[]));
        assert_eq!(dropped, read("dropped_total", &[("reason", "queue_full")]));
        assert!(read("queue_bytes", &[]) <= 262_144.0 && read("lag_seconds", &[]) > 0.0);
    }
}

/// A receiver of a webhook that keeps what it gets.
fn receiver(inbox: &Inbox) -> impl Fn(&Received) -> Reply + use<> {
    let inbox = inbox.clone();
    move |request| {
        let key = request.header("idempotency-key").expect("a key");
        let (origin, first) = key.split_once('-').expect("origin and number");
        let first: usize = first.split('+').next().and_then(|f| f.parse().ok()).expect("a number");
        for (index, line) in String::from_utf8_lossy(&request.body).lines().enumerate() {
            inbox.add(&format!("{origin}-{}", first + index), line);
        }
        Reply::status(204, "")
    }
}

/// A gateway whose spool and access log outlive it.
fn lasting(origin: &Origin, receiver: SocketAddr, folder: &Path) -> Gateway {
    let folder = folder.display();
    let config = format!(
        "sinks: {{ soc: {{ events: all, retry: {{ first: 50ms, max: 500ms }}, \
         webhook: {{ url: 'http://{receiver}/' }}, spool: {{ path: {folder}/spool }} }} }}\n\
         access_log: {{ path: {folder}/access.log }}\n{API}"
    );
    Gateway::start(&config, &[("origin", &origin.address())])
}

fn logged_ids(folder: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(folder.join("access.log")).unwrap_or_default();
    text.lines().filter_map(request_id).collect()
}

fn request_id(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["request_id"].as_str().map(str::to_owned)
}

#[test]
fn a_spool_survives_a_kill() {
    let (upstream, folder) = (origin(), tempfile::tempdir().expect("a folder"));
    let address = closed_port();
    let before = lasting(&upstream, address, folder.path());
    send(&before, 400);
    let spooled = || count(&before, "spooled_total");
    wait::until("all is on the disk", || {
        spooled() >= 400.0 && spooled() == count(&before, "taken_total")
    });
    wait::until("the log is written", || logged_ids(folder.path()).len() == 400);
    let left = spooled();
    before.signal(Signal::KILL);
    drop(before);
    let inbox = Inbox::default();
    let _receiver = Origin::on(address, receiver(&inbox));
    let after = lasting(&upstream, address, folder.path());
    send(&after, 400);
    wait::until("what was left is sent", || count(&after, "recovered_total") == left);
    wait::until("the log is written", || logged_ids(folder.path()).len() == 800);
    settle(&after, 0);
    let ids: BTreeSet<_> = inbox.all().iter().filter_map(|(_, text)| request_id(text)).collect();
    assert_eq!(ids, logged_ids(folder.path()));
    assert_eq!(count(&after, "sent_total"), count(&after, "taken_total") + left);
}

#[test]
fn a_reload_adds_changes_and_removes_sinks_and_loses_nothing_that_waits() {
    let (upstream, inbox, address) = (origin(), Inbox::default(), closed_port());
    let soc = |more: &str| {
        format!(
            "  soc: {{ events: all, retry: {{ first: 50ms, max: 300ms }}, {more} \
             webhook: {{ url: 'http://{address}/' }} }}\n"
        )
    };
    let file = |name: &str| format!("  {name}: {{ events: all, file: {{ path: {name}.log }} }}\n");
    let config = |sinks: &[String]| format!("sinks:\n{}{API}", sinks.concat());
    let first = config(&[soc(""), file("old")]);
    let gateway = Gateway::start(&first, &[("origin", &upstream.address())]);
    send(&gateway, 200);
    // One is unchanged, one is removed and one is new.
    gateway.write_config(&config(&[soc(""), file("new")]));
    assert_eq!(gateway.reload().status, 200);
    send(&gateway, 200);
    // The first is changed.
    gateway.write_config(&config(&[soc("queue: 16MiB, timeout: 3s,")]));
    assert_eq!(gateway.reload().status, 200);
    send(&gateway, 200);
    assert_eq!(count(&gateway, "sent_total"), 0.0);
    let _receiver = Origin::on(address, receiver(&inbox));
    settle(&gateway, 600);
    assert_complete(&gateway, &inbox.all(), 600);
    let lines = |name: &str| {
        let text = fs::read_to_string(gateway.folder().join(name)).unwrap_or_default();
        text.lines().filter_map(request_id).count()
    };
    wait::until("the old file is complete", || lines("old.log") == 200);
    wait::until("the new file is complete", || lines("new.log") == 200);
}

#[test]
fn what_waits_is_sent_before_the_process_ends() {
    let upstream = origin();
    let kind = "batch: { wait: 1m }, file: { path: events.log }";
    let mut gateway = gateway(&upstream, kind).start();
    send(&gateway, 400);
    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
    let text = fs::read_to_string(gateway.folder().join("events.log")).expect("the file");
    assert_eq!(text.lines().filter_map(request_id).count(), 400);
    let left = gateway.folder().join("spool").read_dir().expect("the spool").count();
    assert_eq!(left, 0, "a spool with nothing in it leaves nothing behind");
}
