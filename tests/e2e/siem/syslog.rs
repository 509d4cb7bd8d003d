//! Sinks for syslog against rsyslog: over TCP and TLS, killed and started again under load, and
//! against a socket of UDP.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{Ca, Gateway, client, needs, wait};

use super::{Arrived, REQUESTS, assert_complete, count, gateway, origin, send, settle, under_load};

/// rsyslog that writes each message as it came.
struct Rsyslog {
    folder: tempfile::TempDir,
    address: SocketAddr,
    running: Option<Running>,
}

impl Rsyslog {
    fn start(tls: Option<&Ca>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (mut global, mut module) = (String::new(), "");
        if let Some(ca) = tls {
            let leaf = ca.server(&["localhost"]);
            let files = [("ca.pem", ca.pem()), ("cert.pem", &*leaf.cert), ("key.pem", &*leaf.key)];
            for (name, text) in files {
                fs::write(folder.path().join(name), text).expect("writes");
            }
            global = format!(
                "defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" \
                 defaultNetstreamDriverKeyFile=\"{}\"",
                path("ca.pem"),
                path("cert.pem"),
                path("key.pem")
            );
            module = "StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" \
                      StreamDriver.AuthMode=\"anon\"";
        }
        let config = format!(
            "global(workDirectory=\"{}\" maxMessageSize=\"64k\" {global})\n\
             module(load=\"imtcp\" {module})\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"raw\")\n",
            folder.path().display(),
            address.port(),
            path("messages")
        );
        fs::write(folder.path().join("rsyslog.conf"), config).expect("writes");
        let mut rsyslog = Self { folder, address, running: None };
        rsyslog.run();
        rsyslog
    }

    fn run(&mut self) {
        let mut command = programs::command("rsyslogd");
        command.arg("-n").arg("-f").arg(self.folder.path().join("rsyslog.conf"));
        command.arg("-i").arg(self.folder.path().join("pid")).stderr(Stdio::null());
        self.running = Some(programs::start(&mut command).accepting(self.address));
    }

    fn kill(&mut self) {
        self.running = None;
        fs::remove_file(self.folder.path().join("pid")).ok();
    }

    fn messages(&self) -> Vec<Arrived> {
        let text = fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default();
        text.lines().map(parse).collect()
    }
}

/// The key and the text of a message (RFC 5424 §6).
#[track_caller]
fn parse(message: &str) -> Arrived {
    let (header, rest) = message.split_once(" [tidegate@32473 ").expect("structured data");
    let fields: Vec<&str> = header.split(' ').collect();
    assert_eq!(fields.len(), 6, "{header}");
    let (priority, time, app) = (fields[0], fields[1], fields[3]);
    // The facility is local4: from 160 to 167.
    assert!(priority.starts_with("<16") && priority.ends_with(">1"), "{message}");
    assert!(time.ends_with('Z') && time.contains('T'), "{message}");
    assert_eq!(app, "tidegate");
    let (data, text) = rest.split_once("] ").expect("the end of structured data");
    let key = data.split('"').nth(1).expect("a key");
    (key.to_owned(), text.to_owned())
}

/// Requests before, during and after the receiver's death.
#[track_caller]
fn check(mut rsyslog: Rsyslog, gateway: &Gateway) {
    under_load(gateway, |reach| {
        reach(300);
        rsyslog.kill();
        reach(600);
        rsyslog.run();
    });
    settle(gateway, REQUESTS);
    let keys = || {
        let keys = rsyslog.messages().into_iter().map(|(key, _)| key);
        keys.collect::<BTreeSet<_>>().len()
    };
    wait::until("rsyslog has written", || keys() as f64 >= count(gateway, "sent_total"));
    assert_complete(gateway, &rsyslog.messages(), REQUESTS);
}

#[test]
fn rsyslog_gets_everything_over_tcp_although_it_is_killed() {
    needs!("rsyslogd");
    let (rsyslog, upstream) = (Rsyslog::start(None), origin());
    let gateway = gateway(&upstream, "syslog: { address: 'tcp://<siem>' }");
    let gateway = gateway.set("siem", rsyslog.address).start();
    check(rsyslog, &gateway);
}

/// Whether rsyslog can speak TLS here.
fn speaks_tls() -> bool {
    let folder = format!("/usr/lib/{}-linux-gnu/rsyslog/lmnsd_gtls.so", std::env::consts::ARCH);
    let speaks = Path::new(&folder).exists();
    if !speaks {
        eprintln!("skipped: rsyslog-gnutls is not installed");
    }
    speaks
}

#[test]
fn rsyslog_gets_everything_over_tls_although_it_is_killed() {
    needs!("rsyslogd");
    if !speaks_tls() {
        return;
    }
    let ca = Ca::new("siem");
    let (rsyslog, upstream) = (Rsyslog::start(Some(&ca)), origin());
    let gateway =
        gateway(&upstream, "syslog: { address: 'tls://localhost:<port>', tls: { ca: ca.pem } }");
    let gateway = gateway.set("port", rsyslog.address.port()).file("ca.pem", ca.pem()).start();
    check(rsyslog, &gateway);
}

#[test]
fn a_receiver_with_a_strangers_certificate_gets_nothing() {
    needs!("rsyslogd");
    if !speaks_tls() {
        return;
    }
    let ca = Ca::new("siem");
    let (rsyslog, upstream) = (Rsyslog::start(Some(&ca)), origin());
    let gateway =
        gateway(&upstream, "syslog: { address: 'tls://localhost:<port>', tls: { ca: ca.pem } }");
    let other = Ca::new("other");
    let gateway = gateway.set("port", rsyslog.address.port()).file("ca.pem", other.pem()).start();
    send(&gateway, 4);
    wait::until("it fails", || count(&gateway, "failures_total") > 1.0);
    assert!(gateway.stderr().contains("sink_failing"), "{}", gateway.stderr());
    assert_eq!((count(&gateway, "sent_total"), rsyslog.messages().len()), (0.0, 0));
}

#[test]
fn a_datagram_has_one_message_and_its_limit() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let upstream = origin();
    let kind = "syslog: { address: 'udp://<siem>', max_datagram: 512B }";
    let address = socket.local_addr().expect("an address");
    let gateway = gateway(&upstream, kind).set("siem", address).start();
    send(&gateway, 4);
    let long = format!("/{}", "x".repeat(900));
    assert_eq!(client::get(gateway.address(), &long).status, 200);
    let mut buffer = [0; 65_536];
    let mut cut = 0;
    for _message in 0..5 {
        let len = socket.recv(&mut buffer).expect("a datagram");
        assert!(len <= 512, "{len}");
        cut += usize::from(len == 512);
        parse(std::str::from_utf8(&buffer[..len]).expect("UTF-8"));
    }
    assert!(cut >= 1, "the long one is cut");
}
