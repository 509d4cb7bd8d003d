//! A small HTTP/1.1 origin that says what it received. One thread a connection, no TLS, no
//! pipelining; it is there to be stood before, not to be stood on the internet.
//!
//! `/healthz` is well, `/status/418` answers with that status, `/slow?ms=250` takes its time, and
//! everything else is answered with the request as JSON.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The longest line of a head, and the longest `/slow`: the demo must not hang or swell.
const MAX_LINE: u64 = 64 * 1024;
const MAX_SLOW: Duration = Duration::from_secs(60);

/// Starts an origin on a free loopback port. It lives as long as the process.
///
/// # Errors
/// When no port can be bound.
pub(crate) fn start(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that breaks off is no news for a demo.
            thread::spawn(move || serve(name, stream).ok());
        }
    })?;
    Ok(address)
}

/// Answers a connection's requests until it is closed.
fn serve(name: &str, stream: TcpStream) -> io::Result<()> {
    let mut output = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = Request::read(&mut input)? {
        let (status, body) = answer(name, &request);
        let mut text = format!("{body:#}\n");
        let head = format!(
            "HTTP/1.1 {status} Demo\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        if request.method == "HEAD" || matches!(status, 204 | 304) {
            text.clear();
        }
        output.write_all(&[head.as_bytes(), text.as_bytes()].concat())?;
    }
    Ok(())
}

fn answer(name: &str, request: &Request) -> (u16, Value) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if path == "/healthz" {
        return (200, json!({ "origin": name, "health": "ok" }));
    }
    if let Some(status) = path.strip_prefix("/status/").and_then(|text| text.parse().ok()) {
        let status = if (200..600).contains(&status) { status } else { 400 };
        return (status, json!({ "origin": name, "status": status }));
    }
    if path == "/slow" {
        let asked = query.strip_prefix("ms=").and_then(|text| text.parse().ok());
        let time = Duration::from_millis(asked.unwrap_or(1000)).min(MAX_SLOW);
        thread::sleep(time);
    }
    let echo = json!({
        "origin": name,
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body_bytes": request.body_bytes,
    });
    (200, echo)
}

/// A request as it arrived; of its body only the length is kept.
#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    target: String,
    /// By lower-case name; fields that came several times are joined.
    headers: BTreeMap<String, String>,
    body_bytes: u64,
}

impl Request {
    /// Reads the next request; `None` when the connection was closed between two.
    fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(line) = read_line(input)? else { return Ok(None) };
        let mut words = line.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(malformed("request line"));
        };
        let mut headers = BTreeMap::<String, String>::new();
        loop {
            let field = read_line(input)?.ok_or_else(|| malformed("head"))?;
            if field.is_empty() {
                break;
            }
            let (name, value) = field.split_once(':').ok_or_else(|| malformed("field"))?;
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|known| *known = format!("{known}, {}", value.trim()))
                .or_insert_with(|| value.trim().to_owned());
        }
        let body_bytes = skip_body(input, &headers)?;
        Ok(Some(Self { method: method.to_owned(), target: target.to_owned(), headers, body_bytes }))
    }
}

/// Reads a body to its end and says how long it was.
fn skip_body(input: &mut impl BufRead, headers: &BTreeMap<String, String>) -> io::Result<u64> {
    if headers.contains_key("transfer-encoding") {
        return skip_chunks(input);
    }
    let Some(length) = headers.get("content-length") else { return Ok(0) };
    let length = length.parse().map_err(|_error| malformed("Content-Length"))?;
    skip(input, length)?;
    Ok(length)
}

fn skip_chunks(input: &mut impl BufRead) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let line = read_line(input)?.ok_or_else(|| malformed("chunk"))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_error| malformed("chunk size"))?;
        if size == 0 {
            break;
        }
        skip(input, size)?;
        read_line(input)?;
        total += size;
    }
    // Trailer fields, and the empty line that ends them.
    while read_line(input)?.is_some_and(|line| !line.is_empty()) {}
    Ok(total)
}

fn skip(input: &mut impl BufRead, length: u64) -> io::Result<()> {
    let read = io::copy(&mut input.take(length), &mut io::sink())?;
    if read == length { Ok(()) } else { Err(malformed("body")) }
}

/// A line without its end; `None` at the end of the stream.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if input.take(MAX_LINE).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let text = line.strip_suffix('\n').ok_or_else(|| malformed("line"))?;
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, method: &str, target: &str, body_bytes: u64) {
        let mut input = BufReader::new(input.as_bytes());
        let request = Request::read(&mut input).expect("well formed").expect("a request");
        assert_eq!((request.method.as_str(), request.target.as_str()), (method, target));
        assert_eq!(request.body_bytes, body_bytes);
        assert_eq!(Request::read(&mut input).expect("a clean end"), None);
    }

    #[test]
    fn requests_are_read_to_their_end() {
        check("GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/a?b", 0);
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "POST", "/", 3);
        check(
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: u\r\n\r\n",
            "PUT",
            "/",
            5,
        );
    }

    #[test]
    fn a_request_that_breaks_off_is_an_error() {
        for input in ["GET / HTTP/1.1\r\nHost", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"] {
            assert!(Request::read(&mut BufReader::new(input.as_bytes())).is_err(), "{input}");
        }
    }

    #[test]
    fn it_answers_over_a_socket() {
        let address = start("demo-test").expect("starts");
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.write_all(b"GET /status/418 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sends");
        let status = read_line(&mut BufReader::new(stream)).expect("reads").expect("a line");
        assert_eq!(status, "HTTP/1.1 418 Demo");
    }
}
