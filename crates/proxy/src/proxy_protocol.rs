//! The PROXY protocol, versions 1 and 2: who the client is when a load balancer in front speaks
//! TCP (the HAProxy specification, `proxy-protocol.txt`).
//!
//! Only peers that the configuration lists are asked for the header, and from them it is
//! required: a header that is optional can be sent by anybody.

use std::net::SocketAddr;

use tidegate_core::proxy_protocol::{V1, V1_LIMIT, V2, parse};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Both versions have at least that many bytes, so that many can be read before looking.
const SHORTEST: usize = 12;
/// The longest version 2 header that is read: its extensions need no more.
const LIMIT: usize = 2048;

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
