//! A blocking HTTP/1 client that sends exactly what it is given. For HTTP/2 the tests use curl,
//! h2load and nghttp.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::message::{Buffered, Fields, Framing, field, parse_head};

/// Longest wait for the next byte; a test that hangs is a test that fails.
const READ_PATIENCE: Duration = Duration::from_secs(20);

/// The error of a connection that ended before an answer began.
pub(crate) const CLOSED: &str = "closed without an answer";

/// `GET path` on a connection of its own.
#[track_caller]
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Response {
    Ask::new("GET", path).send(address)
}

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    target: String,
    host: String,
    fields: Fields,
    body: Option<Vec<u8>>,
}

impl Ask {
    /// A request for `example.test`, without a body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "example.test".to_owned(),
            fields: Fields::new(),
            body: None,
        }
    }

    /// Asks for another host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends a body, with its length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it on a connection of its own, which asks to be closed.
    #[track_caller]
    #[must_use]
    pub fn send(self, address: SocketAddr) -> Response {
        self.field("Connection", "close").send_on(&mut Connection::open(address))
    }

    /// Sends it on a connection and reads the answer.
    #[track_caller]
    #[must_use]
    pub fn send_on(&self, connection: &mut Connection) -> Response {
        connection.expects_no_body = self.method == "HEAD";
        connection.send(&self.bytes());
        connection.response()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// `HTTP/1.1` or what the peer says.
    pub version: String,
    /// The final status.
    pub status: u16,
    /// Its fields, in order.
    pub fields: Fields,
    /// The body, decoded if it came in chunks.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Fields,
    /// The 1xx statuses that came before.
    pub interim: Vec<u16>,
}

impl Response {
    /// The first value of a field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

trait Wire: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// A connection to the gateway, plain or encrypted.
pub struct Connection {
    io: Buffered<Box<dyn Wire>>,
    expects_no_body: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connection").field(self.io.stream.tcp()).finish()
    }
}

impl Connection {
    /// Connects from any address.
    #[track_caller]
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }

    /// Connects from one of the loopback addresses, to be another client.
    #[track_caller]
    #[must_use]
    pub fn open_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
        let flags = SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        bind(&socket, &SocketAddrV4::new(source, 0)).expect("binds the source");
        rustix::net::connect(&socket, &address).expect("connects");
        Self::over(patient(TcpStream::from(socket)))
    }

    /// Connects, sends `preface` in the clear (a PROXY header, say) and shakes hands.
    ///
    /// # Errors
    /// When the handshake fails, which some tests want.
    #[track_caller]
    pub fn tls_after(
        address: SocketAddr,
        preface: &[u8],
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let mut tcp = connect(address);
        tcp.write_all(preface)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let stream: Box<dyn Wire> = Box::new(StreamOwned::new(tls, tcp));
        Ok(Self { io: Buffered::new(stream), expects_no_body: false })
    }

    /// Connects with TLS; fails the test if the handshake fails.
    #[track_caller]
    #[must_use]
    pub fn tls(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Self {
        Self::tls_after(address, b"", name, config).expect("the handshake succeeds")
    }

    fn over(tcp: TcpStream) -> Self {
        let stream: Box<dyn Wire> = Box::new(tcp);
        Self { io: Buffered::new(stream), expects_no_body: false }
    }

    /// Takes over a socket.
    pub(crate) fn from_socket(tcp: TcpStream) -> Self {
        Self::over(patient(tcp))
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sends");
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the peer has gone, which some tests want.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.stream.write_all(bytes)?;
        self.io.stream.flush()
    }

    /// Ends our side; the peer may still send.
    #[track_caller]
    pub fn finish(&mut self) {
        self.io.stream.tcp().shutdown(Shutdown::Write).expect("shuts down");
    }

    /// Reads one answer; interim ones are collected in it.
    #[track_caller]
    #[must_use]
    pub fn response(&mut self) -> Response {
        self.try_response().expect("an answer")
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// When the connection ends or stays silent before the answer is complete.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let Some(head) = self.io.head()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, CLOSED));
            };
            let (first, fields) = parse_head(&head);
            let mut words = first.split(' ');
            let version = words.next().unwrap_or_default().to_owned();
            let status: u16 =
                words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| {
                    panic!("not a status line: {first:?}");
                });
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let bodiless = self.expects_no_body || matches!(status, 101 | 204 | 304);
            let framing = if bodiless {
                Framing::Length(0)
            } else {
                Framing::of(&fields, Framing::UntilClose)
            };
            let (body, trailers) = self.io.body(framing)?;
            return Ok(Response { version, status, fields, body, trailers, interim });
        }
    }

    /// Reads whatever comes until the peer closes.
    #[track_caller]
    #[must_use]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.io.body(Framing::UntilClose).expect("reads to the end").0
    }

    /// Reads whatever comes until the peer closes or resets; `false` if it does neither in time.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.io.stream.tcp().set_read_timeout(Some(limit)).expect("a timeout");
        loop {
            match self.io.fill() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    );
                }
            }
        }
    }

    /// What was read and not used; after [`Self::is_closed_within`], everything.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.io.rest
    }

    /// The socket, for its options.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.io.stream.tcp()
    }

    /// Closes with a reset instead of a polite end.
    pub fn reset(self) {
        reset_on_close(self.io.stream.tcp());
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.io.rest.is_empty() {
            return self.io.stream.read(buffer);
        }
        let length = buffer.len().min(self.io.rest.len());
        buffer[..length].copy_from_slice(&self.io.rest[..length]);
        self.io.rest.drain(..length);
        Ok(length)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.io.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.stream.flush()
    }
}

/// Makes the next close of this socket a reset.
pub(crate) fn reset_on_close(tcp: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO)).expect("sets linger");
}

#[track_caller]
fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).expect("connects"))
}

fn patient(tcp: TcpStream) -> TcpStream {
    tcp.set_read_timeout(Some(READ_PATIENCE)).expect("a timeout");
    tcp.set_write_timeout(Some(READ_PATIENCE)).expect("a timeout");
    tcp.set_nodelay(true).expect("no delay");
    tcp
}
