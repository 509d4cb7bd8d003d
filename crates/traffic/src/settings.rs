//! The settings of an upstream and of how its endpoints are called. What belongs to one feature
//! stands beside it: balancing in [`crate::algorithms`], checks in [`crate::health`].

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::units::{Percent, Span};

use crate::algorithms::Balance;
use crate::breaker::BreakerSettings;
use crate::cookies::CookieSettings;
use crate::health::HealthSettings;
use crate::limits::LimitSettings;
use crate::outlier::OutlierSettings;
use crate::slow_start::SlowStartSettings;
use crate::zones::{Locality, ZoneSettings};

/// A named group of endpoints that serve the same thing.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct UpstreamSettings {
    /// Where it runs: `IP:port` or `name:port`, or a map with `address` and `weight`. Names are
    /// resolved again when their TTL ends. A reload applies it.
    pub endpoints: Vec<EndpointSettings>,
    /// How an endpoint is chosen. Default: `round_robin`. A reload applies it.
    #[serde(default)]
    pub balance: Balance,
    /// Bind each client to an endpoint by a signed cookie, for as long as that endpoint is
    /// available. Default: no. A reload applies it.
    #[serde(default)]
    pub sticky: Option<CookieSettings>,
    /// `http1`, or `h2` (without `tls` that is h2c). Default: `http1`. A reload applies it.
    #[serde(default)]
    pub protocol: Protocol,
    /// Speak TLS to the endpoints. Default: plain. A reload applies it.
    pub tls: Option<UpstreamTlsSettings>,
    /// Take endpoints out that fail or lag where others do not. Default: off; `{}` switches it on.
    /// A reload applies it.
    #[serde(default)]
    pub outlier: Option<OutlierSettings>,
    /// Give new and recovered endpoints their load bit by bit. Default: off; `{}` switches it on.
    /// A reload applies it.
    #[serde(default)]
    pub slow_start: Option<SlowStartSettings>,
    /// With less than this share of the endpoints able to serve, requests go to all of them, since
    /// what looks like so many failures may be a mistake, and the few would not stand the load;
    /// `0%` switches it off. With none able to serve, requests are refused. Default: 50%. A reload
    /// applies it.
    #[serde(default = "half")]
    pub panic_threshold: Percent,
    /// How load is shared over zones. A reload applies it.
    #[serde(default)]
    pub zones: ZoneSettings,
    /// How much may be on it at the same time. Default: no limits. A reload applies it.
    #[serde(default)]
    pub limits: LimitSettings,
    /// Refuse requests at once while most of them fail. Default: off; `{}` switches it on. A reload
    /// applies it.
    #[serde(default)]
    pub breaker: Option<BreakerSettings>,
    /// Ask the endpoints actively whether they can serve. Default: no checks, all are taken as
    /// healthy. A reload applies it.
    pub health: Option<HealthSettings>,
    /// Connections kept open between requests. A reload applies it to new connections.
    #[serde(default)]
    pub keepalive: KeepaliveSettings,
}

/// The protocol towards an upstream.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; without TLS with prior knowledge (RFC 9113 §3.3).
    H2,
}

/// One endpoint: `"host:port"`, or a map with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share of the load, relative to the others; 0 drains it.
    pub weight: u32,
    /// Where it runs.
    pub locality: Locality,
    /// Its level of priority; 0 goes first.
    pub priority: u8,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EndpointMap {
    /// `IP:port` or `name:port`.
    address: EndpointAddress,
    /// The endpoint's share of the load, relative to the others, at most 65535; 0 drains it.
    /// Default: 1.
    #[serde(default = "one")]
    #[schemars(range(max = 65535))]
    weight: u32,
    /// The region that it runs in. Default: none.
    #[serde(default)]
    region: Option<Arc<str>>,
    /// The zone that it runs in. Default: none.
    #[serde(default)]
    zone: Option<Arc<str>>,
    /// Its level: higher ones get requests only while less than 72 % of the lower ones can serve.
    /// Default: 0.
    #[serde(default)]
    priority: u8,
}

const fn one() -> u32 {
    1
}

const fn half() -> Percent {
    Percent::new(50)
}

impl<'de> Deserialize<'de> for EndpointSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointVisitor)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = EndpointSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an endpoint such as 10.0.1.11:8080, or a map with `address` and `weight`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<EndpointSettings, E> {
        let address = text.parse().map_err(|error| refused(text, error))?;
        Ok(EndpointSettings { address, weight: 1, locality: Locality::default(), priority: 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndpointSettings, A::Error> {
        let map = EndpointMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(EndpointSettings {
            address: map.address,
            weight: map.weight,
            locality: Locality { region: map.region, zone: map.zone },
            priority: map.priority,
        })
    }
}

impl JsonSchema for EndpointSettings {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`IP:port` or `name:port`, or a map with its weight.",
            "anyOf": [
                generator.subschema_for::<EndpointAddress>(),
                generator.subschema_for::<EndpointMap>(),
            ],
        })
    }
}

/// Where an endpoint is: an address, or a name that is resolved at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A name and a port.
    Name {
        /// The name, in lower case and without a trailing dot.
        host: String,
        /// The port.
        port: u16,
    },
    /// An IP address and a port.
    Socket(SocketAddr),
}

