//! Watches one HTTP/2 connection for floods of frames that cost us more than the client, and cuts
//! it. What counts as a flood is decided by [`tidegate_core::h2_guard`]; here is its clock.

use std::io;

use tidegate_core::Clock;
use tidegate_core::h2_guard::{Excess, FrameGuard, FrameLimits};
use tidegate_observe::{AbortedConnection, Metrics};

use crate::edge::Edge;

/// The guard of one connection. Both methods return an error once the connection is to be cut.
#[derive(Debug)]
pub(crate) struct H2Watch {
    guard: FrameGuard,
    clock: Clock,
    metrics: Metrics,
}

impl H2Watch {
    pub(crate) fn new(limits: FrameLimits, edge: &Edge) -> Self {
        let clock = edge.clock().clone();
        let guard = FrameGuard::new(limits, clock.now());
        Self { guard, clock, metrics: edge.metrics().clone() }
    }

    /// Takes plaintext bytes as they came from the client.
    pub(crate) fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = self.clock.now();
        self.guard.received(bytes, now).map_err(|excess| self.cut(excess))
    }

    /// Takes plaintext bytes as they go to the client.
    pub(crate) fn sent(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = self.clock.now();
        self.guard.sent(bytes, now).map_err(|excess| self.cut(excess))
    }

    fn cut(&self, excess: Excess) -> io::Error {
        self.metrics.connection_aborted(AbortedConnection::H2Flood);
        tracing::debug!(%excess, "HTTP/2 connection cut");
        io::Error::new(io::ErrorKind::ConnectionAborted, excess.to_string())
    }
}
