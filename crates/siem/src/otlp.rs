//! What OTLP says of answers over HTTP, for logs and for traces
//! (<https://opentelemetry.io/docs/specs/otlp/>, "Failures" and "Failures (Retryable)").

use http::StatusCode;

/// Whether a request that was answered so may be sent again: the specification names four statuses,
/// and forbids it after every other one of 4xx and 5xx.
pub(crate) fn may_repeat(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}
