//! One client connection: what its requests share, and the loop that serves them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use pingora_core::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_timeout::timeout;
use tidegate_auth::identity::Certificate;
use tidegate_core::{Denial, Event, Reason};
use tidegate_guard::connections::Slot;
use tidegate_observe::{AbortedConnection, Metrics};
use tokio::time::Instant;

use crate::client_stream::{ClientStream, HeadError};
use crate::edge::Unread;
use crate::h2_watch::H2Watch;
use crate::protocols::Protocols;
use crate::request_id::RequestId;

/// How long after a response the next request is waited for although the process drains.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What the requests of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The listener's address as bound.
    pub(crate) listener: Arc<str>,
    /// The client as TCP, or a trusted PROXY header, says.
    pub(crate) peer: SocketAddr,
    /// The negotiated TLS version, if encrypted.
    pub(crate) tls: Option<&'static str>,
    /// The negotiated cipher suite, if encrypted.
    pub(crate) tls_cipher: Option<&'static str>,
    /// The name that the client asked for in its handshake.
    pub(crate) server_name: Option<Box<str>>,
    /// SHA-256 of the client's certificate in hexadecimal.
    pub(crate) certificate_hash: Option<Box<str>>,
    /// The address that the connection came in on, if the system says so.
    pub(crate) local: Option<SocketAddr>,
    /// The client's certificate, if it showed one.
    pub(crate) certificate: Option<Certificate>,
    opened: Instant,
    /// Microseconds after `opened`; 0 for none.
    deadline_micros: AtomicU64,
    broken: AtomicU8,
    requests: AtomicU64,
    last: AtomicBool,
    metrics: Metrics,
    _slot: Slot,
}

impl Connection {
    pub(crate) fn new(
        listener: Arc<str>,
        peer: SocketAddr,
        tls: Option<&'static str>,
        (slot, metrics): (Slot, Metrics),
    ) -> Self {
        Self {
            listener,
            peer,
            tls,
            tls_cipher: None,
            server_name: None,
            certificate_hash: None,
            local: None,
            certificate: None,
            opened: Instant::now(),
            deadline_micros: AtomicU64::new(0),
            broken: AtomicU8::new(Broken::NOT),
            requests: AtomicU64::new(0),
            last: AtomicBool::new(false),
            metrics,
            _slot: slot,
        }
    }

    /// The same connection, come in on this address.
    pub(crate) fn on(self, local: Option<SocketAddr>) -> Self {
        Self { local, ..self }
    }

    /// What the connection says of the events of its requests.
    pub(crate) fn event(&self) -> Event<'_> {
        Event {
            listener: &self.listener,
            client: self.peer.ip(),
            peer: self.peer,
            scheme: if self.tls.is_some() { "https" } else { "http" },
            server: self.local,
            tls: self.tls,
            tls_cipher: self.tls_cipher,
            tls_server_name: self.server_name.as_deref(),
            client_certificate: self.certificate_hash.as_deref(),
            ..Event::default()
        }
    }

    /// The connection that a session's digest carries.
    pub(crate) fn of(digest: Option<&Digest>) -> Option<&Arc<Self>> {
        digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// Counts a request that reached the pipeline.
    pub(crate) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.broken.store(Broken::NOT, Ordering::Relaxed);
    }

    /// Whether the present request is the last one that the connection may have.
    pub(crate) fn is_at_last_request(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// When a wait for the client ends, HTTP/1 only; `None` lets it wait.
    ///
    /// Pingora keeps reading from the client while it waits for the upstream, so this is also how
    /// a request's own deadline ends an upstream that does not answer.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        let micros = deadline.map_or(0, |deadline| {
            let after = deadline.saturating_duration_since(self.opened).as_micros();
            u64::try_from(after).unwrap_or(u64::MAX).max(1)
        });
        self.deadline_micros.store(micros, Ordering::Relaxed);
    }

    /// Moves the deadline by a time in which the client, not who is waited for, was slow.
    pub(crate) fn put_off_deadline(&self, by: Duration) {
        if let Some(deadline) = self.deadline() {
            self.set_deadline(Some(deadline + by));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.deadline_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(self.opened + Duration::from_micros(micros)),
        }
    }

    /// The stream ends the present request's message.
    pub(crate) fn break_off(&self, why: Broken) {
        self.broken.store(why as u8, Ordering::Relaxed);
        match why {
            Broken::NotReading => self.metrics.connection_aborted(AbortedConnection::SendTimeout),
            Broken::TooSlow => self.metrics.connection_aborted(AbortedConnection::BodyTooSlow),
            Broken::Malformed | Broken::Overdue => {}
        }
    }

    /// Why the stream ended the present request's message, if it did.
    pub(crate) fn broken(&self) -> Option<Broken> {
        let why = self.broken.load(Ordering::Relaxed);
        Broken::ALL.into_iter().find(|broken| *broken as u8 == why)
    }
}

