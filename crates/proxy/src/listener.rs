//! A listening socket and its accept loop: connection limits, PROXY header and TLS handshake,
//! then [`crate::connection`] takes over.
//!
//! The loop is ours rather than Pingora's, so that a reload adds and removes listeners, a drain
//! ends when the last connection does, and an upgrade passes the sockets on. See ADR 0001.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use pingora_core::server::ShutdownWatch;
use rustls::ProtocolVersion;
use tidegate_core::SettingsError;
use tidegate_core::net::AddressSet;
use tidegate_core::notice::NoticeKind;
use tidegate_engine::settings::ListenerSettings;
use tidegate_guard::connections::{Slot, TooMany};
use tidegate_observe::{AbortedConnection, ListenerMetrics, RefusedConnection, TlsFailure};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::client_stream::{ClientStream, Transport};
use crate::connection::{self, Connection};
use crate::protocols::Protocols;
use crate::proxy_protocol;
use crate::tls::{Crypto, Tls, client_certificate};

/// What a listener does with a connection; replaced as a whole by a reload.
#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) tls: Option<Tls>,
    /// Whether HTTP/2 without TLS is taken (RFC 9113 §3.3).
    pub(crate) h2c: bool,
    /// Peers that must send a PROXY header; `None` if the listener takes none.
    pub(crate) proxy_protocol: Option<AddressSet>,
}

/// A bound listener that accepts until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The address as configured.
    pub(crate) address: SocketAddr,
    /// The address as bound: port 0 became a real one.
    pub(crate) bound: SocketAddr,
    /// The socket, kept for an upgrade to pass on.
    pub(crate) socket: StdListener,
    reception: Arc<ArcSwap<Reception>>,
    metrics: Arc<ListenerMetrics>,
    _stop: watch::Sender<()>,
}

impl Reception {
    /// Loads what a listener's settings name.
    ///
    /// # Errors
    /// Every file that cannot be used, with its path in the listener's settings.
    pub(crate) fn prepare(
        crypto: &Crypto,
        settings: &ListenerSettings,
    ) -> Result<Self, Vec<SettingsError>> {
        let tls =
            settings.tls.as_ref().map(|tls| crypto.load(tls)).transpose().map_err(|errors| {
                errors.into_iter().map(|error| error.under(["tls"])).collect::<Vec<_>>()
            })?;
        let proxy_protocol =
            settings.proxy_protocol.as_ref().map(|settings| AddressSet::new(&settings.from));
        Ok(Self { tls, h2c: settings.h2c, proxy_protocol })
    }
}

impl Listener {
    /// Starts to accept on `socket`.
    ///
    /// # Errors
    /// The socket cannot be used by the runtime.
    pub(crate) fn start(
        address: SocketAddr,
        socket: StdListener,
        reception: Reception,
        protocols: &Arc<Protocols>,
        draining: ShutdownWatch,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let bound = socket.local_addr()?;
        let accepting = TcpListener::from_std(socket.try_clone()?)?;
        let (stop, stopped) = watch::channel(());
        let name = bound.to_string();
        let metrics = protocols.edge().metrics().listener(&name);
        metrics.set_certificates(expiries(&reception));
        let reception = Arc::new(ArcSwap::from_pointee(reception));
        let door = Door {
            name: name.into(),
            reception: reception.clone(),
            metrics: metrics.clone(),
            protocols: protocols.clone(),
            draining,
        };
        tokio::spawn(door.accept(accepting, stopped));
        Ok(Self { address, bound, socket, reception, metrics, _stop: stop })
    }

    /// Takes over what a reload made of the listener, for connections to come.
    pub(crate) fn receive_as(&self, reception: Reception) {
        self.metrics.set_certificates(expiries(&reception));
        self.reception.store(Arc::new(reception));
    }
}

fn expiries(reception: &Reception) -> Vec<(String, SystemTime)> {
    let certificates = reception.tls.iter().flat_map(|tls| &tls.certificates);
    certificates.map(|certificate| (certificate.name.clone(), certificate.not_after)).collect()
}

/// Where connections come in.
#[derive(Clone)]
struct Door {
    name: Arc<str>,
    reception: Arc<ArcSwap<Reception>>,
    metrics: Arc<ListenerMetrics>,
    protocols: Arc<Protocols>,
    draining: ShutdownWatch,
}

/// Why a connection ended before its first request.
#[derive(Debug, thiserror::Error)]
enum ReceptionError {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("PROXY header: {0}")]
    ProxyHeader(#[from] proxy_protocol::ProxyHeaderError),
    #[error("PROXY header: the peer is not listed")]
    ProxyPeer,
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    #[error("it took too long")]
    TimedOut,
}

