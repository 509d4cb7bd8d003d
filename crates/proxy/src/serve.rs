//! Start to end of the process: load, bind, serve, leave.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use pingora_core::connectors::http::Connector;
use tidegate_core::{Clock, SettingsError};
use tidegate_engine::settings::Settings;
use tidegate_engine::{Config, ConfigErrors, Snapshot};
use tidegate_observe::{AccessLog, AccessLogError, BuildInfo, Metrics};
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Admin};
use crate::audit::{self, Anchors, Auditor, Fingerprints};
use crate::edge::{Edge, Live};
use crate::enforcement;
use crate::life::{self, AdminListener, Process};
use crate::outbound::Outbound;
use crate::protocols::Protocols;
use crate::sockets::{self, Inherited};
use crate::tls::Crypto;
use crate::upgrade::Predecessor;
use crate::{auth, bans, happened, lookout, resolve, signals, upgrade};

/// How long the last spans have to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// What is left at the end gets this long to be dropped.
const LAST_MOMENTS: Duration = Duration::from_millis(200);

/// Where the configuration comes from, at start and at every reload.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file, with whatever it includes.
    File(PathBuf),
    /// A text that is part of the program.
    Text {
        /// Stands for the file name in errors.
        name: String,
        /// The YAML.
        text: String,
    },
}

impl ConfigSource {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        match self {
            Self::File(path) => Config::load(path),
            Self::Text { name, text } => Config::from_text(name, text),
        }
    }
}

/// What to do once every listener is served.
pub type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// How to serve.
pub struct ServeOptions {
    /// Where the configuration comes from.
    pub source: ConfigSource,
    /// Version and revision, for the metric `tidegate_build_info`.
    pub build: BuildInfo,
    /// Called once every listener is served.
    pub on_ready: Option<OnReady>,
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The addresses that are served, as bound.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
}

/// Why the process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// The file that keeps the bans is there and cannot be read.
    #[error("cannot read the bans' file: {0}")]
    Bans(io::Error),
    /// The cryptography cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Crypto(#[from] rustls::Error),
    /// Names cannot be looked up.
    #[error("cannot set up name resolution: {0}")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The environment names a trust store that cannot be read.
    #[error("cannot read the certificates that {name} names, {}: {source}", path.display())]
    TrustStore {
        /// The environment variable.
        name: &'static str,
        /// What it says.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The worker threads cannot be started.
    #[error("cannot start the worker threads: {0}")]
    Runtime(io::Error),
}

/// Serves until the process is told to end (SIGTERM, SIGINT, or SIGQUIT with a successor).
///
/// # Errors
/// The configuration is refused, or what it asks for is not to be had. Nothing is served then.
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let crypto = Crypto::install()?;
    check_trust_store()?;
    let config = options.source.load()?;
    let snapshot = Snapshot::compile(&config, None)?;
    // Before there are threads: it changes the environment.
    let inherited = Inherited::take();
    let threads =
        snapshot.settings().server.threads.map_or_else(cores, |threads| threads.get().into());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("tidegate")
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let start = Start { config, snapshot, crypto, inherited, threads };
    let served = runtime.block_on(run(options, start));
    runtime.shutdown_timeout(LAST_MOMENTS);
    served
}

/// Checks a configuration as far as [`serve`] can without binding, connecting or resolving.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(source: &ConfigSource) -> Result<Checked, ServeError> {
    let crypto = Crypto::install()?;
    check_trust_store()?;
    let config = source.load()?;
    let snapshot = Snapshot::compile(&config, None)?;
    let notes = snapshot.notes().map(str::to_owned).collect();
    let mut found = life::receptions(&crypto, &snapshot).err().unwrap_or_default();
    let metrics = Metrics::new(BuildInfo { version: "", revision: "" });
    found.extend(Live::prepare(snapshot, &metrics, None).err().unwrap_or_default());
    if found.is_empty() { Ok(Checked { config, notes }) } else { Err(config.errors(found).into()) }
}

/// A configuration in which nothing is wrong.
#[derive(Debug)]
pub struct Checked {
    /// Its settings.
    pub config: Config,
    /// What it names and has no effect here, or means less than its author may think; one line
    /// each.
    pub notes: Vec<String>,
}

/// Pingora panics over a trust store that it is pointed to and cannot read.
fn check_trust_store() -> Result<(), ServeError> {
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(path) = std::env::var_os(name).map(PathBuf::from) {
            path.metadata().map_err(|source| ServeError::TrustStore { name, path, source })?;
        }
    }
    Ok(())
}

fn cores() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What was prepared before the runtime started.
struct Start {
    config: Config,
    snapshot: Snapshot,
    crypto: Crypto,
    inherited: Inherited,
    threads: usize,
}

