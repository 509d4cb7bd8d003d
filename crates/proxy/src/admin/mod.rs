//! The admin listener: health, metrics, the running configuration, upstreams, bans, reload. It is
//! bound to loopback unless the configuration insists, and GET changes nothing. What there is
//! stands in `places`.

mod places;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora_core::apps::ServerApp;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use serde_json::json;
use tidegate_observe::Exposition;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::audit::{self, By};
use crate::auth;
use crate::bans;
use crate::drain;
use crate::edge::Edge;
use crate::enforcement::{alertmanager, panic, watch};
use crate::happened;
use crate::life::Command;

/// How long one admin connection may live.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// How many admin connections may be open; further ones wait in the kernel.
const CONNECTIONS: usize = 64;

/// Answers admin requests.
pub(crate) struct Admin {
    pub(crate) edge: Arc<Edge>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// Serves admin connections until the task is aborted.
pub(crate) async fn serve(admin: Admin, listener: TcpListener, shutdown: ShutdownWatch) {
    let admin = Arc::new(admin);
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept admin connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (admin, shutdown) = (admin.clone(), shutdown.clone());
        tokio::spawn(async move {
            let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
            // The cell of a new digest is empty, so this cannot fail.
            drop(digest.peer_addr.set(Some(peer.into())));
            let mut stream = Box::new(L4Stream::from(stream));
            stream.set_socket_digest(digest);
            // Whatever the outcome, the connection is over.
            drop(timeout(CONNECTION_TIME, admin.process_new(stream, &shutdown)).await);
            drop(place);
        });
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let peer = session.client_addr().and_then(|peer| peer.as_inet()).copied();
        let response = match self.body_of_webhook(session, peer).await {
            Some(Ok(body)) => alertmanager::receive(&self.edge, &body),
            Some(Err(StatusCode::PAYLOAD_TOO_LARGE)) => {
                text(StatusCode::PAYLOAD_TOO_LARGE, "this webhook is too long\n")
            }
            Some(Err(status)) => denied(status),
            None => self.answer_to(session.req_header(), peer).await,
        };
        let head = session.req_header();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let (call, status) = ((&head.method, target), response.status());
        self.edge.audit_admin(peer, call, status);
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !reads || denied {
            self.edge.announce(&happened::admin_call(&self.edge, peer, call, status));
        }
        response
    }
}

impl Admin {
    async fn answer_to(&self, head: &RequestHeader, from: Option<SocketAddr>) -> Response<Vec<u8>> {
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if let Some(refusal) = places::refusal(&head.method, path, query) {
            return refusal;
        }
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        // These name people.
        if (!reads || matches!(path, "/bans" | "/report/scopes"))
            && let Err(status) = self.may_change(head, from.map(|peer| peer.ip()))
        {
            return denied(status);
        }
        match path {
            "/reload" => self.reload(from).await,
            "/audit/erase" => self.erase(head.uri.query(), from).await,
            "/bans" if reads => bans::admin::read(&self.edge, query),
            "/bans" => bans::admin::change(&self.edge, &head.method, query),
            "/revoke" => auth::admin::revoke(&self.edge, query),
            "/response/panic" => panic::answer(&self.edge, &head.method, query),
            "/report/scopes" => self.edge.auth().report().answer(&self.edge),
            "/metrics" => self.metrics(head),
            _ if reads => self.read(path),
            _ => drain::answer(&self.edge, path, query),
        }
    }
}

impl Admin {
    /// The body of a webhook, which is the only request that has one; `None` if this is none.
    async fn body_of_webhook(
        &self,
        session: &mut ServerSession,
        from: Option<SocketAddr>,
    ) -> Option<Result<Vec<u8>, StatusCode>> {
        let head = session.req_header();
        if head.method != Method::POST || head.uri.path() != "/alertmanager" {
            return None;
        }
        if let Err(status) = self.may_change(head, from.map(|peer| peer.ip())) {
            return Some(Err(status));
        }
        let mut body = Vec::new();
        loop {
            match session.read_request_body().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > alertmanager::MAX_BODY => {
                    return Some(Err(StatusCode::PAYLOAD_TOO_LARGE));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Some(Ok(body)),
                Err(_gone) => return Some(Err(StatusCode::BAD_REQUEST)),
            }
        }
    }

