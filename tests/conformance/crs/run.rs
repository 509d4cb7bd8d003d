//! Sends every stage on a connection of its own, each from another loopback address, and finds by
//! that address what the access log says about it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tidegate_testkit::{Connection, Gateway, wait};

const THREADS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The answer's status; `None` if there was no answer.
    pub(crate) status: Option<u16>,
    /// The answer as it came.
    pub(crate) answer: Vec<u8>,
    /// The lines of the access log.
    pub(crate) lines: Vec<Value>,
}

impl Outcome {
    /// The rules that the log names, sorted.
    pub(crate) fn rules(&self) -> Vec<u32> {
        let numbers = self.matches().filter_map(|it| it["rule"].as_u64());
        let mut rules: Vec<u32> = numbers.filter_map(|it| u32::try_from(it).ok()).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// Each match as ModSecurity would log it, for the suite's patterns.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = |found: &Value, key: &str| found[key].as_str().unwrap_or_default().to_owned();
        let line = |found: &Value| {
            let (message, data) = (text(found, "message"), text(found, "logdata"));
            format!("[id \"{}\"] [msg \"{message}\"] [data \"{data}\"]", found["rule"])
        };
        self.matches().map(line).collect()
    }

    /// Why the gateway itself refused, if it did.
    pub(crate) fn refusal(&self) -> Option<String> {
        let line = self.lines.iter().find(|line| line["reason"].is_string())?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        Some(format!("{} {}: {}", line["status"], text("reason"), text("evidence")))
    }

    fn matches(&self) -> impl Iterator<Item = &Value> {
        let matches = self.lines.iter().filter_map(|line| line["waf"]["matches"].as_array());
        matches.flatten()
    }
}

/// Sends all requests and returns what came of each, in their order.
pub(crate) fn all(gateway: &Gateway, requests: &[Vec<u8>]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![Vec::new(); requests.len()]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(index) else { return };
                    let answer = exchange(source(index), gateway.address(), request);
                    answers.lock()[index] = answer.unwrap_or_default();
                }
            });
        }
    });
    let answers = answers.into_inner();
    let mut lines = HashMap::new();
    wait::holds_within(PATIENCE, || {
        lines = by_source(gateway.access_log());
        (0..requests.len()).all(|index| lines.contains_key(&source(index)))
    });
    let outcome = |(index, answer): (usize, Vec<u8>)| Outcome {
        status: status(&answer),
        answer,
        lines: lines.remove(&source(index)).unwrap_or_default(),
    };
    answers.into_iter().enumerate().map(outcome).collect()
}

/// An address for each request; never 127.0.0.1, which CRS treats as the server itself.
fn source(index: usize) -> Ipv4Addr {
    let [.., high, low] = u32::try_from(index).expect("few requests").to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn by_source(lines: Vec<Value>) -> HashMap<Ipv4Addr, Vec<Value>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for line in lines {
        let peer = line["peer"].as_str().and_then(|peer| peer.parse::<SocketAddr>().ok());
        if let Some(SocketAddr::V4(peer)) = peer {
            found.entry(*peer.ip()).or_default().push(line);
        }
    }
    found
}

fn exchange(source: Ipv4Addr, address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = Connection::open_from(source, address);
    connection.socket().set_read_timeout(Some(PATIENCE))?;
    // Who refuses a request may close before it was sent to the end.
    connection.write_all(request).ok();
    read_answer(connection.socket())
}

fn read_answer(mut socket: &TcpStream) -> io::Result<Vec<u8>> {
    let (mut answer, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    while !is_complete(&answer) {
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if answer.is_empty() => return Err(error),
            Err(_reset) => break,
        }
    }
    Ok(answer)
}

/// Whether the answer ends here although the connection stays open.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split_once("content-length: ").and_then(|(_, rest)| {
        rest.split("\r\n").next().and_then(|digits| digits.parse::<usize>().ok())
    });
    let at = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or_default() + 4;
    match length {
        Some(length) => answer.len() - at >= length,
        None => head.contains("transfer-encoding: chunked") && body.ends_with("0\r\n\r\n"),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    str::from_utf8(line).ok()?.parse().ok()
}
