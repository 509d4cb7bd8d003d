//! The sink for NATS JetStream against the real server: in clear, and over TLS with an own
//! authority, a certificate of ours, and a user or a token.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_testkit::gateway::Builder;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::tls::Leaf;
use tidegate_testkit::{Ca, Origin, wait};

use super::nats_account::{Operator, User};
use super::{
    Arrived, REQUESTS, SECRET, assert_complete, count, free_address, gateway, identity, origin,
    send, settle, under_load, venv,
};

/// A server with a stream, `EVENTS`: started, killed, and started again with the same data.
struct Server {
    folder: tempfile::TempDir,
    program: PathBuf,
    address: SocketAddr,
    /// Who may do everything, where not everybody may.
    admin: Option<User>,
    running: Option<Running>,
}

impl Server {
    fn start() -> Option<Self> {
        Self::start_as("", None)
    }

    fn start_as(more: &str, admin: Option<User>) -> Option<Self> {
        let program = venv()?.join("bin/nats-server");
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { folder, program, address: free_address(), admin, running: None };
        server.configure(more);
        let stream = json!({ "name": "EVENTS", "subjects": ["waf.events"], "storage": "file" });
        let made = server.ask("$JS.API.STREAM.CREATE.EVENTS", &stream);
        assert_eq!(made["config"]["name"], "EVENTS", "{made}");
        Some(server)
    }

    /// Starts anew, with more settings than the address and the folder.
    fn configure(&mut self, more: &str) {
        let config = format!(
            "listen: \"{}\"\njetstream {{ store_dir: \"{}\" }}\n{more}\n",
            self.address,
            self.path("data")
        );
        self.write("nats.conf", &config);
        self.run();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("writes");
    }

    /// The setting `tls`, with a certificate of `ca`, for clients of whom `clients` vouches.
    fn tls(&self, ca: &Ca, clients: &Ca) -> String {
        let leaf = ca.server(&["localhost"]);
        self.write("cert.pem", &leaf.cert);
        self.write("key.pem", &leaf.key);
        self.write("clients.pem", clients.pem());
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
            self.path("cert.pem"),
            self.path("key.pem"),
            self.path("clients.pem")
        )
    }

    fn run(&mut self) {
        self.running = None;
        let mut command = Command::new(&self.program);
        command.args(["-c", &self.path("nats.conf")]).stderr(Stdio::null());
        self.running = Some(programs::start(&mut command).accepting(self.address));
    }

    fn kill(&mut self) {
        self.running = None;
    }

    /// What the stream holds. What restricts its clients is taken away, so that it can be asked.
    fn messages(&mut self) -> Vec<Arrived> {
        if self.admin.is_none() {
            self.configure("");
        }
        let info = self.ask("$JS.API.STREAM.INFO.EVENTS", &json!({}));
        let last = info["state"]["last_seq"].as_u64().expect("a number");
        (1..=last).map(|number| self.message(number)).collect()
    }

    /// Asks NATS's own API, in its protocol.
    fn ask(&self, subject: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let mut reader = BufReader::new(stream.try_clone().expect("a twin"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("a greeting");
        let greeting = line.strip_prefix("INFO ").expect("a greeting");
        let greeting = serde_json::from_str(greeting).expect("JSON");
        let connect = match &self.admin {
            Some(admin) => admin.connect(&greeting),
            None => json!({ "verbose": false }),
        };
        let body = body.to_string();
        let asked = format!(
            "CONNECT {connect}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
            body.len()
        );
        stream.write_all(asked.as_bytes()).expect("asks");
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
    fn message(&self, number: u64) -> Arrived {
        let message = self.ask("$JS.API.STREAM.MSG.GET.EVENTS", &json!({ "seq": number }));
        let decoded = |name: &str| {
            let text = message["message"][name].as_str().unwrap_or_default();
            String::from_utf8(STANDARD.decode(text).expect("base64")).expect("UTF-8")
        };
        let headers = decoded("hdrs");
        let key = headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: "));
        (key.expect("a key").trim().to_owned(), decoded("data"))
    }
}

#[track_caller]
fn check(mut server: Server, gateway: Builder) {
    let gateway = gateway.env("TIDEGATE_LOG", "trace").env("PASSWORD", SECRET).start();
    under_load(&gateway, |reach| {
        reach(300);
        server.kill();
        reach(600);
        server.run();
    });
    settle(&gateway, REQUESTS);
    let arrived = server.messages();
    assert_complete(&gateway, &arrived, REQUESTS);
    let keys: BTreeSet<_> = arrived.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), arrived.len(), "JetStream drops duplicates by their id");
    assert!(!gateway.stderr().contains(SECRET), "a secret is logged");
}

const KIND: &str = "nats: { url: '<nats>', subject: waf.events<more> }";

