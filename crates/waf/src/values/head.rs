//! A request's head as values: the request line in SecLang's many cuts, the query's arguments,
//! fields and cookies. Field values stay as they came; the path, the file name and `REQUEST_URI`
//! are percent-decoded once, as in libmodsecurity.

use http::{Version, header};
use tidegate_core::Request;
use tidegate_core::reading::RequestLine;

use super::{Arena, RequestFacts, cookies, facts, urlencoded};
use crate::target::Target;
use crate::transformations;

/// Adds everything of the head that a rule looks at.
pub(crate) fn collect(arena: &mut Arena, request: &Request<'_>, facts: &RequestFacts<'_>) {
    collect_line(arena, request, facts.line);
    if arena.wants(&[Target::Path]) {
        let (none, path) = (
            arena.copy(b""),
            arena.write(|out| urlencoded::decode_path(request.path.as_bytes(), out)),
        );
        arena.add(Target::Path, none, path);
    }
    let query = match facts.line {
        Some(line) => query_of(line.target),
        None => request.query().map(str::as_bytes),
    };
    if let Some(query) = query {
        urlencoded::collect(arena, query, &urlencoded::QUERY);
    }
    arena.note_arguments();
    collect_fields(arena, request);
    arena.set_number(Target::RemoteAddr, request.client);
    arena.set_number(Target::RemoteHost, request.client);
    facts::collect(arena, facts);
    arena.set_number(Target::HighestSeverity, 255);
    arena.set_absent(&ZERO, b"0");
    arena.set_absent(&EMPTY, b"");
}

const ZERO: [Target; 4] =
    [Target::Duration, Target::ModsecBuild, Target::MscPcreError, Target::MscPcreLimitsExceeded];

const EMPTY: [Target; 10] = [
    Target::AuthType,
    Target::QueryString,
    Target::ReqbodyProcessor,
    Target::RequestBasename,
    Target::ServerAddr,
    Target::ServerName,
    Target::ServerPort,
    Target::SessionId,
    Target::UserId,
    Target::WebAppId,
];

const OF_LINE: [Target; 9] = [
    Target::PathInfo,
    Target::QueryString,
    Target::RequestBasename,
    Target::RequestFilename,
    Target::RequestLine,
    Target::RequestMethod,
    Target::RequestProtocol,
    Target::RequestUri,
    Target::RequestUriRaw,
];

fn collect_line(arena: &mut Arena, request: &Request<'_>, line: Option<RequestLine<'_>>) {
    if !arena.wants(&OF_LINE) {
        return;
    }
    let uri = &request.head.uri;
    let origin = uri.path_and_query().map_or("", |target| target.as_str());
    // HTTP/2 has no absolute form: the parser's scheme and authority are pseudo-fields.
    let is_absolute = request.head.version < Version::HTTP_2 && uri.scheme().is_some();
    let target = if is_absolute { uri.to_string() } else { origin.to_owned() };
    let origin = match line {
        // What is wrong with a target is wrong with its path.
        Some(line) if !names_host(line.target) => line.target,
        _ => origin.as_bytes(),
    };
    let RequestLine { method, target: raw, protocol } = line.unwrap_or(RequestLine {
        method: request.method().as_str().as_bytes(),
        target: target.as_bytes(),
        protocol: protocol(request.head.version).as_bytes(),
    });
    // A request line without a protocol is that of HTTP/0.9 (RFC 1945 section 5.1).
    let told = if protocol.is_empty() { b"HTTP/0.9" } else { protocol };
    arena.set(Target::RequestMethod, method);
    arena.set(Target::RequestProtocol, told);
    arena.set(Target::RequestUriRaw, raw);
    if arena.wants(&[Target::RequestLine]) {
        let line = [method, raw, protocol].join(&b' ');
        arena.set(Target::RequestLine, line.trim_ascii_end());
    }
    let mut decoded = Vec::new();
    urlencoded::decode_path(origin, &mut decoded);
    arena.set(Target::RequestUri, &decoded);
    // The file name of an absolute form keeps scheme and authority, as in libmodsecurity.
    let end = memchr::memchr(b'?', raw).unwrap_or(raw.len());
    decoded.clear();
    urlencoded::decode_path(raw.get(..end).unwrap_or(raw), &mut decoded);
    arena.set(Target::PathInfo, &decoded);
    arena.set(Target::RequestFilename, &decoded);
    let base = decoded.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
    arena.set(Target::RequestBasename, base);
    if let Some(query) = query_of(raw) {
        arena.set(Target::QueryString, query);
    }
}

