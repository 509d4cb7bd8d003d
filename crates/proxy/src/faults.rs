//! What a Pingora error means: the reason that logs, metrics and the client are given.

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

#[cfg(test)]
mod tests {
    use super::*;

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
