//! A request's head as values: method, target, path, query, fields and cookies.

use tidegate_core::Request;

use super::{Arena, urlencoded};
use crate::target::Target;

/// Adds everything that the head holds.
pub(crate) fn collect(arena: &mut Arena, request: &Request<'_>) {
    let none = arena.copy(b"");
    let method = arena.copy(request.method().as_str().as_bytes());
    arena.add(Target::RequestMethod, none, method);
    let target = request.head.uri.path_and_query().map_or("", |target| target.as_str());
    let uri = arena.copy(target.as_bytes());
    arena.add(Target::RequestUriRaw, none, uri);
    let path = arena.write(|out| urlencoded::decode_path(request.path.as_bytes(), out));
    arena.add(Target::Path, none, path);
    if let Some(query) = request.query() {
        urlencoded::collect(arena, query.as_bytes(), Target::ArgsGetNames, Target::ArgsGet);
    }
    collect_fields(arena, request);
}

fn collect_fields(arena: &mut Arena, request: &Request<'_>) {
    for (name, value) in request.headers() {
        let field = arena.copy(name.as_str().as_bytes());
        arena.add(Target::RequestHeadersNames, field, field);
        if name == http::header::COOKIE {
            collect_cookies(arena, value.as_bytes());
        } else {
            let bytes = arena.copy(value.as_bytes());
            arena.add(Target::RequestHeaders, field, bytes);
        }
    }
}

/// `name=value; name=value` (RFC 6265 §4.2.1), read as leniently as origins do.
fn collect_cookies(arena: &mut Arena, text: &[u8]) {
    for pair in text.split(|byte| *byte == b';') {
        let pair = pair.trim_ascii();
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (pair.get(..at), pair.get(at + 1..)),
            None => (None, Some(pair)),
        };
        let name = arena.copy(name.unwrap_or_default().trim_ascii());
        let value = arena.copy(value.unwrap_or_default().trim_ascii());
        arena.add(Target::RequestCookiesNames, name, name);
        arena.add(Target::RequestCookies, name, value);
    }
}
