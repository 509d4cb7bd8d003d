//! HTTP/2 in front, over TLS and by prior knowledge, with curl, nghttp2's h2load and real pods.

use std::process::Command;

use tidegate_testkit::programs::output;
use tidegate_testkit::{Ca, Gateway, Nginx, Origin, Reply, needs};

#[test]
fn curl_speaks_http2_over_tls_and_in_the_clear() {
    needs!("curl");
    let (origin, ca) = (Origin::start(Reply::ok("ok")), Ca::new("ca"));
    let leaf = ca.server(&["127.0.0.1"]);
    let config = "
listeners:
  - { address: 127.0.0.1:0, tls: { cert: <dir>/tls.crt, key: <dir>/tls.key } }
  - { address: 127.0.0.2:0, h2c: true }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let gateway = Gateway::builder(config)
        .set("origin", origin.address())
        .file("tls.crt", &leaf.cert)
        .file("tls.key", &leaf.key)
        .file("ca.pem", ca.pem())
        .start();
    let secure = format!("https://{}/", gateway.addresses()[0]);
    let plain = format!("http://{}/", gateway.addresses()[1]);
    let ca_file = gateway.folder().join("ca.pem");
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "-w", " %{http_version} %{response_code}", "--cacert"]);
        output(command.arg(&ca_file).args(arguments)).stdout
    };
    assert_eq!(curl(&["--http2", &secure]), "ok 2 200");
    assert_eq!(curl(&["--http1.1", &secure]), "ok 1.1 200");
    assert_eq!(curl(&["--http2-prior-knowledge", &plain]), "ok 2 200");
    assert_eq!(curl(&["--http1.1", &plain]), "ok 1.1 200");
    assert_eq!(curl(&["--http2", "--data", "a=1", &secure]), "ok 2 200");
    assert_eq!(origin.received().last().expect("a request").body, b"a=1");
}

#[test]
fn an_upload_and_a_download_arrive_whole() {
    needs!("curl", "nginx");
    let big = vec![b'x'; 3 << 20];
    let body = big.clone();
    let origin = Origin::script(move |request| {
        if request.method == "GET" {
            Reply::ok(body.clone())
        } else {
            Reply::ok(request.body.len().to_string())
        }
    });
    let gateway = Gateway::start(
        "
listeners: [{ address: 127.0.0.1:0, h2c: true }]
routes: [{ path: /, to: api, max_body: 10MiB }]
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    let url = format!("http://{}/", gateway.address());
    let file = gateway.folder().join("upload");
    std::fs::write(&file, &big).expect("writes");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut command = Command::new("curl");
        command.args(["-sS", version, "-H", "Expect:", "--data-binary"]);
        command.arg(format!("@{}", file.display())).arg(&url);
        assert_eq!(output(&mut command).stdout, big.len().to_string(), "{version}");
        let mut command = Command::new("curl");
        let stdout = output(command.args(["-sS", version, &url])).stdout;
        assert_eq!(stdout.len(), big.len(), "{version}");
    }
}

#[test]
fn h2load_loses_no_stream() {
    needs!("h2load", "nginx");
    let pods = [Nginx::pod("a"), Nginx::pod("b")];
    let gateway = Gateway::start(
        "
access_log: off
listeners: [{ address: 127.0.0.1:0, h2c: true }]
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<a>, <b>] } }
",
        &[("a", &pods[0].address()), ("b", &pods[1].address())],
    );
    let mut command = Command::new("h2load");
    command.args(["-n", "5000", "-c", "10", "-m", "20", &format!("http://{}/", gateway.address())]);
    let said = output(&mut command).stdout;
    assert!(said.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("5000 2xx"), "{said}");
}
