//! Where clients connect, and how.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use tidegate_core::net::Network;

/// One address that clients connect to.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ListenerSettings {
    /// `IP:port`; `0.0.0.0` takes every IPv4 address, `[::]` every IPv6 one. A reload binds new
    /// addresses and closes those that are gone.
    pub address: BindAddress,
    /// Speak TLS. Default: plain. A reload applies it to new connections.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
    /// Speak HTTP/2 without TLS to clients that begin so (RFC 9113 §3.3). Default: false. A
    /// reload applies it to new connections.
    #[serde(default)]
    pub h2c: bool,
    /// Expect a PROXY protocol header, version 1 or 2. Default: none is read. A reload applies it
    /// to new connections.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocolSettings>,
}

/// Which peers send a PROXY protocol header.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ProxyProtocolSettings {
    /// These peers must send the header; all others are refused.
    pub from: Vec<Network>,
}

/// How TLS is spoken to clients. A reload applies it to new connections.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct TlsSettings {
    /// A PEM file with the certificate and its chain; short for one entry in `certificates`.
    pub cert: Option<PathBuf>,
    /// A PEM file with the key of `cert`.
    pub key: Option<PathBuf>,
    /// Several certificates, chosen by the name that the client asks for; the first one serves
    /// clients that name none of them.
    pub certificates: Vec<CertificateSettings>,
    /// The oldest version spoken, "1.2" or "1.3". Default: "1.3".
    pub min_version: TlsVersion,
    /// Ask clients for a certificate. Default: they are not asked.
    pub client_auth: Option<ClientAuthSettings>,
    /// The protocols offered, most wanted first. Default: h2 and http/1.1.
    pub alpn: Option<Vec<Alpn>>,
}

impl TlsSettings {
    /// All certificates, the short form first.
    #[must_use]
    pub fn all_certificates(&self) -> Vec<CertificateSettings> {
        let short = self.cert.clone().zip(self.key.clone());
        let short = short.map(|(cert, key)| CertificateSettings { cert, key });
        short.into_iter().chain(self.certificates.iter().cloned()).collect()
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct CertificateSettings {
    /// A PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward secret and authenticated ciphers only.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[default]
    #[serde(rename = "1.3")]
    V1_3,
}

/// How clients are asked for a certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ClientAuthSettings {
    /// A PEM file with the authorities that sign clients' certificates.
    pub ca: PathBuf,
    /// `required`, or `optional`: without one is fine, with a wrong one is not. Default:
    /// `required`.
    #[serde(default)]
    pub mode: ClientAuthMode,
}

/// Whether a client needs a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// A client without a certificate is served, one with a wrong certificate is not.
    Optional,
    /// A client without a valid certificate is not served.
    #[default]
    Required,
}

/// A protocol that TLS can agree on (RFC 7301).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
}

/// An address to listen on, as `IP:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct BindAddress(pub SocketAddr);

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for BindAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BindAddressVisitor)
    }
}

struct BindAddressVisitor;

impl Visitor<'_> for BindAddressVisitor {
    type Value = BindAddress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as 0.0.0.0:8443 or [::]:8443")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<BindAddress, E> {
        text.parse().map(BindAddress).map_err(|_error| {
            E::custom(format_args!(
                "`{text}` is not an address to listen on; write IP:port, such as 0.0.0.0:8443 or [::]:8443"
            ))
        })
    }
}

impl JsonSchema for BindAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BindAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$",
            "examples": ["0.0.0.0:8443", "[::]:8443"],
        })
    }
}
