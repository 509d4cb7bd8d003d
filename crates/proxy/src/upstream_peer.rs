//! How endpoints of a pool are reached: addresses, TLS material and timeouts as Pingora's peers.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::ALPN;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustc_hash::FxHasher;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tidegate_core::SettingsError;
use tidegate_engine::snapshot::Timeouts;
use tidegate_traffic::Endpoint;
use tidegate_traffic::random;
use tidegate_traffic::settings::{Protocol, UpstreamSettings, UpstreamTlsSettings};

use crate::tls::{certificates, roots};
use crate::upgrade_socket::UpgradeConnect;

/// Concurrent streams on one HTTP/2 connection to an endpoint; Pingora opens further connections.
const H2_STREAMS: usize = 100;

/// Everything about a pool's connections that its endpoints share.
pub(crate) struct Dialer {
    protocol: Protocol,
    idle_timeout: Duration,
    tls: Option<TlsDialer>,
    /// Keeps connections of different pools apart: Pingora's reuse key knows neither CA nor ALPN.
    group: u64,
}

struct TlsDialer {
    ca: Option<Arc<CaType>>,
    identity: Option<Arc<CertKey>>,
    sni: Option<String>,
    verify: bool,
}

impl Dialer {
    /// Loads the TLS material that a pool's settings name.
    ///
    /// # Errors
    /// Every file that is missing, unreadable or does not fit, with its path in the settings.
    pub(crate) fn load(
        name: &str,
        settings: &UpstreamSettings,
    ) -> Result<Self, Vec<SettingsError>> {
        let tls = settings.tls.as_ref().map(TlsDialer::load).transpose()?;
        // A reload that changes files must not reuse connections made with the old ones.
        let material = tls.as_ref().map(|tls| {
            (
                tls.ca
                    .as_ref()
                    .map(|ca| ca.iter().map(|ca| ca.borrow_raw_cert().clone()).collect::<Vec<_>>()),
                tls.identity.as_ref().map(|identity| identity.leaf().borrow_raw_cert().clone()),
                tls.verify,
            )
        });
        let group = BuildHasherDefault::<FxHasher>::default().hash_one((name, material));
        let idle_timeout = settings.keepalive.idle_timeout.0;
        Ok(Self { protocol: settings.protocol, idle_timeout, tls, group })
    }

    /// The peer for one attempt on `endpoint`.
    pub(crate) fn peer(&self, endpoint: &Endpoint, timeouts: &Timeouts) -> HttpPeer {
        let mut peer = self.probe_peer(endpoint.address(), endpoint.host());
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        // Pingora has one timeout for every read: the longer of the two. The shorter one is kept
        // by `Connection::set_deadline`.
        peer.options.read_timeout = Some(timeouts.first_byte.max(timeouts.between_bytes));
        peer.options.write_timeout = Some(timeouts.between_bytes);
        peer.options.idle_timeout = Some(self.idle_timeout);
        peer
    }

    /// The peer for one attempt of a request that may change the protocol. Its connection is used
    /// once.
    pub(crate) fn upgrade_peer(&self, endpoint: &Endpoint, timeouts: &Timeouts) -> HttpPeer {
        let mut peer = self.peer(endpoint, timeouts);
        peer.options.custom_l4 = Some(Arc::new(UpgradeConnect));
        peer.options.idle_timeout = Some(Duration::from_millis(1));
        peer.group_key = random::next();
        peer
    }

    /// A peer without timeouts, for a health check of `address`.
    pub(crate) fn probe_peer(&self, address: SocketAddr, host: Option<&str>) -> HttpPeer {
        let mut peer = match &self.tls {
            None => HttpPeer::new(address, false, String::new()),
            Some(tls) => tls.peer(address, host),
        };
        peer.options.alpn = match self.protocol {
            Protocol::Http1 => ALPN::H1,
            Protocol::H2 => ALPN::H2,
        };
        peer.options.max_h2_streams = H2_STREAMS;
        peer.group_key = self.group;
        peer
    }
}

impl TlsDialer {
    fn load(settings: &UpstreamTlsSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let ca = settings.ca.as_deref().map(authorities).transpose();
        let ca = ca.map_err(|error| errors.push(error)).ok().flatten();
        let identity = match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => identity(cert, key).map_err(|error| errors.push(error)).ok(),
            _ => None,
        };
        if !errors.is_empty() {
            return Err(errors.into_iter().map(|error| error.under(["tls"])).collect());
        }
        Ok(Self { ca, identity, sni: settings.sni.clone(), verify: !settings.insecure_skip_verify })
    }

    fn peer(&self, address: SocketAddr, host: Option<&str>) -> HttpPeer {
        // An empty name would silently turn verification off; an address is a name, too.
        let sni = match (&self.sni, host) {
            (Some(sni), _) => sni.clone(),
            (None, Some(host)) => host.to_owned(),
            (None, None) => address.ip().to_string(),
        };
        let mut peer = HttpPeer::new(address, true, sni);
        peer.options.ca.clone_from(&self.ca);
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        peer.client_cert_key.clone_from(&self.identity);
        peer
    }
}

/// The authorities of a PEM file, as Pingora takes them.
///
/// # Errors
/// One sentence about the file, at `ca`.
pub(crate) fn authorities(path: &Path) -> Result<Arc<CaType>, SettingsError> {
    // Pingora builds its own store from these; ours proves that it will succeed.
    let checked = roots(path).and_then(|_roots| certificates(path));
    let chain = checked.map_err(|message| SettingsError::new(["ca"], message))?;
    Ok(chain.iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect())
}

fn identity(cert: &Path, key: &Path) -> Result<Arc<CertKey>, SettingsError> {
    let chain = certificates(cert).map_err(|message| SettingsError::new(["cert"], message))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let message = format!("cannot read a private key from `{}`: {error}", key.display());
        SettingsError::new(["key"], message)
    })?;
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    Ok(Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
}