#[test]
fn nats_gets_everything_once_although_it_is_killed() {
    let Some(server) = Server::start() else { return };
    let upstream = origin();
    let url = format!("nats://{}", server.address);
    let gateway = gateway(&upstream, KIND).set("nats", url).set("more", "");
    check(server, gateway);
}

/// A gateway that trusts an authority, and shows who it is in two ways.
fn over_tls(server: &Server, upstream: &Origin, who: &str, ca: &Ca, us: &Leaf) -> Builder {
    let gateway = gateway(upstream, KIND);
    let more = format!(", {who}, tls: {{ ca: ca.pem, cert: us.pem, key: us.key }}");
    let url = format!("tls://localhost:{}", server.address.port());
    identity(gateway.set("nats", url).set("more", more), ca, us)
}

/// Over TLS with certificates on both sides, as somebody whom the server knows.
#[track_caller]
fn check_tls(known: &str, who: &str) {
    let Some(mut server) = Server::start() else { return };
    let (ca, us, upstream) = (Ca::new("receivers"), Ca::new("ours"), origin());
    let tls = server.tls(&ca, &us);
    server.configure(&format!("{tls}\nauthorization {{ {known} }}"));
    let gateway = over_tls(&server, &upstream, who, &ca, &us.client("edge"));
    check(server, gateway);
}

#[test]
fn nats_gets_everything_over_tls_from_a_user() {
    let may = "permissions: { publish: [\"waf.events\"], subscribe: [\"_INBOX.>\"] }";
    let users = format!("users: [{{ user: edge, password: \"{SECRET}\", {may} }}]");
    check_tls(&users, "user: edge, password: '${env:PASSWORD}'");
}

#[test]
fn nats_gets_everything_over_tls_with_a_token() {
    check_tls(&format!("token: \"{SECRET}\""), "token: '${env:PASSWORD}'");
}

/// What a sink says that NATS and it do not get together.
#[track_caller]
fn refused(
    server: &mut Server,
    (trusted, shown): (&Ca, &Ca),
    (ca, us): (&Ca, &Ca),
    password: &str,
    why: &str,
) {
    let upstream = origin();
    let tls = server.tls(ca, us);
    server.configure(&format!("{tls}\nauthorization {{ token: \"{SECRET}\" }}"));
    let leaf = shown.client("edge");
    let gateway = over_tls(server, &upstream, "token: '${env:PASSWORD}'", trusted, &leaf);
    let gateway = gateway.env("PASSWORD", password).start();
    send(&gateway, 4);
    wait::until("it fails", || count(&gateway, "failures_total") > 1.0);
    let told = gateway.stderr();
    let line = told.lines().find(|line| line.contains("sink_failing"));
    assert!(line.is_some_and(|line| line.contains(why) && !line.contains(password)), "{told}");
    assert_eq!(count(&gateway, "sent_total"), 0.0);
}

#[test]
fn nats_gets_nothing_without_trust_on_both_sides() {
    let Some(mut server) = Server::start() else { return };
    let (ca, us, other) = (Ca::new("receivers"), Ca::new("ours"), Ca::new("other"));
    refused(&mut server, (&other, &us), (&ca, &us), SECRET, "certificate");
    refused(&mut server, (&ca, &other), (&ca, &us), SECRET, "");
    refused(&mut server, (&ca, &us), (&ca, &us), "wrong-password", "uthorization");
    assert_eq!(server.messages(), []);
}

#[test]
fn nats_gets_everything_from_a_user_whose_token_an_account_signed() {
    let operator = Operator::new();
    let admin = operator.user(&["$JS.API.>"], &["answer"]);
    let Some(server) = Server::start_as(&operator.settings(), Some(admin)) else { return };
    let (us, upstream) = (operator.user(&["waf.events"], &["_INBOX.>"]), origin());
    let gateway = gateway(&upstream, KIND).set("nats", format!("nats://{}", server.address));
    let gateway = gateway.set("more", ", credentials: edge.creds");
    let gateway = gateway.file("edge.creds", &us.credentials());
    check(server, gateway);
}

#[test]
fn nats_gets_nothing_from_a_user_of_another_operator() {
    let operator = Operator::new();
    let admin = operator.user(&["$JS.API.>"], &["answer"]);
    let Some(mut server) = Server::start_as(&operator.settings(), Some(admin)) else { return };
    let (stranger, upstream) = (Operator::new().user(&[">"], &[">"]), origin());
    let gateway = gateway(&upstream, KIND).set("nats", format!("nats://{}", server.address));
    let gateway = gateway.set("more", ", credentials: edge.creds").env("TIDEGATE_LOG", "trace");
    let gateway = gateway.file("edge.creds", &stranger.credentials()).start();
    send(&gateway, 4);
    wait::until("it fails", || count(&gateway, "failures_total") > 1.0);
    let told = gateway.stderr();
    assert!(told.contains("sink_failing") && !told.contains(&stranger.seed()), "{told}");
    assert_eq!((count(&gateway, "sent_total"), server.messages()), (0.0, vec![]));
}
