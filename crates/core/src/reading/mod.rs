//! One strict reading of each request. What two readers could understand in two ways is refused;
//! what has one meaning in several spellings is brought to one canonical spelling, which router,
//! WAF and upstream all see.
//!
//! The functions are pure. The proxy calls [`read_http1_head`] or [`read_http2_head`] right after
//! Pingora parsed the head, sends [`Target::path`] upstream instead of the received path, and
//! removes `Upgrade` when [`Target::upgrade`] says so. As Pingora rewrites illegal bytes in an
//! HTTP/1 request line before anybody sees them, the connection layer asks [`check_http1_head`]
//! about the head on the wire first.
//!
//! Decisions where the peers differ:
//!
//! - An encoded slash (`%2F`) is refused by default, as Tomcat, Jetty and Apache do: an upstream
//!   that decodes it would serve another path than the one that was routed. With
//!   [`EncodedSlash::Keep`] it stays encoded and is data, and is refused only where decoding it
//!   would make a dot segment. An encoded backslash (`%5C`) is always refused, and so is a raw one.
//! - Raw bytes outside of ASCII in the target are refused (RFC 9112 §3.2), as in HAProxy. The
//!   printable ones that RFC 3986 excludes but browsers send (`|`, `^`, `{`, `}`, `[`, `]`) are
//!   percent-encoded in the path and left alone in the query.
//! - Dot segments are resolved (RFC 3986 §5.2.4), but a path that climbs above its root is refused
//!   instead of cut. `..;x` is refused: servlet containers strip the parameter and then climb.
//! - `"`, `<` and `>` in a query, which browsers' scripts and attackers send raw, are percent-encoded
//!   before anybody parses the head ([`encode_query`]): the parser refuses them. HTTP/2's refuses
//!   them too, and nobody can spell them for it.
//! - A path's percent signs must each start a valid triplet; the query belongs to the application
//!   and may hold stray ones, as every browser sends them.
//! - A field name with an underscore is refused: CGI-like upstreams read `X_A` as `X-A`.
//! - Fields that mean one thing only (`Content-Type`, `Authorization`, ...) may come once.
//! - `Upgrade` other than to WebSocket is ignored (RFC 9110 §7.8) and not passed on: a forwarded
//!   `h2c` would open a tunnel past every check.

mod chunked;
mod fields;
mod head;
mod host;
mod lenient;
mod method;
mod path;
mod refusal;
mod target;

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, Version};
use schemars::JsonSchema;
use serde::Deserialize;

pub use chunked::ChunkedBody;
use fields::{Fields, Protocol};
pub use lenient::{LenientHead, RequestLine, lenient, lenient_path};
pub use refusal::Refusal;

use crate::Reason;

/// What the reading allows.
#[derive(Clone, Debug)]
pub struct ReadingRules {
    /// Bytes of the whole head; for HTTP/2 counted as RFC 9113 §6.5.2 does.
    pub header_bytes: usize,
    /// Header fields; an HTTP/2 request's `Cookie` fields count as one.
    pub header_fields: usize,
    /// Bytes of the request target.
    pub uri_bytes: usize,
    /// What becomes of `%2F` in a path.
    pub encoded_slash: EncodedSlash,
    /// Methods beyond the registered ones, because a route names them.
    pub methods: Vec<Method>,
}

impl Default for ReadingRules {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_fields: 100,
            uri_bytes: 8 * 1024,
            encoded_slash: EncodedSlash::default(),
            methods: Vec::new(),
        }
    }
}

/// What becomes of `%2F` in a path.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// It is data and stays encoded.
    Keep,
    /// It is refused.
    #[default]
    Refuse,
}

/// What a request asks for, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Lower case, without port and trailing dot; IPv6 in brackets; empty only if an HTTP/1.0
    /// request names none.
    pub host: Cow<'a, str>,
    /// Starts with `/`, or is `*` for a server-wide OPTIONS (RFC 9112 §3.2.4).
    pub path: Cow<'a, str>,
    /// What becomes of `Upgrade`.
    pub upgrade: Upgrade,
}

impl Target<'_> {
    /// The same target, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Target<'static> {
        Target {
            host: Cow::Owned(self.host.into_owned()),
            path: Cow::Owned(self.path.into_owned()),
            upgrade: self.upgrade,
        }
    }
}