impl FromStr for EndpointAddress {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let zero = address.port() == 0;
            return if zero { Err(ParseEndpointError::Port) } else { Ok(Self::Socket(address)) };
        }
        if text.contains("://") {
            return Err(ParseEndpointError::Scheme);
        }
        let (host, port) = text.rsplit_once(':').ok_or(ParseEndpointError::NoPort)?;
        if host.contains(':') {
            return Err(ParseEndpointError::NoPort);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(ParseEndpointError::Port)?;
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if !is_dns_name(&host) {
            return Err(ParseEndpointError::Name);
        }
        Ok(Self::Name { host, port })
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for EndpointAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| refused(&text, error))
    }
}

fn refused<E: de::Error>(text: &str, error: ParseEndpointError) -> E {
    E::custom(format_args!("`{text}` is not an endpoint: {error}"))
}

impl JsonSchema for EndpointAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EndpointAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^.+:[0-9]{1,5}$",
            "examples": ["10.0.1.11:8080", "pods.internal:8080", "[2001:db8::1]:8080"],
        })
    }
}

/// The text is not an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseEndpointError {
    /// The name is not a DNS name.
    #[error("the name may have letters, digits, hyphens and dots only")]
    Name,
    /// There is no port.
    #[error("it needs a port, such as 10.0.1.11:8080 or [2001:db8::1]:8080")]
    NoPort,
    /// The port is not a port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// It is a URL.
    #[error("write host:port without a scheme; `tls` and `protocol` say how to speak")]
    Scheme,
}

/// Whether `text` is a DNS name in lower case: labels of letters, digits, hyphens and underscores
/// (which service discovery uses), at most 63 octets each and 253 together (RFC 1035 §2.3.4). A
/// name whose last label is all digits is refused, since it can be read as an IPv4 address.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let numeric_end =
        text.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !numeric_end && text.split('.').all(label)
}

/// How TLS is spoken to an upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct UpstreamTlsSettings {
    /// A PEM file with the authorities to trust. Default: the system's.
    pub ca: Option<PathBuf>,
    /// The name in the handshake, which the certificate must carry. Default: the endpoint's name;
    /// endpoints given by address need it.
    pub sni: Option<String>,
    /// A PEM file with our own certificate, for mutual TLS; needs `key`.
    pub cert: Option<PathBuf>,
    /// A PEM file with the key of `cert`.
    pub key: Option<PathBuf>,
    /// Accept any certificate. Default: false. Whoever can reach the wire can then read and change
    /// what passes.
    pub insecure_skip_verify: bool,
}

/// Connections kept open between requests.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct KeepaliveSettings {
    /// How long an unused connection is kept. Default: 60s.
    pub idle_timeout: Span,
}

impl Default for KeepaliveSettings {
    fn default() -> Self {
        Self { idle_timeout: Span::seconds(60) }
    }
}

/// How long the proxy waits for an upstream. A policy field; a reload applies it to new requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct TimeoutSettings {
    /// Until the connection stands, TLS included. Default: 2s.
    pub connect: Option<Span>,
    /// From the request sent to the response header. Default: 30s.
    pub first_byte: Option<Span>,
    /// Between two reads of the response body. Default: 30s.
    pub between_bytes: Option<Span>,
    /// For the whole exchange, retries included; `0s` means no limit. Default: no limit.
    pub total: Option<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ParseEndpointError>) {
        let parsed = text.parse::<EndpointAddress>().map(|address| address.to_string());
        assert_eq!(parsed.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn endpoints_are_addresses_or_names_with_a_port() {
        check("10.0.1.11:8080", Ok("10.0.1.11:8080"));
        check("[2001:db8::1]:8080", Ok("[2001:db8::1]:8080"));
        check("Pods.Internal.:80", Ok("pods.internal:80"));
        check("_http._tcp.pods:80", Ok("_http._tcp.pods:80"));
        check("10.0.1.11", Err(ParseEndpointError::NoPort));
        check("2001:db8::1:8080", Err(ParseEndpointError::NoPort));
        check("10.0.1.11:0", Err(ParseEndpointError::Port));
        check("pods:99999", Err(ParseEndpointError::Port));
        check("10.0.1.300:80", Err(ParseEndpointError::Name));
        check("-pods:80", Err(ParseEndpointError::Name));
        check(":80", Err(ParseEndpointError::Name));
        check("http://pods:80", Err(ParseEndpointError::Scheme));
    }

    #[test]
    fn the_schema_of_every_feature_can_be_made() {
        let schemas = [
            schemars::schema_for!(UpstreamSettings),
            schemars::schema_for!(TimeoutSettings),
            schemars::schema_for!(crate::retry::RetrySettings),
            schemars::schema_for!(crate::hedge::HedgeSettings),
            schemars::schema_for!(crate::RouteMatch),
            schemars::schema_for!(crate::filters::HeaderFilterSettings),
            schemars::schema_for!(crate::filters::RewriteSettings),
            schemars::schema_for!(crate::filters::RedirectSettings),
        ];
        for schema in schemas {
            assert_eq!(schema.get("type"), Some(&"object".into()));
            assert_eq!(schema.get("additionalProperties"), Some(&false.into()));
        }
    }
}