/// Whether it is `scheme://host…`.
fn names_host(target: &[u8]) -> bool {
    !target.starts_with(b"/") && memchr::memmem::find(target, b"://").is_some()
}

fn query_of(target: &[u8]) -> Option<&[u8]> {
    memchr::memchr(b'?', target).and_then(|at| target.get(at + 1..))
}

pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn collect_fields(arena: &mut Arena, request: &Request<'_>) {
    for (name, value) in request.headers() {
        collect_field(arena, name.as_str().as_bytes(), value.as_bytes());
    }
    // HTTP/2 names the host in a pseudo-field.
    if let Some(authority) = request.head.uri.authority()
        && !request.headers().contains_key(header::HOST)
    {
        collect_field(arena, b"host", authority.as_str().as_bytes());
    }
}

fn collect_field(arena: &mut Arena, name: &[u8], value: &[u8]) {
    arena.add_copy(Target::RequestHeadersNames, name, name);
    let target = if name == b"cookie" { Target::CookieHeader } else { Target::RequestHeaders };
    arena.add_copy(target, name, value);
    match name {
        b"authorization" => {
            let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            arena.set(Target::AuthType, scheme);
            collect_user(arena, value);
        }
        b"content-type" => {
            if let Some(processor) = crate::body::Processor::of_content_type(value) {
                arena.set(Target::ReqbodyProcessor, processor.name().as_bytes());
            }
        }
        b"cookie" => cookies::collect(arena, value),
        b"host" => {
            let host = value.split(|byte| *byte == b':').next().unwrap_or_default();
            arena.set(Target::ServerName, host);
        }
        _ => {}
    }
}

