//! The least proxy that Pingora lets one write: every request goes to one origin. It stands for
//! what Tidegate would be without its own reading and its own connection layer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerOptions, ServerApp as _};
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub(crate) struct BarePingora {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl BarePingora {
    /// Starts one in front of `origin`, for HTTP/1 and HTTP/2 in the clear.
    pub(crate) fn start(origin: SocketAddr) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener");
        runtime.spawn(serve(listener, origin));
        Self { address, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BarePingora {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, origin: SocketAddr) {
    let mut proxy = http_proxy(&Arc::new(ServerConf::default()), ToOrigin(origin));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.server_options = Some(options);
    let proxy = Arc::new(proxy);
    let (_running, shutdown) = watch::channel(false);
    while let Ok((tcp, _peer)) = listener.accept().await {
        tokio::spawn(serve_connection(proxy.clone(), L4Stream::from(tcp), shutdown.clone()));
    }
}

async fn serve_connection(
    proxy: Arc<HttpProxy<ToOrigin>>,
    stream: L4Stream,
    shutdown: watch::Receiver<bool>,
) {
    let mut stream: Option<Stream> = Some(Box::new(stream));
    while let Some(again) = stream {
        stream = proxy.process_new(again, &shutdown).await;
    }
}

struct ToOrigin(SocketAddr);

#[async_trait]
impl ProxyHttp for ToOrigin {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}
