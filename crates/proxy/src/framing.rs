//! Where an HTTP/1 head ends, before anybody parses it. Where its message ends is then said by
//! [`check_http1_head`](tidegate_core::reading::check_http1_head).

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
}
