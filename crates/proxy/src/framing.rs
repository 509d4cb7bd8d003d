//! Where an HTTP/1 message ends, before anybody parses it.
//!
//! Heads that could be read in two ways are refused right after by [`tidegate_core::reading`];
//! here such a head only decides how many bytes Pingora may see until then.

use memchr::memchr;

/// Finds the end of a head as it arrives, without looking at a byte twice.
#[derive(Debug, Default)]
pub(crate) struct HeadEnd {
    /// Where the search goes on: just after the last line feed.
    line_start: usize,
    /// Bytes that were searched for a line feed already.
    searched: usize,
    /// Whether the request line has begun; line ends before it belong to no line.
    begun: bool,
}

impl HeadEnd {
    /// The length of the head in `bytes`, its empty line included, once that line is here.
    ///
    /// A bare line feed ends a line here as it does for lenient readers: they must not find an
    /// end where we see none.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(offset) = memchr(b'\n', bytes.get(self.searched..)?) {
            let line_end = self.searched + offset;
            let line = bytes.get(self.line_start..line_end)?;
            self.line_start = line_end + 1;
            self.searched = line_end + 1;
            let empty = matches!(line, b"" | b"\r");
            if empty && self.begun {
                return Some(line_end + 1);
            }
            self.begun |= !empty;
        }
        self.searched = bytes.len();
        None
    }
}

/// How far an HTTP/1 message reaches beyond its head (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// That many bytes of body follow.
    Length(u64),
    /// Chunks follow, and say themselves where they end.
    Chunked,
    /// The protocol may change; what follows is not HTTP/1 any more.
    Open,
}

impl Framing {
    /// The framing that `head` declares. An unreadable length counts as none: the head is refused.
    pub(crate) fn of(head: &[u8]) -> Self {
        let mut framing = Self::Length(0);
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some((name, value)) = split_field(line) else { continue };
            if name.eq_ignore_ascii_case(b"upgrade") {
                return Self::Open;
            }
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                framing = Self::Chunked;
            } else if name.eq_ignore_ascii_case(b"content-length") && framing != Self::Chunked {
                framing = Self::Length(parse_length(value).unwrap_or(0));
            }
        }
        framing
    }
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // Cheap first look: only names that begin with C, T or U matter.
    if !matches!(line.first()? | 0x20, b'c' | b't' | b'u') {
        return None;
    }
    let colon = memchr(b':', line)?;
    Some((line.get(..colon)?, line.get(colon + 1..)?))
}

fn parse_length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_end(bytes: &[u8], end: Option<usize>) {
        assert_eq!(HeadEnd::default().find(bytes), end, "at once");
        let mut scan = HeadEnd::default();
        let piecewise = (0..=bytes.len()).find_map(|to| scan.find(&bytes[..to]));
        assert_eq!(piecewise, end, "byte by byte");
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        check_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(27));
        check_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n", Some(27));
        check_end(b"GET / HTTP/1.1\nHost: a\n\nrest", Some(24));
        check_end(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(22));
        check_end(b"GET / HTTP/1.1\r\nHost: a\r\n", None);
        check_end(b"\r\n\r\n\r\n", None);
        check_end(b"", None);
    }

    #[track_caller]
    fn check_framing(fields: &str, framing: Framing) {
        assert_eq!(Framing::of(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes()), framing);
    }

    #[test]
    fn a_message_ends_where_its_fields_say() {
        check_framing("Host: a\r\n", Framing::Length(0));
        check_framing("content-LENGTH:  12 \r\n", Framing::Length(12));
        check_framing("Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", Framing::Chunked);
        check_framing("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", Framing::Chunked);
        check_framing("Upgrade: websocket\r\n", Framing::Open);
        check_framing("Content-Length: 1x\r\n", Framing::Length(0));
        check_framing("Content-Length: 99999999999999999999\r\n", Framing::Length(0));
    }
}
