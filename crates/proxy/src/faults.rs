//! What a Pingora error means: the reason that metrics and the client are given, and the words for
//! it in logs.

use pingora_error::{Error, ErrorSource, ErrorType};
use tidegate_core::Reason;

/// The reason behind an error that ended a request; `None` if nobody is left to be told.
pub(crate) fn reason(error: &Error) -> Reason {
    match error.esource() {
        ErrorSource::Upstream => upstream(error.etype()),
        ErrorSource::Downstream => downstream(error.etype()),
        ErrorSource::Internal | ErrorSource::Unset => match error.etype() {
            // Pingora's connectors do not always name the upstream as the source.
            kind if is_connect(kind) => upstream(kind),
            _ => Reason::Internal,
        },
    }
}

/// Whether a connection to the upstream was never made, so that nothing was sent.
pub(crate) fn is_connect(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::ConnectProxyFailure
            | ErrorType::BindError
            | ErrorType::SocketError
            | ErrorType::TLSWantX509Lookup
            | ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert
            | ErrorType::HandshakeError
    )
}

fn upstream(kind: &ErrorType) -> Reason {
    match kind {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
            Reason::UpstreamConnectTimeout
        }
        ErrorType::TLSWantX509Lookup
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => Reason::UpstreamTlsFailed,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Reason::UpstreamTimeout,
        ErrorType::ReadError
        | ErrorType::WriteError
        | ErrorType::ConnectionClosed
        | ErrorType::H2Error
        | ErrorType::H2Downgrade
        | ErrorType::InvalidH2 => Reason::UpstreamReset,
        kind if is_connect(kind) => Reason::UpstreamConnectFailed,
        _ => Reason::UpstreamBadResponse,
    }
}

fn downstream(kind: &ErrorType) -> Reason {
    match kind {
        ErrorType::ReadTimedout => Reason::RequestTimeout,
        ErrorType::InvalidHTTPHeader => Reason::MalformedRequest,
        ErrorType::ReadError
        | ErrorType::WriteError
        | ErrorType::WriteTimedout
        | ErrorType::ConnectionClosed
        | ErrorType::H2Error
        | ErrorType::InvalidH2 => Reason::ClientClosed,
        _ => Reason::MalformedRequest,
    }
}

/// The error in a few words: what did not work, and why if that is known. Pingora's own text names
/// sources, peers and types that nobody who reads a log has asked for.
pub(crate) fn told(error: &Error) -> String {
    let innermost = innermost(error);
    let what = words(&innermost.etype);
    let why = match &innermost.cause {
        Some(cause) if !cause.to_string().starts_with(OWN_PORT) => Some(cause.to_string()),
        // It names the peer, whom the reader knows.
        _ if what.starts_with("cannot connect") => None,
        _ => innermost.context.as_ref().map(|context| context.as_str().to_owned()),
    };
    why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"))
}

/// What the connector attaches as the cause of a failure without one: the port it came from.
const OWN_PORT: &str = "local address";

fn innermost(error: &Error) -> &Error {
    let inner = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<Box<Error>>());
    inner.map_or(error, |inner| innermost(inner))
}

fn words(kind: &ErrorType) -> &str {
    match kind {
        ErrorType::ConnectTimedout => "cannot connect in time",
        ErrorType::TLSHandshakeTimedout => "no TLS handshake in time",
        ErrorType::TLSWantX509Lookup
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => "the TLS handshake failed",
        kind if is_connect(kind) => "cannot connect",
        ErrorType::ReadTimedout => "nothing came in time",
        ErrorType::WriteTimedout => "nothing could be sent in time",
        ErrorType::ReadError | ErrorType::WriteError => "the connection broke",
        ErrorType::ConnectionClosed => "the connection was closed",
        ErrorType::H2Error | ErrorType::H2Downgrade | ErrorType::InvalidH2 => "HTTP/2 failed",
        ErrorType::InvalidHTTPHeader => "not a valid HTTP head",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_what_did_not_work_and_why() {
        let refused = std::io::Error::from_raw_os_error(111);
        let inner =
            Error::because(ErrorType::ConnectRefused, "Fail to connect to addr: x", refused);
        let outer = inner.more_context("Peer: addr: x, scheme: HTTP").into_up();
        assert_eq!(told(&outer), "cannot connect: Connection refused (os error 111)");
        let late = Error::explain(ErrorType::ConnectTimedout, "timeout 300ms to x");
        assert_eq!(told(&late.more_context("Peer: addr: x")), "cannot connect in time");
        let broken = Error::explain(ErrorType::InvalidHTTPHeader, "while parsing");
        assert_eq!(told(&broken), "not a valid HTTP head: while parsing");
        assert_eq!(told(&Error::new(ErrorType::ReadTimedout)), "nothing came in time");
        let port = std::io::Error::other("local address 127.0.0.1:9");
        let stranger = Error::because(ErrorType::TLSHandshakeFailure, "a stranger", port);
        assert_eq!(told(&stranger), "the TLS handshake failed: a stranger");
    }

    #[track_caller]
    fn check(kind: ErrorType, source: ErrorSource, expected: Reason) {
        let mut error = Error::new(kind);
        error.esource = source;
        assert_eq!(reason(&error), expected);
    }

    #[test]
    fn errors_have_one_reason_each() {
        use ErrorSource::{Downstream, Internal, Upstream};
        check(ErrorType::ConnectRefused, Upstream, Reason::UpstreamConnectFailed);
        check(ErrorType::ConnectRefused, Internal, Reason::UpstreamConnectFailed);
        check(ErrorType::ConnectTimedout, Upstream, Reason::UpstreamConnectTimeout);
        check(ErrorType::InvalidCert, Upstream, Reason::UpstreamTlsFailed);
        check(ErrorType::ReadTimedout, Upstream, Reason::UpstreamTimeout);
        check(ErrorType::ConnectionClosed, Upstream, Reason::UpstreamReset);
        check(ErrorType::InvalidHTTPHeader, Upstream, Reason::UpstreamBadResponse);
        check(ErrorType::ReadTimedout, Downstream, Reason::RequestTimeout);
        check(ErrorType::ConnectionClosed, Downstream, Reason::ClientClosed);
        check(ErrorType::InvalidHTTPHeader, Downstream, Reason::MalformedRequest);
        check(ErrorType::InternalError, Internal, Reason::Internal);
    }
}
