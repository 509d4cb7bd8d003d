//! What the strict reading costs per request: a browser's head, an API client's, a path that has to
//! be respelt, and HTTP/2 frames. Targets: well under a microsecond for a clean head, nothing
//! allocated for it, and a few nanoseconds for a full DATA frame.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request};
use tidegate_core::Clock;
use tidegate_core::forwarded::{ForwardedHeader, client_addr};
use tidegate_core::h2_guard::{FrameGuard, FrameLimits};
use tidegate_core::reading::{
    ChunkedBody, ReadingRules, check_http1_head, read_http1_head, read_http2_head,
};

const API: &str = "GET /api/v1/users/42?full=1 HTTP/1.1\r\nHost: api.example.com\r\n\
    User-Agent: client/1.0\r\nAccept: application/json\r\n\r\n";

const BROWSER: &str = "GET /shop/items/42?colour=red&size=xl HTTP/1.1\r\n\
    Host: www.example.com\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://www.example.com/shop/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";

const ODD: &str =
    "GET /a/./b//%7Euser/%e2%82%ac/../c HTTP/1.1\r\nHost: API.example.com:443\r\n\r\n";

fn parts(head: &str, uri: &str) -> Parts {
    let mut request = Request::new(());
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    for line in head.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            request.headers_mut().append(name, value);
        }
    }
    request.into_parts().0
}

fn heads(c: &mut Criterion) {
    let rules = ReadingRules::default();
    let mut group = c.benchmark_group("reading");
    for (name, head) in [("api", API), ("browser", BROWSER), ("odd", ODD)] {
        let parts = parts(head, "/");
        assert!(read_http1_head(head.as_bytes(), &parts, &rules).is_ok(), "{name}");
        group.bench_function(format!("check/{name}"), |b| {
            b.iter(|| check_http1_head(black_box(head.as_bytes()), &rules).is_ok());
        });
        group.bench_function(format!("http1/{name}"), |b| {
            b.iter(|| read_http1_head(black_box(head.as_bytes()), &parts, &rules).is_ok());
        });
    }
    let parts = {
        let mut parts = parts(BROWSER, "https://www.example.com/shop/items/42?colour=red");
        parts.headers.remove("connection");
        parts
    };
    assert!(read_http2_head(&parts, &rules).is_ok());
    group.bench_function("http2/browser", |b| {
        b.iter(|| read_http2_head(black_box(&parts), &rules).is_ok());
    });
    group.finish();
}

fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("frames");
    let now = Clock::System.now();
    let data = [&b"\x00\x40\x00\x00\x00\x00\x00\x00\x01"[..], &[b'x'; 16_384]].concat();
    group.throughput(Throughput::Bytes(data.len() as u64));
    let mut guard = FrameGuard::new(FrameLimits::default(), now);
    assert!(guard.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now).is_ok());
    group.bench_function("h2_data_16k", |b| {
        b.iter(|| guard.received(black_box(&data), now).is_ok());
    });
    let block =
        b"\x00\x00\x16\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01a\x00\x01a\x01b\x53\x03*/*\
        \xbe\xbf\xc0\xc1\xc2\xc3";
    group.bench_function("h2_headers", |b| {
        b.iter(|| guard.received(black_box(block), now).is_ok());
    });
    let chunk = [&b"4000\r\n"[..], &[b'x'; 16_384], b"\r\n"].concat();
    let mut body = ChunkedBody::new();
    group.bench_function("chunk_16k", |b| b.iter(|| body.feed(black_box(&chunk)).is_ok()));
    group.finish();
}

fn clients(c: &mut Criterion) {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1, 10.0.0.3, 10.0.0.2"));
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let is_trusted = |address: IpAddr| matches!(address, IpAddr::V4(it) if it.octets()[0] == 10);
    c.bench_function("forwarded/three_hops", |b| {
        b.iter(|| {
            client_addr(black_box(&headers), ForwardedHeader::XForwardedFor, peer, &is_trusted)
        });
    });
}

criterion_group!(benches, heads, bodies, clients);
criterion_main!(benches);
