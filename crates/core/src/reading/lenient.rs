//! A head that the strict reading refused, read as well as it can be: to be looked at, never to be
//! served. Nothing is repaired beyond what the types ask for.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::{EncodedSlash, host, path};

/// More fields are not looked at.
const MAX_FIELDS: usize = 200;

/// A request line as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// What stands before the first space.
    pub method: &'a [u8],
    /// What stands between.
    pub target: &'a [u8],
    /// What stands behind the last space, if that looks like a protocol; else empty.
    pub protocol: &'a [u8],
}

/// What could be read of a head.
#[derive(Debug)]
pub struct LenientHead<'a> {
    /// The request line as it came.
    pub line: RequestLine<'a>,
    /// What the types of HTTP can say of it: an unknown protocol is HTTP/1.1, a method that is no
    /// token is GET.
    pub parts: Parts,
    /// The host, if one is named.
    pub host: String,
    /// The path, in its one spelling if it has one.
    pub path: String,
}

/// Reads a head that may break every rule; `None` if it does not end. `wire` may go on behind it.
#[must_use]
pub fn lenient(wire: &[u8]) -> Option<LenientHead<'_>> {
    let mut lines = lines(wire);
    let line = cut(lines.next()?);
    let (mut parts, ()) = Request::new(()).into_parts();
    let mut is_whole = false;
    for line in lines {
        if line.is_empty() {
            is_whole = true;
            break;
        }
        if parts.headers.len() < MAX_FIELDS
            && let Some((name, value)) = field(line)
        {
            parts.headers.append(name, value);
        }
    }
    if !is_whole {
        return None;
    }
    parts.method = Method::from_bytes(line.method).unwrap_or(Method::GET);
    parts.version = if line.protocol == b"HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.uri = uri(line.target);
    let named = parts.headers.get(http::header::HOST).map(HeaderValue::as_bytes);
    let host = named.or(parts.uri.host().map(str::as_bytes)).unwrap_or_default();
    let host = match host::read(host) {
        Ok(authority) => authority.host.into_owned(),
        Err(_refusal) => String::from_utf8_lossy(host).to_ascii_lowercase(),
    };
    let path = lenient_path(parts.uri.path().as_bytes()).into_owned();
    Some(LenientHead { line, parts, host, path })
}

/// A path in its one spelling, or as it came if it has none.
#[must_use]
pub fn lenient_path(path: &[u8]) -> Cow<'_, str> {
    path::canonical(path, EncodedSlash::Keep)
        .unwrap_or_else(|_refusal| String::from_utf8_lossy(path))
}

impl<'a> RequestLine<'a> {
    /// The request line of a head.
    #[must_use]
    pub fn of(wire: &'a [u8]) -> Option<Self> {
        lines(wire).next().map(cut)
    }
}

/// The lines behind the empty ones that may come first.
fn lines(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let blank = wire.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    wire.get(blank..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n').map(trim_end)
}

fn cut(line: &[u8]) -> RequestLine<'_> {
    let (method, rest) = split_at(line, line.iter().position(|byte| *byte == b' '));
    let (target, protocol) = split_at(rest, rest.iter().rposition(|byte| *byte == b' '));
    if protocol.len() >= 5 && protocol.iter().take(5).eq(b"HTTP/") {
        RequestLine { method, target, protocol }
    } else {
        RequestLine { method, target: rest, protocol: b"" }
    }
}

/// What stands before and behind a space.
fn split_at(text: &[u8], space: Option<usize>) -> (&[u8], &[u8]) {
    let at = space.unwrap_or(text.len());
    (text.get(..at).unwrap_or(text), text.get(at + 1..).unwrap_or_default())
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = split_at(line, Some(colon));
    let name = HeaderName::from_bytes(name.trim_ascii()).ok()?;
    let legal = |byte: &u8| if *byte < b' ' || *byte == 0x7f { b' ' } else { *byte };
    let value: Vec<u8> = value.trim_ascii().iter().map(legal).collect();
    Some((name, HeaderValue::from_bytes(&value).ok()?))
}

/// The target with what no URI may hold in percent triplets; `/` if it is no URI even so.
fn uri(target: &[u8]) -> Uri {
    let mut text = String::with_capacity(target.len());
    for byte in target {
        if matches!(byte, b'!'..=b'~') && !b"\"#<>\\^`{|}".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &[u8], line: (&str, &str, &str), path: &str, fields: &[(&str, &str)]) {
        let head = lenient(wire).expect("a whole head");
        let seen = [head.line.method, head.line.target, head.line.protocol];
        let expected = [line.0, line.1, line.2].map(str::as_bytes);
        assert_eq!(seen, expected, "{}", wire.escape_ascii());
        assert_eq!(head.path, path, "{}", wire.escape_ascii());
        for (name, value) in fields {
            assert_eq!(head.parts.headers[*name].as_bytes(), value.as_bytes(), "{name}");
        }
        assert_eq!(head.parts.headers.len(), fields.len(), "{:?}", head.parts.headers);
    }

    #[test]
    fn what_can_be_read_is_read() {
        check(b"GET /a?b HTTP/1.1\r\n\r\n", ("GET", "/a?b", "HTTP/1.1"), "/a", &[]);
        check(
            b"|GET /a%2fb%0a HTTP/4.0\r\nX_A: 1\r\nno field\r\nX: a\x01b\r\n\r\nbody",
            ("|GET", "/a%2fb%0a", "HTTP/4.0"),
            "/a%2fb%0a",
            &[("x_a", "1"), ("x", "a b")],
        );
        check(
            b"\r\nFOO / x y HTTP/1.1\nHost:\n\n",
            ("FOO", "/ x y", "HTTP/1.1"),
            "/%20x%20y",
            &[("host", "")],
        );
        check(b"GET /\r\n\r\n", ("GET", "/", ""), "/", &[]);
        check(b"GET\r\n\r\n", ("GET", "", ""), "/", &[]);
        let head = lenient(b"GET /\xe9?\xff HTTP/1.0\r\nHost: A.b:80\r\n\r\n").unwrap();
        assert_eq!((&*head.path, &*head.host), ("/%E9", "a.b"));
        assert_eq!((head.line.target, head.parts.version), (&b"/\xe9?\xff"[..], Version::HTTP_10));
        assert!(lenient(b"GET / HTTP/1.1\r\nHost: a\r\n").is_none());
        assert!(lenient(b"").is_none());
    }
}
