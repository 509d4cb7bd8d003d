//! A request as every stage after the normaliser sees it.

use std::net::IpAddr;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, Method};

/// The canonical view of one request; all stages share it, so that none reads another path or
/// host than its neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The head as it was received: method, target, version and fields.
    pub head: &'a Parts,
    /// The canonical host: lower case, without port and trailing dot; empty only for HTTP/1.0
    /// requests that name none.
    pub host: &'a str,
    /// The canonical path: starts with `/`, dot segments removed, unreserved characters decoded,
    /// repeated slashes merged (RFC 3986 §6.2.2). Percent signs that remain stand for reserved or
    /// non-ASCII octets.
    pub path: &'a str,
    /// Who asks: the peer, or what a trusted peer says.
    pub client: IpAddr,
    /// Whether the client's connection is encrypted.
    pub secure: bool,
    /// When the head was complete.
    pub received_at: Instant,
}

impl<'a> Request<'a> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        &self.head.method
    }

    /// The fields, as received.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        &self.head.headers
    }

    /// The query without its question mark, as received; `None` if there is no question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.head.uri.query()
    }
}
