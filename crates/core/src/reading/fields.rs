//! The fields that say where a message ends, whom it is for and what becomes of its connection.
//! Each field passes once; nothing is stored but what the checks need.

use super::{Framing, ReadingRules, Refusal, Upgrade};
use crate::Reason;

/// RFC 9113 §6.5.2 counts each field with this many bytes on top.
const FIELD_OVERHEAD: usize = 32;

/// The protocol that carried the head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Http1 { is_1_0: bool },
    Http2,
}

/// What was learnt from the fields so far.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    count: usize,
    cookies: usize,
    bytes: usize,
    host: Option<&'a [u8]>,
    content_length: Option<u64>,
    seen: Seen,
    upgrade: Upgrade,
}

/// Facts without a value of their own, as bits.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(u16);

impl Seen {
    const AUTHORIZATION: u16 = 1;
    const CHUNKED: u16 = 1 << 1;
    const CONNECTION_SPECIFIC: u16 = 1 << 2;
    const CONNECTION_UPGRADE: u16 = 1 << 3;
    const CONTENT_TYPE: u16 = 1 << 4;
    const EXPECT: u16 = 1 << 5;
    const EXPECT_UNKNOWN: u16 = 1 << 6;
    const TE_UNKNOWN: u16 = 1 << 7;

    fn has(self, fact: u16) -> bool {
        self.0 & fact != 0
    }

    /// Remembers a fact; says whether it was known before.
    fn add(&mut self, fact: u16) -> bool {
        let known = self.has(fact);
        self.0 |= fact;
        known
    }
}

