//! The table of HTTP/1 requests: bytes in, and what must come of them. To add one, add a line; its
//! name says what is sent, and the section is where its answer comes from.

/// One request.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    pub(crate) expect: Expect,
    /// Whether a bare Pingora proxy does the same.
    pub(crate) on_pingora: OnPingora,
    pub(crate) wire: &'static [u8],
}

/// What must come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// The client gets this status and the origin gets nothing.
    Refused(u16),
    /// The origin gets one request with this request line, and the client gets its answer.
    Forwarded(&'static str),
}

/// What a bare Pingora proxy does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnPingora {
    /// Something else: our reading is needed.
    Differs,
    /// The same, or it was never compared.
    Same,
}

use Expect::{Forwarded, Refused};
use OnPingora::{Differs, Same};

const fn case(
    name: &'static str,
    section: &'static str,
    expect: Expect,
    on_pingora: OnPingora,
    wire: &'static [u8],
) -> Case {
    Case { name, section, expect, on_pingora, wire }
}

/// Where a message ends.
#[rustfmt::skip]
pub(crate) const FRAMING: &[Case] = &[
    case("identical Content-Length twice", "RFC 9110 §8.6", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
    case("different Content-Length twice", "RFC 9112 §6.3", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"),
    case("Content-Length as a list", "RFC 9110 §8.6", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2,2\r\n\r\nhi"),
    case("Content-Length with a sign", "RFC 9110 §8.6", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi"),
    case("negative Content-Length", "RFC 9110 §8.6", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhi"),
    case("empty Content-Length", "RFC 9110 §8.6", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    case("Content-Length beyond 64 bits", "RFC 9110 §8.6", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551618\r\n\r\nhi"),
    case("Content-Length, then Transfer-Encoding", "RFC 9112 §6.1", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n"),
    case("Transfer-Encoding, then Content-Length, with a hidden request", "RFC 9112 §11.2",
        Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 46\r\n\r\n\
          0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("Transfer-Encoding: gzip, chunked", "RFC 9112 §6.1", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    case("Transfer-Encoding: chunked, chunked", "RFC 9112 §6.1", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    case("Transfer-Encoding: chunked twice", "RFC 9112 §6.1", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
          Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("Transfer-Encoding: chunked, identity", "RFC 9112 §6.1", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    case("Transfer-Encoding: xchunked", "RFC 9112 §6.1", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    case("Transfer-Encoding after a vertical tab", "RFC 9110 §5.5", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    case("Transfer-Encoding in HTTP/1.0", "RFC 9112 §6.1", Refused(400), Same,
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("space before the colon of Transfer-Encoding", "RFC 9112 §5.1", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    case("folded Transfer-Encoding", "RFC 9112 §5.2", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    case("Connection names Content-Length", "RFC 9110 §7.6.1", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nhi"),
    case("Connection names Host", "RFC 9110 §7.6.1", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n"),
    case("line feed in a chunk extension", "RFC 9112 §7.1.1", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
          2;a\nb\r\nhi\r\n0\r\n\r\n"),
    case("chunk line with a bare line feed", "RFC 9112 §7.1", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n"),
    case("chunk size with 0x", "RFC 9112 §7.1", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n"),
    case("chunk without its CR LF", "RFC 9112 §7.1", Refused(400), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n"),
    case("a clean chunked body", "RFC 9112 §7.1", Forwarded("POST / HTTP/1.1"), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n"),
    case("a clean body with a length", "RFC 9112 §6.2", Forwarded("POST / HTTP/1.1"), Same,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
];

/// Lines, names and values.
#[rustfmt::skip]
pub(crate) const LINES: &[Case] = &[
    case("bare LF after the request line", "RFC 9112 §2.2", Refused(400), Differs,
        b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    case("bare LF after a field", "RFC 9112 §2.2", Refused(400), Differs,
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    case("bare LF as the empty line", "RFC 9112 §2.2", Refused(400), Differs,
        b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    case("bare LF before the header block", "RFC 9112 §2.2", Refused(400), Differs,
        b"GET / HTTP/1.1\r\n\nHost: a\r\n\r\n"),
    case("bare LF before the request line", "RFC 9112 §2.2", Refused(400), Differs,
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("one empty line before the request line", "RFC 9112 §2.2",
        Forwarded("GET / HTTP/1.1"), Same, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("bare CR in a value", "RFC 9110 §5.5", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    case("NUL in a value", "RFC 9110 §5.5", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    case("space before the colon", "RFC 9112 §5.1", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
    case("space before the first field", "RFC 9112 §2.2", Refused(400), Same,
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    case("folded field", "RFC 9112 §5.2", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
    case("field without a colon", "RFC 9112 §5", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    case("field without a name", "RFC 9112 §5", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
    case("underscore in a field name", "RFC 3875 §4.1.18", Refused(400), Differs,
        b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n"),
    case("Content-Type twice", "RFC 9110 §5.3", Refused(400), Differs,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\
          Content-Length: 0\r\n\r\n"),
    case("HTTP/0.9", "RFC 9112 §2.3", Refused(400), Same, b"GET /\r\n\r\n"),
    case("HTTP/1.2", "RFC 9112 §2.3", Refused(400), Same, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    case("HTTP/2.0 in a request line", "RFC 9112 §2.3", Refused(400), Same,
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    case("lower-case http", "RFC 9112 §2.3", Refused(400), Same,
        b"GET / http/1.1\r\nHost: a\r\n\r\n"),
];

/// Who is asked for what.
#[rustfmt::skip]
pub(crate) const TARGETS: &[Case] = &[
    case("no Host", "RFC 9112 §3.2", Refused(400), Differs, b"GET / HTTP/1.1\r\n\r\n"),
    case("empty Host", "RFC 9110 §4.2.1", Refused(400), Differs,
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    case("two Hosts", "RFC 9112 §3.2", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    case("the same Host twice", "RFC 9112 §3.2", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    case("a Host that is a list", "RFC 9112 §3.2", Refused(400), Differs,
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    case("a Host with a path", "RFC 9112 §3.2", Refused(400), Differs,
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    case("userinfo in Host", "RFC 9110 §4.2.4", Refused(400), Same,
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    case("absolute form that agrees with Host", "RFC 9112 §3.2.2",
        Forwarded("GET /x HTTP/1.1"), Differs, b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("absolute form that disagrees with Host", "RFC 9112 §3.2.2", Refused(400), Same,
        b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("another scheme", "RFC 9110 §4.2", Refused(400), Differs,
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("asterisk with GET", "RFC 9112 §3.2.4", Refused(400), Differs,
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("authority form with GET", "RFC 9112 §3.2.3", Refused(400), Differs,
        b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a fragment", "RFC 9112 §3.2", Refused(400), Differs,
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("TRACE", "RFC 9110 §9.3.8", Refused(405), Differs,
        b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("CONNECT", "RFC 9110 §9.3.6", Refused(405), Same,
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    case("an unknown method", "RFC 9110 §15.6.2", Refused(501), Differs,
        b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a method in lower case", "RFC 9110 §9.1", Refused(501), Differs,
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an unknown expectation", "RFC 9110 §10.1.1", Refused(417), Differs,
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    case("raw CR in the target", "RFC 9112 §3", Refused(400), Differs,
        b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("raw NUL in the target", "RFC 9112 §3", Refused(400), Differs,
        b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("raw space in the target", "RFC 9112 §3.2", Refused(400), Differs,
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two versions", "RFC 9112 §3", Refused(400), Same,
        b"GET /a HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two spaces", "RFC 9112 §3", Refused(400), Differs,
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("raw UTF-8 in the target", "RFC 9112 §3.2", Refused(400), Differs,
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// One spelling of each path.
#[rustfmt::skip]
pub(crate) const PATHS: &[Case] = &[
    case("dot segments", "RFC 3986 §5.2.4", Forwarded("GET /b?x=/../ HTTP/1.1"), Differs,
        b"GET /a/./../b?x=/../ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("encoded dot segments", "RFC 3986 §6.2.2", Forwarded("GET /b HTTP/1.1"), Differs,
        b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("empty segments", "RFC 3986 §6.2.3", Forwarded("GET /a/b HTTP/1.1"), Differs,
        b"GET //a///b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("encoded letters", "RFC 3986 §6.2.2.2", Forwarded("GET /admin HTTP/1.1"), Differs,
        b"GET /%61dmin HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("triplets in lower case", "RFC 3986 §6.2.2.1", Forwarded("GET /%E2%82%AC HTTP/1.1"),
        Differs, b"GET /%e2%82%ac HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a path above the root", "RFC 3986 §5.2.4", Refused(400), Differs,
        b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a servlet's dot segment", "RFC 3986 §3.3", Refused(400), Differs,
        b"GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an encoded slash", "RFC 3986 §2.2", Refused(400), Differs,
        b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a backslash", "RFC 3986 §2", Refused(400), Differs,
        b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an encoded backslash", "RFC 3986 §2.2", Refused(400), Differs,
        b"GET /a%5cb HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an encoded NUL", "RFC 3986 §7.3", Refused(400), Differs,
        b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an encoded CR LF", "RFC 3986 §7.3", Refused(400), Differs,
        b"GET /a%0d%0ab HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a broken triplet", "RFC 3986 §2.1", Refused(400), Differs,
        b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a triplet cut off", "RFC 3986 §2.1", Refused(400), Differs,
        b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("%u encoding", "RFC 3986 §2.1", Refused(400), Differs,
        b"GET /%u002e%u002e/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("overlong UTF-8", "RFC 3629 §10", Refused(400), Differs,
        b"GET /%c0%ae%c0%ae/ HTTP/1.1\r\nHost: a\r\n\r\n"),
];
