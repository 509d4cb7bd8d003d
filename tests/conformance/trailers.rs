//! Trailers of requests go nowhere: an origin could take them for fields that the gateway alone may
//! write, or has removed (RFC 9110 §6.5.1).

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tidegate_testkit::client::Connection;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{Gateway, Origin, Reply, needs};

use crate::frames::{DATA, Http2, RST_STREAM};
use crate::h2_requests::with_trailers;

const PATIENCE: Duration = Duration::from_secs(5);
const FORGED: &[(&str, &str)] = &[("x-user-id", "forged"), ("authorization", "Bearer forged")];

/// Answers with the fields and trailers of the request.
const ECHO: &str = "
require('http2').createServer().on('stream', (stream, fields) => {
  let trailers = {};
  let size = 0;
  stream.on('trailers', (given) => { trailers = given; });
  stream.on('data', (piece) => { size += piece.length; });
  stream.on('end', () => setImmediate(() => {
    stream.respond({ ':status': 200 });
    stream.end(JSON.stringify({ fields, size, trailers }));
  }));
}).listen(Number(process.argv[1]), '127.0.0.1');
";

/// An origin that speaks HTTP/2 and takes trailers.
struct Echo {
    address: SocketAddr,
    _running: Running,
}

impl Echo {
    fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("node");
        command.args(["-e", ECHO, &address.port().to_string()]);
        let running = programs::start(&mut command).accepting(address);
        Self { address, _running: running }
    }
}

/// What is answered to a request with trailers over HTTP/2.
fn over_h2(address: SocketAddr) -> String {
    let mut connection = Http2::open(address, &[]);
    connection.send(&with_trailers(FORGED));
    let mut body = Vec::new();
    while let Some(frame) = connection.next_frame(PATIENCE) {
        assert_ne!(frame.kind, RST_STREAM, "the stream was reset");
        if frame.kind == DATA {
            body.extend(frame.payload);
            if frame.flags & crate::frames::END_STREAM != 0 {
                break;
            }
        }
    }
    String::from_utf8(body).expect("a text")
}

fn over_http1(address: SocketAddr) -> String {
    let mut wire =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"
            .to_vec();
    for (name, value) in FORGED {
        wire.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    wire.extend(b"\r\n");
    let mut connection = Connection::open(address);
    connection.send(&wire);
    let response = connection.response();
    assert_eq!(response.status, 200);
    response.text()
}

fn gateway(origin: SocketAddr, protocol: &str) -> Gateway {
    let config = format!(
        "listeners: [{{ address: 127.0.0.1:0, h2c: true }}]
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>], protocol: {protocol} }} }}
"
    );
    Gateway::start(&config, &[("origin", &origin)])
}

#[test]
fn an_origin_of_http1_gets_no_trailers() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = gateway(origin.address(), "http1");
    assert_eq!(over_h2(gateway.address()), "ok");
    assert_eq!(over_http1(gateway.address()), "ok");
    let bodies: Vec<_> = origin.received().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [b"body", b"body"]);
    let raw = String::from_utf8_lossy(&origin.raw()).into_owned();
    assert!(!raw.contains("forged"), "{raw}");
}

#[test]
fn an_origin_of_http2_gets_no_trailers() {
    needs!("node");
    let origin = Echo::start();
    let direct = over_h2(origin.address);
    assert!(direct.contains("forged"), "the origin would tell: {direct}");
    let gateway = gateway(origin.address, "h2");
    for told in [over_h2(gateway.address()), over_http1(gateway.address())] {
        assert!(told.contains("\"size\":4") && !told.contains("forged"), "{told}");
    }
}
