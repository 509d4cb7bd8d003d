//! gRPC with trailers, through grpcio's own client and server (Debian's python3-grpcio), over h2c
//! and TLS. What is called stands in `grpc/echo.py`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{Running, output, start};
use tidegate_testkit::{Ca, Gateway, needs, wait};

fn python(arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/grpc/echo.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).args(arguments);
    command
}

fn grpcio_is_installed() -> bool {
    let installed = Command::new("/usr/bin/python3")
        .args(["-c", "import grpc"])
        .output()
        .is_ok_and(|said| said.status.success());
    assert!(installed || std::env::var_os("CI").is_none(), "python3-grpcio is not installed");
    if !installed {
        eprintln!("skipped: python3-grpcio is not installed");
    }
    installed
}

fn server() -> (SocketAddr, Running) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let server = start(&mut python(&["serve", &address.to_string()]));
    (address, server.accepting(address))
}

#[test]
fn every_kind_of_call_succeeds_through_h2c_and_tls() {
    needs!("python3");
    if !grpcio_is_installed() {
        return;
    }
    let (pod, _server) = server();
    let ca = Ca::new("ca");
    let leaf = ca.server(&["localhost", "127.0.0.1"]);
    let config = "
listeners:
  - { address: 127.0.0.2:0, h2c: true }
  - { address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<pod>], protocol: h2 } }
";
    let gateway = Gateway::builder(config)
        .set("pod", pod)
        .file("tls.crt", &leaf.cert)
        .file("tls.key", &leaf.key)
        .file("ca.pem", ca.pem())
        .start();
    let plain = gateway.addresses()[0].to_string();
    let secure = format!("localhost:{}", gateway.addresses()[1].port());
    let ca_file = gateway.folder().join("ca.pem").display().to_string();
    for arguments in [vec!["call", &plain], vec!["call", &secure, &ca_file]] {
        let said = output(&mut python(&arguments));
        assert_eq!(said.stdout.trim(), "all calls as expected", "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn health_checks_speak_grpc() {
    needs!("python3");
    if !grpcio_is_installed() {
        return;
    }
    let (pod, _server) = server();
    let gateway = Gateway::start(
        "
listeners: [{ address: 127.0.0.1:0, h2c: true }]
routes: [{ path: /, to: api }]
upstreams:
  api: { endpoints: [<pod>], protocol: h2, health: { type: grpc, interval: 100ms, rise: 1, fall: 1 } }
",
        &[("pod", &pod)],
    );
    let address = gateway.address().to_string();
    wait::until("the pod serves", || output(&mut python(&["call", &address])).status.success());
    // The server calls itself NOT_SERVING from now on.
    assert!(output(&mut python(&["fail", &pod.to_string()])).status.success());
    wait::until("the check finds it", || {
        output(&mut python(&["unavailable", &address])).status.success()
    });
}

#[test]
fn no_call_fails_while_another_process_takes_over() {
    needs!("python3");
    if !grpcio_is_installed() {
        return;
    }
    let (pod, _server) = server();
    let config = "
listeners: [{ address: 127.0.0.1:0, h2c: true }]
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<pod>], protocol: h2 } }
";
    let mut gateway = Gateway::start(config, &[("pod", &pod)]);
    let stop = gateway.folder().join("stop");
    let arguments = ["insist", &gateway.address().to_string(), &stop.display().to_string()];
    let mut callers = python(&arguments);
    let said = thread::spawn(move || output(&mut callers));
    let calls = |gateway: &Gateway| gateway.access_log().len();
    wait::until("they call", || calls(&gateway) > 50);
    gateway.signal(Signal::QUIT);
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
    let before = calls(&gateway);
    wait::until("they go on", || calls(&gateway) > before + 50);
    fs::write(stop, "").expect("writes");
    let said = said.join().expect("the callers");
    assert!(said.stdout.contains("calls as expected"), "{}", said.stderr);
}
