//! Whole heads, as tables. Each refusal cites its RFC where it is decided.

use http::request::Builder;
use proptest::prelude::{Strategy, any, proptest};

use super::*;

fn rules() -> ReadingRules {
    ReadingRules { header_bytes: 1024, header_fields: 12, uri_bytes: 100, ..Default::default() }
}

/// What a lenient parser makes of `raw`.
fn parse(raw: &[u8]) -> Parts {
    let text = String::from_utf8_lossy(raw);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let line = lines.by_ref().find(|line| !line.is_empty()).unwrap_or_default();
    let mut words = line.split(' ');
    let mut builder = Builder::new().method(words.next().unwrap_or_default());
    if line.ends_with("HTTP/1.0") {
        builder = builder.version(Version::HTTP_10);
    }
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            builder = builder.header(name, value.trim());
        }
    }
    builder
        .body(())
        .map(|request| request.into_parts().0)
        .unwrap_or_else(|_| Builder::new().body(()).unwrap().into_parts().0)
}

#[track_caller]
fn check(raw: &str, expect: Result<(&str, &str), Reason>) {
    let read = read_http1_head(raw.as_bytes(), &parse(raw.as_bytes()), &rules());
    let seen = read.as_ref().map(|it| (it.host.as_ref(), it.path.as_ref()));
    assert_eq!(seen.map_err(|it| it.reason), expect, "{raw:?}: {read:?}");
}

#[track_caller]
fn refuses(raw: &str, reason: Reason) {
    check(raw, Err(reason));
}

#[track_caller]
fn refuses_fields(fields: &str, reason: Reason) {
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), Err(reason));
}

#[track_caller]
fn accepts_fields(fields: &str) {
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), Ok(("a", "/")));
}

