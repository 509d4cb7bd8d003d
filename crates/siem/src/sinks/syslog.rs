//! Syslog: messages of RFC 5424, over UDP one a datagram (RFC 5426), over TCP and TLS with octet
//! counting (RFC 6587 §3.4.1, RFC 5425).
//!
//! Syslog has no acknowledgement. Over TCP and TLS a batch counts as taken when the connection
//! stayed open for a moment after it; if it breaks before, the batch is sent again.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rustls::pki_types::ServerName;
use tidegate_core::notice::Severity;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

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

/// The port that is usual.
const PORT: u16 = 514;

/// The name of our structured data: 32473 is the number that RFC 5612 keeps for documents.
const DATA: &str = "tidegate@32473";

pub(super) struct Syslog {
    address: String,
    facility: u8,
    app: String,
    host: String,
    pid: u32,
    max_datagram: usize,
    tls: Arc<TlsMaterial>,
    connection: Option<Connection>,
}

enum Connection {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Syslog {
    pub(super) fn new(settings: &SyslogSettings, node: &Node, tls: &Arc<TlsMaterial>) -> Self {
        Self {
            address: settings.address.clone(),
            facility: settings.facility.number(),
            app: settings.app.clone(),
            host: settings.host.clone().unwrap_or_else(|| printable(&node.host)),
            pid: node.pid,
            max_datagram: usize::try_from(settings.max_datagram.0).unwrap_or(usize::MAX),
            tls: Arc::clone(tls),
            connection: None,
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let address = Address::parse(&self.address, &["udp", "tcp", "tls"]);
        let address = address.map_err(io::Error::other)?;
        let target = address.target(PORT);
        if address.scheme == "udp" {
            let mut found = lookup_host(&target).await?;
            let found = found.next().ok_or_else(|| io::Error::other("the host has no address"))?;
            let any = if found.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(found).await?;
            return Ok(Connection::Udp(socket));
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
            Connection::Udp(socket) => {
                for (sent, record) in batch.iter().enumerate() {
                    text.clear();
                    self.write(&mut text, record);
                    let bytes = cut(&text, self.max_datagram).as_bytes();
                    socket.send(bytes).await.map_err(|error| (sent, error))?;
                }
                Ok(())
            }
            Connection::Stream(stream) => {
                let mut frames = Vec::new();
                for record in batch {
                    text.clear();
                    self.write(&mut text, record);
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

    /// Appends one message, without a byte order mark: receivers keep it as part of the text.
    fn write(&self, out: &mut String, record: &Record) {
        let priority = u32::from(self.facility) * 8 + level(record.severity);
        let (host, app, pid, kind) = (&self.host, &self.app, self.pid, record.kind);
        // Writing to a string does not fail.
        let (Ok(()) | Err(_)) = write!(out, "<{priority}>1 ");
        write_time(out, record.time);
        let (Ok(()) | Err(_)) = write!(out, " {host} {app} {pid} {kind} [{DATA}");
        write_param(out, "key", &record.key.to_string());
        write_param(out, "severity", record.severity.name());
        out.push_str("] ");
        out.push_str(&String::from_utf8_lossy(&record.body));
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
            Some(connection) => connection,
            None => self.connect().await.map_err(told)?,
        };
        match self.send(&mut connection, batch).await {
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

/// The level of a severity (RFC 5424 §6.2.1).
fn level(severity: Severity) -> u32 {
    match severity {
        Severity::Informational => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}

/// Microseconds, in UTC (§6.2.3).
fn write_time(out: &mut String, time: SystemTime) {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => {
            let (Ok(()) | Err(_)) = write!(out, "{time:.6}");
        }
        Err(_beyond) => out.push('-'),
    }
}

/// A parameter of structured data: three characters are escaped (§6.3.3), control characters have
/// no place there.
fn write_param(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if c.is_control() { '?' } else { c });
    }
    out.push('"');
}

/// A host's name as the header may have it.
fn printable(host: &str) -> String {
    let name: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// At most so many bytes, and whole characters. Half an event tells more than none.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{Key, REQUEST};

    fn syslog() -> Syslog {
        let settings = serde_json::from_str(r#"{"address": "udp://127.0.0.1:514"}"#).unwrap();
        let node = Node { host: "edge 1".into(), version: "1".into(), pid: 7 };
        Syslog::new(&settings, &node, &Arc::new(TlsMaterial::default()))
    }

    #[test]
    fn a_message_has_the_form_of_rfc_5424_section_6() {
        let record = Record {
            key: Key { origin: 0xab, sequence: 12 },
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_250),
            severity: Severity::High,
            kind: REQUEST,
            body: Bytes::from_static("{\"path\":\"/\u{e9}\"}".as_bytes()),
        };
        let mut text = String::new();
        syslog().write(&mut text, &record);
        assert_eq!(
            text,
            "<163>1 2023-11-14T22:13:20.000250Z edge1 tidegate 7 request \
             [tidegate@32473 key=\"00000000000000ab-12\" severity=\"high\"] {\"path\":\"/\u{e9}\"}"
        );
        assert!(!text.contains('\u{feff}'));
    }

    #[test]
    fn structured_data_escapes_what_section_6_3_3_names() {
        let mut out = String::new();
        write_param(&mut out, "x", "a\"b\\c]d\ne");
        assert_eq!(out, " x=\"a\\\"b\\\\c\\]d?e\"");
    }

    #[test]
    fn a_long_datagram_is_cut_between_characters() {
        assert_eq!(cut("ab\u{e9}cd", 3), "ab");
        assert_eq!(cut("ab\u{e9}cd", 4), "ab\u{e9}");
        assert_eq!(cut("ab", 10), "ab");
    }
}