impl Door {
    /// Accepts until the listener is dropped.
    async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<()>) {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.changed() => return self.accept_waiting(listener),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    /// Accepts what the kernel has accepted already: closing the socket would reset it.
    fn accept_waiting(&self, listener: TcpListener) {
        // The runtime may not know yet what waits; the socket does, and it does not block.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.admit(stream, peer);
            }
        }
    }

    /// A failed accept is either one connection's (go on) or a lack of descriptors or memory,
    /// which only time mends.
    async fn wait_after(&self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        {
            return;
        }
        tracing::warn!(listener = %self.name, %error, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let reception = self.reception.load();
        // Behind the PROXY protocol the client is known only after its header.
        let slot = match &reception.proxy_protocol {
            Some(_) => None,
            None => match self.protocols.edge().connections().open(peer.ip()) {
                Ok(slot) => Some(slot),
                Err(error) => return self.refuse(peer, &error.into()),
            },
        };
        drop(reception);
        let door = self.clone();
        tokio::spawn(async move { door.receive(stream, peer, slot).await });
    }

    async fn receive(self, stream: TcpStream, peer: SocketAddr, slot: Option<Slot>) {
        let limits = self.protocols.edge().limits();
        let ready =
            match timeout(limits.handshake_timeout.0, self.prepare(stream, peer, slot)).await {
                Ok(Ok(ready)) => ready,
                Ok(Err(error)) => return self.refuse(peer, &error),
                Err(_elapsed) => return self.refuse(peer, &ReceptionError::TimedOut),
            };
        let Ready { transport, connection, mut http2, h2c } = ready;
        let _open = self.metrics.connection_opened();
        let connection = Arc::new(connection);
        let mut stream = Box::new(ClientStream::new(transport, connection, limits.clone()));
        if h2c {
            let preface = stream.starts_with_h2_preface();
            http2 = matches!(timeout(limits.header_timeout.0, preface).await, Ok(Ok(true)));
        }
        if http2 {
            connection::serve_http2(&self.protocols, stream, &self.draining).await;
        } else {
            connection::serve_http1(&self.protocols, stream, self.draining).await;
        }
    }

    /// PROXY header and TLS handshake.
    async fn prepare(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        slot: Option<Slot>,
    ) -> Result<Ready, ReceptionError> {
        // Best effort: a connection without it works, with more delay.
        drop(stream.set_nodelay(true));
        let reception = self.reception.load_full();
        let client = match &reception.proxy_protocol {
            None => peer,
            Some(from) if from.contains(peer.ip()) => {
                proxy_protocol::read(&mut stream).await?.unwrap_or(peer)
            }
            Some(_) => return Err(ReceptionError::ProxyPeer),
        };
        let slot = match slot {
            Some(slot) => slot,
            None => self.protocols.edge().connections().open(client.ip())?,
        };
        let local = stream.local_addr().ok();
        let Some(tls) = &reception.tls else {
            let connection = self.connection(client, None, slot).on(local);
            let transport = Transport::Plain(stream);
            return Ok(Ready { transport, connection, http2: false, h2c: reception.h2c });
        };
        let stream = TlsAcceptor::from(tls.config.clone())
            .accept(stream)
            .await
            .map_err(ReceptionError::Tls)?;
        self.metrics.tls_handshake_done();
        let session = stream.get_ref().1;
        let version = session.protocol_version().map(version_name);
        let http2 = session.alpn_protocol() == Some(b"h2");
        let mut connection = self.connection(client, version, slot).on(local);
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        connection.certificate = leaf.map(|leaf| client_certificate(leaf));
        let hash = connection.certificate.as_ref().map(|certificate| hex(&certificate.thumbprint));
        connection.certificate_hash = hash;
        let suite = session.negotiated_cipher_suite();
        connection.tls_cipher = suite.and_then(|suite| suite.suite().as_str()).map(suite_name);
        connection.server_name = session.server_name().map(Into::into);
        let transport = Transport::Tls(Box::new(stream));
        Ok(Ready { transport, connection, http2, h2c: false })
    }

    fn connection(&self, client: SocketAddr, tls: Option<&'static str>, slot: Slot) -> Connection {
        let metrics = self.protocols.edge().metrics().clone();
        Connection::new(self.name.clone(), client, tls, (slot, metrics))
    }

    fn refuse(&self, peer: SocketAddr, error: &ReceptionError) {
        let metrics = self.protocols.edge().metrics();
        match error {
            ReceptionError::TooMany(TooMany::Total) => {
                metrics.connection_refused(RefusedConnection::TotalLimit);
            }
            ReceptionError::TooMany(TooMany::Client) => {
                metrics.connection_refused(RefusedConnection::ClientLimit);
            }
            ReceptionError::ProxyHeader(_) | ReceptionError::ProxyPeer => {
                metrics.connection_refused(RefusedConnection::ProxyProtocol);
            }
            ReceptionError::Tls(error) => self.metrics.tls_handshake_failed(tls_failure(error)),
            ReceptionError::TimedOut => {
                metrics.connection_aborted(AbortedConnection::HandshakeTimeout);
            }
        }
        let told = match error {
            ReceptionError::TooMany(TooMany::Total) => RefusedConnection::TotalLimit.code(),
            ReceptionError::TooMany(TooMany::Client) => RefusedConnection::ClientLimit.code(),
            ReceptionError::ProxyHeader(_) | ReceptionError::ProxyPeer => {
                RefusedConnection::ProxyProtocol.code()
            }
            ReceptionError::Tls(error) => tls_failure(error).code(),
            ReceptionError::TimedOut => AbortedConnection::HandshakeTimeout.code(),
        };
        let kind = match error {
            ReceptionError::Tls(_) => NoticeKind::TlsFailed,
            _ => NoticeKind::ConnectionRefused,
        };
        let client = peer.ip();
        self.protocols.edge().connection_refused((kind, told), &self.name, client, error);
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// IANA's name of a cipher suite.
fn suite_name(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "unknown",
    }
}

fn tls_failure(error: &io::Error) -> TlsFailure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            TlsFailure::Certificate
        }
        Some(_) => TlsFailure::Protocol,
        None => TlsFailure::ClosedByPeer,
    }
}

/// A connection that may send requests.
struct Ready {
    transport: Transport,
    connection: Connection,
    http2: bool,
    /// Whether the first bytes decide between HTTP/1 and HTTP/2.
    h2c: bool,
}
