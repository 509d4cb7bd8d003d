//! Syslog: messages of RFC 5424, over UDP one a datagram (RFC 5426), over TCP and TLS with octet
//! counting (RFC 6587 §3.4.1, RFC 5425).
//!
//! Syslog has no acknowledgement. Over TCP and TLS a batch counts as taken when the connection
//! stayed open for a moment after it; if it breaks before, the batch is sent again. A peer that
//! does not confirm to the kernel what it was sent ends the connection after the sink's `timeout`,
//! and all that was sent within that is sent again. UDP promises nothing, but is sent no faster
//! than a receiver can read.

mod message;
mod unproven;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use self::message::Header;
use self::unproven::Unproven;
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
    unproven: Unproven,
    timeout: Duration,
}

enum Connection {
    Udp(UdpSocket, Instant),
    Stream(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Syslog {
    pub(super) fn new(
        settings: &SyslogSettings,
        node: &Node,
        tls: &Arc<TlsMaterial>,
        timeout: Duration,
    ) -> Self {
        Self {
            address: settings.address.clone(),
            header: Header::new(settings, node),
            max_datagram: usize::try_from(settings.max_datagram.0).unwrap_or(usize::MAX),
            tls: Arc::clone(tls),
            connection: None,
            turn: 0,
            unproven: Unproven::default(),
            timeout,
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
        let patience = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(&stream, patience)?;
        if address.scheme == "tcp" {
            return Ok(Connection::Stream(Box::new(stream)));
        }
        let config = self.tls.client_config().map_err(io::Error::other)?;
        let name = ServerName::try_from(address.host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Connection::Stream(Box::new(stream)))
    }

    /// Sends datagrams; an error says how many were sent before.
    async fn send_datagrams(
        &self,
        socket: &UdpSocket,
        batch: &[Record],
    ) -> Result<(), (usize, io::Error)> {
        let mut text = String::new();
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

    async fn send_frames(
        &self,
        stream: &mut Box<dyn Stream>,
        records: impl Iterator<Item = &Record>,
    ) -> io::Result<()> {
        let (mut text, mut frames) = (String::new(), Vec::new());
        for record in records {
            text.clear();
            self.header.write(&mut text, record);
            let text = cut(&text, LONGEST);
            frames.extend_from_slice(format!("{} ", text.len()).as_bytes());
            frames.extend_from_slice(text.as_bytes());
        }
        stream.write_all(&frames).await?;
        stream.flush().await?;
        stays_open(stream, CONFIRM).await
    }

    async fn deliver_udp(&mut self, socket: UdpSocket, since: Instant, batch: &[Record]) -> Sent {
        match self.send_datagrams(&socket, batch).await {
            Ok(()) => {
                self.connection = Some(Connection::Udp(socket, since));
                Ok(Delivered::all())
            }
            Err((sent, error)) => {
                self.turn = self.turn.wrapping_add(1);
                if sent == 0 {
                    return Err(told(&error));
                }
                let again = (sent..batch.len()).collect();
                Ok(Delivered { again, why: Some(error.to_string()), ..Delivered::default() })
            }
        }
    }

    /// With what is unproven if the connection is a new one.
    async fn deliver_stream(
        &mut self,
        mut stream: Box<dyn Stream>,
        is_new: bool,
        batch: &[Record],
    ) -> Sent {
        let before = self.unproven.records().filter(|_| is_new);
        match self.send_frames(&mut stream, before.chain(batch)).await {
            Ok(()) => {
                self.unproven.sent(batch, Instant::now(), is_new);
                self.connection = Some(Connection::Stream(stream));
                Ok(Delivered::all())
            }
            Err(error) => {
                self.unproven.broke(&error, Instant::now(), self.timeout);
                Err(told(&error))
            }
        }
    }
}

type Sent = Result<Delivered, DeliverError>;

fn told(error: &io::Error) -> DeliverError {
    DeliverError::again(error.to_string())
}

#[async_trait]
impl Deliver for Syslog {
    async fn deliver(&mut self, batch: &[Record]) -> Sent {
        match self.connection.take() {
            Some(Connection::Udp(socket, since)) if since.elapsed() < KNOWN_FOR => {
                return self.deliver_udp(socket, since, batch).await;
            }
            Some(Connection::Stream(mut stream)) => {
                let now = Instant::now();
                match stays_open(&mut stream, Duration::ZERO).await {
                    Ok(()) => {
                        self.unproven.forget(now, self.timeout);
                        return self.deliver_stream(stream, false, batch).await;
                    }
                    // It was closed while there was nothing to send.
                    Err(error) => self.unproven.broke(&error, now, self.timeout),
                }
            }
            _ => {}
        }
        match self.connect().await.map_err(|error| told(&error))? {
            Connection::Udp(socket, since) => self.deliver_udp(socket, since, batch).await,
            Connection::Stream(stream) => self.deliver_stream(stream, true, batch).await,
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
    use bytes::Bytes;
    use tidegate_core::notice::Severity;
    use tokio::net::TcpListener;

    use super::*;
    use crate::record::{Key, REQUEST};

    fn record(sequence: u64) -> Record {
        let (time, severity) = (std::time::UNIX_EPOCH, Severity::Low);
        let key = Key { origin: 1, sequence };
        Record { key, time, severity, kind: REQUEST, body: Bytes::from(format!("body {sequence}")) }
    }

    /// A machine that took a batch, and died before anybody read it.
    #[tokio::test]
    async fn what_a_dead_receiver_had_not_read_is_sent_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = serde_json::from_str(&format!(r#"{{"address": "tcp://{address}"}}"#));
        let node = Node { host: "edge".into(), version: "1".into(), pid: 7 };
        let patience = Duration::from_secs(5);
        let mut syslog = Syslog::new(&settings.unwrap(), &node, &Arc::default(), patience);
        let first = tokio::spawn(async move { (listener.accept().await.unwrap().0, listener) });
        assert_eq!(syslog.deliver(&[record(1), record(2)]).await, Ok(Delivered::all()));
        let (dead, listener) = first.await.unwrap();
        // What was not read makes this a reset.
        drop(dead);
        let second = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap().0;
            let mut text = vec![0; 4096];
            let mut len = 0;
            while !String::from_utf8_lossy(&text[..len]).contains("body 3") {
                len += stream.read(&mut text[len..]).await.unwrap();
            }
            (String::from_utf8_lossy(&text[..len]).into_owned(), stream)
        });
        assert_eq!(syslog.deliver(&[record(3)]).await, Ok(Delivered::all()));
        let (text, _stream) = second.await.unwrap();
        let places = ["body 1", "body 2", "body 3"].map(|body| text.find(body));
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
    }

    #[test]
    fn what_is_older_than_the_kernels_patience_has_arrived() {
        let (start, patience) = (Instant::now(), Duration::from_secs(5));
        let left = |error: io::ErrorKind, later: u64| {
            let mut unproven = Unproven::default();
            unproven.sent(&[record(1)], start, true);
            unproven.sent(&[record(2)], start + Duration::from_secs(4), false);
            let now = start + Duration::from_secs(later);
            unproven.broke(&error.into(), now, patience);
            unproven.records().count()
        };
        assert_eq!(left(io::ErrorKind::ConnectionReset, 4), 2);
        assert_eq!(left(io::ErrorKind::ConnectionReset, 6), 1);
        assert_eq!(left(io::ErrorKind::UnexpectedEof, 3600), 0);
        assert_eq!(left(io::ErrorKind::TimedOut, 3600), 2);
    }

    #[test]
    fn a_receiver_that_closes_early_gets_a_record_twice_at_most() {
        let (start, patience) = (Instant::now(), Duration::from_secs(5));
        let mut unproven = Unproven::default();
        let closed = || io::Error::from(io::ErrorKind::UnexpectedEof);
        for (at, number) in (1..).zip(1..=4) {
            let now = start + Duration::from_secs(at);
            unproven.broke(&closed(), now, patience);
            let sent: Vec<_> = unproven.records().map(|record| record.key.sequence).collect();
            assert!(sent.iter().all(|before| *before + 1 == number), "{number}: {sent:?}");
            unproven.sent(&[record(number)], now, true);
        }
    }

    #[test]
    fn a_long_datagram_is_cut_between_characters() {
        assert_eq!(cut("ab\u{e9}cd", 3), "ab");
        assert_eq!(cut("ab\u{e9}cd", 4), "ab\u{e9}");
        assert_eq!(cut("ab", 10), "ab");
    }
}
