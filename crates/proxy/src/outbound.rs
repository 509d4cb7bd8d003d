//! Calls that the gateway makes on its own account: for keys, about tokens, to policy services, to
//! sinks. Bounded in time and size; redirects are not followed.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use parking_lot::Mutex;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora_http::RequestHeader;
use rustc_hash::FxHasher;
use tidegate_siem::{HttpAnswer, HttpCall, HttpClient, HttpError, TlsMaterial};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::faults;
use crate::resolve::{Resolver, system_resolver};

/// How long a connection is kept for the next call.
const IDLE: Duration = Duration::from_secs(60);

/// Each of a host's addresses has at least so long for its connection, and with that the call's
/// whole time if need be.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Makes calls; connections are kept for the next one.
pub(crate) struct Outbound {
    connector: Connector,
    resolver: OnceCell<Resolver>,
    /// The address of each name that answered last: it is tried first.
    good: Mutex<HashMap<String, IpAddr>>,
}

/// The authorities that a server's certificate is checked against; the system's if there are none.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    pub(crate) ca: Option<Arc<CaType>>,
    /// Who we are, if the server wants to know.
    pub(crate) identity: Option<Arc<CertKey>>,
    /// Keeps connections of different trust apart.
    pub(crate) group: u64,
}

impl Trust {
    /// Whether every authority of the other one is among these. The system's are taken for one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (&self.ca, &other.ca) {
            (None, None) => true,
            (Some(own), Some(others)) => others
                .iter()
                .all(|other| own.iter().any(|ca| ca.borrow_raw_cert() == other.borrow_raw_cert())),
            _ => false,
        }
    }

    /// Whether the same certificates are trusted.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let certificates = |trust: &Self| -> Option<Vec<Vec<u8>>> {
            let ca = trust.ca.as_ref()?;
            Some(ca.iter().map(|ca| ca.borrow_raw_cert().clone()).collect())
        };
        certificates(self) == certificates(other)
    }
}

/// One call.
pub(crate) struct Call<'c> {
    pub(crate) method: Method,
    pub(crate) url: &'c str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trust: Trust,
    /// For all of it.
    pub(crate) timeout: Duration,
    /// The largest body of an answer.
    pub(crate) max_body: usize,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("`{0}` is no address")]
    Address(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot resolve the host: {0}")]
    Resolve(Box<dyn std::error::Error + Send + Sync>),
    #[error("{}", faults::told(.0))]
    Http(#[from] Box<pingora_error::Error>),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer has no header")]
    Headless,
    #[error("none of its addresses can be connected to: {0}")]
    Unreachable(String),
}

/// How far an attempt came that failed.
enum Reached {
    /// There is no connection.
    Nothing,
    /// A kept connection failed, which may have been closed meanwhile.
    Stale,
    /// The server may have seen the call.
    Server,
}

/// Where a call goes.
struct Target {
    uri: Uri,
    tls: bool,
    host: String,
    port: u16,
}

impl Trust {
    /// The same for what a sink was configured with.
    fn of(material: &TlsMaterial) -> Self {
        let der = |certificates: &[rustls::pki_types::CertificateDer<'_>]| -> Vec<Vec<u8>> {
            certificates.iter().map(|certificate| certificate.to_vec()).collect()
        };
        let ca = material.authorities().map(der);
        let identity = material.identity().map(|(chain, key)| (der(chain), key.to_vec()));
        let group = BuildHasherDefault::<FxHasher>::default().hash_one((&ca, &identity));
        let ca = ca.map(|ca| ca.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect());
        let identity = identity.map(|(chain, key)| Arc::new(CertKey::new(chain, key)));
        Self { ca, identity, group }
    }
}

#[async_trait]
impl HttpClient for Outbound {
    async fn call(&self, call: HttpCall) -> Result<HttpAnswer, HttpError> {
        let call = Call {
            trust: call.tls.as_deref().map(Trust::of).unwrap_or_default(),
            method: call.method,
            url: &call.url,
            headers: call.headers,
            body: call.body,
            timeout: call.timeout,
            max_body: call.max_answer,
        };
        let Answer { status, headers, body } =
            self.call(&call).await.map_err(|error| HttpError(told(&error)))?;
        Ok(HttpAnswer { status, headers, body: body.into() })
    }
}

/// The error without the address, in which a sink may have a secret.
fn told(error: &CallError) -> String {
    match error {
        CallError::Address(_) => "the address cannot be used".to_owned(),
        other => other.to_string(),
    }
}

impl<'c> Call<'c> {
    /// A GET that wants JSON.
    pub(crate) fn get(url: &'c str, trust: Trust, timeout: Duration) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let (method, body) = (Method::GET, Bytes::new());
        Self { method, url, headers, body, trust, timeout, max_body: 1 << 20 }
    }
}

impl Outbound {
    pub(crate) fn new() -> Self {
        let (resolver, good) = (OnceCell::new(), Mutex::default());
        Self { connector: Connector::new(None), resolver, good }
    }

    /// Makes a call, at the first of the host's addresses that can be connected to. A kept
    /// connection that turns out to be closed is replaced once.
    ///
    /// # Errors
    /// There is no whole answer, in time and within the size.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        let target = Target::parse(call.url)?;
        let answered = timeout(call.timeout, async {
            let addresses = self.addresses(&target).await?;
            // One that swallows everything leaves time for the others.
            let share = call.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
            let patience = share.max(LEAST_PATIENCE).min(call.timeout);
            let mut errors = Vec::new();
            for address in &addresses {
                let peer = target.peer(*address, call, patience);
                let mut attempted = Box::pin(self.attempt(call, &target.uri, &peer)).await;
                if let Err((Reached::Stale, _)) = attempted {
                    attempted = Box::pin(self.attempt(call, &target.uri, &peer)).await;
                }
                match attempted {
                    Err((Reached::Nothing, error)) if addresses.len() > 1 => {
                        errors.push(format!("{address}: {error}"));
                    }
                    Err((_, error)) => return Err(error),
                    Ok(answer) => {
                        if addresses.len() > 1 {
                            self.good.lock().insert(target.host.clone(), *address);
                        }
                        return Ok(answer);
                    }
                }
            }
            Err(CallError::Unreachable(errors.join("; ")))
        });
        let answered = answered.await.unwrap_or(Err(CallError::TimedOut));
        if matches!(answered, Err(CallError::TimedOut | CallError::Unreachable(_))) {
            // The next call begins with another one, if there is.
            self.good.lock().remove(&target.host);
        }
        answered
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        uri: &Uri,
        peer: &HttpPeer,
    ) -> Result<Answer, (Reached, CallError)> {
        let session = self.connector.get_http_session(peer).await;
        let (mut session, reused) = session.map_err(|error| (Reached::Nothing, error.into()))?;
        let reached = if reused { Reached::Stale } else { Reached::Server };
        send(&mut session, call, uri).await.map_err(|error| (reached, error))?;
        let answer = read(&mut session, call.max_body).await;
        let answer = answer.map_err(|error| (Reached::Server, error))?;
        self.connector.release_http_session(session, peer, Some(IDLE)).await;
        Ok(answer)
    }

    /// All addresses of the host, the one that answered last first.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, CallError> {
        if let Ok(address) = target.host.parse() {
            return Ok(vec![address]);
        }
        let set_up = || async { system_resolver() };
        let told = |error| CallError::Resolve(Box::new(error));
        let resolver = self.resolver.get_or_try_init(set_up).await.map_err(told)?;
        let found = resolver.lookup_ip(&*target.host).await.map_err(told)?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        if let Some(good) = self.good.lock().get(&target.host) {
            addresses.sort_by_key(|address| address != good);
        }
        if addresses.is_empty() {
            return Err(CallError::Resolve("no address".into()));
        }
        Ok(addresses)
    }
}

