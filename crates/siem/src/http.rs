//! What sinks over HTTP need: a client that somebody else brings, since connections are the
//! proxy's business. Traces and whatever else is sent over HTTP use the same trait.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::tls::TlsMaterial;

/// Makes HTTP calls. Redirects are not followed; connections are kept for the next call.
#[async_trait]
pub trait HttpClient: Send + Sync + 'static {
    /// Makes a call and reads the whole answer, within its time and size.
    ///
    /// # Errors
    /// There is no whole answer.
    async fn call(&self, call: HttpCall) -> Result<HttpAnswer, HttpError>;
}

/// One call.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// The method.
    pub method: Method,
    /// The absolute address, `http` or `https`.
    pub url: Arc<str>,
    /// What is sent beside `Host`, `User-Agent` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whom to trust, and who we are.
    pub tls: Option<Arc<TlsMaterial>>,
    /// For all of it.
    pub timeout: Duration,
    /// The largest body of an answer, in bytes.
    pub max_answer: usize,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer, as one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(pub String);
