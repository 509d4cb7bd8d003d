//! Reading HTTP/1 messages off a stream: just enough for origins and clients of tests. It is
//! lenient on purpose, since what it reads is the thing under test.

use std::io::{self, Read};

/// Fields of a message, in order, as they were sent.
pub(crate) type Fields = Vec<(String, String)>;

/// The first line and the fields of a head; lines may end in a bare LF.
pub(crate) fn parse_head(head: &[u8]) -> (String, Fields) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let fields = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    (first, fields)
}

/// The first value of a field.
pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// How a message says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    /// The framing that the fields declare; `default` if they declare none.
    pub(crate) fn of(fields: &Fields, default: Self) -> Self {
        let chunked = field(fields, "transfer-encoding")
            .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        if chunked {
            return Self::Chunked;
        }
        let length = field(fields, "content-length").and_then(|value| value.parse().ok());
        length.map_or(default, Self::Length)
    }
}

/// A stream and what was read from it and not yet used.
pub(crate) struct Buffered<S> {
    pub(crate) stream: S,
    pub(crate) rest: Vec<u8>,
}

impl<S: Read> Buffered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Reads up to and including the blank line that ends a head; `None` if the stream ended
    /// before its first byte.
    pub(crate) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = head_end(&self.rest) {
                let tail = self.rest.split_off(end);
                return Ok(Some(std::mem::replace(&mut self.rest, tail)));
            }
            if self.fill()? == 0 {
                return if self.rest.is_empty() { Ok(None) } else { Err(cut_short()) };
            }
        }
    }

    /// Reads a body; trailers of a chunked one are returned beside it.
    pub(crate) fn body(&mut self, framing: Framing) -> io::Result<(Vec<u8>, Fields)> {
        match framing {
            Framing::Length(length) => Ok((self.exactly(length)?, Fields::new())),
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => {
                while self.fill()? > 0 {}
                Ok((std::mem::take(&mut self.rest), Fields::new()))
            }
        }
    }

    fn chunks(&mut self) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16)
                .map_err(|_error| io::Error::other(format!("bad chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
        let mut trailers = Fields::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            trailers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok((body, trailers))
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let tail = self.rest.split_off(at + 1);
                let line = std::mem::replace(&mut self.rest, tail);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.fill()? == 0 {
                return Err(cut_short());
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.rest.len() < length {
            if self.fill()? == 0 {
                return Err(cut_short());
            }
        }
        let tail = self.rest.split_off(length);
        Ok(std::mem::replace(&mut self.rest, tail))
    }

    /// Reads once; 0 at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk)?;
        self.rest.extend_from_slice(&chunk[..read]);
        Ok(read)
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let bare = bytes.windows(2).position(|window| window == b"\n\n").map(|at| at + 2);
    match (crlf, bare) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside a message")
}
