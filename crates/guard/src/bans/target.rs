//! Targets as people and files write them: by names such as `network`, `subject` with `provider`,
//! or `endpoint` with `upstream`. One reading for the file of bans, queries of the admin listener
//! and labels of alerts.

use serde::{Deserialize, Serialize};
use tidegate_core::decision::{Party, Target};

/// The words for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// An address or a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Who asks, at `provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The client that acts, at `provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The name of a provider in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The SHA-256 of a token in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A route's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The address and port of an endpoint of `upstream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The name of a zone of `upstream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The name of an upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// Shorter prefixes than these hit whole countries: from elsewhere they are a mistake.
const WIDEST: (u8, u8) = (8, 16);

/// Whether a target is wider than somebody elsewhere may decide about: an IPv4 /8, an IPv6 /16.
#[must_use]
pub fn is_too_wide(target: &Target) -> bool {
    let Target::Network(network) = target else { return false };
    let net = network.net();
    net.prefix_len() < if net.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 }
}

/// The words do not name one target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// None of the names of a target is there.
    #[error("name a target: network, subject, client, token, route, endpoint or zone")]
    Missing,
    /// More than one is.
    #[error("name one target, not several")]
    Several,
    /// A subject or client without its provider, an endpoint or zone without its upstream.
    #[error("{0} needs {1} beside it")]
    Alone(&'static str, &'static str),
    /// What is written cannot be read.
    #[error("`{0}` is {1}")]
    Malformed(String, String),
}

impl Written {
    /// Collects the words by their names.
    pub fn from_names(mut value: impl FnMut(&str) -> Option<String>) -> Self {
        let mut value = |name| value(name).filter(|value| !value.is_empty());
        Self {
            network: value("network"),
            subject: value("subject"),
            client: value("client"),
            provider: value("provider"),
            token: value("token"),
            route: value("route"),
            endpoint: value("endpoint"),
            zone: value("zone"),
            upstream: value("upstream"),
        }
    }

    /// The target that is meant.
    ///
    /// # Errors
    ///
    /// The words name none, more than one, or something that cannot be.
    pub fn target(self) -> Result<Target, Unclear> {
        let Self { network, subject, client, provider, token, route, endpoint, zone, upstream } =
            self;
        let named = [&network, &subject, &client, &token, &route, &endpoint, &zone];
        match named.iter().filter(|name| name.is_some()).count() {
            0 => return Err(Unclear::Missing),
            1 => {}
            _ => return Err(Unclear::Several),
        }
        let party = |what, id: String| match &provider {
            Some(provider) => Ok(Party { provider: provider.as_str().into(), id: id.into() }),
            None => Err(Unclear::Alone(what, "provider")),
        };
        let upstream = |what| match &upstream {
            Some(upstream) => Ok(upstream.as_str().into()),
            None => Err(Unclear::Alone(what, "upstream")),
        };
        if let Some(text) = network {
            let network = text.parse().map_err(|error| malformed(&text, &error))?;
            Ok(Target::Network(network))
        } else if let Some(id) = subject {
            Ok(Target::Subject(party("subject", id)?))
        } else if let Some(id) = client {
            Ok(Target::Client(party("client", id)?))
        } else if let Some(hash) = token {
            Ok(Target::Token(token_hash(&hash)?))
        } else if let Some(text) = endpoint {
            let endpoint =
                text.parse().map_err(|_error| malformed(&text, "no address and port"))?;
            Ok(Target::Endpoint { upstream: upstream("endpoint")?, endpoint })
        } else if let Some(zone) = zone {
            Ok(Target::Zone { upstream: upstream("zone")?, zone: zone.into() })
        } else {
            Ok(Target::Route(route.unwrap_or_default().into()))
        }
    }
}

fn malformed(text: &str, what: &(impl ToString + ?Sized)) -> Unclear {
    Unclear::Malformed(text.to_owned(), what.to_string())
}

fn token_hash(text: &str) -> Result<Box<str>, Unclear> {
    let hash = text.to_ascii_lowercase();
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hash.into());
    }
    // The text may be the token itself, which is nobody's business.
    Err(malformed("token", "not the SHA-256 of a token in 64 hexadecimal digits"))
}

impl From<&Target> for Written {
    fn from(target: &Target) -> Self {
        let mut written = Self::default();
        let text = |text: &str| Some(text.to_owned());
        match target {
            Target::Network(network) => written.network = Some(network.to_string()),
            Target::Subject(party) => {
                written.subject = text(&party.id);
                written.provider = text(&party.provider);
            }
            Target::Client(party) => {
                written.client = text(&party.id);
                written.provider = text(&party.provider);
            }
            Target::Token(hash) => written.token = text(hash),
            Target::Route(route) => written.route = text(route),
            Target::Endpoint { upstream, endpoint } => {
                written.upstream = text(upstream);
                written.endpoint = Some(endpoint.to_string());
            }
            Target::Zone { upstream, zone } => {
                written.upstream = text(upstream);
                written.zone = text(zone);
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Target, Unclear> {
        let value = |name: &str| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Written::from_names(value).target()
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: &str) {
        let said = match read(pairs) {
            Ok(target) => {
                assert_eq!(Written::from(&target).target().as_ref(), Ok(&target), "{pairs:?}");
                target.to_string()
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{pairs:?}");
    }

    #[test]
    fn each_target_has_its_words_and_comes_back_from_them() {
        check(&[("network", "10.0.0.0/8")], "10.0.0.0/8");
        check(&[("subject", "ann"), ("provider", "corp")], "subject ann of corp");
        check(&[("client", "app"), ("provider", "corp")], "client app of corp");
        check(&[("route", "pay")], "route pay");
        check(&[("endpoint", "10.0.0.1:80"), ("upstream", "api")], "endpoint 10.0.0.1:80 of api");
        check(&[("zone", "a"), ("upstream", "api")], "zone a of api");
        let hash = "AB".repeat(32);
        check(&[("token", &hash)], &format!("token {}", "ab".repeat(32)));
    }

    #[test]
    fn what_names_no_target_says_so() {
        check(&[], "name a target: network, subject, client, token, route, endpoint or zone");
        check(
            &[("route", "")],
            "name a target: network, subject, client, token, route, endpoint or zone",
        );
        check(&[("route", "a"), ("network", "::1")], "name one target, not several");
        check(&[("subject", "ann")], "subject needs provider beside it");
        check(&[("zone", "a")], "zone needs upstream beside it");
        check(
            &[("token", "s3cr3t")],
            "`token` is not the SHA-256 of a token in 64 hexadecimal digits",
        );
        check(&[("endpoint", "nowhere"), ("upstream", "api")], "`nowhere` is no address and port");
    }
}
