//! A request line as it came over the wire. Pingora rewrites a line that it cannot parse, turning
//! spaces, control bytes and everything outside of ASCII into percent triplets, and tries again:
//! what reaches [`read_http1_head`](super::read_http1_head) may be a line that nobody sent. This
//! is fed by the connection layer, which sees the bytes first.

use super::fields::is_token;
use super::{ReadingRules, Refusal};
use crate::Reason;

/// Watches the first line of one request, in pieces as they come. It holds no bytes.
#[derive(Clone, Debug, Default)]
pub struct RequestLine {
    state: State,
    target_bytes: usize,
    refusal: Option<Refusal>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    EmptyLine,
    AfterEmptyLine,
    Method,
    Target,
    Version,
    LineEnd,
    Done,
}

impl RequestLine {
    /// A watch before the first byte of a request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next bytes of the connection. After the line's end it costs nothing.
    pub fn feed(&mut self, bytes: &[u8], rules: &ReadingRules) {
        for &byte in bytes {
            if self.is_done() {
                return;
            }
            match self.step(byte, rules) {
                Ok(state) => self.state = state,
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    self.state = State::Done;
                }
            }
        }
    }

    /// Whether the line is complete or refused.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Why the line is refused, if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    fn step(&mut self, byte: u8, rules: &ReadingRules) -> Result<State, Refusal> {
        match (self.state, byte) {
            // RFC 9112 §2.2: one empty line may come before.
            (State::Start, b'\r') => Ok(State::EmptyLine),
            (State::EmptyLine, b'\n') => Ok(State::AfterEmptyLine),
            (State::Method | State::Target | State::Version, b'\r' | b'\n')
            | (State::Start | State::AfterEmptyLine, b'\n')
                if self.state != State::Version || byte != b'\r' =>
            {
                Err(Refusal::ambiguous("a bare CR or LF in the request line"))
            }
            (State::Start | State::AfterEmptyLine | State::Method, byte) if is_token(byte) => {
                Ok(State::Method)
            }
            (State::Method, b' ') => Ok(State::Target),
            (State::Target, b' ') => Ok(State::Version),
            (State::Target, b'!'..=b'~') if self.target_bytes < rules.uri_bytes => {
                self.target_bytes += 1;
                Ok(State::Target)
            }
            (State::Target, b'!'..=b'~') => {
                Err(Refusal::new(Reason::UriTooLong, "the target exceeds the limit"))
            }
            (State::Version, b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.') => Ok(State::Version),
            (State::Version, b'\r') => Ok(State::LineEnd),
            (State::LineEnd, b'\n') | (State::Done, _) => Ok(State::Done),
            _ => Err(Refusal::malformed("a byte that no request line may hold")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &[u8], expect: Option<Reason>) {
        for chunk in [1, 3, line.len()] {
            let mut watch = RequestLine::new();
            for piece in line.chunks(chunk) {
                watch.feed(piece, &ReadingRules { uri_bytes: 64, ..ReadingRules::default() });
            }
            assert!(watch.is_done(), "{line:?}");
            assert_eq!(watch.refusal().map(|it| it.reason), expect, "{line:?}");
        }
    }

    #[test]
    fn clean_lines_pass() {
        check(b"GET / HTTP/1.1\r\n", None);
        check(b"\r\nGET /a?b=%20 HTTP/1.0\r\nX: \x00", None);
        check(b"OPTIONS * HTTP/1.1\r\n", None);
    }

    #[test]
    fn what_the_parser_would_rewrite_is_seen() {
        let malformed = Some(Reason::MalformedRequest);
        let ambiguous = Some(Reason::AmbiguousRequest);
        check(b"GET /a b HTTP/1.1\r\n", malformed);
        check(b"GET / HTTP/1.1 HTTP/1.1\r\n", malformed);
        check(b"GET  / HTTP/1.1\r\n", malformed);
        check(b"GET /\x00 HTTP/1.1\r\n", malformed);
        check(b"GET /\x7f HTTP/1.1\r\n", malformed);
        check(b"GET /\xc3\xa9 HTTP/1.1\r\n", malformed);
        check(b"GET /\tx HTTP/1.1\r\n", malformed);
        check(b"GET /\rx HTTP/1.1\r\n", ambiguous);
        check(b"GET / HTTP/1.1\n", ambiguous);
        check(b"\nGET / HTTP/1.1\r\n", ambiguous);
        check(b"\r\n\nGET / HTTP/1.1\r\n", ambiguous);
        check(b"\r\n\r\nGET / HTTP/1.1\r\n", malformed);
        check(b"\rGET / HTTP/1.1\r\n", malformed);
        check(b" GET / HTTP/1.1\r\n", malformed);
    }

    #[test]
    fn a_long_target_is_seen_early() {
        let mut watch = RequestLine::new();
        let rules = ReadingRules { uri_bytes: 3, ..ReadingRules::default() };
        watch.feed(b"GET /ab", &rules);
        assert_eq!(watch.refusal(), None);
        watch.feed(b"c", &rules);
        assert_eq!(watch.refusal().map(|it| it.reason), Some(Reason::UriTooLong));
    }
}
