//! A request as bytes: from a file that holds one, or put together of its parts.

use std::net::IpAddr;

use http::request::Parts;
use http::{Request, Version};
use tidegate_core::reading::ChunkedBody;

use super::{Answer, SOMEBODY};

/// One request to try.
#[derive(Debug)]
pub struct Sample {
    /// From the request line to the empty line, as HTTP/1 writes it.
    pub head: Vec<u8>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Who asks.
    pub client: IpAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// What it was answered, if that is known.
    pub answer: Option<Answer>,
}

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// There is no empty line.
    #[error("no empty line ends the head")]
    Endless,
    /// The framing says less than there is.
    #[error("{0} bytes are behind the request; Content-Length says how long a body is")]
    Excess(usize),
    /// The framing says more than there is.
    #[error("the body ends {0} bytes too early")]
    Short(usize),
    /// The chunks do not follow RFC 9112 section 7.1.
    #[error("the body's chunks are malformed")]
    Chunks,
}

impl Sample {
    /// Reads one request as it is on the wire. A file without any CR has its lines' ends made
    /// right, since editors write such.
    ///
    /// # Errors
    /// What makes it no single request; a head that is malformed otherwise is for the trial to
    /// refuse.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, SampleError> {
        let (head, rest) = split(bytes).ok_or(SampleError::Endless)?;
        let body = body(&head, rest)?;
        Ok(Self { head, body, client: SOMEBODY, secure: true, answer: None })
    }

    /// Puts a request together; fields come as they are given.
    #[must_use]
    pub fn new(method: &str, target: &str, fields: &[(String, String)], body: Vec<u8>) -> Self {
        let mut head = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        for (name, value) in fields {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        Self { head, body, client: SOMEBODY, secure: true, answer: None }
    }

    /// The request line.
    #[must_use]
    pub fn line(&self) -> String {
        let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = line.strip_suffix(b" HTTP/1.1").unwrap_or(line);
        line.escape_ascii().to_string()
    }
}

/// The head, with its empty line, and what is behind it.
fn split(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let at = |end: &[u8]| bytes.windows(end.len()).position(|window| window == end);
    if let Some(end) = at(b"\r\n\r\n") {
        let (head, rest) = bytes.split_at_checked(end + 4)?;
        return Some((head.to_vec(), rest));
    }
    let (head, rest) = bytes.split_at_checked(at(b"\n\n")? + 2)?;
    if head.contains(&b'\r') {
        return None;
    }
    let lines = head.split(|byte| *byte == b'\n');
    Some((lines.collect::<Vec<_>>().join(&b"\r\n"[..]), rest))
}

fn body(head: &[u8], rest: &[u8]) -> Result<Vec<u8>, SampleError> {
    let Some(parts) = parts(head) else { return Ok(rest.to_vec()) };
    if parts.headers.contains_key(http::header::TRANSFER_ENCODING) {
        return unchunked(rest);
    }
    let length = parts.headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    match rest.get(..length) {
        None => Err(SampleError::Short(length - rest.len())),
        // Editors end a file with a line's end.
        Some(body) if matches!(&rest.get(length..), Some(b"" | b"\n" | b"\r\n")) => {
            Ok(body.to_vec())
        }
        Some(_) => Err(SampleError::Excess(rest.len() - length)),
    }
}

/// What the chunks hold.
fn unchunked(wire: &[u8]) -> Result<Vec<u8>, SampleError> {
    let mut watch = ChunkedBody::new();
    let used = watch.feed(wire).map_err(|_refusal| SampleError::Chunks)?;
    if !watch.is_complete() {
        return Err(SampleError::Chunks);
    }
    if used < wire.len() {
        return Err(SampleError::Excess(wire.len() - used));
    }
    let (mut body, mut rest) = (Vec::new(), wire);
    loop {
        let line = rest.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).map_err(|_error| SampleError::Chunks)?;
        let size = usize::from_str_radix(digits, 16).map_err(|_error| SampleError::Chunks)?;
        if size == 0 {
            return Ok(body);
        }
        let start = line.len() + 2;
        body.extend_from_slice(rest.get(start..start + size).ok_or(SampleError::Chunks)?);
        rest = rest.get(start + size + 2..).ok_or(SampleError::Chunks)?;
    }
}

/// What a parser makes of a head.
pub(super) fn parts(head: &[u8]) -> Option<Parts> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let version = if version == b"HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut builder = Request::builder().method(method).uri(target).version(version);
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        builder = builder.header(name, value.get(1..)?.trim_ascii());
    }
    builder.body(()).ok().map(|request| request.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &str, read: Result<(&str, &str), SampleError>) {
        let sample = Sample::from_wire(wire.as_bytes());
        let sample = sample.as_ref().map(|sample| (sample.head.as_slice(), sample.body.as_slice()));
        let read = read.map(|(head, body)| (head.as_bytes(), body.as_bytes()));
        assert_eq!(sample.map_err(|error| *error), read, "{wire:?}");
    }

    #[test]
    fn a_file_holds_one_request() {
        const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        check(GET, Ok((GET, "")));
        check("GET / HTTP/1.1\nHost: a\n\n", Ok((GET, "")));
        check("GET / HTTP/1.1\nHost: a\n\n\n", Ok((GET, "")));
        check("GET / HTTP/1.1\r\nHost: a\r\n", Err(SampleError::Endless));
        check(&format!("{GET}GET /"), Err(SampleError::Excess(5)));
        let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        check(&format!("{post}abc"), Ok((post, "abc")));
        check(&format!("{post}abc\n"), Ok((post, "abc")));
        check(&format!("{post}ab"), Err(SampleError::Short(1)));
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}3;x\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"), Ok((chunked, "abcd")));
        check(&format!("{chunked}3\r\nabc\r\n"), Err(SampleError::Chunks));
        check(&format!("{chunked}x"), Err(SampleError::Chunks));
    }
}
