//! An origin that records each byte it receives and answers as it is told, misbehaviour included.
//! A thread per connection; load tests use real nginx pods instead.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tungstenite::WebSocket;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use crate::client::reset_on_close;
use crate::message::{Buffered, Fields, Framing, field, parse_head};

/// What an origin does with a request that it has read.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these chunks, one write each.
    Chunked(Vec<Vec<u8>>),
    /// Closes the connection without an answer.
    Close,
    /// Waits, then does the other thing.
    Delayed(Duration, Box<Self>),
    /// An ordinary answer with its length.
    Full {
        /// The status.
        status: u16,
        /// Fields besides `Content-Length`.
        fields: Fields,
        /// The body.
        body: Vec<u8>,
    },
    /// Never answers; keeps the connection open until the peer closes it.
    Hang,
    /// Sends bytes as they are, then reads the next request.
    Raw(Vec<u8>),
    /// Sends bytes as they are, then closes.
    RawThenClose(Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Sends one byte per interval, then reads the next request.
    Slowly {
        /// What to send.
        bytes: Vec<u8>,
        /// The time between two bytes.
        every: Duration,
    },
    /// Sends bytes as they are, then nothing, until the peer closes.
    StallAfter(Vec<u8>),
    /// Accepts the WebSocket and echoes its messages.
    WebSocketEcho,
}

impl Reply {
    /// 200 with a body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// A status with a body.
    #[must_use]
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Full { status, fields: Fields::new(), body: body.into() }
    }

    /// The same answer with one more field; other replies stay as they are.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Full { fields, .. } = &mut self {
            fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// A request as it reached an origin.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counts the origin's requests from 0.
    pub number: usize,
    /// Counts the origin's connections from 0.
    pub connection: usize,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The head as it came.
    pub head: Vec<u8>,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// The fields, in order.
    pub fields: Fields,
    /// The body, decoded if it came in chunks.
    pub body: Vec<u8>,
}

impl Received {
    /// The first value of a field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

struct Record {
    script: Box<Script>,
    requests: Mutex<Vec<Received>>,
    raw: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    open: Mutex<HashMap<usize, TcpStream>>,
    stopped: AtomicBool,
}

/// A running origin; it stops with its last byte sent when dropped.
pub struct Origin {
    address: SocketAddr,
    record: Arc<Record>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Origin").field(&self.address).finish()
    }
}

impl Origin {
    /// An origin that does the same with each request.
    #[track_caller]
    #[must_use]
    pub fn start(reply: Reply) -> Self {
        Self::script(move |_request| reply.clone())
    }

    /// An origin that decides by the request.
    #[track_caller]
    #[must_use]
    pub fn script(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// An origin at an address that another one had, or that is free.
    #[track_caller]
    #[must_use]
    pub fn on(
        address: SocketAddr,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let mut bound = TcpListener::bind(address);
        crate::wait::holds_within(crate::wait::PATIENCE, || {
            if bound.is_err() {
                bound = TcpListener::bind(address);
            }
            bound.is_ok()
        });
        let listener = bound.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let record = Arc::new(Record {
            script: Box::new(script),
            requests: Mutex::default(),
            raw: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&record);
        thread::spawn(move || accept_all(&listener, &accepting));
        Self { address, record }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.record.requests.lock().clone()
    }

    /// Each byte that came, all connections in the order of arrival.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.record.raw.lock().clone()
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.record.stopped.store(true, Ordering::SeqCst);
        for (_connection, stream) in self.record.open.lock().drain() {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
        // Wakes the accepting thread, so that the port closes.
        TcpStream::connect(self.address).ok();
    }
}

/// An address that refuses connections.
#[track_caller]
#[must_use]
pub fn closed_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, crate::nginx::free_port()))
}

/// An address that neither accepts nor refuses: its backlog is full, so that the kernel drops
/// whoever knocks.
#[derive(Debug)]
pub struct BlackHole {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens a port and fills its backlog.
    #[track_caller]
    #[must_use]
    pub fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        rustix::net::listen(&listener, 1).expect("shrinks the backlog");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the backlog does not fill");
        }
        Self { listener, _queued: queued }
    }

    /// Where nobody answers.
    #[track_caller]
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }
}

fn accept_all(listener: &TcpListener, record: &Arc<Record>) {
    for stream in listener.incoming() {
        if record.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        stream.set_nodelay(true).ok();
        let connection = record.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(twin) = stream.try_clone() {
            record.open.lock().insert(connection, twin);
        }
        let record = Arc::clone(record);
        thread::spawn(move || {
            // A peer that goes away ends its connection; what matters was recorded before.
            serve(stream, connection, &record).ok();
            // The last handle goes here: only now does the socket close, or reset.
            record.open.lock().remove(&connection);
        });
    }
}

/// Copies what is read into the record before anybody parses it.
struct Tap<'a> {
    stream: TcpStream,
    record: &'a Record,
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.record.raw.lock().extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

