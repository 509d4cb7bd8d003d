//! Hosts as routes name them.

use std::net::{IpAddr, Ipv6Addr};

use crate::settings::is_dns_name;

/// A host that a route names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum HostPattern {
    /// Any host, and requests that name none.
    Any,
    /// This host.
    Exact(String),
    /// One or more labels in front of this suffix.
    Wildcard(String),
}

impl HostPattern {
    /// Reads a host; the error says what is wrong and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, (String, Option<String>)> {
        let lower = text.to_ascii_lowercase();
        let host = lower.strip_suffix('.').unwrap_or(&lower);
        if host == "*" {
            return Ok(Self::Any);
        }
        if let Some(suffix) = host.strip_prefix("*.") {
            return match is_dns_name(suffix) {
                true => Ok(Self::Wildcard(suffix.to_owned())),
                false => Err((format!("`{text}` is not a wildcard host"), None)),
            };
        }
        if is_dns_name(host) || is_ip_literal(host) {
            return Ok(Self::Exact(host.to_owned()));
        }
        Err(explain(text, host))
    }
}

/// As a URI's host: an IPv4 address, or an IPv6 address in brackets and in its canonical form.
fn is_ip_literal(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_string() == inner),
        None => host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()),
    }
}

fn explain(text: &str, host: &str) -> (String, Option<String>) {
    let message = format!("`{text}` is not a host");
    if let Some((_, rest)) = host.split_once("://") {
        let name = rest.split(['/', ':']).next().unwrap_or(rest);
        return (message, Some(format!("write `{name}`, without scheme, port and path")));
    }
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        return (message, Some(format!("write \"[{ip}]\"")));
    }
    match host.split_once([':', '/']) {
        Some((name, _)) if is_dns_name(name) => {
            (message, Some(format!("write `{name}`: hosts match whatever the port")))
        }
        _ if !host.is_ascii() => {
            (message, Some("write internationalised names in their `xn--` form".to_owned()))
        }
        _ if host.contains('*') => {
            (message, Some("a wildcard stands for whole labels in front: `*.example.com`".into()))
        }
        _ => (message, None),
    }
}

/// What follows each dot of `host`, longest first: `b.c` and `c` for `a.b.c`.
pub(super) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'))
        .map(|(_, suffix)| suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<HostPattern, Option<&str>>) {
        let found = HostPattern::parse(text).map_err(|(_, hint)| hint);
        assert_eq!(found, expected.map_err(|hint| hint.map(str::to_owned)), "{text}");
    }

    #[test]
    fn hosts_are_names_addresses_or_wildcards() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.to_owned()));
        check("api.example.com", exact("api.example.com"));
        check("API.Example.com.", exact("api.example.com"));
        check("localhost", exact("localhost"));
        check("10.0.0.1", exact("10.0.0.1"));
        check("[2001:db8::1]", exact("[2001:db8::1]"));
        check("*", Ok(HostPattern::Any));
        check("*.example.com", Ok(HostPattern::Wildcard("example.com".to_owned())));
        check("*.*.com", Err(None));
        check(
            "a*.example.com",
            Err(Some("a wildcard stands for whole labels in front: `*.example.com`")),
        );
        check(
            "api.example.com:80",
            Err(Some("write `api.example.com`: hosts match whatever the port")),
        );
        check("https://a.b/c", Err(Some("write `a.b`, without scheme, port and path")));
        check("2001:db8::1", Err(Some("write \"[2001:db8::1]\"")));
        check("caf\u{e9}.fr", Err(Some("write internationalised names in their `xn--` form")));
        check("", Err(None));
        check("a b", Err(None));
    }

    #[test]
    fn suffixes_come_longest_first() {
        assert_eq!(suffixes("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
        assert_eq!(suffixes("a").count() + suffixes("").count(), 0);
    }
}
