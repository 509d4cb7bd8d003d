//! Clients that keep asking while something happens, and tell afterwards what they saw. For
//! figures use wrk and h2load; this is for 'nobody noticed'.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::client::{Ask, Connection};

/// What clients saw.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests without a complete answer, each with its error.
    pub failures: Vec<String>,
    /// Requests that met the close of an idle connection and were sent once more on a new one, as
    /// RFC 9112 §9.3.1 lets clients do.
    pub raced: usize,
}

impl Tally {
    /// Answers of any status.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.statuses.values().sum()
    }

    /// Fails the test unless each request was answered with 200.
    #[track_caller]
    pub fn assert_unharmed(&self) {
        let others = self.statuses.keys().any(|status| *status != 200);
        assert!(self.failures.is_empty() && !others, "{self:?}");
        assert!(self.answers() > 0, "nobody asked");
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.raced += other.raced;
    }
}

/// Clients that ask until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts clients, each on a keep-alive connection of its own.
    #[must_use]
    pub fn start(address: SocketAddr, clients: usize) -> Self {
        Self::asking(address, clients, &Ask::new("GET", "/"))
    }

    /// Starts clients that send this request.
    #[must_use]
    pub fn asking(address: SocketAddr, clients: usize, ask: &Ask) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let spawn = |_client| {
            let (stop, asked, ask) = (Arc::clone(&stop), Arc::clone(&asked), ask.bytes());
            thread::spawn(move || run(address, &ask, &stop, &asked))
        };
        let clients = (0..clients).map(spawn).collect();
        Self { stop, asked, clients }
    }

    /// Answers and failures so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until so many more requests were answered, so that what happened was seen.
    #[track_caller]
    pub fn wait_for(&self, more: usize) {
        let goal = self.asked() + more;
        crate::wait::until("the clients go on", || self.asked() >= goal);
    }

    /// Stops all clients and adds up what they saw.
    #[track_caller]
    #[must_use]
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let mut tally = Tally::default();
        for client in self.clients {
            tally.add(client.join().expect("a client"));
        }
        tally
    }
}

fn run(address: SocketAddr, ask: &[u8], stop: &AtomicBool, asked: &AtomicUsize) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    while !stop.load(Ordering::SeqCst) {
        match once(address, ask, &mut kept, &mut tally) {
            Ok(status) => *tally.statuses.entry(status).or_default() += 1,
            Err(error) => tally.failures.push(error.to_string()),
        }
        asked.fetch_add(1, Ordering::SeqCst);
    }
    tally
}

/// One request, on the kept connection if there is one.
fn once(
    address: SocketAddr,
    ask: &[u8],
    kept: &mut Option<Connection>,
    tally: &mut Tally,
) -> io::Result<u16> {
    if let Some(connection) = kept.take() {
        match exchange(connection, ask, kept) {
            Err(error) if was_closed(&error) => tally.raced += 1,
            result => return result,
        }
    }
    let connection = Connection::from_socket(TcpStream::connect(address)?);
    exchange(connection, ask, kept)
}

fn exchange(
    mut connection: Connection,
    ask: &[u8],
    kept: &mut Option<Connection>,
) -> io::Result<u16> {
    connection.try_send(ask)?;
    let response = connection.try_response()?;
    let closes = response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    if !closes {
        *kept = Some(connection);
    }
    Ok(response.status)
}

/// Whether the connection had ended before the answer's first byte.
fn was_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        || error.to_string() == crate::client::CLOSED
}
