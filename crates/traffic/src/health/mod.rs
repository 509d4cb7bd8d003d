//! Active health checks: what to ask, when to ask again, and what the answers mean. The asking
//! itself is `proxy`'s.

mod settings;
mod tracker;

use std::net::SocketAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use tidegate_core::units::StatusRange;

use crate::random::unit;

pub use self::settings::{ExpectSettings, HealthKind, HealthSettings};
pub use self::tracker::{Outcome, Thresholds, Tracker, Transition};

/// A compiled health check.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the end of one check to the start of the next.
    pub interval: Duration,
    /// How long one check may take, connecting included.
    pub timeout: Duration,
    /// The share of the interval by which each delay is moved, either way: 0 to 1.
    pub jitter: f64,
    /// The port to ask, if it is not the endpoint's own.
    pub port: Option<u16>,
    /// How many outcomes in a row turn the state.
    pub thresholds: Thresholds,
}

impl HealthCheck {
    /// When an endpoint that became known now is asked first: within a tenth of the interval, at
    /// most a second, so that a dead endpoint is found soon and a large pool is not asked all at
    /// once.
    #[must_use]
    pub fn first_delay(&self, random: u64) -> Duration {
        (self.interval / 10).min(Duration::from_secs(1)).mul_f64(unit(random))
    }

    /// How long to wait after a check: the interval, moved by up to `jitter` either way.
    #[must_use]
    pub fn delay(&self, random: u64) -> Duration {
        self.interval.mul_f64(1.0 + self.jitter * (2.0 * unit(random) - 1.0))
    }

    /// Where to ask about `endpoint`.
    #[must_use]
    pub fn target(&self, endpoint: SocketAddr) -> SocketAddr {
        SocketAddr::new(endpoint.ip(), self.port.unwrap_or(endpoint.port()))
    }
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// `grpc.health.v1.Health/Check`; it passes if the answer is `SERVING`.
    Grpc {
        /// The service to ask about; empty for the whole server.
        service: String,
        /// The authority to send; the endpoint's own by default.
        host: Option<String>,
    },
    /// A GET.
    Http {
        /// What to get.
        path: PathAndQuery,
        /// The host to send; the endpoint's own by default.
        host: Option<String>,
        /// Which answers pass.
        expect: Expect,
    },
    /// A connection that is accepted, with TLS if the upstream speaks it.
    Tcp,
}

/// Which answers to an HTTP check pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    statuses: Vec<StatusRange>,
    body: Option<String>,
}

impl Expect {
    /// Whether an answer with this status passes.
    #[must_use]
    pub fn status(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(status))
    }

    /// Whether the body has to be read at all.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether an answer with this body passes. Callers bound how much they read.
    #[must_use]
    pub fn body(&self, body: &[u8]) -> bool {
        self.body.as_ref().is_none_or(|wanted| {
            body.windows(wanted.len()).any(|window| window == wanted.as_bytes())
        })
    }
}
