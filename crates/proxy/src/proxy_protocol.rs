//! The PROXY protocol, versions 1 and 2: who the client is when a load balancer in front speaks
//! TCP (the HAProxy specification, `proxy-protocol.txt`).
//!
//! Only peers that the configuration lists are asked for the header, and from them it is
//! required: a header that is optional can be sent by anybody.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};
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
    match parse(&header) {
        Parsed::Complete { client, length } if length == header.len() => Ok(client),
        Parsed::Complete { .. } | Parsed::Incomplete | Parsed::Invalid => {
            Err(ProxyHeaderError::Invalid)
        }
    }
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

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Incomplete,
    /// Not a header.
    Invalid,
    /// A header of `length` bytes.
    Complete {
        /// The client's address, unless the header names none.
        client: Option<SocketAddr>,
        /// The header's length in bytes.
        length: usize,
    },
}

/// Parses a header of either version at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    match HeaderResult::parse(bytes) {
        HeaderResult::V2(Ok(header)) => Parsed::Complete {
            client: match (header.command, &header.addresses) {
                (v2::Command::Local, _) => None,
                (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
                    Some((ip.source_address, ip.source_port).into())
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
                    Some((ip.source_address, ip.source_port).into())
                }
                (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
            },
            length: header.len(),
        },
        HeaderResult::V1(Ok(header)) => Parsed::Complete {
            client: match header.addresses {
                v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
                v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
                v1::Addresses::Unknown => None,
            },
            length: header.header.len(),
        },
        result if result.is_incomplete() && may_become_header(bytes) => Parsed::Incomplete,
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Parsed::Invalid,
    }
}

/// Whether more bytes can turn `bytes` into a header: the parser asks for more of anything.
fn may_become_header(bytes: &[u8]) -> bool {
    let starts = |prefix: &[u8]| {
        let known = bytes.len().min(prefix.len());
        bytes.get(..known) == prefix.get(..known)
    };
    (starts(V1) && bytes.len() < V1_LIMIT) || (starts(V2) && bytes.len() < LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Parsed) {
        assert_eq!(parse(bytes), expected);
    }

    fn v2_header() -> Vec<u8> {
        let addresses: (SocketAddr, SocketAddr) =
            ("192.0.2.7:5000".parse().unwrap(), "192.0.2.1:443".parse().unwrap());
        v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            addresses,
        )
        .build()
        .unwrap()
    }

    #[test]
    fn both_versions_name_the_client() {
        let client = Some("192.0.2.7:5000".parse().unwrap());
        let text = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\nGET /";
        check(text, Parsed::Complete { client, length: 41 });
        let mut binary = v2_header();
        let length = binary.len();
        binary.extend_from_slice(b"GET /");
        check(&binary, Parsed::Complete { client, length });
        let text = b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n";
        let client = Some("[2001:db8::7]:5000".parse().unwrap());
        check(text, Parsed::Complete { client, length: 45 });
    }

    #[test]
    fn a_header_may_name_nobody() {
        check(b"PROXY UNKNOWN\r\n", Parsed::Complete { client: None, length: 15 });
    }

    #[test]
    fn a_truncated_header_waits_for_more() {
        let binary = v2_header();
        for end in 0..binary.len() {
            check(&binary[..end], Parsed::Incomplete);
        }
        let text = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";
        for end in 0..text.len() {
            check(&text[..end], Parsed::Incomplete);
        }
    }

    #[test]
    fn anything_else_is_refused_at_once() {
        check(b"GET / HTTP/1.1\r\n", Parsed::Invalid);
        check(b"PROXY TCP4 999.0.2.7 192.0.2.1 5000 443\r\n", Parsed::Invalid);
        check(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 99999\r\n", Parsed::Invalid);
        check(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(), Parsed::Invalid);
        check(b"\x16\x03\x01", Parsed::Invalid);
    }
}