fn serve(stream: TcpStream, connection: usize, record: &Record) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut writer = stream.try_clone()?;
    let mut reader = Buffered::new(Tap { stream, record });
    while let Some(head) = reader.head()? {
        let (first, fields) = parse_head(&head);
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        if field(&fields, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, _trailers) = reader.body(Framing::of(&fields, Framing::Length(0)))?;
        let request = {
            let mut requests = record.requests.lock();
            let number = requests.len();
            let request = Received { number, connection, peer, head, method, target, fields, body };
            requests.push(request.clone());
            request
        };
        let reply = (record.script)(&request);
        if !answer(reply, &request, &mut writer, &mut reader)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Does what the reply says; `false` if the connection is over.
fn answer(
    reply: Reply,
    request: &Received,
    writer: &mut TcpStream,
    reader: &mut Buffered<Tap<'_>>,
) -> io::Result<bool> {
    match reply {
        Reply::Chunked(chunks) => {
            writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for chunk in chunks {
                let mut bytes = format!("{:x}\r\n", chunk.len()).into_bytes();
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
                writer.write_all(&bytes)?;
            }
            writer.write_all(b"0\r\n\r\n")?;
        }
        Reply::Close => return close(writer),
        Reply::Delayed(delay, reply) => {
            thread::sleep(delay);
            return answer(*reply, request, writer, reader);
        }
        Reply::Full { status, fields, body } => {
            writer.write_all(&full(status, &fields, &body, request.method == "HEAD"))?;
        }
        Reply::Hang => return drain(reader),
        Reply::Raw(bytes) => writer.write_all(&bytes)?,
        Reply::RawThenClose(bytes) => {
            writer.write_all(&bytes)?;
            return close(writer);
        }
        Reply::Reset => {
            reset_on_close(writer);
            return Ok(false);
        }
        Reply::Slowly { bytes, every } => {
            for byte in bytes {
                writer.write_all(&[byte])?;
                thread::sleep(every);
            }
        }
        Reply::StallAfter(bytes) => {
            writer.write_all(&bytes)?;
            return drain(reader);
        }
        Reply::WebSocketEcho => {
            echo_messages(request, writer, std::mem::take(&mut reader.rest))?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn full(status: u16, fields: &Fields, body: &[u8], head_only: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !matches!(status, 100..200 | 204 | 304) {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    if !head_only {
        bytes.extend_from_slice(body);
    }
    bytes
}

fn close(writer: &TcpStream) -> io::Result<bool> {
    writer.shutdown(std::net::Shutdown::Both)?;
    Ok(false)
}

fn drain(reader: &mut Buffered<Tap<'_>>) -> io::Result<bool> {
    while reader.fill()? > 0 {}
    Ok(false)
}

fn echo_messages(request: &Received, writer: &mut TcpStream, rest: Vec<u8>) -> io::Result<()> {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let stream = writer.try_clone()?;
    let mut socket = WebSocket::from_partially_read(stream, rest, Role::Server, None);
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Ask, Connection, get};

    #[test]
    fn each_request_of_a_connection_is_recorded_and_answered() {
        let origin = Origin::script(|request| Reply::ok(format!("{}", request.number)));
        let mut connection = Connection::open(origin.address());
        let first = Ask::new("POST", "/a").body("one").send_on(&mut connection);
        let second = Ask::new("GET", "/b").field("X-A", "1").send_on(&mut connection);
        assert_eq!((first.text(), second.text()), ("0".to_owned(), "1".to_owned()));
        let received = origin.received();
        assert_eq!(received[0].body, b"one");
        assert_eq!(received[1].header("x-a"), Some("1"));
        assert_eq!(origin.connections(), 1);
        assert!(origin.raw().starts_with(b"POST /a HTTP/1.1\r\n"));
    }

    #[test]
    fn chunks_arrive_as_one_body() {
        let origin = Origin::start(Reply::Chunked(vec![b"ab".to_vec(), b"c".to_vec()]));
        assert_eq!(get(origin.address(), "/").text(), "abc");
    }

    #[test]
    fn close_and_reset_leave_the_client_without_an_answer() {
        for (reply, kind) in [
            (Reply::Close, io::ErrorKind::UnexpectedEof),
            (Reply::Reset, io::ErrorKind::ConnectionReset),
        ] {
            let origin = Origin::start(reply);
            let mut connection = Connection::open(origin.address());
            connection.send(&Ask::new("GET", "/").bytes());
            assert_eq!(connection.try_response().map(|r| r.status).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn an_origin_that_hangs_keeps_the_connection_open() {
        let origin = Origin::start(Reply::Hang);
        let mut connection = Connection::open(origin.address());
        connection.send(&Ask::new("GET", "/").bytes());
        assert!(!connection.is_closed_within(Duration::from_millis(50)));
        drop(origin);
        assert!(connection.is_closed_within(crate::wait::PATIENCE));
    }
}