impl Target {
    fn parse(url: &str) -> Result<Self, CallError> {
        let wrong = || CallError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_error| wrong())?;
        let tls = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, tls, host, port })
    }

    fn peer(&self, address: IpAddr, call: &Call<'_>, patience: Duration) -> HttpPeer {
        let address = SocketAddr::new(address, self.port);
        let mut peer = HttpPeer::new(address, self.tls, self.host.clone());
        peer.options.alpn = ALPN::H1;
        peer.options.ca.clone_from(&call.trust.ca);
        peer.client_cert_key.clone_from(&call.trust.identity);
        peer.options.connection_timeout = Some(patience);
        peer.options.total_connection_timeout = Some(patience);
        peer.options.read_timeout = Some(call.timeout);
        peer.options.write_timeout = Some(call.timeout);
        peer.group_key = call.trust.group;
        peer
    }
}

async fn send(session: &mut HttpSession, call: &Call<'_>, target: &Uri) -> Result<(), CallError> {
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let mut request = RequestHeader::build(call.method.clone(), path.as_bytes(), None)?;
    let host = target.authority().map_or("", |authority| authority.as_str());
    request.insert_header(header::HOST, host)?;
    request.insert_header(header::USER_AGENT, "tidegate")?;
    for (name, value) in &call.headers {
        request.append_header(name, value)?;
    }
    if !call.body.is_empty() || call.method == Method::POST {
        request.insert_header(header::CONTENT_LENGTH, call.body.len())?;
    }
    session.write_request_header(Box::new(request)).await?;
    if !call.body.is_empty() {
        session.write_request_body(call.body.clone(), true).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    Ok(())
}

async fn read(session: &mut HttpSession, max_body: usize) -> Result<Answer, CallError> {
    let head = session.response_header().ok_or(CallError::Headless)?;
    let (status, headers) = (head.status, head.headers.clone());
    let mut body = Vec::new();
    while let Some(chunk) = session.read_response_body().await? {
        if body.len() + chunk.len() > max_body {
            return Err(CallError::TooLarge(max_body));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}