impl<'a> Fields<'a> {
    /// Takes one field into account; `value` has no white space around it.
    pub(super) fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        self.count += 1;
        self.bytes += name.len() + value.len() + FIELD_OVERHEAD;
        if name.contains(&b'_') {
            return Err(Refusal::ambiguous("an underscore in a field name"));
        }
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is(b"te") => self.note_te(value),
            4 if is(b"host") => self.note_host(value)?,
            6 if is(b"cookie") => self.cookies += 1,
            6 if is(b"expect") => self.note_expect(value)?,
            7 if is(b"upgrade") => self.note_upgrade(value),
            10 if is(b"connection") => self.note_connection(value)?,
            10 if is(b"keep-alive") => drop(self.seen.add(Seen::CONNECTION_SPECIFIC)),
            12 if is(b"content-type") => self.note_once(Seen::CONTENT_TYPE)?,
            13 if is(b"authorization") => self.note_once(Seen::AUTHORIZATION)?,
            14 if is(b"content-length") => self.note_content_length(value)?,
            16 if is(b"proxy-connection") => drop(self.seen.add(Seen::CONNECTION_SPECIFIC)),
            17 if is(b"transfer-encoding") => self.note_transfer_encoding(value)?,
            _ => {}
        }
        Ok(())
    }

    /// Fields noted so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The `Host` field's value.
    pub(super) fn host(&self) -> Option<&'a [u8]> {
        self.host
    }

    /// The limits of an HTTP/2 header list; HTTP/1 is counted on the wire.
    pub(super) fn check_limits(&self, rules: &ReadingRules) -> Result<(), Refusal> {
        // RFC 9113 §8.2.3 splits cookies into fields of their own.
        if self.count - self.cookies.saturating_sub(1) > rules.header_fields {
            return Err(Refusal::new(Reason::HeadersTooLarge, "too many header fields"));
        }
        if self.bytes > rules.header_bytes {
            return Err(Refusal::new(Reason::HeadersTooLarge, "the head exceeds the limit"));
        }
        Ok(())
    }

    /// Judges all fields together, once the last was noted.
    pub(super) fn finish(&self, protocol: Protocol, method: &[u8]) -> Result<Upgrade, Refusal> {
        if self.seen.has(Seen::CHUNKED) && self.content_length.is_some() {
            // RFC 9112 §6.1: the classic request smuggling.
            return Err(Refusal::ambiguous("Content-Length beside Transfer-Encoding"));
        }
        match protocol {
            Protocol::Http1 { is_1_0: true } => {
                if self.seen.has(Seen::CHUNKED) {
                    // RFC 9112 §6.1.
                    return Err(Refusal::ambiguous("Transfer-Encoding in HTTP/1.0"));
                }
                // RFC 9110 §7.8 and §10.1.1: Upgrade and Expect mean nothing in HTTP/1.0.
                Ok(if self.upgrade == Upgrade::Absent { Upgrade::Absent } else { Upgrade::Ignored })
            }
            Protocol::Http1 { is_1_0: false } => {
                self.check_expectation()?;
                self.finish_upgrade(method)
            }
            Protocol::Http2 => {
                self.check_expectation()?;
                self.check_http2()
            }
        }
    }

    /// How far the message reaches, once [`finish`](Self::finish) allowed it with that `upgrade`.
    pub(super) fn framing(&self, upgrade: Upgrade) -> Framing {
        match (upgrade, self.seen.has(Seen::CHUNKED)) {
            (Upgrade::WebSocket, _) => Framing::Open,
            (Upgrade::Absent | Upgrade::Ignored, true) => Framing::Chunked,
            (Upgrade::Absent | Upgrade::Ignored, false) => {
                Framing::Length(self.content_length.unwrap_or(0))
            }
        }
    }

    /// RFC 9113 §8.2.2: fields about the connection make an HTTP/2 message malformed.
    fn check_http2(&self) -> Result<Upgrade, Refusal> {
        let specific = self.seen.has(Seen::CONNECTION_SPECIFIC) || self.seen.has(Seen::CHUNKED);
        if specific || self.upgrade != Upgrade::Absent {
            return Err(Refusal::malformed("a connection-specific field in HTTP/2"));
        }
        if self.seen.has(Seen::TE_UNKNOWN) {
            return Err(Refusal::malformed("TE other than trailers in HTTP/2"));
        }
        Ok(Upgrade::Absent)
    }

    fn check_expectation(&self) -> Result<(), Refusal> {
        if self.seen.has(Seen::EXPECT_UNKNOWN) { Err(Refusal::expectation()) } else { Ok(()) }
    }

    /// RFC 6455 §4.1: a WebSocket handshake is a GET without a body that names `upgrade` in
    /// `Connection`.
    fn finish_upgrade(&self, method: &[u8]) -> Result<Upgrade, Refusal> {
        if self.upgrade != Upgrade::WebSocket {
            return Ok(self.upgrade);
        }
        if method != b"GET" || !self.seen.has(Seen::CONNECTION_UPGRADE) {
            return Ok(Upgrade::Ignored);
        }
        if self.seen.has(Seen::CHUNKED) || self.content_length.unwrap_or(0) > 0 {
            return Err(Refusal::ambiguous("a WebSocket handshake with a body"));
        }
        Ok(Upgrade::WebSocket)
    }

    /// RFC 9112 §3.2: more than one `Host` is refused.
    fn note_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.replace(value).is_some() {
            return Err(Refusal::ambiguous("several Host fields"));
        }
        Ok(())
    }

    /// RFC 9110 §8.6: one field, digits only. The RFC allows to merge identical values; we refuse
    /// them, as whoever sends them tests for a reader that takes the other one.
    fn note_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::ambiguous("Content-Length is no single number"));
        }
        let length = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if self.content_length.replace(length).is_some() {
            return Err(Refusal::ambiguous("several Content-Length fields"));
        }
        Ok(())
    }

    /// RFC 9112 §6.1: we speak no coding but `chunked`, and it may be applied only once.
    fn note_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::ambiguous("Transfer-Encoding is not chunked"));
        }
        if self.seen.add(Seen::CHUNKED) {
            return Err(Refusal::ambiguous("several Transfer-Encoding fields"));
        }
        Ok(())
    }

    fn note_te(&mut self, value: &[u8]) {
        if !value.eq_ignore_ascii_case(b"trailers") {
            self.seen.add(Seen::TE_UNKNOWN);
        }
    }

    /// RFC 9110 §10.1.1.
    fn note_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            self.seen.add(Seen::EXPECT_UNKNOWN);
        }
        self.note_once(Seen::EXPECT)
    }

    /// RFC 9110 §7.8. Several protocols are an offer to choose from; we choose only what is
    /// offered alone.
    fn note_upgrade(&mut self, value: &[u8]) {
        let first = self.upgrade == Upgrade::Absent;
        let websocket = value.eq_ignore_ascii_case(b"websocket");
        self.upgrade = if first && websocket { Upgrade::WebSocket } else { Upgrade::Ignored };
    }

    /// RFC 9110 §7.6.1: a proxy removes what `Connection` names. Whoever names a field that frames
    /// the message or says who asks wants it gone between two readers.
    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.seen.add(Seen::CONNECTION_SPECIFIC);
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.seen.add(Seen::CONNECTION_UPGRADE);
            } else if is_end_to_end(option) {
                return Err(Refusal::ambiguous("Connection names an end-to-end field"));
            } else if !option.iter().copied().all(is_token) {
                return Err(Refusal::malformed("Connection holds no list of tokens"));
            }
        }
        Ok(())
    }

    /// RFC 9110 §5.3: a field that is no list comes once.
    fn note_once(&mut self, fact: u16) -> Result<(), Refusal> {
        if self.seen.add(fact) {
            return Err(Refusal::ambiguous("a field that may come once comes twice"));
        }
        Ok(())
    }
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Names are most of what is looked at byte by byte, hence a table.
#[expect(
    clippy::indexing_slicing,
    reason = "a byte is a valid index, and this runs while compiling"
)]
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\
        !#$%&'*+-.^_`|~";
    while let [byte, after @ ..] = rest {
        table[*byte as usize] = true;
        rest = after;
    }
    table
};

/// Fields that no `Connection` may name: framing, routing, and who asks.
fn is_end_to_end(option: &[u8]) -> bool {
    const NAMES: [&[u8]; 14] = [
        b"accept-encoding",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"origin",
        b"transfer-encoding",
        b"true-client-ip",
        b"via",
        b"x-real-ip",
    ];
    const PREFIX: &[u8] = b"x-forwarded-";
    NAMES.iter().any(|name| option.eq_ignore_ascii_case(name))
        || option.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}
