//! TLS towards clients: certificates from files into one immutable [`ServerConfig`] per listener,
//! rebuilt as a whole on reload. Towards upstreams see [`crate::upstream_tls`].

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, version};
use tidegate_auth::identity::Certificate;
use tidegate_core::SettingsError;
use tidegate_engine::settings::{
    Alpn, ClientAuthMode, ClientAuthSettings, TlsSettings, TlsVersion,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What is reported about a loaded certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateInfo {
    /// Its first name.
    pub(crate) name: String,
    /// When it expires.
    pub(crate) not_after: SystemTime,
}

/// A listener's TLS, ready for connections.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificates: Vec<CertificateInfo>,
}

/// Makes the cryptography of this process; every TLS configuration shares it, and session tickets
/// stay valid over reloads.
#[derive(Debug)]
pub(crate) struct Crypto {
    provider: Arc<CryptoProvider>,
    /// By whom clients are authenticated: a session that is resumed is not authenticated again, so
    /// a ticket must not open a listener that asks for more than the one it was earned at.
    tickets: Mutex<HashMap<TrustDomain, Arc<dyn ProducesTickets>>>,
}

/// Listeners in one domain ask clients for the same proof: none, or a certificate from the same
/// authorities, whose file content this is.
type TrustDomain = Option<(ClientAuthMode, Vec<u8>)>;

impl Crypto {
    /// The process's cryptography, also installed as the default that Pingora's connectors use.
    ///
    /// # Errors
    /// The random number generator fails.
    pub(crate) fn install() -> Result<Self, rustls::Error> {
        // A second installation in one process (tests) changes nothing.
        drop(default_provider().install_default());
        Ok(Self { provider: Arc::new(default_provider()), tickets: Mutex::default() })
    }

    fn tickets(&self, domain: TrustDomain) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut tickets = self.tickets.lock();
        if let Some(known) = tickets.get(&domain) {
            return Ok(Arc::clone(known));
        }
        let new = Ticketer::new()?;
        tickets.insert(domain, Arc::clone(&new));
        Ok(new)
    }

    /// Loads all that a listener's `tls` names.
    ///
    /// # Errors
    /// Every file that is missing, unreadable or does not fit, with its path in the settings.
    pub(crate) fn load(&self, settings: &TlsSettings) -> Result<Tls, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let resolver = self.resolver(settings).map_err(|found| errors.extend(found)).ok();
        let verifier = self.client_verifier(settings).map_err(|error| errors.push(error)).ok();
        let (Some((resolver, certificates)), Some(verifier)) = (resolver, verifier) else {
            return Err(errors);
        };
        let versions: &[&rustls::SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| vec![SettingsError::new(["min_version"], error.to_string())])?;
        let mut config = verifier
            .map_or_else(
                || builder.clone().with_no_client_auth(),
                |verifier| builder.clone().with_client_cert_verifier(verifier),
            )
            .with_cert_resolver(Arc::new(resolver));
        let alpn = settings.alpn.as_deref().unwrap_or(&[Alpn::H2, Alpn::Http11]);
        config.alpn_protocols = alpn.iter().map(|protocol| alpn_id(*protocol).to_vec()).collect();
        let domain = settings.client_auth.as_ref().map(trust_domain).transpose()?;
        config.ticketer = self
            .tickets(domain)
            .map_err(|error| vec![SettingsError::new([""; 0], error.to_string())])?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_half_rtt_data = false;
        Ok(Tls { config: Arc::new(config), certificates })
    }

    fn resolver(
        &self,
        settings: &TlsSettings,
    ) -> Result<(CertificateByName, Vec<CertificateInfo>), Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut resolver = CertificateByName::default();
        let mut infos = Vec::new();
        // The short form stands first, and its path has no index.
        let short = usize::from(settings.cert.is_some());
        for (index, files) in settings.all_certificates().iter().enumerate() {
            let path = match index.checked_sub(short) {
                Some(index) => vec!["certificates".to_owned(), index.to_string()],
                None => Vec::new(),
            };
            match self.certified_key(&files.cert, &files.key) {
                Ok((key, names, not_after)) => {
                    let name = names.first().cloned().unwrap_or_default();
                    infos.push(CertificateInfo { name, not_after });
                    resolver.add(&names, &Arc::new(key));
                }
                Err(error) => errors.push(error.under(path)),
            }
        }
        if errors.is_empty() { Ok((resolver, infos)) } else { Err(errors) }
    }

    fn certified_key(
        &self,
        cert: &Path,
        key: &Path,
    ) -> Result<(CertifiedKey, Vec<String>, SystemTime), SettingsError> {
        let chain = certificates(cert).map_err(|message| SettingsError::new(["cert"], message))?;
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            let message = format!("cannot read a private key from `{}`: {error}", key.display());
            SettingsError::new(["key"], message)
        })?;
        let (names, not_after) = chain
            .first()
            .ok_or("the file holds no certificate".to_owned())
            .and_then(|leaf| names_and_expiry(leaf))
            .map_err(|message| SettingsError::new(["cert"], message))?;
        let key = CertifiedKey::from_der(chain, key_der, &self.provider).map_err(|error| {
            let message = format!("the key `{}` does not fit: {error}", key.display());
            SettingsError::new(["key"], message)
        })?;
        Ok((key, names, not_after))
    }

    fn client_verifier(
        &self,
        settings: &TlsSettings,
    ) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, SettingsError> {
        let Some(client_auth) = &settings.client_auth else { return Ok(None) };
        let roots = roots(&client_auth.ca)
            .map_err(|message| SettingsError::new(["client_auth", "ca"], message))?;
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        if client_auth.mode == ClientAuthMode::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder
            .build()
            .map(Some)
            .map_err(|error| SettingsError::new(["client_auth", "ca"], error.to_string()))
    }
}

