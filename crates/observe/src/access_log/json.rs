//! JSON (RFC 8259) written straight into a buffer: only what a log line needs.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Longer texts are cut: a line is for reading, not for storing what was sent.
const MAX_TEXT: usize = 8 * 1024;

/// Writes one object's members. The caller writes the braces; every member is preceded by a
/// comma unless it is the first.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub(super) out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// Writes the member's name; the value is to follow in `out`. Names need no escapes.
    pub(super) fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    pub(super) fn text_if_any(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A text made of parts, such as a query with masked values.
    pub(super) fn parts<'b>(&mut self, name: &str, parts: impl Iterator<Item = &'b str>) {
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

    pub(super) fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A duration in milliseconds, with three decimals.
    pub(super) fn millis(&mut self, name: &str, value: Duration) {
        let whole = value.as_secs().saturating_mul(1_000);
        self.number(name, whole.saturating_add(value.subsec_millis().into()));
        let micros = value.subsec_micros() % 1_000;
        let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or(0);
        self.out.extend([b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
    }

    pub(super) fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        self.out.push(b'"');
        ip(self.out, address);
        self.out.push(b'"');
    }

    pub(super) fn socket(&mut self, name: &str, address: SocketAddr) {
        self.name(name);
        self.out.push(b'"');
        if address.is_ipv6() {
            // Writing to memory does not fail.
            let _infallible = write!(self.out, "{address}");
        } else {
            ip(self.out, address.ip());
            self.out.push(b':');
            self.out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
        }
        self.out.push(b'"');
    }
}

fn ip(out: &mut Vec<u8>, address: IpAddr) {
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
const CUT: &str = "\u{2026}";

/// Writes a text in quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, cut(text, MAX_TEXT));
    if text.len() > MAX_TEXT {
        out.extend_from_slice(CUT.as_bytes());
    }
    out.push(b'"');
}

/// The longest prefix of at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
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
