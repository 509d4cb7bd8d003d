//! The sink for Kafka against librdkafka's mock cluster, in clear and through a door with TLS and
//! SASL.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tidegate_testkit::gateway::Builder;
use tidegate_testkit::tls::Leaf;
use tidegate_testkit::{Ca, Gateway, Origin, wait};

use super::kafka_front::{Front, USER};
use super::{
    Inbox, REQUESTS, SECRET, assert_complete, count, gateway, identity, origin, send, settle,
    under_load, venv,
};

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

/// A cluster with a reader that puts into the inbox what it reads.
struct Cluster {
    process: Python,
    _reader: Python,
    brokers: String,
    inbox: Inbox,
}

impl Cluster {
    fn start() -> Option<Self> {
        let venv = venv()?;
        let (process, mut told) = Python::start(&venv, &["serve", "events"]);
        let mut brokers = String::new();
        told.read_line(&mut brokers).expect("the brokers");
        let brokers = brokers.trim().to_owned();
        let (reader, lines) = Python::start(&venv, &["read", &brokers, "events"]);
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
        Some(Self { process, _reader: reader, brokers, inbox })
    }

    #[track_caller]
    fn assert_complete(&self, gateway: &Gateway) {
        settle(gateway, REQUESTS);
        let keys = || {
            let keys = self.inbox.all().into_iter().map(|(key, _)| key);
            keys.collect::<BTreeSet<_>>().len()
        };
        wait::until("the reader has read", || keys() as f64 >= count(gateway, "sent_total"));
        assert_complete(gateway, &self.inbox.all(), REQUESTS);
    }
}

#[test]
fn kafka_gets_everything_although_it_hangs() {
    let Some(cluster) = Cluster::start() else { return };
    let upstream = origin();
    let kind = "kafka: { brokers: ['<brokers>'], topic: events }";
    let gateway = gateway(&upstream, kind).set("brokers", &cluster.brokers).start();
    // The cluster keeps its records in memory only, so it is frozen and not killed.
    under_load(&gateway, |reach| {
        reach(300);
        cluster.process.signal(Signal::STOP);
    });
    wait::until("the sink fails", || count(&gateway, "failures_total") > 0.0);
    cluster.process.signal(Signal::CONT);
    cluster.assert_complete(&gateway);
}

/// A gateway that speaks TLS to the door, as a user if one is asked for.
fn over_tls(front: &Front, upstream: &Origin, sasl: Option<&str>, ca: &Ca, us: &Leaf) -> Builder {
    let kind = "kafka: { brokers: ['<front>'], topic: events<user>, \
                tls: { ca: ca.pem, cert: us.pem, key: us.key } }";
    let user = sasl.map_or(String::new(), |sasl| {
        format!(", sasl: {sasl}, user: {USER}, password: '${{env:PASSWORD}}'")
    });
    let gateway = gateway(upstream, kind).set("front", front.address).set("user", user);
    identity(gateway, ca, us).env("PASSWORD", SECRET).env("TIDEGATE_LOG", "trace")
}

/// Over TLS with certificates on both sides, through a door that is closed and opened under load.
#[track_caller]
fn check(sasl: Option<(&str, &'static str)>) {
    let Some(cluster) = Cluster::start() else { return };
    let (ca, us, upstream) = (Ca::new("receivers"), Ca::new("ours"), origin());
    let address = cluster.brokers.parse().expect("an address");
    let front = Front::open(address, (&ca, &us), sasl.map(|(_, mechanism)| mechanism));
    let sasl = sasl.map(|(setting, _)| setting);
    let gateway = over_tls(&front, &upstream, sasl, &ca, &us.client("edge")).start();
    under_load(&gateway, |reach| {
        reach(300);
        front.close();
        reach(600);
        front.reopen();
    });
    cluster.assert_complete(&gateway);
    assert_eq!(sasl.is_some(), front.admitted() > 1, "{}", front.admitted());
    assert!(!gateway.stderr().contains(SECRET), "a secret is logged");
}

#[test]
fn kafka_gets_everything_over_tls_although_it_goes_away() {
    check(None);
}

#[test]
fn kafka_lets_in_who_proves_a_password() {
    check(Some(("plain", "PLAIN")));
    check(Some(("scram_sha_256", "SCRAM-SHA-256")));
    check(Some(("scram_sha_512", "SCRAM-SHA-512")));
}

/// What a sink says that Kafka and it do not get together.
#[track_caller]
fn refused(
    cluster: &Cluster,
    (trusted, shown): (&Ca, &Ca),
    (ca, us): (&Ca, &Ca),
    password: &str,
    why: &str,
) {
    let upstream = origin();
    let address = cluster.brokers.parse().expect("an address");
    let front = Front::open(address, (ca, us), Some("SCRAM-SHA-256"));
    let leaf = shown.client("edge");
    let gateway = over_tls(&front, &upstream, Some("scram_sha_256"), trusted, &leaf);
    let gateway = gateway.env("PASSWORD", password).start();
    send(&gateway, 4);
    wait::until("it fails", || count(&gateway, "failures_total") > 1.0);
    let told = gateway.stderr();
    let line = told.lines().find(|line| line.contains("sink_failing"));
    assert!(line.is_some_and(|line| line.contains(why) && !line.contains(password)), "{told}");
    assert_eq!((count(&gateway, "sent_total"), front.admitted()), (0.0, 0));
}

#[test]
fn kafka_gets_nothing_without_trust_on_both_sides() {
    let Some(cluster) = Cluster::start() else { return };
    let (ca, us, other) = (Ca::new("receivers"), Ca::new("ours"), Ca::new("other"));
    refused(&cluster, (&other, &us), (&ca, &us), SECRET, "certificate");
    refused(&cluster, (&ca, &other), (&ca, &us), SECRET, "");
    refused(&cluster, (&ca, &us), (&ca, &us), "wrong-password", "SaslAuthenticationFailed");
    assert_eq!(cluster.inbox.all().len(), 0);
}
