//! A client that speaks HTTP/2 in single frames, so that it can break every rule (RFC 9113 §4, §6).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// `SETTINGS_INITIAL_WINDOW_SIZE` (RFC 9113 §6.5.2).
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `GET http://a/` in HPACK: three indexed fields and a literal (RFC 7541 §6.1, §6.2.2).
pub(crate) const REQUEST: &[u8] = b"\x82\x86\x84\x01\x01a";

/// A frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame to send.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of this test").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A whole request without a body, on `stream`.
pub(crate) fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, REQUEST)
}

/// The ids that a client may use, in their order (RFC 9113 §5.1.1).
pub(crate) fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// A connection whose frames are read as they come, so that neither side waits for the other.
#[derive(Debug)]
pub(crate) struct Http2 {
    stream: TcpStream,
    frames: Receiver<Frame>,
    pings: u64,
}

impl Http2 {
    /// Connects in the clear, by prior knowledge.
    pub(crate) fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("an unbuffered socket");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a write timeout");
        let mut reader = stream.try_clone().expect("a second handle");
        let (sender, frames) = channel();
        thread::spawn(move || {
            while let Some(frame) = read_frame(&mut reader) {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        let mut connection = Self { stream, frames, pings: 0 };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let sent = connection.send(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat());
        assert!(sent, "the connection is open");
        connection
    }

    /// Sends bytes; `false` once the other side has gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends each piece until the other side has gone.
    pub(crate) fn flood(&mut self, pieces: impl IntoIterator<Item = Vec<u8>>) {
        for piece in pieces {
            if !self.send(&piece) {
                return;
            }
        }
    }

    /// Waits until the other side has read everything so far; `false` once it has gone.
    pub(crate) fn sync(&mut self, patience: Duration) -> bool {
        self.pings += 1;
        let ping = self.pings.to_be_bytes();
        self.send(&frame(PING, 0, 0, &ping))
            && std::iter::from_fn(|| self.next_frame(patience))
                .any(|it| it.kind == PING && it.payload == ping)
    }

    /// The next frame, or `None` if none comes in time or the other side has gone.
    pub(crate) fn next_frame(&self, patience: Duration) -> Option<Frame> {
        self.frames.recv_timeout(patience).ok()
    }

    /// Reads frames until the other side has gone; `false` if nothing comes for that long.
    pub(crate) fn is_cut_within(&self, patience: Duration) -> bool {
        loop {
            match self.frames.recv_timeout(patience) {
                Ok(_frame) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        // Ends the reader's thread; the other side may have gone before.
        drop(self.stream.shutdown(std::net::Shutdown::Both));
    }
}

fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [high, middle, low, kind, flags, id @ ..] = head;
    let length = u32::from_be_bytes([0, high, middle, low]);
    let mut payload = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut payload).ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes(id) & 0x7fff_ffff, payload })
}
