//! HTTP/2 requests that must not become HTTP/1 requests as they are (RFC 9113 §8): written field by
//! field, as no library would send them.

use std::time::Duration;

use tidegate_testkit::{Gateway, Origin, Received, Reply};

use crate::frames::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Http2, RST_STREAM, frame};
use crate::http1::ALL_TO_API;

const PATIENCE: Duration = Duration::from_secs(5);

const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http")];
const ROOT: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// `POST /` whose body is followed by trailers.
pub(crate) fn with_trailers(trailers: &[(&str, &str)]) -> Vec<u8> {
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    [
        frame(HEADERS, END_HEADERS, 1, &block(&post)),
        frame(DATA, 0, 1, b"body"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)),
    ]
    .concat()
}

/// A header block of literals without indexing (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The stream was reset, or the connection closed.
    Reset,
    /// It was answered; the statuses that HPACK has an index for (RFC 7541 appendix A).
    Status(u16),
}

fn outcome(connection: &Http2) -> Outcome {
    while let Some(frame) = connection.next_frame(PATIENCE) {
        match frame.kind {
            RST_STREAM => return Outcome::Reset,
            HEADERS => return Outcome::Status(status(&frame)),
            _ => {}
        }
    }
    Outcome::Reset
}

fn status(frame: &Frame) -> u16 {
    // A change of the table's size may come first (RFC 7541 §6.3).
    let first = frame.payload.iter().find(|byte| *byte & 0xe0 != 0x20);
    match first {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        _ => 0,
    }
}

/// A gateway before an origin.
struct Stage {
    origin: Origin,
    gateway: Gateway,
}

impl Stage {
    #[track_caller]
    fn start() -> Self {
        let origin = Origin::start(Reply::ok("ok"));
        let config = format!("listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{ALL_TO_API}");
        let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
        Self { origin, gateway }
    }

    /// Sends a request of `base` and `more` on a connection of its own.
    fn ask(&self, base: &[(&str, &str)], more: &[(&str, &str)]) -> Outcome {
        let mut connection = Http2::open(self.gateway.address(), &[]);
        let block = block(&[base, more].concat());
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
        outcome(&connection)
    }

    /// The origin must not get it.
    #[track_caller]
    fn refuses(&self, base: &[(&str, &str)], more: &[(&str, &str)]) {
        let outcome = self.ask(base, more);
        let refused = matches!(outcome, Outcome::Reset | Outcome::Status(400));
        assert!(refused, "{base:?} {more:?}: {outcome:?}");
        assert!(self.origin.received().is_empty(), "{base:?} {more:?} reached the origin");
    }

    /// Returns what the origin got.
    #[track_caller]
    fn forwards(&self, base: &[(&str, &str)], more: &[(&str, &str)]) -> Received {
        assert_eq!(self.ask(base, more), Outcome::Status(200), "{base:?} {more:?}");
        self.origin.received().pop().expect("a request")
    }
}

#[test]
fn a_request_becomes_one_http1_request() {
    let stage = Stage::start();
    let path = [(":authority", "A:80"), (":path", "/a/./%62//../c?d=/../")];
    let request = stage.forwards(GET, &path);
    assert_eq!(request.target, "/a/c?d=/../");
    assert_eq!(request.header("host").map(str::to_lowercase).as_deref(), Some("a:80"));
    // RFC 9113 §8.2.3: split cookies are one field again.
    let request = stage.forwards(ROOT, &[("cookie", "a=1"), ("cookie", "b=2")]);
    let cookies: Vec<_> = request.fields.iter().filter(|(name, _)| name == "cookie").collect();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(request.header("cookie"), Some("a=1; b=2"));
    let request = stage.forwards(ROOT, &[("te", "trailers")]);
    assert_eq!(request.target, "/");
}

#[test]
fn fields_about_the_connection_are_refused() {
    let stage = Stage::start();
    // RFC 9113 §8.2.2.
    for field in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        stage.refuses(ROOT, &[field]);
    }
}

#[test]
fn names_and_values_hold_nothing_that_http1_would_split() {
    let stage = Stage::start();
    // RFC 9113 §8.2.1.
    stage.refuses(ROOT, &[("X-Upper", "y")]);
    stage.refuses(ROOT, &[("x", "y\r\nhidden: z")]);
    stage.refuses(ROOT, &[("x", "y\0")]);
    stage.refuses(ROOT, &[("x y", "z")]);
    stage.refuses(ROOT, &[("x:y", "z")]);
    stage.refuses(ROOT, &[("x\r\ny", "z")]);
    stage.refuses(ROOT, &[("", "z")]);
    stage.refuses(ROOT, &[("x_y", "z")]);
    stage.refuses(ROOT, &[(":other", "z")]);
    stage.refuses(ROOT, &[("x", "y"), (":path", "/late")]);
}

#[test]
fn targets_mean_one_thing() {
    let stage = Stage::start();
    // RFC 9113 §8.3.1.
    let at = (":authority", "a");
    for path in [
        "",
        "a",
        "*",
        "http://a/",
        "/a b",
        "/ HTTP/1.1\r\nHidden: z",
        "/a\0",
        "/..",
        "/%2e%2e/a",
        "/a%2fb",
        "/a\\b",
        "/%zz",
    ] {
        stage.refuses(GET, &[at, (":path", path)]);
    }
    stage.refuses(GET, &[at]);
    stage.refuses(GET, &[(":path", "/")]);
    stage.refuses(GET, &[at, (":path", "/"), (":path", "/b")]);
    stage.refuses(GET, &[("x", "y"), at, (":path", "/")]);
    stage.refuses(GET, &[(":authority", "u@a"), (":path", "/")]);
    stage.refuses(GET, &[(":authority", "a/b"), (":path", "/")]);
    stage.refuses(GET, &[(":authority", "a\r\nx: y"), (":path", "/")]);
    stage.refuses(ROOT, &[("host", "b")]);
    stage.refuses(ROOT, &[("host", "a"), ("host", "a")]);
    stage.refuses(&[(":method", "G T")], &[(":scheme", "http"), at, (":path", "/")]);
    stage.refuses(&[(":method", "GET")], &[at, (":path", "/")]);
}

#[test]
fn the_body_has_the_length_that_was_promised() {
    let stage = Stage::start();
    stage.refuses(ROOT, &[("content-length", "5"), ("content-length", "5")]);
    stage.refuses(ROOT, &[("content-length", "5,5")]);
    stage.refuses(ROOT, &[("content-length", "+5")]);
    // RFC 9113 §8.1.1: the sum of the DATA frames must be the Content-Length.
    for body in ["h", "hello, and GET /hidden HTTP/1.1\r\n\r\n"] {
        let mut connection = Http2::open(stage.gateway.address(), &[]);
        let fields = [ROOT, &[("content-length", "5")]].concat();
        connection.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        connection.send(&frame(DATA, END_STREAM, 1, body.as_bytes()));
        assert_ne!(outcome(&connection), Outcome::Status(200), "{body:?}");
    }
    let reached: Vec<_> = stage.origin.received().into_iter().map(|it| it.target).collect();
    assert!(reached.is_empty(), "{reached:?}");
}
