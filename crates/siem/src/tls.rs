//! Certificates for sinks over TLS: whom they trust, and who we are. Files are read when the
//! configuration is compiled, so that a bad one is found before anything is sent.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tidegate_core::SettingsError;

use crate::settings::ClientTls;

/// Whom to trust, and who we are.
#[derive(Default, PartialEq, Eq)]
pub struct TlsMaterial {
    ca: Option<Pem<Vec<CertificateDer<'static>>>>,
    identity: Option<Identity>,
}

/// What was read, and the file's text for clients that want that.
#[derive(PartialEq, Eq)]
struct Pem<T> {
    text: Vec<u8>,
    parsed: T,
}

/// A client's certificate with its key.
#[derive(PartialEq, Eq)]
struct Identity {
    chain: Pem<Vec<CertificateDer<'static>>>,
    key: Pem<PrivateKeyDer<'static>>,
}

impl TlsMaterial {
    /// Reads the files that the settings name.
    pub(crate) fn load(settings: Option<&ClientTls>, errors: &mut Vec<SettingsError>) -> Self {
        let Some(ClientTls { ca, cert, key }) = settings else { return Self::default() };
        let mut noted = |field: &str, message: String| {
            errors.push(SettingsError::new([field], message));
        };
        let ca =
            ca.as_ref().and_then(|path| authorities(path).map_err(|why| noted("ca", why)).ok());
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert).map_err(|why| noted("cert", why)).ok();
                let key = private_key(key).map_err(|why| noted("key", why)).ok();
                chain.zip(key).map(|(chain, key)| Identity { chain, key })
            }
            (None, None) => None,
            (Some(_), None) => {
                noted("cert", "a certificate needs its key: add `key`".to_owned());
                None
            }
            (None, Some(_)) => {
                noted("key", "a key needs its certificate: add `cert`".to_owned());
                None
            }
        };
        Self { ca, identity }
    }

    /// The authorities of `ca`, DER; `None` means the system's.
    pub fn authorities(&self) -> Option<&[CertificateDer<'static>]> {
        self.ca.as_ref().map(|ca| &*ca.parsed)
    }

    /// Our certificate with its chain and our private key, DER.
    pub fn identity(&self) -> Option<(&[CertificateDer<'static>], &[u8])> {
        let identity = self.identity.as_ref()?;
        Some((&identity.chain.parsed, identity.key.parsed.secret_der()))
    }

    /// The text of the file of authorities.
    pub(crate) fn authorities_pem(&self) -> Option<&[u8]> {
        self.ca.as_ref().map(|ca| &*ca.text)
    }

    /// The texts of the files of our certificate and key.
    pub(crate) fn identity_pem(&self) -> Option<(&[u8], &[u8])> {
        self.identity.as_ref().map(|identity| (&*identity.chain.text, &*identity.key.text))
    }

    /// What rustls needs to connect.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        match self.authorities() {
            Some(authorities) => {
                for authority in authorities {
                    roots.add(authority.clone())?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(config.with_no_client_auth()),
            Some(Identity { chain, key }) => {
                config.with_client_auth_cert(chain.parsed.clone(), key.parsed.clone_key())
            }
        }
    }
}

/// Without the key.
impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// Certificates that rustls takes as trust anchors.
fn authorities(path: &Path) -> Result<Pem<Vec<CertificateDer<'static>>>, String> {
    let pem = certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in &pem.parsed {
        let added = store.add(certificate.clone());
        added.map_err(|error| format!("`{}`: {error}", path.display()))?;
    }
    Ok(pem)
}

fn certificates(path: &Path) -> Result<Pem<Vec<CertificateDer<'static>>>, String> {
    let wrong = |error: &dyn fmt::Display| {
        format!("cannot read certificates from `{}`: {error}", path.display())
    };
    let text = read(path)?;
    let parsed: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    if parsed.is_empty() { Err(wrong(&"it holds none")) } else { Ok(Pem { text, parsed }) }
}

fn private_key(path: &Path) -> Result<Pem<PrivateKeyDer<'static>>, String> {
    let wrong = |error: &dyn fmt::Display| {
        format!("cannot read a private key from `{}`: {error}", path.display())
    };
    let text = read(path)?;
    let parsed = PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(&error))?;
    Ok(Pem { text, parsed })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("no such file `{}`", path.display()),
        _ => format!("cannot read `{}`: {error}", path.display()),
    })
}
