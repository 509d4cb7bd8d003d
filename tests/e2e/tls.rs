//! Encryption towards clients: versions, certificates by name, client certificates, reload of
//! certificates, as rustls, openssl and curl see it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tidegate_testkit::programs::{output, output_of};
use tidegate_testkit::tls::trusting;
use tidegate_testkit::{Ask, Ca, Connection, Gateway, Leaf, Origin, Reply, needs, wait};

/// A gateway with a TLS listener whose settings are given in flow style.
#[track_caller]
fn gateway(origin: &Origin, tls: &str, files: &[(&str, &str)]) -> Gateway {
    let config = format!(
        "limits: {{ handshake_timeout: 1s }}
listeners: [{{ address: 127.0.0.1:0, tls: {tls} }}]
routes: [{{ path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
"
    );
    let builder = Gateway::builder(&config).set("origin", origin.address());
    files.iter().fold(builder, |builder, (name, text)| builder.file(name, text)).start()
}

/// One certificate, for `api.example.com`.
fn one(ca: &Ca) -> Leaf {
    ca.server(&["api.example.com", "127.0.0.1"])
}

const ONE: &str = "{ cert: <dir>/tls.crt, key: <dir>/tls.key }";

#[test]
fn tls_13_is_spoken_and_12_refused_by_default() {
    let (origin, ca) = (Origin::start(Reply::ok("ok")), Ca::new("ca"));
    let leaf = one(&ca);
    let gateway = gateway(&origin, ONE, &[("tls.crt", &leaf.cert), ("tls.key", &leaf.key)]);
    let mut connection =
        Connection::tls(gateway.address(), "api.example.com", &trusting(&ca).config());
    assert_eq!(Ask::new("GET", "/").send_on(&mut connection).status, 200);
    let old = trusting(&ca).only_tls12().config();
    assert!(Connection::tls_after(gateway.address(), b"", "api.example.com", &old).is_err());
    let line = gateway.logged(|_line| true);
    assert_eq!(line["tls"], "TLSv1.3");
    assert_eq!(origin.received()[0].header("x-forwarded-proto"), Some("https"));
}

#[test]
fn tls_12_is_spoken_by_choice() {
    let (origin, ca) = (Origin::start(Reply::ok("ok")), Ca::new("ca"));
    let leaf = one(&ca);
    let tls = "{ cert: <dir>/tls.crt, key: <dir>/tls.key, min_version: '1.2' }";
    let gateway = gateway(&origin, tls, &[("tls.crt", &leaf.cert), ("tls.key", &leaf.key)]);
    let old = trusting(&ca).only_tls12().config();
    let mut connection = Connection::tls(gateway.address(), "api.example.com", &old);
    assert_eq!(Ask::new("GET", "/").send_on(&mut connection).status, 200);
}

#[test]
fn openssl_agrees_on_versions_and_names() {
    needs!("openssl");
    let (origin, ca) = (Origin::start(Reply::ok("ok")), Ca::new("ca"));
    let (a, b) = (ca.server(&["a.example.com"]), ca.server(&["*.b.example.com"]));
    let tls = "{ certificates: [{ cert: <dir>/a.crt, key: <dir>/a.key }, { cert: <dir>/b.crt, key: <dir>/b.key }] }";
    let files = [
        ("a.crt", a.cert.as_str()),
        ("a.key", a.key.as_str()),
        ("b.crt", b.cert.as_str()),
        ("b.key", b.key.as_str()),
        ("ca.pem", ca.pem()),
    ];
    let gateway = gateway(&origin, tls, &files);
    let s_client = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &gateway.address().to_string(), "-CAfile"]);
        command.arg(gateway.folder().join("ca.pem")).args(arguments);
        output_of(&mut command, "Q\n")
    };
    for name in ["a.example.com", "x.b.example.com"] {
        let said = s_client(&["-servername", name, "-verify_hostname", name]).stdout;
        assert!(said.contains("Verify return code: 0 (ok)"), "{name}: {said}");
        assert!(said.contains("TLSv1.3"), "{said}");
    }
    let said = s_client(&["-servername", "a.example.com", "-alpn", "h2"]).stdout;
    assert!(said.contains("ALPN protocol: h2"), "{said}");
    for old in ["-tls1_2", "-tls1_1"] {
        assert!(!s_client(&[old]).status.success(), "{old}");
    }
}

