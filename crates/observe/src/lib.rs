//! One event in; metrics and the access log out.
//!
//! A request ends in one [`tidegate_core::Event`]. [`Metrics::record`] counts it and
//! [`AccessLog::log`] writes it; both read the same event, so they cannot disagree. Neither
//! blocks a request: counting is a few atomic additions through handles that were resolved when
//! the configuration was compiled, and a log line goes into a bounded buffer that a thread of its
//! own writes out.
//!
//! Nothing here knows where metrics are served or which signal reopens the log.

pub mod access_log;
#[cfg(test)]
mod fixture;
pub mod metrics;

pub use access_log::{
    AccessLog, AccessLogError, AccessLogSettings, AccessLogStats, StagedAccessLog,
};
pub use metrics::{
    AbortedConnection, AuditAnchor, AuditSample, BuildInfo, EJECTION_CAUSES, EndpointMetrics,
    EnforcementSample, Exchanged, Exposition, InFlight, ListenerMetrics, Metrics, OpenConnection,
    RETRY_REASONS, RateLimitTable, RefusedConnection, ResponseSample, RouteMetrics, SinkState,
    TlsFailure, TraceSample, UpstreamMetrics, UpstreamState,
};