/// The user of Basic credentials (RFC 7617).
fn collect_user(arena: &mut Arena, authorization: &[u8]) {
    let Some(encoded) = authorization.strip_prefix(b"Basic ") else { return };
    let Some(decode) = transformations::transformation("base64_decode") else { return };
    let mut credentials = Vec::new();
    (decode.apply)(encoded, &mut credentials);
    if let Some(end) = memchr::memchr(b':', &credentials) {
        arena.set(Target::RemoteUser, credentials.get(..end).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::Clock;

    use super::*;

    #[track_caller]
    fn check(uri: &str, version: Version, fields: &[(&str, &str)], values: &[(Target, &str)]) {
        let mut head = http::Request::builder().uri(uri).version(version);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let (head, ()) = head.body(()).unwrap().into_parts();
        let request = Request {
            head: &head,
            host: "example.org",
            path: "/",
            client: [192, 0, 2, 1].into(),
            secure: true,
            received_at: Clock::System.now(),
        };
        let mut arena = Arena::of_everything();
        collect(&mut arena, &request, &RequestFacts::default());
        for (target, bytes) in values {
            let found: Vec<&[u8]> = arena
                .values()
                .iter()
                .filter(|value| value.target == *target)
                .map(|value| arena.bytes(value.bytes))
                .collect();
            assert!(found.contains(&bytes.as_bytes()), "{uri} {target:?} {found:?}");
            assert!(found.len() == 1 || !target.is_single(), "{uri} {target:?}");
        }
    }

    #[test]
    fn the_request_line_is_cut_as_seclang_does() {
        let values = [
            (Target::RequestLine, "GET /a%2fb/c%20d?x=%41&x=2 HTTP/1.1"),
            (Target::RequestMethod, "GET"),
            (Target::RequestProtocol, "HTTP/1.1"),
            (Target::RequestUri, "/a/b/c d?x=A&x=2"),
            (Target::RequestUriRaw, "/a%2fb/c%20d?x=%41&x=2"),
            (Target::RequestFilename, "/a/b/c d"),
            (Target::RequestBasename, "c d"),
            (Target::QueryString, "x=%41&x=2"),
            (Target::ArgsGet, "A"),
            (Target::ArgsGet, "2"),
            (Target::ArgsCombinedSize, "4"),
            (Target::UrlencodedError, "0"),
            (Target::RemoteAddr, "192.0.2.1"),
        ];
        check("/a%2fb/c%20d?x=%41&x=2", Version::HTTP_11, &[], &values);
        let values = [
            (Target::RequestUriRaw, "http://example.org/a?b=%zz"),
            (Target::RequestUri, "/a?b=%zz"),
            (Target::UrlencodedError, "1"),
        ];
        check("http://example.org/a?b=%zz", Version::HTTP_11, &[], &values);
        check("/a/", Version::HTTP_10, &[], &[(Target::RequestBasename, "")]);
    }

    #[test]
    fn a_line_that_was_refused_is_seen_as_it_came() {
        let (head, ()) = http::Request::new(()).into_parts();
        let request = Request {
            head: &head,
            host: "",
            path: "/",
            client: [192, 0, 2, 1].into(),
            secure: true,
            received_at: Clock::System.now(),
        };
        let line = RequestLine { method: b"|GET", target: b"/a\xe9?b=\xff", protocol: b"HTTP/4.0" };
        let facts = RequestFacts { line: Some(line), ..RequestFacts::default() };
        let mut arena = Arena::of_everything();
        collect(&mut arena, &request, &facts);
        for (target, bytes) in [
            (Target::RequestMethod, &b"|GET"[..]),
            (Target::RequestProtocol, b"HTTP/4.0"),
            (Target::RequestUriRaw, b"/a\xe9?b=\xff"),
            (Target::RequestFilename, b"/a\xe9"),
            (Target::RequestLine, b"|GET /a\xe9?b=\xff HTTP/4.0"),
            (Target::ArgsGet, b"\xff"),
        ] {
            assert_eq!(arena.value(target), Some(bytes), "{target:?}");
        }
    }

    #[test]
    fn a_line_that_came_is_told_as_it_came() {
        let (head, ()) = http::Request::get("/").body(()).unwrap().into_parts();
        let request = Request {
            head: &head,
            host: "example.org",
            path: "/",
            client: [192, 0, 2, 1].into(),
            secure: true,
            received_at: Clock::System.now(),
        };
        let check = |wire: &str, line: &str, uri: &str, protocol: &str| {
            let facts =
                RequestFacts { line: RequestLine::of(wire.as_bytes()), ..RequestFacts::default() };
            let mut arena = Arena::of_everything();
            collect(&mut arena, &request, &facts);
            let told = |target| String::from_utf8_lossy(arena.value(target).unwrap()).into_owned();
            assert_eq!(told(Target::RequestLine), line);
            assert_eq!(told(Target::RequestUri), uri);
            assert_eq!(told(Target::RequestProtocol), protocol);
        };
        let absolute = "GET http://example.org HTTP/1.1";
        check(&format!("{absolute}\r\n"), absolute, "/", "HTTP/1.1");
        check("GET /%01 HTTP/4.0\r\n", "GET /%01 HTTP/4.0", "/\u{1}", "HTTP/4.0");
        check("GET /\r\n", "GET /", "/", "HTTP/0.9");
    }

    #[test]
    fn http2_has_a_host_and_a_path() {
        let values = [
            (Target::RequestProtocol, "HTTP/2.0"),
            (Target::RequestLine, "GET /a HTTP/2.0"),
            (Target::RequestUriRaw, "/a"),
            (Target::RequestHeaders, "example.org:8443"),
            (Target::RequestHeadersNames, "host"),
            (Target::ServerName, "example.org"),
        ];
        check("https://example.org:8443/a", Version::HTTP_2, &[], &values);
    }

    #[test]
    fn fields_stay_as_they_came() {
        let fields = [
            ("authorization", "Basic dXNlcjpwYXNz"),
            ("content-type", "Multipart/Form-Data; boundary=x"),
            ("cookie", "a=%41"),
            ("x-empty", ""),
        ];
        let values = [
            (Target::AuthType, "Basic"),
            (Target::RemoteUser, "user"),
            (Target::ReqbodyProcessor, "MULTIPART"),
            (Target::CookieHeader, "a=%41"),
            (Target::RequestCookies, "%41"),
            (Target::RequestHeaders, ""),
        ];
        check("/", Version::HTTP_11, &fields, &values);
        check("/", Version::HTTP_11, &[], &[(Target::ReqbodyProcessor, "")]);
    }
}
