//! The client's side of a connection as Pingora sees it: plain or TLS, read one message at a time.
//!
//! An idle connection owns no buffer and no session; Pingora gets the stream once a whole request
//! head is here, and never sees a byte beyond the end of that request's message. So a slow head, a
//! pipelined request or a byte that two readers could attribute differently stays on our side.
//! Small writes are gathered until a flush. This file does not know HTTP beyond where a head ends;
//! [`check_http1_head`] says where the message does.

use std::any::Any;
mod timing;
mod transport;

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use tidegate_core::reading::{
    ChunkedBody, Framing, ReadingRules, Refusal, check_http1_head, encode_query,
};
use tidegate_engine::settings::LimitsSettings;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use self::timing::{BodyPace, Pace, SendStall, Timer};
pub(crate) use self::transport::Transport;
use crate::connection::{Broken, Connection};
use crate::framing::HeadEnd;
use crate::h2_watch::H2Watch;

/// How much is gathered before it is written out.
const WRITE_BUFFER: usize = 16 * 1024;
/// How much one read asks for: a TLS record's plaintext.
const READ_CHUNK: usize = 16 * 1024;
/// How many pipelined bytes are held back while a request is served; more stay in the kernel.
const HELD_BACK: usize = 16 * 1024;

/// Which protocol Pingora shall speak on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How far Pingora may read at present.
#[derive(Debug)]
enum Window {
    /// That many more bytes belong to the current message.
    Bytes(u64),
    /// So many bytes of the head, then a body that says itself where it ends.
    Chunked { head: usize, body: ChunkedBody },
    /// Everything: upgraded connections, HTTP/2.
    Open,
}

/// One client's connection.
pub(crate) struct ClientStream {
    transport: Transport,
    /// Received and not yet passed on: the head, and whatever came with it.
    received: BytesMut,
    window: Window,
    /// Written by Pingora and not yet sent.
    unsent: BytesMut,
    protocol: Protocol,
    /// Whether the listener takes HTTP/2 without TLS.
    may_be_h2: bool,
    connection: Arc<Connection>,
    digest: Arc<ProxyDigest>,
    /// Ends a wait for the client that outlasts the request's deadline.
    deadline: Timer,
    send_stall: SendStall,
    send_pace: Pace,
    body_pace: BodyPace,
    limits: LimitsSettings,
    h2_watch: Option<Box<H2Watch>>,
}

/// Why a head could not be read.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The client closed the connection between two requests, or it broke.
    Closed,
    /// More bytes than a head may have.
    TooLarge,
    /// It breaks the grammar, or can be read in two ways.
    Refused(Refusal),
}

impl ClientStream {
    /// A stream over a ready transport: TCP accepted, PROXY header read, TLS handshake done.
    pub(crate) fn new(
        transport: Transport,
        connection: Arc<Connection>,
        limits: LimitsSettings,
    ) -> Self {
        let user_data: Box<dyn Any + Send + Sync> = Box::new(connection.clone());
        // Pingora's digest of a CONNECT proxy; only its user data is of use to us.
        let unused = Box::new(ResponseHeader::from(http::Response::new(()).into_parts().0));
        Self {
            digest: Arc::new(ProxyDigest::new(unused, Some(user_data))),
            transport,
            received: BytesMut::new(),
            window: Window::Bytes(0),
            unsent: BytesMut::new(),
            protocol: Protocol::Http1,
            may_be_h2: false,
            connection,
            deadline: Timer::default(),
            send_stall: SendStall::default(),
            send_pace: Pace::default(),
            body_pace: BodyPace::default(),
            limits,
            h2_watch: None,
        }
    }

    /// Waits for the first byte of the next request; an idle connection stands here.
    pub(crate) async fn readable(&mut self) -> Result<(), HeadError> {
        if self.received.is_empty() {
            self.receive().await?;
        }
        Ok(())
    }

    /// Reads until the whole head of the next request is here, and opens the window to the end of
    /// its message. The caller sets the deadline.
    pub(crate) async fn read_head(&mut self, rules: &ReadingRules) -> Result<(), HeadError> {
        let mut scan = HeadEnd::default();
        loop {
            if let Some(end) = scan.find(&self.received) {
                if end > rules.header_bytes {
                    return Err(HeadError::TooLarge);
                }
                let head = self.received.get(..end).unwrap_or_default();
                // Pingora repairs some broken heads; this one is judged before it does.
                let framing = check_http1_head(head, rules).map_err(HeadError::Refused)?;
                let end = encode_query(head).map_or(end, |head| self.respell(end, &head));
                self.body_pace = BodyPace::default();
                self.send_pace = Pace::default();
                self.window = match framing {
                    Framing::Length(body) => Window::Bytes(body.saturating_add(end as u64)),
                    Framing::Chunked => Window::Chunked { head: end, body: ChunkedBody::new() },
                    Framing::Open => Window::Open,
                };
                return Ok(());
            }
            if self.received.len() > rules.header_bytes {
                return Err(HeadError::TooLarge);
            }
            self.receive().await?;
        }
    }

