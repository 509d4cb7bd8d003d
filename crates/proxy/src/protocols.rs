//! HTTP/1 and HTTP/2 as Pingora speaks them, set up with our limits.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tidegate_engine::settings::LimitsSettings;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::edge::Edge;
use crate::gateway::Gateway;

/// Idle connections to upstreams that are kept, over all pools.
const UPSTREAM_IDLE_CONNECTIONS: usize = 4096;
/// More attempts than a route can ask for; what is retried is decided per error.
const ATTEMPTS: usize = 64;
/// Bytes of responses that one HTTP/2 connection may hold for a client that does not read.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// Bytes of one request body, and of all on a connection, that a client may send ahead.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 512 * 1024;

tokio::task_local! {
    /// When the present HTTP/2 stream is cut, once that is known.
    ///
    /// HTTP/1 has [`crate::connection::Connection::set_deadline`], and its client gets an answer;
    /// Pingora gives no hold on a single stream, so an overdue one is reset.
    static STREAM_END: Arc<OnceLock<Instant>>;
}

/// Cuts the present HTTP/2 stream at `end` if it still runs then; nothing on HTTP/1.
pub(crate) fn end_stream_at(end: std::time::Instant) {
    let end = Instant::from_std(end);
    // The first end stays; outside of HTTP/2 there is no stream to cut.
    let _known = STREAM_END.try_with(|cell| *cell.get_or_init(|| end));
}

/// Runs `work`, dropping it at the time that it may set itself while it runs.
async fn until<T>(work: impl Future<Output = T>, end: &OnceLock<Instant>) -> Option<T> {
    let mut work = pin!(work);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if timer.is_none() {
            timer = end.get().map(|end| Box::pin(sleep_until(*end)));
        }
        match &mut timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// What serves a connection once its protocol is known.
pub(crate) struct Protocols {
    edge: Arc<Edge>,
    http1: Arc<HttpProxy<Gateway>>,
    http2: ArcSwap<Http2>,
}

impl Protocols {
    pub(crate) fn new(edge: Arc<Edge>, threads: usize) -> Self {
        let conf = ServerConf {
            threads,
            max_retries: ATTEMPTS,
            upstream_keepalive_pool_size: UPSTREAM_IDLE_CONNECTIONS / threads.max(1),
            ..ServerConf::default()
        };
        let own = ConnectorOptions::new(UPSTREAM_IDLE_CONNECTIONS);
        let connector = Arc::new(Connector::new(Some(own)));
        let mut proxy = HttpProxy::new(Gateway::new(edge.clone(), connector), Arc::new(conf));
        let mut options = HttpServerOptions::default();
        // CONNECT shall reach our pipeline, which refuses it like any other method.
        options.allow_connect_method_proxying = true;
        proxy.server_options = Some(options);
        proxy.handle_init_modules();
        let http1 = Arc::new(proxy);
        let http2 = ArcSwap::from_pointee(Http2::new(http1.clone(), &edge.limits()));
        Self { edge, http1, http2 }
    }

    pub(crate) fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// Serves single HTTP/1 requests.
    pub(crate) fn http1(&self) -> &Arc<HttpProxy<Gateway>> {
        &self.http1
    }

    /// Serves whole HTTP/2 connections.
    pub(crate) fn http2(&self) -> Arc<Http2> {
        self.http2.load_full()
    }

    /// Takes over new limits for connections to come.
    pub(crate) fn set_limits(&self, limits: &LimitsSettings) {
        self.http2.store(Arc::new(Http2::new(self.http1.clone(), limits)));
    }
}

/// The proxy as Pingora's HTTP/2 connections see it.
pub(crate) struct Http2 {
    proxy: Arc<HttpProxy<Gateway>>,
    server: HttpServerOptions,
    streams: u32,
    header_bytes: u32,
}

impl Http2 {
    fn new(proxy: Arc<HttpProxy<Gateway>>, limits: &LimitsSettings) -> Self {
        let mut server = HttpServerOptions::default();
        server.h2_idle_timeout = Some(limits.idle_timeout.0);
        let header_bytes = u32::try_from(limits.header_bytes.0).unwrap_or(u32::MAX);
        Self { proxy, server, streams: limits.h2_streams, header_bytes }
    }
}

#[async_trait]
impl HttpServerApp for Http2 {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let end = Arc::new(OnceLock::new());
        let work = STREAM_END.scope(end.clone(), self.proxy.process_new_http(session, shutdown));
        until(work, &end).await.flatten()
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = H2Options::default();
        options
            .max_concurrent_streams(self.streams)
            .max_header_list_size(self.header_bytes)
            .max_send_buffer_size(H2_SEND_BUFFER)
            .initial_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.server)
    }
}