fn trust_domain(
    settings: &ClientAuthSettings,
) -> Result<(ClientAuthMode, Vec<u8>), Vec<SettingsError>> {
    let unreadable =
        |error: std::io::Error| vec![SettingsError::new(["client_auth", "ca"], error.to_string())];
    Ok((settings.mode, fs::read(&settings.ca).map_err(unreadable)?))
}

fn alpn_id(protocol: Alpn) -> &'static [u8] {
    match protocol {
        Alpn::H2 => b"h2",
        Alpn::Http11 => b"http/1.1",
    }
}

/// The certificates of a PEM file, leaf first.
///
/// # Errors
/// One sentence about the file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = |error: &dyn std::fmt::Display| {
        format!("cannot read certificates from `{}`: {error}", path.display())
    };
    let pem = fs::read(path).map_err(|error| read(&error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| read(&error))?;
    if chain.is_empty() { Err(read(&"it holds none")) } else { Ok(chain) }
}

/// The certificates of a PEM file as trust anchors.
///
/// # Errors
/// One sentence about the file.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("`{}`: {error}", path.display()))?;
    }
    Ok(roots)
}

fn names_and_expiry(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, SystemTime), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_ascii_lowercase());
            }
        }
    }
    if names.is_empty() {
        names.extend(
            parsed
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .map(Into::into),
        );
    }
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok((names, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// What a client's certificate says; that it may be believed is the verifier's word.
pub(crate) fn client_certificate(leaf: &CertificateDer<'_>) -> Certificate {
    let mut thumbprint = [0; 32];
    thumbprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
    let mut certificate = Certificate { thumbprint, ..Certificate::default() };
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return certificate };
    let mut names = parsed.subject().iter_common_name();
    certificate.common_name = names.next().and_then(|name| name.as_str().ok()).map(Into::into);
    if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
        for name in &alternative.value.general_names {
            match name {
                GeneralName::DNSName(name) => {
                    certificate.dns_names.push(name.to_ascii_lowercase().into());
                }
                GeneralName::URI(uri) => certificate.uris.push((*uri).into()),
                _ => {}
            }
        }
    }
    certificate
}

/// Certificates by the names they are for (RFC 6066 §3); the first configured one answers clients
/// that name no host or an unknown one.
#[derive(Debug, Default)]
struct CertificateByName {
    exact: FxHashMap<String, Arc<CertifiedKey>>,
    /// By the part after `*.`; a wildcard stands for one label (RFC 6125 §6.4.3).
    wildcard: FxHashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl CertificateByName {
    fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>) {
        self.default.get_or_insert_with(|| Arc::clone(key));
        for name in names {
            let (table, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            table.entry(name.to_owned()).or_insert_with(|| Arc::clone(key));
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.exact.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

impl ResolvesServerCert for CertificateByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> (Arc<CertifiedKey>, Vec<String>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certified =
            CertifiedKey::from_der(vec![made.cert.der().clone()], key, &default_provider());
        (Arc::new(certified.unwrap()), vec![name.to_owned()])
    }

    #[test]
    fn the_closest_name_wins_and_the_first_answers_strangers() {
        let mut table = CertificateByName::default();
        let (first, first_names) = key("a.example.com");
        let (wild, wild_names) = key("*.example.com");
        table.add(&first_names, &first);
        table.add(&wild_names, &wild);
        assert!(Arc::ptr_eq(table.find("a.example.com").unwrap(), &first));
        assert!(Arc::ptr_eq(table.find("b.example.com").unwrap(), &wild));
        assert!(table.find("b.c.example.com").is_none());
        assert!(Arc::ptr_eq(table.default.as_ref().unwrap(), &first));
    }

    #[test]
    fn a_certificate_tells_its_names_and_end() {
        let made = rcgen::generate_simple_self_signed(["API.example.com".to_owned()]).unwrap();
        let (names, not_after) = names_and_expiry(made.cert.der()).unwrap();
        assert_eq!(names, ["api.example.com"]);
        assert!(not_after > SystemTime::UNIX_EPOCH);
    }
}
