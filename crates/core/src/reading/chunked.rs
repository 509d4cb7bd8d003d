//! The chunked framing of an HTTP/1 body (RFC 9112 §7.1), read strictly and without its content.
//! A lenient reader takes a bare LF, or an LF inside a chunk extension, for the end of a line
//! (CVE-2025-22871 and its kin) and finds another end of the body than its neighbour. The
//! connection layer also learns here where the message ends.

use super::Refusal;
use super::fields::is_token;

/// Bytes of one chunk's extensions, and of all trailers, at most.
const LINE_BYTES: u32 = 1024;
const TRAILER_BYTES: u32 = 8 * 1024;

/// Watches one chunked body, in pieces as they come. It holds no bytes.
#[derive(Clone, Debug, Default)]
pub struct ChunkedBody {
    state: State,
    /// Content bytes of the current chunk that are still to come.
    remaining: u64,
    /// Digits of the size, then bytes of the extensions, then bytes of the trailers so far.
    line_bytes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    /// The CR of a size line was read.
    SizeEnd,
    Content,
    /// The content was read, its CR LF was not.
    ContentEnd,
    ContentLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastLf,
    Complete,
}

impl ChunkedBody {
    /// A watch before the body's first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next bytes of the connection, and returns how many of them belong to this
    /// body: all of them, unless it ends before.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the framing is malformed; the connection must then be closed, as nobody
    /// knows where the next request starts.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut rest = bytes;
        while !self.is_complete() {
            if self.state == State::Content {
                let skipped = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len());
                rest = rest.get(skipped..).unwrap_or_default();
                self.remaining -= skipped as u64;
                if self.remaining > 0 {
                    break;
                }
                self.state = State::ContentEnd;
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            self.state = self.step(byte)?;
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the whole body was seen, its trailers included.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        use State as S;
        match (self.state, byte) {
            (S::Size, _) if byte.is_ascii_hexdigit() => self.push_digit(byte),
            (S::Size, b';') if self.line_bytes > 0 => self.start_line(S::Extension),
            (S::Size, b'\r') if self.line_bytes > 0 => Ok(S::SizeEnd),
            (S::Extension, b'\r') => Ok(S::SizeEnd),
            (S::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.count(S::Extension, LINE_BYTES),
            (S::SizeEnd, b'\n') => self.start_line(self.after_size()),
            (S::ContentEnd, b'\r') => Ok(S::ContentLf),
            (S::ContentLf, b'\n') => self.start_line(S::Size),
            (S::TrailerStart, b'\r') => Ok(S::LastLf),
            (S::TrailerStart | S::TrailerName, _) if is_token(byte) => {
                self.count(S::TrailerName, TRAILER_BYTES)
            }
            (S::TrailerName, b':') => Ok(S::TrailerValue),
            (S::TrailerValue, b'\r') => Ok(S::TrailerEnd),
            (S::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count(S::TrailerValue, TRAILER_BYTES)
            }
            (S::TrailerEnd, b'\n') => Ok(S::TrailerStart),
            (S::LastLf, b'\n') => Ok(S::Complete),
            _ => Err(Refusal::ambiguous("malformed chunked framing")),
        }
    }

    /// 15 digits hold an exabyte; more may overflow somebody's integer (RFC 9112 §7.1).
    fn push_digit(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => byte - b'A' + 10,
        };
        self.remaining = self.remaining << 4 | u64::from(digit);
        self.count(State::Size, 15)
    }

    fn after_size(&self) -> State {
        if self.remaining == 0 { State::TrailerStart } else { State::Content }
    }

    fn start_line(&mut self, state: State) -> Result<State, Refusal> {
        self.line_bytes = 0;
        Ok(state)
    }

    fn count(&mut self, state: State, limit: u32) -> Result<State, Refusal> {
        self.line_bytes += 1;
        if self.line_bytes > limit {
            return Err(Refusal::malformed("chunked framing exceeds its limits"));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    /// `Ok` with the body's length once it is complete.
    fn read(bytes: &[u8], chunk: usize) -> Result<Option<usize>, Refusal> {
        let mut body = ChunkedBody::new();
        let mut length = 0;
        for piece in bytes.chunks(chunk) {
            length += body.feed(piece)?;
        }
        Ok(body.is_complete().then_some(length))
    }

    #[track_caller]
    fn check(bytes: &[u8], expect: Option<usize>) {
        for chunk in [1, 2, 5, bytes.len()] {
            assert_eq!(read(bytes, chunk), Ok(expect), "{bytes:?} by {chunk}");
        }
    }

    #[test]
    fn a_body_ends_where_it_says() {
        check(b"0\r\n\r\n", Some(5));
        check(b"5\r\nhello\r\n0\r\n\r\nGET /", Some(15));
        check(b"00a;x=\"y\";z\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n", Some(40));
        check(b"5\r\nhel", None);
        check(b"5\r\nhello\r\n0\r\n", None);
        check(b"1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n", Some(42));
    }

    #[test]
    fn what_two_readers_could_cut_differently_is_refused() {
        for bytes in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\r\n0\n\r\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\n X: y\r\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"5 \r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b"\r\n",
            b";a\r\n",
            b"g\r\n",
            b"5\rxhello",
            b"5;a\0\r\n",
            b"1000000000000000\r\n",
        ] {
            assert!(read(bytes, bytes.len()).is_err(), "{bytes:?}");
            assert!(read(bytes, 1).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let extension = [b"5;".as_slice(), &vec![b'a'; 1025]].concat();
        assert!(read(&extension, 1025).is_err());
        let trailers = [b"0\r\n".as_slice(), &b"a: bbbbbbbbbbbb\r\n".repeat(1000)].concat();
        assert!(read(&trailers, 4096).is_err());
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_the_cut(
            bytes in proptest::collection::vec(
                proptest::sample::select(b"05aF;\r\n:x \0".to_vec()), 1..40),
            chunk in any::<usize>(),
        ) {
            let whole = read(&bytes, bytes.len());
            prop_assert_eq!(read(&bytes, chunk % 9 + 1).is_err(), whole.is_err());
            if let Ok(whole) = whole {
                prop_assert_eq!(read(&bytes, chunk % 9 + 1), Ok(whole));
            }
        }
    }
}
