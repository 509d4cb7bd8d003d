//! A door for Kafka that librdkafka's mock cluster does not have: TLS with certificates on both
//! sides, and SASL with PLAIN and SCRAM. Behind it every request goes to the cluster as it came;
//! what the cluster says of its own address is replaced by the door's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tidegate_testkit::{Ca, wait};

use super::scram::Exchange;
use super::{SECRET, free_address};

/// The requests that are not passed on as they came (<https://kafka.apache.org/protocol>).
const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;
/// SASL_AUTHENTICATION_FAILED and UNSUPPORTED_SASL_MECHANISM.
const FAILED: i16 = 58;
const UNSUPPORTED: i16 = 33;

pub(super) const USER: &str = "edge";

/// The door; it can be closed, and opened again at the same address.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    cluster: SocketAddr,
    tls: Arc<ServerConfig>,
    /// The mechanism that is asked for, if one is.
    sasl: Option<&'static str>,
    closed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    /// How many clients were let in.
    admitted: Mutex<usize>,
}

impl Front {
    pub(super) fn open(
        cluster: SocketAddr,
        (ca, clients): (&Ca, &Ca),
        sasl: Option<&'static str>,
    ) -> Self {
        let address = free_address();
        let shared = Shared {
            address,
            cluster,
            tls: Arc::new(config(ca, clients)),
            sasl,
            closed: AtomicBool::new(false),
            streams: Mutex::default(),
            admitted: Mutex::default(),
        };
        let front = Self { address, shared: Arc::new(shared) };
        front.reopen();
        front
    }

    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().drain(..) {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
        // Wakes the accepting thread, so that the port closes.
        TcpStream::connect(self.address).ok();
    }

    pub(super) fn reopen(&self) {
        let mut bound = TcpListener::bind(self.address);
        wait::until("the port is free", || {
            if bound.is_err() {
                bound = TcpListener::bind(self.address);
            }
            bound.is_ok()
        });
        let listener = bound.expect("a free port");
        self.shared.closed.store(false, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                shared.streams.lock().extend(stream.try_clone());
                let shared = Arc::clone(&shared);
                // However it ends: the other side sees that it does.
                thread::spawn(move || serve(stream, &shared).ok());
            }
        });
    }

    pub(super) fn admitted(&self) -> usize {
        *self.shared.admitted.lock()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.close();
    }
}

fn config(ca: &Ca, clients: &Ca) -> ServerConfig {
    let parse = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let leaf = ca.server(&["127.0.0.1"]);
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(parse(clients.pem())).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![parse(&leaf.cert)], key)
        .expect("a matching key")
}

/// One request after the other, each with its answer: they come in this order anyway.
fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let tls = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(tls, stream);
    let mut cluster = TcpStream::connect(shared.cluster)?;
    let mut exchange = None;
    let mut is_let_in = shared.sasl.is_none();
    loop {
        let request = read_frame(&mut client)?;
        let [key, version] =
            [&request[..2], &request[2..4]].map(|b| i16::from_be_bytes([b[0], b[1]]));
        let id = &request[4..8];
        let body = &request[10 + usize::from(u16::from_be_bytes([request[8], request[9]]))..];
        let answer = match key {
            SASL_HANDSHAKE => {
                let offered = shared.sasl.unwrap_or_default();
                let known = body[2..] == *offered.as_bytes();
                exchange = known.then(|| Exchange::new(offered, USER, SECRET));
                let error = if known { 0 } else { UNSUPPORTED };
                [id, &error.to_be_bytes(), &1_i32.to_be_bytes(), &text(offered)].concat()
            }
            SASL_AUTHENTICATE => {
                let Some(exchange) = exchange.as_mut() else { return Ok(()) };
                let step = exchange.step(&body[4..]);
                is_let_in = exchange.is_done();
                *shared.admitted.lock() += usize::from(is_let_in);
                let error = if step.is_some() { 0 } else { FAILED };
                let told = step.unwrap_or_default();
                [id, &error.to_be_bytes(), &(-1_i16).to_be_bytes(), &length(&told), &told].concat()
            }
            API_VERSIONS => offer_sasl(version, ask(&mut cluster, &request)?),
            _ if !is_let_in => return Ok(()),
            _ => replace_address(ask(&mut cluster, &request)?, shared),
        };
        write_frame(&mut client, &answer)?;
    }
}

fn ask(cluster: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    write_frame(cluster, request)?;
    read_frame(cluster)
}

fn read_frame(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let mut frame = vec![0; u32::from_be_bytes(len) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    to.write_all(&[&length(frame), frame].concat())?;
    to.flush()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("short").to_be_bytes()
}

fn text(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat()
}

/// Adds SASL's two requests to what the cluster says that it knows.
fn offer_sasl(version: i16, mut answer: Vec<u8>) -> Vec<u8> {
    let is_error = answer[4..6] != [0, 0];
    if is_error {
        return answer;
    }
    let added = [[SASL_HANDSHAKE, 1, 1], [SASL_AUTHENTICATE, 0, 0]];
    let added = added.map(|numbers| numbers.map(i16::to_be_bytes).concat());
    // From version 3 on lengths are compact, and each entry has room for tags.
    let (at, entry) = if version < 3 { (10, 6) } else { (7, 7) };
    let count = usize::from(answer[at - 1]) - usize::from(version >= 3);
    answer[at - 1] += 2;
    let end = at + count * entry;
    let added = added.into_iter().flat_map(|mut one| {
        one.resize(entry, 0);
        one
    });
    answer.splice(end..end, added);
    answer
}

fn replace_address(mut answer: Vec<u8>, shared: &Shared) -> Vec<u8> {
    let told = |address: SocketAddr| {
        let port = u32::from(address.port()).to_be_bytes();
        [address.ip().to_string().as_bytes(), &port].concat()
    };
    let (own, cluster) = (told(shared.address), told(shared.cluster));
    let found: Vec<usize> = (0..answer.len().saturating_sub(own.len()))
        .filter(|at| answer[*at..].starts_with(&cluster))
        .collect();
    for at in found {
        answer[at..at + own.len()].copy_from_slice(&own);
    }
    answer
}
