//! The PROXY protocol, versions 1 and 2: who the client is when a load balancer in front speaks
//! TCP (the HAProxy specification, `proxy-protocol.txt`).
//!
//! Only peers that the configuration lists are asked for the header, and from them it is
//! required: a header that is optional can be sent by anybody.

use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Both versions have at least that many bytes, so that many can be read before looking.
const SHORTEST: usize = 12;
/// The longest version 2 header that is read: its extensions need no more.
const LIMIT: usize = 2048;
/// The longest version 1 header (section 2.1).
const V1_LIMIT: usize = 107;

/// Why a connection has no usable PROXY header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyHeaderError {
    #[error("the connection closed inside it")]
    Closed,
    #[error("the connection broke inside it: {0}")]
    Broken(#[from] std::io::Error),
    #[error("there is none that is valid")]
    Invalid,
}

/// Reads the header and nothing behind it; returns the client's address, `None` if the header
/// names none (a health check of the load balancer itself).
///
/// # Errors
/// The header is missing, malformed or cut short. The caller sets the deadline.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(V2) {
        // Bytes 14 and 15 are the length of the rest (section 2.2).
        read_more(stream, &mut header, 4).await?;
        let rest = header.get(14..16).and_then(|rest| rest.try_into().ok());
        let rest = rest.map_or(0, u16::from_be_bytes).into();
        if rest > LIMIT {
            return Err(ProxyHeaderError::Invalid);
        }
        read_more(stream, &mut header, rest).await?;
    } else {
        while header.starts_with(V1) && !header.ends_with(b"\n") && header.len() < V1_LIMIT {
            let mut seen = [0; V1_LIMIT];
            let count = stream.peek(&mut seen).await?;
            let seen = seen.get(..count).unwrap_or_default();
            let line_end = memchr::memchr(b'\n', seen).map_or(count, |at| at + 1);
            if line_end == 0 {
                return Err(ProxyHeaderError::Closed);
            }
            read_more(stream, &mut header, line_end).await?;
        }
    }
    parse(&header).ok_or(ProxyHeaderError::Invalid)
}

async fn read_more(
    stream: &mut TcpStream,
    header: &mut Vec<u8>,
    count: usize,
) -> std::io::Result<()> {
    let from = header.len();
    header.resize(from + count, 0);
    stream.read_exact(header.get_mut(from..).unwrap_or_default()).await.map(|_count| ())
}

/// Who the client is according to a whole header of either version, `Some(None)` if the header
/// names nobody; `None` if it is no header, or not all of it.
#[must_use]
pub fn parse(header: &[u8]) -> Option<Option<SocketAddr>> {
    let (client, length) = match HeaderResult::parse(header) {
        HeaderResult::V2(Ok(header)) => (v2_client(&header), header.len()),
        HeaderResult::V1(Ok(header)) => (v1_client(&header), header.header.len()),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => return None,
    };
    (length == header.len()).then_some(client)
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
        check(b"GET / HTTP/1.1\r\n", None);
        check(b"PROXY TCP4 999.0.2.7 192.0.2.1 5000 443\r\n", None);
        check(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 99999\r\n", None);
    }
}