#[test]
fn clean_heads_pass() {
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "/")));
    check("GET /x?y=%zz HTTP/1.1\r\nHOST:A.b.:80 \r\nX: \u{e9}\r\nY:\r\n\r\n", Ok(("a.b", "/x")));
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "/")));
    check("GET / HTTP/1.0\r\n\r\n", Ok(("", "/")));
    check("GET http://A/x?y HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "/x")));
    check("GET HTTPS://a:443?y HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "/")));
    check("GET http://a/ HTTP/1.0\r\n\r\n", Ok(("a", "/")));
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "*")));
    check("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "*")));
    check("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "/")));
    check("GET /a|b{c}?\\ HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("a", "/a%7Cb%7Bc%7D")));
}

/// WHATWG URL, section 1.3: the query percent-encode set.
#[test]
fn what_browsers_encode_in_a_query_is_encoded() {
    #[track_caller]
    fn check(line: &str, encoded: Option<&str>) {
        let head =
            |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\nX: ?\"<>\r\n\r\n").into_bytes();
        let expected = encoded.map(head);
        assert_eq!(encode_query(&head(line)), expected, "{line}");
    }
    check("GET /a?b=\"<c>\"", Some("GET /a?b=%22%3Cc%3E%22"));
    check("\r\nGET /?<", Some("\r\nGET /?%3C"));
    check("GET http://a/?x?>=%zz'`{", Some("GET http://a/?x?%3E=%zz'`{"));
    check("GET /a?b=%22", None);
    // A path is the parser's and ours to judge.
    check("GET /<a>", None);
    check("GET /<a>?b", Some("GET /<a>?b"));
}

#[test]
fn lines_end_in_cr_lf_and_hold_no_control_bytes() {
    let ambiguous = Reason::AmbiguousRequest;
    refuses("GET / HTTP/1.1\nHost: a\r\n\r\n", ambiguous);
    refuses("GET / HTTP/1.1\r\nHost: a\n\r\n", ambiguous);
    refuses("GET / HTTP/1.1\r\nHost: a\r\n\n", ambiguous);
    refuses("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", ambiguous);
    refuses("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ambiguous);
    refuses("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ambiguous);
    let malformed = Reason::MalformedRequest;
    refuses("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", malformed);
    refuses("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", malformed);
    refuses("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", malformed);
    refuses("GET / HTTP/1.1\r\nHost: a\r\n", malformed);
    refuses("GET / HTTP/1.1\r\nHost: a\r\n\r\nx", malformed);
}

#[test]
fn field_lines_are_names_and_values() {
    let malformed = Reason::MalformedRequest;
    refuses_fields("X : y", malformed);
    refuses_fields("X: y\r\n z", malformed);
    refuses_fields(" X: y", malformed);
    refuses_fields(": y", malformed);
    refuses_fields("X", malformed);
    refuses_fields("X\u{e9}: y", malformed);
    refuses_fields("X_Y: z", Reason::AmbiguousRequest);
    refuses_fields("Content-Type: a\r\nContent-Type: a", Reason::AmbiguousRequest);
}

#[test]
fn request_lines_have_three_words() {
    let malformed = Reason::MalformedRequest;
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET /",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET HTTP/1.1",
    ] {
        refuses(&format!("{line}\r\nHost: a\r\n\r\n"), malformed);
    }
}

#[test]
fn a_head_is_checked_before_the_parser_mends_it() {
    let check = |raw: &[u8]| check_http1_head(raw, &rules()).map_err(|it| it.reason);
    assert_eq!(check(b"POST /a?b HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
    for line in [
        &b"GET /a b HTTP/1.1"[..],
        b"GET / HTTP/1.1 HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\tx HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /#x HTTP/1.1",
        b"G(T / HTTP/1.1",
    ] {
        let refusal = check(&[line, b"\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(refusal, Err(Reason::MalformedRequest), "{line:?}");
    }
    assert_eq!(check(b"GET /\rx HTTP/1.1\r\n\r\n"), Err(Reason::AmbiguousRequest));
    assert_eq!(check(b"GET / HTTP/1.1\n\n"), Err(Reason::AmbiguousRequest));
}

#[track_caller]
fn check_framing(method: &str, fields: &str, expect: Option<Framing>) {
    let raw = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    assert_eq!(check_http1_head(raw.as_bytes(), &rules()).ok(), expect, "{raw:?}");
}

#[test]
fn a_checked_head_says_where_its_message_ends() {
    check_framing("POST", "Content-Length: 12", Some(Framing::Length(12)));
    check_framing("GET", "X: y", Some(Framing::Length(0)));
    check_framing("POST", "Transfer-Encoding: chunked", Some(Framing::Chunked));
    check_framing("POST", "Transfer-Encoding: chunked\r\nContent-Length: 1", None);
    let upgrade = |to: &str| format!("Connection: upgrade\r\nUpgrade: {to}");
    check_framing("GET", &upgrade("websocket"), Some(Framing::Open));
    check_framing("GET", &upgrade("h2c"), Some(Framing::Length(0)));
    check_framing("POST", &upgrade("websocket"), Some(Framing::Length(0)));
}

#[test]
fn methods_are_known_and_serve() {
    for method in ["TRACE", "TRACK", "CONNECT"] {
        refuses(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), Reason::MethodNotAllowed);
    }
    for method in ["get", "FOO", "PRI"] {
        refuses(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), Reason::MethodUnknown);
    }
}

#[test]
fn targets_have_one_of_three_forms() {
    let malformed = Reason::MalformedRequest;
    for target in [
        "a",
        "*",
        "a:80",
        "ftp://a/",
        "http:/a",
        "http://",
        "http:///x",
        "//a/#x",
        "/a#b",
        "http://u@a/",
        "/\u{e9}",
        "?a",
        "http://a%41/",
    ] {
        refuses(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), malformed);
    }
    let ambiguous = Reason::AmbiguousRequest;
    for target in ["http://b/", "http://a:81/", "https://a:80/", "/a\\b"] {
        refuses(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), ambiguous);
    }
}

#[test]
fn a_host_is_named_once() {
    refuses("GET / HTTP/1.1\r\n\r\n", Reason::MalformedRequest);
    refuses("GET / HTTP/1.1\r\nHost:\r\n\r\n", Reason::MalformedRequest);
    refuses("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Reason::MalformedRequest);
    refuses("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Reason::MalformedRequest);
    refuses("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Reason::AmbiguousRequest);
    refuses("GET http://a/ HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", Reason::AmbiguousRequest);
}

#[test]
fn the_body_has_one_length() {
    accepts_fields("Content-Length: 0");
    accepts_fields("Content-Length: \t12 ");
    accepts_fields("Transfer-Encoding: Chunked");
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 5 5",
        "Content-Length: 99999999999999999999",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding:",
    ] {
        refuses_fields(fields, Reason::AmbiguousRequest);
    }
    refuses("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::AmbiguousRequest);
}

#[test]
fn connection_names_no_field_of_substance() {
    accepts_fields("Connection: close");
    accepts_fields("Connection: keep-alive, X-Mine, TE\r\nTE: trailers");
    for name in ["Content-Length", "host", "Transfer-Encoding", "X-Forwarded-For", "Cookie"] {
        refuses_fields(&format!("Connection: close, {name}"), Reason::AmbiguousRequest);
    }
    refuses_fields("Connection: a b", Reason::MalformedRequest);
}

#[test]
fn the_only_expectation_is_100_continue() {
    accepts_fields("Expect: 100-Continue");
    refuses_fields("Expect: 100-continue\r\nExpect: 100-continue", Reason::AmbiguousRequest);
    let raw = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n";
    let refusal = read_http1_head(raw, &parse(raw), &rules()).unwrap_err();
    assert_eq!(refusal.status, 417);
    assert_eq!(crate::Denial::from(refusal).status, 417);
}

#[track_caller]
fn check_upgrade(method: &str, fields: &str, expect: Option<Upgrade>) {
    let raw = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let read = read_http1_head(raw.as_bytes(), &parse(raw.as_bytes()), &rules());
    assert_eq!(read.ok().map(|it| it.upgrade), expect, "{raw:?}");
}

#[test]
fn the_only_upgrade_is_to_websocket() {
    check_upgrade("GET", "X: y", Some(Upgrade::Absent));
    check_upgrade("GET", "Connection: Upgrade\r\nUpgrade: WebSocket", Some(Upgrade::WebSocket));
    for (method, fields) in [
        ("GET", "Upgrade: websocket"),
        ("POST", "Connection: upgrade\r\nUpgrade: websocket"),
        ("GET", "Connection: upgrade\r\nUpgrade: h2c"),
        ("GET", "Connection: upgrade\r\nUpgrade: websocket, h2c"),
        ("GET", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c"),
        ("GET", "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket"),
    ] {
        check_upgrade(method, fields, Some(Upgrade::Ignored));
    }
    let handshake = "Connection: upgrade\r\nUpgrade: websocket";
    check_upgrade("GET", &format!("{handshake}\r\nContent-Length: 5"), None);
    check_upgrade("GET", &format!("{handshake}\r\nTransfer-Encoding: chunked"), None);
}

#[test]
fn sizes_are_bounded() {
    let long = "x".repeat(2000);
    let path = long.get(..100).unwrap();
    refuses(&format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n"), Reason::UriTooLong);
    refuses(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), Reason::HeadersTooLarge);
    accepts_fields(&["X: y"; 11].join("\r\n"));
    refuses_fields(&["X: y"; 12].join("\r\n"), Reason::HeadersTooLarge);
}

#[test]
fn another_reading_by_the_parser_is_refused() {
    let raw = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let parts = parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let refusal = read_http1_head(raw, &parts, &rules()).unwrap_err();
    assert_eq!(refusal.reason, Reason::AmbiguousRequest);
}

#[track_caller]
fn check_http2(method: &str, uri: &str, fields: &str, expect: Result<(&str, &str), Reason>) {
    let mut builder = Builder::new().method(method).uri(uri).version(Version::HTTP_2);
    for (name, value) in fields.lines().filter_map(|line| line.split_once(": ")) {
        builder = builder.header(name, value);
    }
    let parts = builder.body(()).unwrap().into_parts().0;
    let read = read_http2_head(&parts, &rules());
    let seen = read.as_ref().map(|it| (it.host.as_ref(), it.path.as_ref()));
    assert_eq!(seen.map_err(|it| it.reason), expect, "{uri} {fields:?}: {read:?}");
}

#[test]
fn http2_heads_are_read_as_strictly() {
    let (malformed, ambiguous) = (Reason::MalformedRequest, Reason::AmbiguousRequest);
    check_http2("GET", "https://A:443/x?y", "te: trailers", Ok(("a", "/x")));
    check_http2("GET", "https://a/x", "host: a:443", Ok(("a", "/x")));
    check_http2("GET", "/x", "host: a", Ok(("a", "/x")));
    check_http2("GET", "/x", "", Err(malformed));
    check_http2("GET", "https://a/x", "host: b", Err(ambiguous));
    check_http2("GET", "https://a/x", "host: a\nhost: a", Err(ambiguous));
    check_http2("GET", "https://u@a/x", "", Err(malformed));
    check_http2("GET", "ftp://a/x", "", Err(malformed));
    check_http2("TRACE", "https://a/x", "", Err(Reason::MethodNotAllowed));
    check_http2("GET", "https://a/%2e%2E/x", "", Err(ambiguous));
    check_http2("POST", "https://a/x", "content-length: 5\ncontent-length: 5", Err(ambiguous));
    check_http2("GET", "https://a/x", "x_y: z", Err(ambiguous));
    for field in [
        "connection: close",
        "keep-alive: 5",
        "proxy-connection: close",
        "transfer-encoding: chunked",
        "upgrade: websocket",
        "te: gzip",
    ] {
        check_http2("GET", "https://a/x", field, Err(malformed));
    }
    check_http2("GET", "https://a/x", &["a: b"; 13].join("\n"), Err(Reason::HeadersTooLarge));
    check_http2("GET", "https://a/x", &["cookie: b"; 20].join("\n"), Ok(("a", "/x")));
    check_http2("GET", "https://a/x", &["cookie: b"; 30].join("\n"), Err(Reason::HeadersTooLarge));
    let uri = format!("https://a/{}", "x".repeat(100));
    check_http2("GET", &uri, "", Err(Reason::UriTooLong));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _read = read_http1_head(&raw, &parse(b"GET / HTTP/1.1\r\n\r\n"), &rules());
    }

    #[test]
    fn near_heads_are_read_without_a_panic(
        raw in "[A-Z]{1,4}[ \t]http?:?/?/?[a%2e/.]{0,9} HTTP/1\\.[01]\r?\n(([A-Za-z_-]{1,9}):? ?[a-z,]{0,9}\r?\n){0,5}\r?\n"
            .prop_map(String::into_bytes)
    ) {
        let _read = read_http1_head(&raw, &parse(&raw), &rules());
    }
}
