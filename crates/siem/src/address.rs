//! Addresses of receivers: `scheme://host:port/path`, never with a password in them.

use std::net::IpAddr;

/// An address of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// One of those that were allowed.
    pub(crate) scheme: &'a str,
    /// A name or an address, without brackets.
    pub(crate) host: &'a str,
    /// The port, if it is given.
    pub(crate) port: Option<u16>,
    /// What follows, with its slash; may be empty.
    pub(crate) path: &'a str,
}

impl<'a> Address<'a> {
    /// Reads an address with one of the schemes.
    ///
    /// # Errors
    /// One sentence about what is wrong.
    pub(crate) fn parse(text: &'a str, schemes: &[&str]) -> Result<Self, String> {
        let all = || schemes.join(", ");
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("it has no scheme (one of {})", all()));
        };
        if !schemes.contains(&scheme) {
            return Err(format!("the scheme `{scheme}` is none of {}", all()));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("an address must not hold a password".to_owned());
        }
        let Some((host, port)) = split_port(authority) else {
            return Err("it has no host and port that can be used".to_owned());
        };
        if path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err("its path has characters that it cannot have".to_owned());
        }
        Ok(Self { scheme, host, port, path })
    }

    /// Whether the receiver is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        is_here(self.host)
    }

    /// Host and port to connect to.
    pub(crate) fn target(&self, default_port: u16) -> String {
        let port = self.port.unwrap_or(default_port);
        match self.host.contains(':') {
            true => format!("[{}]:{port}", self.host),
            false => format!("{}:{port}", self.host),
        }
    }
}

/// Whether a host is this machine.
pub(crate) fn is_here(host: &str) -> bool {
    let is_loopback = |address: IpAddr| address.is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

/// A broker as `host:port`.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = split_port(text)?;
    Some((host, port?))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(usual) {
        return None;
    }
    let port = port
        .map(|port| port.parse().ok().filter(|port| *port > 0))
        .map_or(Some(None), |p| p.map(Some))?;
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, &str, Option<u16>, &str), &str>) {
        match (Address::parse(text, &["tls", "tcp"]), expected) {
            (Ok(a), expected) => assert_eq!(Ok((a.scheme, a.host, a.port, a.path)), expected),
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (Err(message), Ok(_)) => panic!("{message}"),
        }
    }

    #[test]
    fn addresses_have_a_known_scheme_and_a_host() {
        check("tls://siem.example.com:6514", Ok(("tls", "siem.example.com", Some(6514), "")));
        check("tcp://[::1]:514/x?y", Ok(("tcp", "::1", Some(514), "/x?y")));
        check("tcp://host", Ok(("tcp", "host", None, "")));
        check("host:514", Err("no scheme"));
        check("udp://host:514", Err("`udp` is none of tls, tcp"));
        check("tcp://user:secret@host", Err("password"));
        check("tcp://host:0", Err("has no host and port"));
        check("tcp://host:x", Err("has no host and port"));
        check("tcp://:514", Err("has no host and port"));
        check("tcp://[::1", Err("has no host and port"));
        check("tcp://a b", Err("has no host and port"));
    }

    #[test]
    fn an_address_says_where_to_connect() {
        let target = |text| Address::parse(text, &["tcp"]).unwrap().target(9);
        assert_eq!(target("tcp://[::1]:5"), "[::1]:5");
        assert_eq!(target("tcp://host"), "host:9");
    }
}
