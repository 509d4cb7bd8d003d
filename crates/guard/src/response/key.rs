//! Who is counted apart, and whom a decision is then about.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use tidegate_core::decision::{Party, Target};
use tidegate_core::net::{self, Network};

use super::hash::Secret;
use super::seen::Seen;
use super::settings::{DistinctOf, KeySettings};
use super::upstreams::Upstreams;
use super::when::path_of;

/// The address as one client has it: an IPv6 network gives its hosts as many as they like, so the
/// first 64 bits count.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    net::site(address, 64)
}

impl KeySettings {
    /// The key's hash; `None` if there is nobody to count.
    pub(super) fn hash(
        &self,
        seen: &Seen<'_>,
        upstreams: &dyn Upstreams,
        secret: Secret,
    ) -> Option<u64> {
        let party = |kind, (provider, id): (&str, &str)| secret.hash(kind, &(provider, id));
        Some(match self {
            Self::ClientIp => secret.hash(1, &client_network(seen.client()?)),
            Self::Prefix { ipv4, ipv6 } => secret.hash(2, &prefix(seen.client()?, *ipv4, *ipv6)?),
            Self::Subject => party(3, subject(seen)?),
            Self::Client => party(4, client(seen, false)?),
            Self::ApiKey => party(4, client(seen, true)?),
            Self::Token => secret.hash(5, seen.request()?.credential?),
            Self::Route => secret.hash(6, seen.request()?.route?),
            Self::Header(name) => secret.hash(7, seen.header(name)?),
            Self::Endpoint => secret.hash(8, &endpoint(seen)?),
            Self::Zone => {
                let (upstream, endpoint) = endpoint(seen)?;
                secret.hash(9, &(upstream, upstreams.zone(upstream, endpoint)?))
            }
        })
    }

    /// Whom a decision is about.
    pub(super) fn target(&self, seen: &Seen<'_>, upstreams: &dyn Upstreams) -> Option<Target> {
        let party =
            |(provider, id): (&str, &str)| Party { provider: provider.into(), id: id.into() };
        Some(match self {
            Self::ClientIp | Self::Header(_) => {
                Target::Network(prefix(seen.client()?, 32, 64)?.into())
            }
            Self::Prefix { ipv4, ipv6 } => {
                Target::Network(prefix(seen.client()?, *ipv4, *ipv6)?.into())
            }
            Self::Subject => Target::Subject(party(subject(seen)?)),
            Self::Client => Target::Client(party(client(seen, false)?)),
            Self::ApiKey => Target::Client(party(client(seen, true)?)),
            Self::Token => Target::Token(seen.request()?.credential?.into()),
            Self::Route => Target::Route(seen.request()?.route?.into()),
            Self::Endpoint => {
                let (upstream, endpoint) = endpoint(seen)?;
                Target::Endpoint { upstream: upstream.into(), endpoint }
            }
            Self::Zone => {
                let (upstream, endpoint) = endpoint(seen)?;
                let zone = upstreams.zone(upstream, endpoint)?;
                Target::Zone { upstream: upstream.into(), zone }
            }
        })
    }
}

impl DistinctOf {
    /// The hashes of the values that the event shows.
    pub(super) fn values(self, seen: &Seen<'_>, secret: Secret, mut each: impl FnMut(u64)) {
        let event = seen.request();
        let text = |text: Option<&str>| text.map(|text| secret.hash(21, text));
        let value = match self {
            Self::ClientIp => seen.client().map(|of| secret.hash(20, &client_network(of))),
            Self::Endpoint => seen.endpoint().map(|of| secret.hash(22, &of)),
            Self::Path => text(event.map(path_of)),
            Self::Route => text(event.and_then(|event| event.route)),
            Self::Subject => subject(seen).map(|of| secret.hash(23, &of)),
            Self::Token => text(event.and_then(|event| event.credential)),
            Self::UserAgent => text(event.and_then(|event| event.user_agent)),
            Self::Rule => {
                let found = event.and_then(|event| event.waf);
                for matched in found.iter().flat_map(|found| &found.matches) {
                    each(secret.hash(24, &matched.rule));
                }
                None
            }
        };
        value.into_iter().for_each(each);
    }
}

fn prefix(address: IpAddr, ipv4: u8, ipv6: u8) -> Option<IpNet> {
    let address = address.to_canonical();
    IpNet::new(address, if address.is_ipv4() { ipv4 } else { ipv6 }).ok().map(|net| net.trunc())
}

fn subject<'a>(seen: &Seen<'a>) -> Option<(&'a str, &'a str)> {
    let identity = seen.request()?.identity?;
    Some((&identity.provider, identity.subject.as_deref()?))
}

fn client<'a>(seen: &Seen<'a>, only_keys: bool) -> Option<(&'a str, &'a str)> {
    let identity = seen.request()?.identity.filter(|of| !only_keys || of.method == "api_key")?;
    Some((&identity.provider, identity.client.as_deref()?))
}

fn endpoint<'a>(seen: &Seen<'a>) -> Option<(&'a str, SocketAddr)> {
    Some((seen.upstream()?, seen.endpoint()?))
}

/// The networks of a kind that nobody may be kept from.
pub(super) fn loopback() -> impl Iterator<Item = Network> {
    ["127.0.0.0/8", "::1"].into_iter().filter_map(|text| text.parse().ok())
}
