//! The sink for Redis against the real server: in clear with a password, and over TLS with an own
//! authority, a certificate of ours and a user of its access list.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tidegate_testkit::gateway::Builder;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::tls::Leaf;
use tidegate_testkit::{Ca, needs, wait};

use super::{
    Arrived, REQUESTS, SECRET, assert_complete, count, free_address, gateway, identity, origin,
    send, settle, under_load,
};

/// A server of Redis: started, killed, and started again with the same data.
struct Server {
    folder: tempfile::TempDir,
    address: SocketAddr,
    tls: bool,
    running: Option<Running>,
}

impl Server {
    /// In clear with a password; with authorities for itself and its clients over TLS, with a user
    /// who may do nothing but what the sink does.
    fn start(tls: Option<(&Ca, &Ca)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "bind 127.0.0.1\nsave \"\"\nappendonly yes\nappendfsync always\ndir {}\n\
             requirepass {SECRET}\nuser edge on >{SECRET} ~events +xadd +hello +auth +client\n",
            folder.path().display()
        );
        let port = address.port();
        config += &match tls {
            None => format!("port {port}\n"),
            Some((ca, clients)) => {
                let leaf = ca.server(&["localhost"]);
                write(folder.path(), "cert.pem", &leaf.cert);
                write(folder.path(), "key.pem", &leaf.key);
                write(folder.path(), "clients.pem", clients.pem());
                format!(
                    "port 0\ntls-port {port}\ntls-cert-file {}\ntls-key-file {}\n\
                     tls-ca-cert-file {}\ntls-auth-clients yes\n",
                    path("cert.pem"),
                    path("key.pem"),
                    path("clients.pem")
                )
            }
        };
        write(folder.path(), "redis.conf", &config);
        let mut server = Self { folder, address, tls: tls.is_some(), running: None };
        server.run();
        server
    }

    fn run(&mut self) {
        let mut command = programs::command("redis-server");
        command.arg(self.folder.path().join("redis.conf"));
        self.running = Some(programs::start(&mut command).accepting(self.address));
    }

    fn kill(&mut self) {
        self.running = None;
    }

    /// What Redis's own client says, as the administrator.
    fn ask(&self, ca: &Ca, admin: &Leaf, arguments: &[&str]) -> String {
        let mut command = programs::command("redis-cli");
        command.args(["-p", &self.address.port().to_string(), "-a", SECRET, "--no-auth-warning"]);
        if self.tls {
            let files = [("ca", ca.pem()), ("cert", &*admin.cert), ("key", &*admin.key)];
            for (name, text) in files {
                let path = self.folder.path().join(name);
                fs::write(&path, text).expect("writes");
                command.arg(if name == "ca" { "--cacert".into() } else { format!("--{name}") });
                command.arg(path);
            }
            command.args(["-h", "localhost", "--tls"]);
        }
        programs::output(command.args(arguments)).stdout
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("writes");
}

#[track_caller]
fn check(mut server: Server, gateway: Builder, (ca, us): (&Ca, &Ca)) {
    let gateway = gateway.env("PASSWORD", SECRET).env("TIDEGATE_LOG", "trace").start();
    under_load(&gateway, |reach| {
        reach(300);
        server.kill();
        reach(600);
        server.run();
    });
    settle(&gateway, REQUESTS);
    let admin = us.client("admin");
    let entries = server.ask(ca, &admin, &["--json", "XRANGE", "events", "-", "+"]);
    let entries: Vec<Value> = serde_json::from_str(&entries).expect("JSON");
    let arrived = entries.iter().map(|entry| {
        let fields: Vec<&str> =
            entry[1].as_array().expect("fields").iter().filter_map(Value::as_str).collect();
        assert_eq!((fields[0], fields[2], fields[6]), ("key", "kind", "record"));
        (fields[1].to_owned(), fields[7].to_owned())
    });
    assert_complete(&gateway, &arrived.collect::<Vec<Arrived>>(), REQUESTS);
    assert!(!gateway.stderr().contains(SECRET), "a secret is logged");
}

const KIND: &str = "redis: { url: '<redis>', stream: events, password: '${env:PASSWORD}'<more> }";

#[test]
fn redis_gets_everything_although_it_is_killed() {
    needs!("redis-server", "redis-cli");
    let (server, upstream, ca) = (Server::start(None), origin(), Ca::new("unused"));
    let url = format!("redis://{}", server.address);
    let gateway = gateway(&upstream, KIND).set("redis", url).set("more", "");
    check(server, gateway, (&ca, &ca));
}

/// A gateway that trusts an authority, as a user with a certificate.
fn over_tls(server: &Server, upstream: &tidegate_testkit::Origin, ca: &Ca, us: &Leaf) -> Builder {
    let gateway = gateway(upstream, KIND);
    let gateway =
        gateway.set("more", ", user: edge, tls: { ca: ca.pem, cert: us.pem, key: us.key }");
    let url = format!("rediss://localhost:{}", server.address.port());
    identity(gateway.set("redis", url), ca, us)
}

#[test]
fn redis_gets_everything_over_tls_from_a_user_with_a_certificate() {
    needs!("redis-server", "redis-cli");
    let (ca, us, upstream) = (Ca::new("receivers"), Ca::new("ours"), origin());
    let server = Server::start(Some((&ca, &us)));
    let gateway = over_tls(&server, &upstream, &ca, &us.client("edge"));
    check(server, gateway, (&ca, &us));
}

/// What a sink says that Redis and it do not get together.
#[track_caller]
fn refused((trusted, shown): (&Ca, &Ca), (ca, clients): (&Ca, &Ca), password: &str, why: &str) {
    let (server, upstream) = (Server::start(Some((ca, clients))), origin());
    let gateway = over_tls(&server, &upstream, trusted, &shown.client("edge"));
    let gateway = gateway.env("PASSWORD", password).start();
    send(&gateway, 4);
    wait::until("it fails", || count(&gateway, "failures_total") > 1.0);
    let told = gateway.stderr();
    let line = told.lines().find(|line| line.contains("sink_failing"));
    assert!(line.is_some_and(|line| line.contains(why) && !line.contains(password)), "{told}");
    let length = server.ask(ca, &clients.client("admin"), &["XLEN", "events"]);
    assert_eq!((count(&gateway, "sent_total"), length.trim()), (0.0, "0"));
}

#[test]
fn redis_gets_nothing_without_trust_on_both_sides() {
    needs!("redis-server", "redis-cli");
    let (ca, us, other) = (Ca::new("receivers"), Ca::new("ours"), Ca::new("other"));
    refused((&other, &us), (&ca, &us), SECRET, "certificate");
    refused((&ca, &other), (&ca, &us), SECRET, "");
    refused((&ca, &us), (&ca, &us), "wrong-password", "authentication failed");
}
