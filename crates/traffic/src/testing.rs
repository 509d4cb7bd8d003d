//! Requests for unit tests.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use http::request::{Builder, Parts};
use tidegate_core::{Clock, Request};

use crate::endpoint::Lease;
use crate::pool::{Pick, Pool};

/// What a [`Request`] borrows from.
#[derive(Debug)]
pub(crate) struct RequestParts {
    head: Parts,
    received_at: Instant,
}

impl RequestParts {
    /// A GET for an absolute URI.
    pub(crate) fn get(uri: &str) -> Self {
        Self::new(http::Request::get(uri))
    }

    /// Any request with an absolute URI.
    pub(crate) fn new(builder: Builder) -> Self {
        let (head, ()) = builder.body(()).unwrap().into_parts();
        Self { head, received_at: Clock::System.now() }
    }

    /// The request, as the normaliser would hand it on.
    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            host: self.head.uri.host().unwrap_or_default(),
            path: self.head.uri.path(),
            client: IpAddr::from([192, 0, 2, 1]),
            secure: self.head.uri.scheme_str() == Some("https"),
            received_at: self.received_at,
            head: &self.head,
        }
    }
}

/// Picks an endpoint now.
pub(crate) fn pick(pool: &Pool, key: u64, tried: &[SocketAddr], random: u64) -> Option<Lease> {
    pool.pick(&Pick { key, now: Clock::System.now(), prefer: None, random, tried }).ok()
}