    fn read(&self, path: &str) -> Response<Vec<u8>> {
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.edge.is_ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/config" => {
                let config = self.edge.live();
                answer(StatusCode::OK, "application/yaml", config.snapshot.effective().into())
            }
            "/upstreams" => json_answer(StatusCode::OK, &self.upstreams()),
            "/response" => watch::answer(&self.edge),
            path => audit::page(&self.edge, path.trim_start_matches("/audit/")),
        }
    }

    /// In the format that the scraper asks for.
    fn metrics(&self, head: &RequestHeader) -> Response<Vec<u8>> {
        let accepted = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let exposition = Exposition::wanted(accepted.unwrap_or_default());
        let page = self.edge.render_metrics(exposition);
        answer(StatusCode::OK, exposition.content_type(), page)
    }

    fn upstreams(&self) -> serde_json::Value {
        let live = self.edge.live();
        let now = self.edge.clock().now();
        let pools = live.snapshot.pools().values().map(|pool| {
            let endpoints = pool.endpoints();
            let endpoints: Vec<_> = endpoints
                .iter()
                .map(|endpoint| {
                    json!({
                        "address": endpoint.address().to_string(),
                        "host": endpoint.host(),
                        "weight": endpoint.weight(),
                        "zone": endpoint.locality().zone,
                        "priority": endpoint.priority(),
                        "healthy": endpoint.is_healthy(),
                        "ejected": endpoint.is_ejected().then(|| endpoint.ejection().cause.map(|cause| cause.as_str())),
                        "drained": endpoint.is_drained(),
                        "isolated": endpoint.is_isolated() || endpoint.is_quarantined(),
                        "warmth": f64::from(endpoint.warmth()) / 1_000.0,
                        "in_flight": endpoint.in_flight(),
                        "picks": endpoint.picks(),
                        "failures": endpoint.failures(),
                    })
                })
                .collect();
            let state = json!({
                "in_flight": pool.in_flight(),
                "panic": pool.is_in_panic(),
                "breaker": pool.breaker(now).as_str(),
                "zones_out": pool.zones_out(),
                "endpoints": endpoints,
            });
            (pool.name().to_owned(), state)
        });
        serde_json::Value::Object(pools.collect())
    }

    /// Whether a request may change the process: it knows the token, or there is none and it comes
    /// from this machine. A browser's cross-site request carries an origin and is refused.
    fn may_change(&self, head: &RequestHeader, peer: Option<IpAddr>) -> Result<(), StatusCode> {
        if head.headers.contains_key(header::ORIGIN) {
            return Err(StatusCode::FORBIDDEN);
        }
        let live = self.edge.live();
        let Some(token) = &live.snapshot.settings().admin.token else {
            let local = peer.is_some_and(|peer| peer.is_loopback());
            return if local { Ok(()) } else { Err(StatusCode::FORBIDDEN) };
        };
        let given = head
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .unwrap_or_default();
        let same =
            aws_lc_rs::constant_time::verify_slices_are_equal(given, token.reveal().as_bytes());
        same.map_err(|_unequal| StatusCode::UNAUTHORIZED)
    }

    /// `POST /audit/erase?subject=…`: the subject's name, or its pseudonym.
    async fn erase(&self, query: Option<&str>, from: Option<SocketAddr>) -> Response<Vec<u8>> {
        let Some(subject) = query.and_then(|query| query.strip_prefix("subject=")) else {
            return text(StatusCode::BAD_REQUEST, "say ?subject=<name or pseudonym>\n");
        };
        match self.edge.audit_erase(&audit::decoded(subject), from).await {
            Ok(done) => json_answer(StatusCode::OK, &done),
            Err((status, message)) => text(status, &message),
        }
    }

    async fn reload(&self, from: Option<SocketAddr>) -> Response<Vec<u8>> {
        let (done, outcome) = oneshot::channel();
        if self.commands.send(Command::Reload(By::Admin(from), Some(done))).await.is_err() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
        }
        match outcome.await {
            Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
            Ok(Err(errors)) => text(StatusCode::UNPROCESSABLE_ENTITY, &errors),
            Err(_dropped) => text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
        }
    }
}

pub(crate) fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    answer(status, "text/plain; charset=utf-8", body.into())
}

/// Who may not do this is told how it is done.
fn denied(status: StatusCode) -> Response<Vec<u8>> {
    let message = match status {
        StatusCode::UNAUTHORIZED => {
            "this needs the token of `admin.token`, as a bearer token; commands take it from TIDEGATE_ADMIN_TOKEN\n"
        }
        _ => {
            "this is for callers on this machine, unless `admin.token` is set, and never for web pages\n"
        }
    };
    text(status, message)
}

pub(crate) fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response<Vec<u8>> {
    answer(status, "application/json", format!("{body:#}\n").into())
}

pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len().into();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    fields.insert(header::CONTENT_LENGTH, length);
    fields.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
