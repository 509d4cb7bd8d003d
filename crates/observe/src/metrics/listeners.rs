//! What is counted for each listener, and for connections that no listener's work came of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::family::{Count, Families};
use super::{running, unix_seconds};

/// The series of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    address: Box<str>,
    open: Arc<AtomicI64>,
    accepted: Count,
    handshakes: Count,
    failed_handshakes: [Count; TlsFailure::ALL.len()],
    certificates: Mutex<Vec<(String, SystemTime)>>,
}

/// Why a client's TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The client's certificate is missing or was not accepted.
    Certificate,
    /// The client closed the connection, perhaps since it does not trust our certificate.
    ClosedByPeer,
    /// No common version or cipher, or bytes that are not TLS.
    Protocol,
    /// The handshake took too long.
    Timeout,
    /// No certificate is for the name that was asked for.
    UnknownName,
}

impl TlsFailure {
    /// Every failure, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::Certificate, Self::ClosedByPeer, Self::Protocol, Self::Timeout, Self::UnknownName];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::ClosedByPeer => "closed_by_peer",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::UnknownName => "unknown_name",
        }
    }
}

/// Why a connection was closed right after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedConnection {
    /// The client has as many connections as it may.
    ClientLimit,
    /// A PROXY header is missing, malformed or from a peer that may not send one.
    ProxyProtocol,
    /// All clients together have as many connections as are allowed.
    TotalLimit,
}

impl RefusedConnection {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::ClientLimit, Self::ProxyProtocol, Self::TotalLimit];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ClientLimit => "client_limit",
            Self::ProxyProtocol => "proxy_protocol",
            Self::TotalLimit => "total_limit",
        }
    }
}

/// Which limit cut a connection that was in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortedConnection {
    /// A request body came slower than allowed.
    BodyTooSlow,
    /// Too many HTTP/2 resets, settings, pings or continuations.
    H2Flood,
    /// The PROXY header or TLS handshake took too long.
    HandshakeTimeout,
    /// A request's head took too long.
    HeaderTimeout,
    /// The client did not read its answer.
    SendTimeout,
}

impl AbortedConnection {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 5] = [
        Self::BodyTooSlow,
        Self::H2Flood,
        Self::HandshakeTimeout,
        Self::HeaderTimeout,
        Self::SendTimeout,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "body_too_slow",
            Self::H2Flood => "h2_flood",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::SendTimeout => "send_timeout",
        }
    }
}

/// An open connection, counted until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    open: Arc<AtomicI64>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ListenerMetrics {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            open: Arc::default(),
            accepted: Count::default(),
            handshakes: Count::default(),
            failed_handshakes: Default::default(),
            certificates: Mutex::default(),
        }
    }

    /// Counts an accepted connection as open until the guard is dropped.
    #[must_use]
    pub fn connection_opened(&self) -> OpenConnection {
        self.accepted.add(1);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenConnection { open: Arc::clone(&self.open) }
    }

    /// Counts a TLS handshake that succeeded.
    pub fn tls_handshake_done(&self) {
        self.handshakes.add(1);
    }

    /// Counts a TLS handshake that failed.
    pub fn tls_handshake_failed(&self, failure: TlsFailure) {
        if let Some(count) = self.failed_handshakes.get(failure as usize) {
            count.add(1);
        }
    }

    /// Says which certificates the listener serves, by the name to show, and when they expire.
    pub fn set_certificates(&self, certificates: Vec<(String, SystemTime)>) {
        *self.certificates.lock() = certificates;
    }
}

/// Counts of connections that ended early, over all listeners.
#[derive(Debug, Default)]
pub(super) struct EarlyEnds {
    refused: [Count; RefusedConnection::ALL.len()],
    aborted: [Count; AbortedConnection::ALL.len()],
}

impl EarlyEnds {
    pub(super) fn refused(&self, reason: RefusedConnection) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.add(1);
        }
    }

    pub(super) fn aborted(&self, reason: AbortedConnection) {
        if let Some(count) = self.aborted.get(reason as usize) {
            count.add(1);
        }
    }

    pub(super) fn show(&self, families: &mut Families) {
        families.counters(
            "tidegate_connections_refused_total",
            "Connections that were closed when they were accepted, by reason.",
            |family| {
                for (reason, count) in RefusedConnection::ALL.iter().zip(&self.refused) {
                    family.counter(&[("reason", reason.code())], count.value());
                }
            },
        );
        families.counters(
            "tidegate_connections_aborted_total",
            "Connections that a deadline or flood limit cut, by reason.",
            |family| {
                for (reason, count) in AbortedConnection::ALL.iter().zip(&self.aborted) {
                    family.counter(&[("reason", reason.code())], count.value());
                }
            },
        );
    }
}

/// Shows the series of all listeners.
pub(super) fn show(listeners: &[Arc<ListenerMetrics>], families: &mut Families) {
    families.gauges("tidegate_connections", "Client connections that are open.", |family| {
        for listener in listeners {
            family.gauge(&[("listener", &listener.address)], running(&listener.open));
        }
    });
    families.counters(
        "tidegate_connections_accepted_total",
        "Client connections that were accepted.",
        |family| {
            for listener in listeners {
                family.counter(&[("listener", &listener.address)], listener.accepted.value());
            }
        },
    );
    families.counters(
        "tidegate_tls_handshakes_total",
        "TLS handshakes with clients that succeeded.",
        |family| {
            for listener in listeners {
                family.counter(&[("listener", &listener.address)], listener.handshakes.value());
            }
        },
    );
    families.counters(
        "tidegate_tls_handshake_failures_total",
        "TLS handshakes with clients that failed, by reason.",
        |family| {
            for listener in listeners {
                for (reason, count) in TlsFailure::ALL.iter().zip(&listener.failed_handshakes) {
                    let labels = [("listener", &*listener.address), ("reason", reason.code())];
                    family.counter_if_any(&labels, count.value());
                }
            }
        },
    );
    show_certificates(listeners, families);
}

fn show_certificates(listeners: &[Arc<ListenerMetrics>], families: &mut Families) {
    families.gauges(
        "tidegate_tls_certificate_expiry_timestamp_seconds",
        "When a served certificate expires, in seconds since 1970.",
        |family| {
            for listener in listeners {
                for (name, at) in listener.certificates.lock().iter() {
                    family.gauge(
                        &[("listener", &listener.address), ("name", name)],
                        unix_seconds(*at),
                    );
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_indexes_its_list() {
        for (index, failure) in TlsFailure::ALL.iter().enumerate() {
            assert_eq!(*failure as usize, index);
        }
        for (index, refused) in RefusedConnection::ALL.iter().enumerate() {
            assert_eq!(*refused as usize, index);
        }
        for (index, aborted) in AbortedConnection::ALL.iter().enumerate() {
            assert_eq!(*aborted as usize, index);
        }
    }
}
