//! Syslog: messages of RFC 5424, over UDP one a datagram (RFC 5426), over TCP and TLS with octet
//! counting (RFC 6587 §3.4.1, RFC 5425).
//!
//! Syslog has no acknowledgement. Over TCP and TLS a batch counts as taken when the connection
//! stayed open for a moment after it; if it breaks before, the batch is sent again. UDP promises
//! nothing, but is sent no faster than a receiver can read.

mod message;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use self::message::Header;
use crate::address::Address;
use crate::deliver::{Deliver, DeliverError, Delivered};
use crate::formats::Node;
use crate::record::Record;
use crate::settings::SyslogSettings;
use crate::tls::TlsMaterial;

/// So long a connection has to stay open after a batch.
const CONFIRM: Duration = Duration::from_millis(250);

/// Longer messages are cut over TCP and TLS: receivers close the connection over them, and would
/// get the same again.
const LONGEST: usize = 64 << 10;

/// A receiver keeps what it has not read yet in a buffer that holds a hundred messages or so, and
/// what comes beyond that is lost without a word: after so many datagrams comes a pause.
const BURST: usize = 32;

/// The pause, which is the shortest there is.
const BREATH: Duration = Duration::from_millis(1);

/// A name is looked up again for UDP after so long; the others do so with each connection.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// The port that is usual.
const PORT: u16 = 514;

pub(super) struct Syslog {
    address: String,
    header: Header,
    max_datagram: usize,
    tls: Arc<TlsMaterial>,
    connection: Option<Connection>,
    /// Which of a name's addresses is tried next over UDP, where connecting tells nothing.
    turn: usize,
}

enum Connection {
    Udp(UdpSocket, Instant),
    Stream(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Syslog {
    pub(super) fn new(settings: &SyslogSettings, node: &Node, tls: &Arc<TlsMaterial>) -> Self {
        Self {
            address: settings.address.clone(),
            header: Header::new(settings, node),
            max_datagram: usize::try_from(settings.max_datagram.0).unwrap_or(usize::MAX),
            tls: Arc::clone(tls),
            connection: None,
            turn: 0,
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let address = Address::parse(&self.address, &["udp", "tcp", "tls"]);
        let address = address.map_err(io::Error::other)?;
        let target = address.target(PORT);
        if address.scheme == "udp" {
            let found: Vec<_> = lookup_host(&target).await?.collect();
            let found = found.get(self.turn % found.len().max(1));
            let found = found.ok_or_else(|| io::Error::other("the host has no address"))?;
            let any = if found.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(found).await?;
            return Ok(Connection::Udp(socket, Instant::now()));
        }
        let stream = TcpStream::connect(&target).await?;
        stream.set_nodelay(true)?;
        if address.scheme == "tcp" {
            return Ok(Connection::Stream(Box::new(stream)));
        }
        let config = self.tls.client_config().map_err(io::Error::other)?;
        let name = ServerName::try_from(address.host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Connection::Stream(Box::new(stream)))
    }

    /// Sends a batch; an error says how many were sent before.
    async fn send(
        &self,
        connection: &mut Connection,
        batch: &[Record],
    ) -> Result<(), (usize, io::Error)> {
        let mut text = String::new();
        match connection {
            Connection::Udp(socket, _) => {
                for (sent, record) in batch.iter().enumerate() {
                    if sent % BURST == BURST - 1 {
                        sleep(BREATH).await;
                    }
                    text.clear();
                    self.header.write(&mut text, record);
                    let bytes = cut(&text, self.max_datagram).as_bytes();
                    socket.send(bytes).await.map_err(|error| (sent, error))?;
                }
                Ok(())
            }
            Connection::Stream(stream) => {
                let mut frames = Vec::new();
                for record in batch {
                    text.clear();
                    self.header.write(&mut text, record);
                    let text = cut(&text, LONGEST);
                    frames.extend_from_slice(format!("{} ", text.len()).as_bytes());
                    frames.extend_from_slice(text.as_bytes());
                }
                let none = |error| (0, error);
                stream.write_all(&frames).await.map_err(none)?;
                stream.flush().await.map_err(none)?;
                stays_open(stream, CONFIRM).await.map_err(none)
            }
        }
    }
}

#[async_trait]
impl Deliver for Syslog {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let told = |error: io::Error| DeliverError::again(error.to_string());
        let mut connection = match self.connection.take() {
            Some(Connection::Stream(mut stream)) => {
                match stays_open(&mut stream, Duration::ZERO).await {
                    Ok(()) => Connection::Stream(stream),
                    // It was closed while there was nothing to send.
                    Err(_closed) => self.connect().await.map_err(told)?,
                }
            }
            Some(Connection::Udp(socket, since)) if since.elapsed() < KNOWN_FOR => {
                Connection::Udp(socket, since)
            }
            _ => self.connect().await.map_err(told)?,
        };
        let sent = self.send(&mut connection, batch).await;
        if sent.is_err() {
            self.turn = self.turn.wrapping_add(1);
        }
        match sent {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(Delivered::all())
            }
            Err((0, error)) => Err(told(error)),
            Err((sent, error)) => {
                let again = (sent..batch.len()).collect();
                Ok(Delivered { again, why: Some(error.to_string()), ..Delivered::default() })
            }
        }
    }
}

/// Looks for so long whether the other side closes. What it sends is of no interest.
async fn stays_open(stream: &mut Box<dyn Stream>, time: Duration) -> io::Result<()> {
    let mut buffer = [0; 256];
    let closed = timeout(time, async {
        loop {
            if stream.read(&mut buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    });
    closed.await.unwrap_or(Ok(()))
}

/// At most so many bytes, and whole characters. Half an event tells more than none.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_datagram_is_cut_between_characters() {
        assert_eq!(cut("ab\u{e9}cd", 3), "ab");
        assert_eq!(cut("ab\u{e9}cd", 4), "ab\u{e9}");
        assert_eq!(cut("ab", 10), "ab");
    }
}
