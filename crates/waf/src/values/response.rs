//! A response as values: its head, and its body if it is text that was not compressed.

use http::header;
use http::response::Parts;

use super::Arena;
use super::head::protocol;
use crate::target::Target;

/// Adds the head of a response.
pub(crate) fn collect_head(arena: &mut Arena, parts: &Parts) {
    arena.set_number(Target::ResponseStatus, parts.status.as_u16());
    arena.set(Target::ResponseProtocol, protocol(parts.version).as_bytes());
    for (name, value) in &parts.headers {
        let (field, value) = (name.as_str().as_bytes(), value.as_bytes());
        arena.add_copy(Target::ResponseHeadersNames, field, field);
        arena.add_copy(Target::ResponseHeaders, field, value);
        if name == header::CONTENT_TYPE {
            let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
            arena.set(Target::ResponseContentType, essence);
        }
    }
    arena.set_absent(&[Target::ResponseContentType], b"");
}

/// Whether the body can be read: it is not compressed. What is compressed is not guessed at.
pub(crate) fn is_readable(parts: &Parts) -> bool {
    let coding = parts.headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    coding.is_none_or(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// Adds the body of a response, or its first part.
pub(crate) fn collect_body(arena: &mut Arena, bytes: &[u8], complete: bool) {
    arena.set(Target::ResponseBody, bytes);
    arena.set_number(Target::ResponseContentLength, bytes.len());
    arena.set_number(Target::OutboundDataError, u8::from(!complete));
}
