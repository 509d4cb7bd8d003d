//! Active health checks: one task per pool keeps one task per endpoint, all side by side. What an
//! outcome means is decided by [`tidegate_traffic::health`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::http::client::HttpSession;
use pingora_http::RequestHeader;
use tidegate_traffic::Endpoint;
use tidegate_traffic::Pool;
use tidegate_traffic::health::{Expect, HealthCheck, Outcome, Probe};
use tidegate_traffic::random;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::edge::Edge;
use crate::faults;
use crate::happened;

/// How often a pool is looked at for endpoints that came or went.
const LOOK_AROUND: Duration = Duration::from_millis(500);
/// How much of a body is searched for the expected text.
const BODY_LIMIT: usize = 64 * 1024;

/// Checks the endpoints of `pool` until the task is aborted; the tasks of endpoints go with it.
pub(crate) async fn check_pool(pool: Arc<Pool>, connector: Arc<Connector>, edge: Arc<Edge>) {
    let Some(check) = pool.health().cloned() else { return };
    let prober = Arc::new(Prober { check, connector, pool, edge });
    let mut tasks = JoinSet::new();
    let mut running: HashMap<SocketAddr, AbortHandle> = HashMap::new();
    loop {
        let endpoints = prober.pool.endpoints();
        running.retain(|address, task| {
            let stays = endpoints.iter().any(|endpoint| endpoint.address() == *address);
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in endpoints.iter() {
            running
                .entry(endpoint.address())
                .or_insert_with(|| tasks.spawn(prober.clone().check_endpoint(endpoint.clone())));
        }
        sleep(LOOK_AROUND).await;
    }
}

struct Prober {
    pool: Arc<Pool>,
    check: HealthCheck,
    connector: Arc<Connector>,
    edge: Arc<Edge>,
}

/// Why a probe failed, for the log.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("the upstream is gone from the configuration")]
    Gone,
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{}", faults::told(.0))]
    Http(#[from] Box<pingora_error::Error>),
    #[error("status {0} is not expected")]
    Status(u16),
    #[error("the body does not hold the expected text")]
    Body,
    #[error("the service is not serving")]
    NotServing,
}

impl Prober {
    async fn check_endpoint(self: Arc<Self>, endpoint: Arc<Endpoint>) {
        sleep(self.check.first_delay(random::next())).await;
        loop {
            let probe = timeout(self.check.timeout, self.probe(&endpoint)).await;
            let result = probe.unwrap_or(Err(ProbeError::TimedOut));
            let outcome = if result.is_ok() { Outcome::Passed } else { Outcome::Failed };
            let transition =
                self.pool.observe(endpoint.address(), outcome, self.edge.clock().now());
            if let Some(transition) = transition {
                if let Some(upstream) = self.edge.live().lanes.upstream(self.pool.name()) {
                    upstream.show_endpoints();
                }
                let (address, cause) = (endpoint.address(), result.err().map(|e| e.to_string()));
                let healthy = transition.healthy;
                let notice =
                    happened::endpoint_health(&self.edge, &self.pool, address, healthy, cause);
                self.edge.announce(&notice);
            }
            sleep(self.check.delay(random::next())).await;
        }
    }

    async fn probe(&self, endpoint: &Endpoint) -> Result<(), ProbeError> {
        match &self.check.probe {
            Probe::Tcp => {
                TcpStream::connect(self.check.target(endpoint.address())).await?;
                Ok(())
            }
            Probe::Http { path, host, expect } => {
                let mut request =
                    RequestHeader::build(Method::GET, path.as_str().as_bytes(), None)?;
                request.insert_header(header::HOST, self.host(endpoint, host.as_deref()))?;
                request.insert_header(header::USER_AGENT, "tidegate-health-check")?;
                let mut session = self.connect(endpoint, None).await?;
                session.write_request_header(Box::new(request)).await?;
                session.finish_request_body().await?;
                expect_response(&mut session, expect).await
            }
            Probe::Grpc { service, host } => {
                let host = self.host(endpoint, host.as_deref());
                let mut session = self.connect(endpoint, Some(ALPN::H2)).await?;
                grpc_health(&mut session, service, &host).await
            }
        }
    }

    fn host(&self, endpoint: &Endpoint, configured: Option<&str>) -> String {
        match configured.or(endpoint.host()) {
            Some(host) => host.to_owned(),
            None => self.check.target(endpoint.address()).to_string(),
        }
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        alpn: Option<ALPN>,
    ) -> Result<HttpSession, ProbeError> {
        let target = self.check.target(endpoint.address());
        // Looked up each time: a reload may have brought other certificates.
        let live = self.edge.live();
        let upstream = live.lanes.upstream(self.pool.name()).ok_or(ProbeError::Gone)?;
        let mut peer = upstream.dialer.probe_peer(target, endpoint.host());
        if let Some(alpn) = alpn {
            peer.options.alpn = alpn;
        }
        peer.options.connection_timeout = Some(self.check.timeout);
        peer.options.read_timeout = Some(self.check.timeout);
        let (session, _reused) = self.connector.get_http_session(&peer).await?;
        Ok(session)
    }
}

async fn expect_response(session: &mut HttpSession, expect: &Expect) -> Result<(), ProbeError> {
    session.read_response_header().await?;
    let status = session.response_header().map_or(0, |response| response.status.as_u16());
    if !expect.status(status) {
        return Err(ProbeError::Status(status));
    }
    if !expect.needs_body() {
        return Ok(());
    }
    let body = read_body(session).await?;
    if expect.body(&body) { Ok(()) } else { Err(ProbeError::Body) }
}

async fn read_body(session: &mut HttpSession) -> Result<Vec<u8>, ProbeError> {
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT
        && let Some(chunk) = session.read_response_body().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The gRPC health checking protocol: `grpc.health.v1.Health/Check`.
async fn grpc_health(
    session: &mut HttpSession,
    service: &str,
    host: &str,
) -> Result<(), ProbeError> {
    const PATH: &[u8] = b"/grpc.health.v1.Health/Check";
    let mut request = RequestHeader::build(Method::POST, PATH, None)?;
    request.insert_header(header::HOST, host)?;
    request.insert_header(header::CONTENT_TYPE, "application/grpc")?;
    request.insert_header(header::TE, "trailers")?;
    session.write_request_header(Box::new(request)).await?;
    session.write_request_body(grpc_check_request(service), true).await?;
    session.read_response_header().await?;
    let status = session.response_header().map_or(0, |response| response.status.as_u16());
    if status != 200 {
        return Err(ProbeError::Status(status));
    }
    let body = read_body(session).await?;
    if is_serving(&body) { Ok(()) } else { Err(ProbeError::NotServing) }
}

/// `HealthCheckRequest { service = 1 }` in a length-prefixed gRPC message.
fn grpc_check_request(service: &str) -> Bytes {
    let length = u8::try_from(service.len()).unwrap_or(0);
    let message =
        if length == 0 { Vec::new() } else { [&[0x0a, length], service.as_bytes()].concat() };
    let message_length = u32::from(length) + if length == 0 { 0 } else { 2 };
    [&[0], message_length.to_be_bytes().as_slice(), &message].concat().into()
}

/// Whether the message says `HealthCheckResponse { status = 1: SERVING (1) }`.
fn is_serving(body: &[u8]) -> bool {
    body.get(5..).is_some_and(|message| message == [0x08, 0x01])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_messages_are_what_the_protocol_says() {
        assert_eq!(&grpc_check_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&grpc_check_request("pay")[..], b"\0\0\0\0\x05\x0a\x03pay");
        assert!(is_serving(&[0, 0, 0, 0, 2, 0x08, 0x01]));
        assert!(!is_serving(&[0, 0, 0, 0, 2, 0x08, 0x02]));
        assert!(!is_serving(&[0, 0, 0, 0, 0]));
        assert!(!is_serving(&[]));
    }
}