async fn run(options: ServeOptions, start: Start) -> Result<(), ServeError> {
    let Start { config, snapshot, crypto, mut inherited, threads } = start;
    let metrics = Metrics::new(options.build);
    let build = options.build;
    let receptions = life::receptions(&crypto, &snapshot).map_err(|found| config.errors(found))?;
    let bound = life::bind_all(receptions, &mut inherited)?;
    let admin_address = snapshot.settings().admin.address.0;
    let admin = sockets::bind(admin_address, Some(&mut inherited))?;
    drop(inherited);
    let access_log = AccessLog::start(&snapshot.settings().access_log, metrics.access_log_stats())?;
    let live = Live::prepare(snapshot, &metrics, None).map_err(|found| config.errors(found))?;
    let refused = |found| config.errors(vec![found]);
    let audit = open_audit(live.snapshot.settings()).map_err(refused)?;
    let edge = Edge::new(live, metrics, access_log, audit, Clock::System);
    let (edge, decided) = edge.map_err(ServeError::Bans)?;
    let edge = Arc::new(edge);
    enforcement::start(&edge, decided);
    edge.audit_start(build).await.map_err(refused)?;
    let outbound = Arc::new(Outbound::new());
    edge.start_sinks(&outbound, build);
    let (draining, drains) = watch::channel(false);
    let (commands, orders) = mpsc::channel(4);
    let (admin_bound, admin) = serve_admin(&edge, commands, admin, drains)
        .map_err(|source| ServeError::Listen { address: admin_address, source })?;
    let mut process = Process {
        source: options.source,
        crypto,
        protocols: Arc::new(Protocols::new(edge.clone(), threads)),
        listeners: Vec::new(),
        admin,
        resolver: resolve::system_resolver()?,
        prober: Arc::new(Connector::new(None)),
        attendants: HashMap::new(),
        draining,
        keys: Fingerprints::of(&edge.live().snapshot),
        anchors: Anchors::start(&edge, &outbound),
        outbound,
    };
    tokio::spawn(audit::summaries(edge.clone()));
    tokio::spawn(lookout::keep(edge.clone()));
    process.attend_pools();
    tokio::spawn(auth::watch(edge.clone()));
    for (address, reception, socket) in bound {
        process.listen(address, socket, reception)?;
    }
    edge.metrics().config_reloaded(true, edge.clock().wall());
    edge.set_ready(true);
    edge.announce(&happened::process_started(&edge, build));
    let listeners = process.listeners.iter().map(|listener| listener.bound).collect();
    signals::notify_ready();
    let predecessor = upgrade::report_ready().await;
    tokio::spawn(own_bans(edge.clone(), predecessor));
    if let Some(on_ready) = options.on_ready {
        on_ready(&Ready { listeners, admin: admin_bound });
    }
    let ended = process.live(orders).await;
    finish(&edge, ended).await;
    Ok(())
}

/// Takes the bans over from a predecessor, when it has let go of them.
async fn own_bans(edge: Arc<Edge>, predecessor: Option<Predecessor>) {
    if let Some(predecessor) = predecessor {
        predecessor.lets_go().await;
    }
    tokio::task::block_in_place(|| {
        edge.ban_file().take_over(edge.live().snapshot.bans(), bans::now(edge.clock()));
    });
}

/// What is left to do when nothing is served any more.
async fn finish(edge: &Arc<Edge>, ended: life::Ended) {
    edge.announce(&happened::process_stopped(edge, ended.why));
    edge.access_log().flush();
    tokio::task::block_in_place(|| {
        if ended.why != life::SUCCESSOR {
            edge.auth().report().save(edge);
        }
        edge.audit_stop(ended.why);
    });
    edge.traces().finish(LAST_SPANS).await;
    tokio::join!(edge.finish_sinks(), ended.anchors.finish(edge, &ended.outbound));
}

/// Opens the audit log, if there is to be one.
fn open_audit(settings: &Settings) -> Result<Option<Auditor>, SettingsError> {
    settings.audit.as_ref().map(|audit| Auditor::open(audit, &Clock::System)).transpose()
}

/// Serves the admin listener; returns its address too.
fn serve_admin(
    edge: &Arc<Edge>,
    commands: mpsc::Sender<life::Command>,
    socket: std::net::TcpListener,
    draining: watch::Receiver<bool>,
) -> io::Result<(SocketAddr, AdminListener)> {
    let kept = socket.try_clone()?;
    let bound = socket.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(socket)?;
    let admin = Admin { edge: edge.clone(), commands };
    let accepting = tokio::spawn(admin::serve(admin, listener, draining)).abort_handle();
    tracing::info!(listener = %bound, kind = "admin", "listening");
    Ok((bound, AdminListener { socket: kept, accepting }))
}
