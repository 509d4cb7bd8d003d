//! JSON (RFC 8259) written straight into a buffer: only what a record needs.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::time;

/// Longer texts are cut: a record is for reading, not for storing what was sent. In bytes.
pub const MAX_TEXT: usize = 4 * 1024;

/// Writes one object's members. The caller writes the braces; every member is preceded by a
/// comma unless it is the first.
#[derive(Debug)]
pub struct Object<'a> {
    /// Where it is written to.
    pub out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    #[must_use]
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Closes it.
    pub fn end(self) {
        self.out.push(b'}');
    }

    /// Writes the member's name; the value is to follow in `out`. Names need no escapes.
    pub fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text; one that is longer than [`MAX_TEXT`] is cut.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    /// A text, if there is one.
    pub fn text_if_any(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A text made of parts, such as a query with masked values.
    pub fn parts<'b>(&mut self, name: &str, parts: impl Iterator<Item = &'b str>) {
        self.name(name);
        self.out.push(b'"');
        let end = self.out.len() + MAX_TEXT;
        for part in parts {
            let room = end.saturating_sub(self.out.len());
            escaped(self.out, cut(part, room));
            if part.len() > room {
                self.out.extend_from_slice(CUT.as_bytes());
                break;
            }
        }
        self.out.push(b'"');
    }

    /// A whole number.
    pub fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A whole number as text.
    pub fn digits(&mut self, name: &str, value: impl itoa::Integer) {
        self.text(name, itoa::Buffer::new().format(value));
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A duration in milliseconds, with three decimals.
    pub fn millis(&mut self, name: &str, value: Duration) {
        let whole = value.as_secs().saturating_mul(1_000);
        self.number(name, whole.saturating_add(value.subsec_millis().into()));
        let micros = value.subsec_micros() % 1_000;
        let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or(0);
        self.out.extend([b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
    }

    /// A time as RFC 3339 in UTC with milliseconds.
    pub fn time(&mut self, name: &str, value: SystemTime) {
        self.name(name);
        self.out.push(b'"');
        time(self.out, value);
        self.out.push(b'"');
    }

    /// An object that `fill` writes into.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut object = Object::begin(self.out);
        fill(&mut object);
        object.end();
    }

    /// A list, whose items `write` writes.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Vec<u8>, T),
    ) {
        self.name(name);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write(self.out, item);
        }
        self.out.push(b']');
    }

    /// An IP address.
    pub fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        self.out.push(b'"');
        ip(self.out, address);
        self.out.push(b'"');
    }

    /// An address with a port.
    pub fn socket(&mut self, name: &str, address: SocketAddr) {
        self.name(name);
        self.out.push(b'"');
        socket(self.out, address);
        self.out.push(b'"');
    }
}

/// Writes an address with a port.
pub fn socket(out: &mut Vec<u8>, address: SocketAddr) {
    if address.is_ipv6() {
        // Writing to memory does not fail.
        let _infallible = write!(out, "{address}");
    } else {
        ip(out, address.ip());
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
    }
}

/// Writes an IP address.
pub fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(v6) => {
            let _infallible = write!(out, "{v6}");
        }
    }
}

/// What stands for the rest of a text that was cut.
pub const CUT: &str = "\u{2026}";

/// Writes a text in quotes.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, cut(text, MAX_TEXT));
    if text.len() > MAX_TEXT {
        out.extend_from_slice(CUT.as_bytes());
    }
    out.push(b'"');
}

/// The longest prefix of at most `max` bytes.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// Writes a text with the escapes of RFC 8259 §7. DEL is escaped too, and so nothing in a line
/// moves a terminal's cursor.
fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    // Nearly every text is plain; without an early exit the compiler looks at many bytes at once.
    if !rest.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        out.extend_from_slice(rest);
        return;
    }
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        escape(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        _ => {
            let hex = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            out.extend([b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(short);
}