    /// Puts `head` in the place of the first `end` bytes; where the head ends now.
    fn respell(&mut self, end: usize, head: &[u8]) -> usize {
        let body = self.received.split_off(end);
        self.received = BytesMut::from(head);
        self.received.extend_from_slice(&body);
        head.len()
    }

    /// Whether the connection starts with HTTP/2's preface (RFC 9113 §3.4); reads up to its 24
    /// bytes, and no more than are needed to tell.
    pub(crate) async fn starts_with_h2_preface(&mut self) -> Result<bool, HeadError> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        self.may_be_h2 = true;
        loop {
            let known = self.received.len().min(PREFACE.len());
            if self.received.get(..known) != PREFACE.get(..known) {
                return Ok(false);
            }
            if known == PREFACE.len() {
                return Ok(true);
            }
            self.receive().await?;
        }
    }

    /// Whether the client may have meant HTTP/2, and what came is no HTTP/1 request either: bytes of
    /// HTTP/1 would tell it nothing (RFC 9113 §3.4).
    pub(crate) fn is_foreign(&self) -> bool {
        let line = self.received.as_ref().split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.may_be_h2 && memchr::memmem::find(line, b" HTTP/1.").is_none()
    }

    /// What came of the next request so far.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// What the requests on this stream share.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Lets Pingora read everything from here on, as HTTP/2, watched for floods.
    ///
    /// # Errors
    /// What came with the preface is a flood already.
    pub(crate) fn open_as_h2(&mut self, mut watch: H2Watch) -> io::Result<()> {
        // The preface, read to tell the protocol, is the first thing that the watch must see.
        watch.received(&self.received)?;
        self.protocol = Protocol::Http2;
        self.window = Window::Open;
        self.h2_watch = Some(Box::new(watch));
        Ok(())
    }

    /// Sends `bytes` and closes: the answer to a request that Pingora never sees.
    pub(crate) async fn answer_and_close(mut self, bytes: &[u8]) {
        let answered = async {
            AsyncWriteExt::write_all(&mut self, bytes).await?;
            AsyncWriteExt::shutdown(&mut self).await
        };
        // The client may be gone already; there is nobody to tell.
        drop(answered.await);
    }

    async fn receive(&mut self) -> Result<(), HeadError> {
        std::future::poll_fn(|cx| self.poll_receive(cx)).await.map_or(
            Err(HeadError::Closed),
            |count| {
                if count == 0 { Err(HeadError::Closed) } else { Ok(()) }
            },
        )
    }

    /// Reads once from the transport into `received`.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Read into the stack first: a silent connection must not own a buffer.
        let mut chunk = [MaybeUninit::<u8>::uninit(); READ_CHUNK];
        let mut buf = ReadBuf::uninit(&mut chunk);
        ready!(self.transport.poll_read(cx, &mut buf))?;
        let bytes = buf.filled();
        self.watch_received(bytes)?;
        self.received.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn watch_received(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.h2_watch {
            Some(watch) => watch.received(bytes),
            None => Ok(()),
        }
    }

    /// Passes on what is here and inside the window; true if something was.
    fn pass_on(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let here = self.received.len().min(buf.remaining());
        let count = match &mut self.window {
            Window::Open => here,
            Window::Bytes(left) => {
                let count = here.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                count
            }
            Window::Chunked { head, .. } if *head > 0 => {
                let count = here.min(*head);
                *head -= count;
                count
            }
            Window::Chunked { body, .. } => {
                let here = self.received.get(..here).unwrap_or_default();
                body.feed(here).map_err(|refusal| {
                    self.connection.break_off(Broken::Malformed);
                    io::Error::new(io::ErrorKind::InvalidData, refusal.evidence)
                })?
            }
        };
        buf.put_slice(self.received.get(..count).unwrap_or_default());
        self.received.advance(count);
        if self.received.is_empty() {
            // An idle connection owns no buffer.
            self.received = BytesMut::new();
        }
        Ok(count > 0)
    }

    /// Whether the whole message was passed on.
    fn is_message_over(&self) -> bool {
        match &self.window {
            Window::Open => false,
            Window::Bytes(left) => *left == 0,
            Window::Chunked { head, body } => *head == 0 && body.is_complete(),
        }
    }

    /// Reads past the end of the message: only to notice that the client left. What it sends
    /// belongs to the next request and is held back.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.received.len() >= HELD_BACK {
                return Poll::Pending;
            }
            if ready!(self.poll_receive(cx))? == 0 {
                // A client that sent further requests before it closed still wants its answers.
                let gone = self.received.is_empty();
                return if gone { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        }
    }

    fn poll_read_message(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pass_on(buf)? {
            return Poll::Ready(Ok(()));
        }
        if self.is_message_over() {
            return self.poll_idle(cx);
        }
        match self.window {
            Window::Open => self.poll_transport(cx, buf, READ_CHUNK).map_ok(|_count| ()),
            Window::Bytes(left) => {
                let limit = usize::try_from(left).unwrap_or(usize::MAX);
                let count = ready!(self.poll_transport(cx, buf, limit.min(READ_CHUNK)))?;
                self.window = Window::Bytes(left - count as u64);
                Poll::Ready(Ok(()))
            }
            Window::Chunked { .. } => {
                ready!(self.poll_receive(cx))?;
                self.pass_on(buf)?;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Ends a body that comes too slowly; only the time spent waiting for the client counts.
    fn keep_pace(&mut self, bytes: Option<usize>) -> io::Result<()> {
        let waits_for_body = !self.is_message_over() && !matches!(self.window, Window::Open);
        let waited = self.body_pace.note(bytes, waits_for_body);
        let rate = self.limits.body_min_rate.0;
        if waited.is_some_and(|waited| self.body_pace.pace.is_too_slow(waited, rate)) {
            self.connection.break_off(Broken::TooSlow);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Reads at most `limit` bytes from the transport straight into `buf`.
    fn poll_transport(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let room = buf.remaining().min(limit);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(self.transport.poll_read(cx, &mut part))?;
        let count = part.filled().len();
        if let Some(watch) = &mut self.h2_watch {
            watch.received(part.filled())?;
        }
        buf.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Sends what was gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(self.transport.poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
            self.send_pace.bytes += sent as u64;
        }
        // An idle connection owns no buffer.
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// `progress`, or an error once the client has not taken a byte for the send timeout.
    fn or_send_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            if let Some(stalled) = self.send_stall.end() {
                // Whoever else is waited for could not show progress meanwhile.
                self.connection.put_off_deadline(stalled);
                if self.send_pace.is_too_slow(stalled, self.limits.body_min_rate.0) {
                    self.connection.break_off(Broken::NotReading);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            return progress;
        }
        let deadline = self.send_stall.since(Instant::now()) + self.limits.send_timeout.0;
        if self.send_stall.timer.is_past(cx, deadline) {
            self.connection.break_off(Broken::NotReading);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = this.poll_read_message(cx, buf);
        this.keep_pace(read.is_ready().then(|| buf.filled().len() - before))?;
        // On HTTP/2 many requests share the stream; none of them may end the others.
        if read.is_pending()
            && this.protocol == Protocol::Http1
            && let Some(deadline) = this.connection.deadline()
            && this.deadline.is_past(cx, deadline)
        {
            this.connection.break_off(Broken::Overdue);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unsent.len() + bytes.len() > WRITE_BUFFER && !this.unsent.is_empty() {
            let sent = this.poll_send(cx);
            ready!(this.or_send_timeout(cx, sent))?;
        }
        let count = if bytes.len() >= WRITE_BUFFER {
            let written = this.transport.poll_write(cx, bytes);
            let count = ready!(this.or_send_timeout(cx, written))?;
            this.send_pace.bytes += count as u64;
            count
        } else {
            this.unsent.extend_from_slice(bytes);
            bytes.len()
        };
        if let Some(watch) = &mut this.h2_watch {
            watch.sent(bytes.get(..count).unwrap_or_default())?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let sent = this.poll_send(cx);
        ready!(this.or_send_timeout(cx, sent))?;
        let flushed = this.transport.poll_flush(cx);
        this.or_send_timeout(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let sent = this.poll_send(cx);
        ready!(this.or_send_timeout(cx, sent))?;
        let closed = this.transport.poll_shutdown(cx);
        this.or_send_timeout(cx, closed)
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream")
            .field("protocol", &self.protocol)
            .field("window", &self.window)
            .field("received", &self.received.len())
            .field("unsent", &self.unsent.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The client may be gone already; there is nobody to tell.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.transport.descriptor()
    }
}

impl Ssl for ClientStream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => Some(ALPN::H2),
        }
    }
}

impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

/// How a request finds its [`Connection`]: the digest is the one thing that Pingora passes from a
/// stream to its sessions, for HTTP/1 and HTTP/2 alike.
impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.digest.clone())
    }
}

#[cfg(test)]
mod tests;