/// Why the stream ended an HTTP/1 message; Pingora only sees that it could not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The body's framing is malformed.
    Malformed = 1,
    /// The client does not take its response.
    NotReading,
    /// The request's deadline is past.
    Overdue,
    /// The body comes slower than it must.
    TooSlow,
}

impl Broken {
    const NOT: u8 = 0;
    const ALL: [Self; 4] = [Self::Malformed, Self::NotReading, Self::Overdue, Self::TooSlow];
}

/// Serves HTTP/1 requests until the client leaves, a limit is reached or the process drains.
pub(crate) async fn serve_http1(
    protocols: &Protocols,
    mut stream: Box<ClientStream>,
    mut draining: ShutdownWatch,
) {
    let edge = protocols.edge();
    let connection = stream.connection().clone();
    let limits = edge.limits();
    // The first request is due at once; later ones may take the idle time.
    let mut wait = limits.header_timeout.0;
    for left in (0..limits.requests_per_connection).rev() {
        if !next_request(&mut stream, wait, &mut draining).await {
            return;
        }
        wait = limits.idle_timeout.0;
        let live = edge.live();
        let refusal = match timeout(limits.header_timeout.0, stream.read_head(&live.rules)).await {
            Ok(Ok(())) => None,
            Ok(Err(HeadError::Closed)) => return,
            Ok(Err(HeadError::TooLarge)) => Some(Denial::new(Reason::HeadersTooLarge)),
            Ok(Err(HeadError::Refused(refusal))) => Some(refusal.into()),
            Err(_elapsed) => {
                edge.metrics().connection_aborted(AbortedConnection::HeaderTimeout);
                Some(Denial::new(Reason::RequestTimeout))
            }
        };
        if let Some(denial) = refusal {
            return edge.refuse_unread(*stream, denial).await;
        }
        drop(live);
        if left == 0 {
            connection.last.store(true, Ordering::Relaxed);
        }
        let arrived = connection.requests.load(Ordering::Relaxed);
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(limits.idle_timeout.0.as_secs()));
        let finished = protocols.http1().process_new_http(session, &draining).await;
        if connection.requests.load(Ordering::Relaxed) == arrived {
            // Pingora's parser refused the head, and answered, before our pipeline saw it.
            let denial = Denial::new(Reason::MalformedRequest);
            edge.record_unread(&connection, &denial, &RequestId::new(), &Unread::default());
        }
        let Some((reusable, _settings)) = finished.map(ReusedHttpStream::consume) else { return };
        let Ok(same) = reusable.into_any().downcast() else { return };
        stream = same;
    }
}

/// Waits for the first byte of the next request; false if there will be none.
///
/// A connection that was just told that it stays open may have its next request on the way when a
/// drain begins: it is waited for, and its answer ends the connection.
async fn next_request(
    stream: &mut ClientStream,
    wait: Duration,
    draining: &mut ShutdownWatch,
) -> bool {
    let since = Instant::now();
    tokio::select! {
        biased;
        readable = timeout(wait, stream.readable()) => return matches!(readable, Ok(Ok(()))),
        _ = draining.wait_for(|draining| *draining) => {}
    }
    let left = LAST_REQUEST.saturating_sub(since.elapsed());
    matches!(timeout(left, stream.readable()).await, Ok(Ok(())))
}

/// Serves one HTTP/2 connection.
pub(crate) async fn serve_http2(
    protocols: &Protocols,
    mut stream: Box<ClientStream>,
    draining: &ShutdownWatch,
) {
    let edge = protocols.edge();
    if stream.open_as_h2(H2Watch::new(edge.frame_limits(), edge)).is_ok() {
        // Pingora serves the whole connection and gives nothing back.
        drop(protocols.http2().process_new(stream, draining).await);
    }
}
