//! The PROXY protocol's header, versions 1 and 2 (the HAProxy specification,
//! `proxy-protocol.txt`): who the client is. Reading it from a connection is the proxy's.

use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};

/// How a version 1 header begins.
pub const V1: &[u8] = b"PROXY ";
/// The longest version 1 header in bytes (section 2.1).
pub const V1_LIMIT: usize = 107;
/// How a version 2 header begins.
pub const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Who the client is according to a whole header of either version, `Some(None)` if the header
/// names nobody; `None` if it is no header, or not all of it.
#[must_use]
pub fn parse(header: &[u8]) -> Option<Option<SocketAddr>> {
    // The parser takes other line ends, and lines within the line.
    if header.starts_with(V1) && !is_v1_line(header) {
        return None;
    }
    let (client, length) = match HeaderResult::parse(header) {
        HeaderResult::V2(Ok(header)) => (v2_client(&header), header.len()),
        HeaderResult::V1(Ok(header)) => (v1_client(&header), header.header.len()),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => return None,
    };
    (length == header.len()).then_some(client)
}

/// Whether the bytes are one line of printable ASCII as long as a version 1 header may be
/// (section 2.1).
fn is_v1_line(header: &[u8]) -> bool {
    let line = header.strip_suffix(b"\r\n").unwrap_or_default();
    let printable = |byte: &u8| matches!(byte, b' '..=b'~');
    !line.is_empty() && header.len() <= V1_LIMIT && line.iter().all(printable)
}

fn v2_client(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match (header.command, &header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_))
        | (v2::Command::Local, _) => None,
    }
}

fn v1_client(header: &v1::Header<'_>) -> Option<SocketAddr> {
    match header.addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &[u8], client: Option<Option<&str>>) {
        let client = client.map(|client| client.map(|client| client.parse().unwrap()));
        assert_eq!(parse(header), client);
    }

    fn v2_header() -> Vec<u8> {
        let addresses: (SocketAddr, SocketAddr) =
            ("192.0.2.7:5000".parse().unwrap(), "192.0.2.1:443".parse().unwrap());
        let version = v2::Version::Two | v2::Command::Proxy;
        v2::Builder::with_addresses(version, v2::Protocol::Stream, addresses).build().unwrap()
    }

    #[test]
    fn both_versions_name_the_client() {
        check(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n", Some(Some("192.0.2.7:5000")));
        check(b"PROXY TCP6 2001:db8::7 ::1 5000 443\r\n", Some(Some("[2001:db8::7]:5000")));
        check(&v2_header(), Some(Some("192.0.2.7:5000")));
    }

    #[test]
    fn a_header_may_name_nobody() {
        check(b"PROXY UNKNOWN\r\n", Some(None));
    }

    #[test]
    fn anything_but_a_whole_header_is_none() {
        for header in [&v2_header()[..], b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n"] {
            for end in 0..header.len() {
                check(&header[..end], None);
            }
            check(&[header, b"GET /"].concat(), None);
        }
        check(b"PROXY UNKNOWN\n", None);
        check(b"PROXY UNKNOWN a\nb\r\n", None);
        check(&[b"PROXY UNKNOWN ".as_slice(), &[b'a'; 92], b"\r\n"].concat(), None);
        check(b"GET / HTTP/1.1\r\n", None);
        check(b"PROXY TCP4 999.0.2.7 192.0.2.1 5000 443\r\n", None);
        check(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 99999\r\n", None);
    }
}
