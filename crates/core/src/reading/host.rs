//! The one spelling of a host (RFC 3986 §3.2.2, RFC 9110 §4.2.3): lower case, no port, no trailing
//! dot. Only what a DNS name or an address can look like is taken.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::Refusal;

const SHAPE: Refusal = Refusal::malformed("not a host");

/// `host [":" port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    pub(super) host: Cow<'a, str>,
    pub(super) port: Option<u16>,
}

/// Reads an authority without userinfo (RFC 9110 §4.2.4).
pub(super) fn read(authority: &[u8]) -> Result<Authority<'_>, Refusal> {
    let authority = str::from_utf8(authority).map_err(|_utf8| SHAPE)?;
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(SHAPE)?;
        return Ok(Authority { host: ipv6(address)?, port: read_port(port)? });
    }
    let (host, port) = match authority.find(':') {
        Some(colon) => authority.split_at_checked(colon).ok_or(SHAPE)?,
        None => (authority, ""),
    };
    Ok(Authority { host: name(host)?, port: read_port(port)? })
}

/// RFC 3986 §3.2.3: empty, or a colon and digits.
fn read_port(port: &str) -> Result<Option<u16>, Refusal> {
    let Some(digits) = port.strip_prefix(':') else {
        return if port.is_empty() { Ok(None) } else { Err(SHAPE) };
    };
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SHAPE);
    }
    digits.parse().map(Some).map_err(|_range| SHAPE)
}

/// An address without a zone, in the one spelling of RFC 5952.
fn ipv6(address: &str) -> Result<Cow<'_, str>, Refusal> {
    let address: Ipv6Addr = address.parse().map_err(|_syntax| SHAPE)?;
    Ok(Cow::Owned(format!("[{address}]")))
}

/// A DNS name or an IPv4 address. Underscores are no host names but are in use in private zones.
fn name(host: &str) -> Result<Cow<'_, str>, Refusal> {
    let host = host.strip_suffix('.').unwrap_or(host);
    // The first byte counts as following a dot, so that no label is empty.
    let mut previous = b'.';
    let mut upper = false;
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            b'.' if previous != b'.' => {}
            _ => return Err(SHAPE),
        }
        previous = byte;
    }
    // RFC 1035 §2.3.4.
    if previous == b'.' || host.len() > 253 {
        return Err(SHAPE);
    }
    Ok(if upper { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expect: Option<(&str, Option<u16>)>) {
        let read = read(input.as_bytes()).ok();
        assert_eq!(read.as_ref().map(|it| (it.host.as_ref(), it.port)), expect, "{input:?}");
    }

    #[test]
    fn hosts_have_one_spelling() {
        check("example.com", Some(("example.com", None)));
        check("Example.COM.", Some(("example.com", None)));
        check("example.com:8443", Some(("example.com", Some(8443))));
        check("example.com:", Some(("example.com", None)));
        check("a_b.internal", Some(("a_b.internal", None)));
        check("10.0.0.1:80", Some(("10.0.0.1", Some(80))));
        check("[2001:DB8:0:0::1]:80", Some(("[2001:db8::1]", Some(80))));
        check("[::1]", Some(("[::1]", None)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for input in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "user@a",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+80",
            "a%41",
            "a\\b",
            "[::1",
            "::1",
            "[::1]80",
            "[fe80::1%25eth0]",
            "a\u{e9}",
            "a,b",
        ] {
            check(input, None);
        }
    }

    #[test]
    fn a_clean_host_is_borrowed() {
        assert!(matches!(read(b"example.com:80").unwrap().host, Cow::Borrowed(_)));
    }
}