#[test]
fn a_client_certificate_is_required_where_it_is() {
    needs!("curl");
    let (origin, ca, clients) = (Origin::start(Reply::ok("ok")), Ca::new("ca"), Ca::new("clients"));
    let (leaf, alice, mallory) = (one(&ca), clients.client("alice"), ca.client("mallory"));
    let tls = "{ cert: <dir>/tls.crt, key: <dir>/tls.key, client_auth: { ca: <dir>/clients.pem, mode: required } }";
    let files = [
        ("tls.crt", leaf.cert.as_str()),
        ("tls.key", leaf.key.as_str()),
        ("clients.pem", clients.pem()),
        ("ca.pem", ca.pem()),
        ("alice.crt", alice.cert.as_str()),
        ("alice.key", alice.key.as_str()),
        ("mallory.crt", mallory.cert.as_str()),
        ("mallory.key", mallory.key.as_str()),
    ];
    let gateway = gateway(&origin, tls, &files);
    let curl = |identity: Option<&str>| {
        let mut command = Command::new("curl");
        let file = |name: String| gateway.folder().join(name);
        command.args(["-sS", &format!("https://{}/", gateway.address()), "--cacert"]);
        command.arg(file("ca.pem".to_owned()));
        if let Some(name) = identity {
            command.arg("--cert").arg(file(format!("{name}.crt")));
            command.arg("--key").arg(file(format!("{name}.key")));
        }
        output(&mut command).stdout
    };
    assert_eq!(curl(Some("alice")), "ok");
    assert_eq!(curl(Some("mallory")), "");
    assert_eq!(curl(None), "");
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn an_optional_client_certificate_may_be_absent_but_not_wrong() {
    let (origin, ca, clients) = (Origin::start(Reply::ok("ok")), Ca::new("ca"), Ca::new("clients"));
    let leaf = one(&ca);
    let tls = "{ cert: <dir>/tls.crt, key: <dir>/tls.key, client_auth: { ca: <dir>/clients.pem, mode: optional } }";
    let files = [
        ("tls.crt", leaf.cert.as_str()),
        ("tls.key", leaf.key.as_str()),
        ("clients.pem", clients.pem()),
    ];
    let gateway = gateway(&origin, tls, &files);
    let status = |config: &Arc<_>| status(gateway.address(), config);
    assert_eq!(status(&trusting(&ca).config()).expect("without"), 200);
    let alice = trusting(&ca).identity(&clients.client("alice")).config();
    assert_eq!(status(&alice).expect("with"), 200);
    let mallory = trusting(&ca).identity(&ca.client("mallory")).config();
    assert!(status(&mallory).is_err(), "a certificate of somebody else");
}

#[test]
fn a_new_certificate_is_served_after_a_reload_without_a_restart() {
    let (origin, ca, next) = (Origin::start(Reply::ok("ok")), Ca::new("ca"), Ca::new("next"));
    let leaf = one(&ca);
    let gateway = gateway(&origin, ONE, &[("tls.crt", &leaf.cert), ("tls.key", &leaf.key)]);
    let (old, new) = (trusting(&ca).config(), trusting(&next).config());
    let mut open = Connection::tls(gateway.address(), "api.example.com", &old);
    assert_eq!(Ask::new("GET", "/").send_on(&mut open).status, 200);
    let renewed = one(&next);
    fs::write(gateway.folder().join("tls.crt"), &renewed.cert).expect("writes");
    fs::write(gateway.folder().join("tls.key"), &renewed.key).expect("writes");
    assert!(gateway.reload().status < 300);
    let shakes = |config| Connection::tls_after(gateway.address(), b"", "api.example.com", config);
    wait::until("the new one is served", || shakes(&new).is_ok());
    assert!(shakes(&old).is_err());
    assert_eq!(Ask::new("GET", "/").send_on(&mut open).status, 200, "the old connection lives on");
    // A key that does not fit keeps what is there.
    fs::write(gateway.folder().join("tls.key"), &leaf.key).expect("writes");
    assert!(gateway.reload().status >= 400);
    assert!(shakes(&new).is_ok());
}

/// One request on a connection of its own; the answer is what brings the session ticket along.
fn status(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<u16> {
    let mut connection = Connection::tls_after(address, b"", "api.example.com", config)?;
    connection.try_send(&Ask::new("GET", "/").bytes())?;
    connection.try_response().map(|response| response.status)
}

#[test]
fn a_ticket_of_an_open_listener_opens_no_other() {
    let (origin, ca, clients) = (Origin::start(Reply::ok("ok")), Ca::new("ca"), Ca::new("clients"));
    let leaf = one(&ca);
    let config = "
listeners:
  - { address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }
  - address: 127.0.0.2:0
    tls: { cert: <dir>/tls.crt, key: <dir>/tls.key, client_auth: { ca: <dir>/clients.pem, mode: required } }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let gateway = Gateway::builder(config)
        .set("origin", origin.address())
        .file("tls.crt", &leaf.cert)
        .file("tls.key", &leaf.key)
        .file("clients.pem", clients.pem())
        .start();
    let (open, closed) = (gateway.addresses()[0], gateway.addresses()[1]);
    let nobody = trusting(&ca).resuming().config();
    for _ticket in 0..3 {
        assert_eq!(status(open, &nobody).expect("open to all"), 200);
    }
    for _try in 0..3 {
        assert!(status(closed, &nobody).is_err(), "a ticket in place of a certificate");
    }
    let alice = trusting(&ca).resuming().identity(&clients.client("alice")).config();
    for _try in 0..3 {
        assert_eq!(status(closed, &alice).expect("alice"), 200);
    }
}

#[test]
fn a_ticket_does_not_outlive_the_authority_that_it_was_earned_with() {
    let (origin, ca, clients) = (Origin::start(Reply::ok("ok")), Ca::new("ca"), Ca::new("clients"));
    let leaf = one(&ca);
    let tls = "{ cert: <dir>/tls.crt, key: <dir>/tls.key, client_auth: { ca: <dir>/clients.pem, mode: required } }";
    let files = [
        ("tls.crt", leaf.cert.as_str()),
        ("tls.key", leaf.key.as_str()),
        ("clients.pem", clients.pem()),
    ];
    let gateway = gateway(&origin, tls, &files);
    let alice = trusting(&ca).resuming().identity(&clients.client("alice")).config();
    for _ticket in 0..3 {
        assert_eq!(status(gateway.address(), &alice).expect("alice"), 200);
    }
    fs::write(gateway.folder().join("clients.pem"), Ca::new("next").pem()).expect("writes");
    assert!(gateway.reload().status < 300);
    for _try in 0..3 {
        assert!(status(gateway.address(), &alice).is_err(), "alice's authority is gone");
    }
}

#[test]
fn a_missing_certificate_is_a_clear_error() {
    let config = "
listeners: [{ address: 127.0.0.1:0, tls: { cert: <dir>/absent.crt, key: <dir>/absent.key } }]
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [127.0.0.1:1] } }
";
    let failed = Gateway::builder(config).try_start().expect_err("does not start");
    assert!(failed.status.is_some_and(|status| !status.success()), "{failed:?}");
    assert!(failed.stderr.contains("absent.crt"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("panicked"), "{}", failed.stderr);
}

#[test]
fn a_handshake_that_stops_is_ended() {
    let (origin, ca) = (Origin::start(Reply::ok("ok")), Ca::new("ca"));
    let leaf = one(&ca);
    let gateway = gateway(&origin, ONE, &[("tls.crt", &leaf.cert), ("tls.key", &leaf.key)]);
    let mut silent = Connection::open(gateway.address());
    let mut started = Connection::open(gateway.address());
    started.send(b"\x16\x03\x01\x02\x00\x01");
    let mut plain = Connection::open(gateway.address());
    plain.send(&Ask::new("GET", "/").bytes());
    for connection in [&mut silent, &mut started, &mut plain] {
        assert!(connection.is_closed_within(Duration::from_secs(6)));
    }
}