/// How far an HTTP/1 message reaches beyond its head (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Chunks follow, and say themselves where they end.
    Chunked,
    /// That many bytes of body follow.
    Length(u64),
    /// The protocol may change to WebSocket; what follows is not HTTP/1 any more.
    Open,
}

/// What a request's `Upgrade` field comes to (RFC 9110 §7.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// There is none.
    #[default]
    Absent,
    /// It asks for something that we do not switch to: `Upgrade` and `HTTP2-Settings` must be
    /// removed, and the request served as if they were not there.
    Ignored,
    /// A WebSocket handshake (RFC 6455 §4.1).
    WebSocket,
}

/// Looks at an HTTP/1 head on the wire, before any parser. Pingora turns spaces, control bytes and
/// everything outside of ASCII in a request line that it cannot parse into percent triplets and
/// tries again: without this check, [`read_http1_head`] would judge a line that nobody sent.
/// Returns how far the message reaches.
///
/// # Errors
///
/// A [`Refusal`] if the head's lines or the fields that frame the message are malformed, ambiguous
/// or too large. Method, host and path are left to [`read_http1_head`].
pub fn check_http1_head(wire: &[u8], rules: &ReadingRules) -> Result<Framing, Refusal> {
    let head = head::read(wire, rules)?;
    if head.method == b"CONNECT" {
        // Its target is not the parser's to judge.
        return Err(method::never_served());
    }
    target::check_bytes(head.target)?;
    let upgrade = head.fields.finish(head.protocol(), head.method)?;
    Ok(head.fields.framing(upgrade))
}

/// The head with each raw `"`, `<` and `>` of its query percent-encoded, as the WHATWG URL standard
/// spells a query (its query percent-encode set); `None` if there is none. `wire` must have passed
/// [`check_http1_head`].
#[must_use]
pub fn encode_query(wire: &[u8]) -> Option<Vec<u8>> {
    target::encode_query(wire)
}

/// Reads an HTTP/1 head. `raw` is the head as received, from the request line to the empty line;
/// `parts` is what the parser made of it.
///
/// # Errors
///
/// A [`Refusal`] if the head is malformed, ambiguous, too large, or its method is not served.
pub fn read_http1_head<'a>(
    raw: &'a [u8],
    parts: &Parts,
    rules: &ReadingRules,
) -> Result<Target<'a>, Refusal> {
    method::check(&parts.method, rules)?;
    let head = head::read(raw, rules)?;
    // The parser's reading and ours must be the same one, or one of them is wrong.
    if head.method != parts.method.as_str().as_bytes()
        || head.fields.count() != parts.headers.len()
        || head.is_http10 != (parts.version == Version::HTTP_10)
    {
        return Err(Refusal::ambiguous("the parser reads another head"));
    }
    let upgrade = head.fields.finish(head.protocol(), head.method)?;
    let target = target::read(head.target, &parts.method)?;
    let host = target.host(head.fields.host())?;
    if host.is_none() && !head.is_http10 {
        // RFC 9112 §3.2.
        return Err(Refusal::malformed("Host is missing"));
    }
    let path = path::canonical(target.path, rules.encoded_slash)?;
    Ok(Target { host: host.unwrap_or_default(), path, upgrade })
}

/// Reads an HTTP/2 head.
///
/// # Errors
///
/// A [`Refusal`] if the head is malformed, ambiguous, too large, or its method is not served.
pub fn read_http2_head<'a>(parts: &'a Parts, rules: &ReadingRules) -> Result<Target<'a>, Refusal> {
    method::check(&parts.method, rules)?;
    let target = target::read_http2(&parts.uri, &parts.method)?;
    if parts.uri.path_and_query().map_or(0, |it| it.as_str().len()) > rules.uri_bytes {
        return Err(Refusal::new(Reason::UriTooLong, "the target exceeds the limit"));
    }
    let mut fields = Fields::default();
    for (name, value) in &parts.headers {
        fields.note(name.as_str().as_bytes(), value.as_bytes())?;
        fields.check_limits(rules)?;
    }
    let upgrade = fields.finish(Protocol::Http2, parts.method.as_str().as_bytes())?;
    let host = target.host(fields.host())?;
    // RFC 9113 §8.3.1: a request needs :authority or Host.
    let host = host.ok_or(Refusal::malformed(":authority is missing"))?;
    let path = path::canonical(target.path, rules.encoded_slash)?;
    Ok(Target { host, path, upgrade })
}

#[cfg(test)]
mod tests;
