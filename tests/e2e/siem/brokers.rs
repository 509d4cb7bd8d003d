//! Sinks for Redis, NATS and Kafka, against the real servers and, for Kafka, librdkafka's mock
//! cluster.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{needs, wait};

use super::{
    Arrived, Inbox, REQUESTS, assert_complete, count, gateway, origin, settle, under_load, venv,
};

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn redis(address: SocketAddr, folder: &Path) -> Running {
    let mut command = programs::command("redis-server");
    let port = address.port().to_string();
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", "always", "--requirepass", "s3cret", "--dir"]).arg(folder);
    programs::start(&mut command).accepting(address)
}

fn redis_cli(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = programs::command("redis-cli");
    command.args(["-p", &address.port().to_string(), "-a", "s3cret", "--no-auth-warning"]);
    programs::output(command.args(arguments)).stdout
}

#[test]
fn redis_gets_everything_although_it_is_killed() {
    needs!("redis-server", "redis-cli");
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let server = redis(address, folder.path());
    let upstream = origin();
    let kind = "redis: { url: 'redis://<redis>', stream: events, password: '${env:PASSWORD}' }";
    let gateway = gateway(&upstream, kind).set("redis", address).env("PASSWORD", "s3cret").start();
    let mut again = None;
    under_load(&gateway, |reach| {
        reach(300);
        drop(server);
        reach(600);
        again = Some(redis(address, folder.path()));
    });
    settle(&gateway, REQUESTS);
    let entries = redis_cli(address, &["--json", "XRANGE", "events", "-", "+"]);
    let entries: Vec<Value> = serde_json::from_str(&entries).expect("JSON");
    let arrived = entries.iter().map(|entry| {
        let fields: Vec<&str> =
            entry[1].as_array().expect("fields").iter().filter_map(Value::as_str).collect();
        assert_eq!((fields[0], fields[2], fields[6]), ("key", "kind", "record"));
        (fields[1].to_owned(), fields[7].to_owned())
    });
    assert_complete(&gateway, &arrived.collect::<Vec<Arrived>>(), REQUESTS);
    drop(again);
}

fn nats(venv: &Path, address: SocketAddr, folder: &Path) -> Running {
    let mut command = Command::new(venv.join("bin/nats-server"));
    let port = address.port().to_string();
    command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]).arg(folder);
    programs::start(command.stderr(Stdio::null())).accepting(address)
}

/// Asks NATS's own API, in its protocol.
fn ask_nats(address: SocketAddr, subject: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let body = body.to_string();
    let asked = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(asked.as_bytes()).expect("asks");
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("a line") > 0, "NATS closes");
        if let Some(rest) = line.strip_prefix("MSG ") {
            let len = rest.trim().rsplit(' ').next().and_then(|len| len.parse().ok());
            let mut payload = vec![0; len.expect("a length")];
            reader.read_exact(&mut payload).expect("a payload");
            return serde_json::from_slice(&payload).expect("JSON");
        }
    }
}

/// A message of the stream: its id and its text.
fn nats_message(address: SocketAddr, number: u64) -> Arrived {
    let message = ask_nats(address, "$JS.API.STREAM.MSG.GET.EVENTS", &json!({ "seq": number }));
    let decoded = |name: &str| {
        let text = message["message"][name].as_str().unwrap_or_default();
        String::from_utf8(STANDARD.decode(text).expect("base64")).expect("UTF-8")
    };
    let headers = decoded("hdrs");
    let key = headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: "));
    (key.expect("a key").trim().to_owned(), decoded("data"))
}

#[test]
fn nats_gets_everything_once_although_it_is_killed() {
    let Some(venv) = venv() else { return };
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let server = nats(&venv, address, folder.path());
    let stream = json!({ "name": "EVENTS", "subjects": ["waf.events"], "storage": "file" });
    let made = ask_nats(address, "$JS.API.STREAM.CREATE.EVENTS", &stream);
    assert_eq!(made["config"]["name"], "EVENTS", "{made}");
    let upstream = origin();
    let kind = "nats: { url: 'nats://<nats>', subject: waf.events }";
    let gateway = gateway(&upstream, kind).set("nats", address).start();
    let mut again = None;
    under_load(&gateway, |reach| {
        reach(300);
        drop(server);
        reach(600);
        again = Some(nats(&venv, address, folder.path()));
    });
    settle(&gateway, REQUESTS);
    let info = ask_nats(address, "$JS.API.STREAM.INFO.EVENTS", &json!({}));
    let last = info["state"]["last_seq"].as_u64().expect("a number");
    let arrived: Vec<Arrived> = (1..=last).map(|number| nats_message(address, number)).collect();
    assert_complete(&gateway, &arrived, REQUESTS);
    let keys: BTreeSet<_> = arrived.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), arrived.len(), "JetStream drops duplicates by their id");
    drop(again);
}

/// A program of Python's that tells lines.
struct Python(Child);

impl Python {
    fn start(venv: &Path, arguments: &[&str]) -> (Self, BufReader<ChildStdout>) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/siem/kafka.py");
        let mut command = Command::new(venv.join("bin/python"));
        command.arg(script).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Python starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        (Self(child), lines)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("signals");
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn kafka_gets_everything_although_it_hangs() {
    let Some(venv) = venv() else { return };
    let (cluster, mut told) = Python::start(&venv, &["serve", "events"]);
    let mut brokers = String::new();
    told.read_line(&mut brokers).expect("the brokers");
    let brokers = brokers.trim().to_owned();
    let (_reader, lines) = Python::start(&venv, &["read", &brokers, "events"]);
    let inbox = Inbox::default();
    let to = inbox.clone();
    thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let parts: Vec<&str> = line.splitn(4, ' ').collect();
            if parts.len() == 4 && parts[2] != "made" {
                to.add(parts[2], parts[3]);
            }
        }
    });
    let upstream = origin();
    let kind = "kafka: { brokers: ['<brokers>'], topic: events }";
    let gateway = gateway(&upstream, kind).set("brokers", &brokers).start();
    // The cluster keeps its records in memory only, so it is frozen and not killed.
    under_load(&gateway, |reach| {
        reach(300);
        cluster.signal(Signal::STOP);
    });
    wait::until("the sink fails", || count(&gateway, "failures_total") > 0.0);
    cluster.signal(Signal::CONT);
    settle(&gateway, REQUESTS);
    let keys = || inbox.all().into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len();
    wait::until("the reader has read", || keys() as f64 >= count(&gateway, "sent_total"));
    assert_complete(&gateway, &inbox.all(), REQUESTS);
}
