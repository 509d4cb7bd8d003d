//! Certificates made on the spot, and clients that trust them.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub cert: String,
    /// The private key.
    pub key: String,
}

impl Leaf {
    /// SHA-256 of the certificate in DER, by which tokens are bound to it (RFC 8705 §3.1).
    #[track_caller]
    #[must_use]
    pub fn thumbprint(&self) -> Vec<u8> {
        let der = CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate");
        ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &der).as_ref().to_vec()
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Leaf").field("cert", &self.cert).finish_non_exhaustive()
    }
}

/// A certificate authority that lives as long as the test.
pub struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ca").finish_non_exhaustive()
    }
}

impl Ca {
    /// A new authority.
    #[track_caller]
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signs").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server with these names; addresses are recognised.
    #[track_caller]
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Leaf {
        self.leaf(names, "server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client.
    #[track_caller]
    #[must_use]
    pub fn client(&self, name: &str) -> Leaf {
        self.leaf(&[name], name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn leaf(&self, names: &[&str], common_name: &str, usage: ExtendedKeyUsagePurpose) -> Leaf {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("signs").pem();
        Leaf { cert, key: key.serialize_pem() }
    }
}

/// How a test client shakes hands.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: RootCertStore,
    alpn: Vec<Vec<u8>>,
    identity: Option<Leaf>,
    only_tls12: bool,
    resumes: bool,
}

/// A client that trusts this authority and nobody else.
#[track_caller]
#[must_use]
pub fn trusting(ca: &Ca) -> Trust {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(ca.pem())).expect("a root");
    Trust { roots, alpn: Vec::new(), identity: None, only_tls12: false, resumes: false }
}

impl Trust {
    /// Offers these protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Shows this certificate when asked.
    #[must_use]
    pub fn identity(mut self, leaf: &Leaf) -> Self {
        self.identity = Some(leaf.clone());
        self
    }

    /// Offers TLS 1.2 only.
    #[must_use]
    pub fn only_tls12(mut self) -> Self {
        self.only_tls12 = true;
        self
    }

    /// Uses session tickets. Without this each handshake is a full one.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// The configuration for [`crate::Connection::tls`].
    #[track_caller]
    #[must_use]
    pub fn config(self) -> Arc<ClientConfig> {
        let versions: &[_] =
            if self.only_tls12 { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("the provider has these versions")
            .with_root_certificates(self.roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("a key");
                builder
                    .with_client_auth_cert(vec![certificate(&leaf.cert)], key)
                    .expect("a matching key")
            }
        };
        config.alpn_protocols = self.alpn;
        if !self.resumes {
            config.resumption = Resumption::disabled();
        }
        Arc::new(config)
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, Connection, Nginx, needs};

    #[test]
    fn a_client_trusts_its_authority_and_no_other() {
        needs!("nginx");
        let ca = Ca::new("ours");
        let leaf = ca.server(&["api.example.com", "127.0.0.1"]);
        let server = "ssl_certificate cert.pem; ssl_certificate_key key.pem; return 200 'tls';";
        let files = [("cert.pem", leaf.cert.as_str()), ("key.pem", leaf.key.as_str())];
        let pod = Nginx::listening("ssl", server, &files);
        let mut connection =
            Connection::tls(pod.address(), "api.example.com", &trusting(&ca).config());
        assert_eq!(Ask::new("GET", "/").send_on(&mut connection).text(), "tls");
        let stranger = trusting(&Ca::new("other")).config();
        let refused = Connection::tls_after(pod.address(), b"", "api.example.com", &stranger);
        assert!(refused.is_err());
    }
}
