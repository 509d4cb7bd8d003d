//! The life of the process: start, reload, drain, hand-over to a new binary.
//!
//! Start and reload take the same road: everything is prepared and checked first, and only then
//! put in force, so that a configuration that is refused changes nothing.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::connectors::http::Connector;
use pingora_core::server::ShutdownWatch;
use tidegate_core::SettingsError;
use tidegate_engine::{Config, Snapshot};
use tidegate_observe::AccessLog;
use tidegate_traffic::Pool;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::audit::{self, Anchors, By, Fingerprints};
use crate::auth;
use crate::edge::Live;
use crate::happened;
use crate::health::check_pool;
use crate::listener::{Listener, Reception};
use crate::outbound::Outbound;
use crate::resolve::{Resolver, resolve_pool};
use crate::serve::{ConfigSource, ServeError};
use crate::signals::{self, Signal};
use crate::sockets::{self, Inherited};
use crate::tend::tend_pool;
use crate::tls::Crypto;
use crate::{Protocols, upgrade};

/// How often a drain looks whether the last connection is gone.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Why a process ends that handed over.
pub(crate) const SUCCESSOR: &str = "successor";

/// What the process can be told.
pub(crate) enum Command {
    /// Load the configuration again; the sender is told how it went.
    Reload(By, Option<oneshot::Sender<Result<(), String>>>),
}

/// How serving ended, with what outlives it.
pub(crate) struct Ended {
    pub(crate) why: &'static str,
    pub(crate) anchors: Anchors,
    pub(crate) outbound: Arc<Outbound>,
}

/// The running process.
pub(crate) struct Process {
    pub(crate) source: ConfigSource,
    pub(crate) crypto: Crypto,
    pub(crate) protocols: Arc<Protocols>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) admin: AdminListener,
    pub(crate) resolver: Resolver,
    /// Connects health checks.
    pub(crate) prober: Arc<Connector>,
    pub(crate) attendants: HashMap<String, Attendant>,
    pub(crate) draining: watch::Sender<bool>,
    /// The certificates in force, to tell when they change.
    pub(crate) keys: Fingerprints,
    pub(crate) anchors: Anchors,
    pub(crate) outbound: Arc<Outbound>,
}

/// The admin listener.
pub(crate) struct AdminListener {
    /// A handle for a successor.
    pub(crate) socket: StdListener,
    /// The task that accepts.
    pub(crate) accepting: AbortHandle,
}

/// The tasks that look after one pool; they end with it.
pub(crate) struct Attendant {
    pool: Arc<Pool>,
    tasks: [AbortHandle; 3],
}

impl Drop for Attendant {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A configuration that passed every check and can be put in force without failing.
struct Prepared {
    live: Live,
    /// In the order of the settings; a socket only where the address is new.
    listeners: Vec<(SocketAddr, Reception, Option<StdListener>)>,
    access_log: tidegate_observe::StagedAccessLog,
}

impl Process {
    /// Serves until the process is told to end.
    pub(crate) async fn live(mut self, mut commands: mpsc::Receiver<Command>) -> Ended {
        let mut signals = signals::Signals::listen();
        loop {
            let signal = tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Reload(by, done)) => {
                        let outcome = self.reload(&by);
                        if let Some(done) = done {
                            // Who asked may have left already.
                            drop(done.send(outcome));
                        }
                        continue;
                    }
                    None => return self.ended("no longer told anything"),
                },
                signal = signals.next() => signal,
            };
            if matches!(signal, Signal::Upgrade | Signal::Drain | Signal::Stop) {
                self.save();
            }
            match signal {
                Signal::Reload => drop(self.reload(&By::Signal("SIGHUP"))),
                Signal::ReopenLogs => {
                    self.protocols.edge().access_log().reopen();
                    self.protocols.edge().reopen_sinks();
                }
                Signal::Upgrade => {
                    let admin = Some(&self.admin.socket);
                    if let Some(successor) = upgrade::hand_over(&self.listeners, admin).await {
                        self.let_go();
                        successor.let_go();
                        let edge = self.protocols.edge().clone();
                        tokio::spawn(async move { edge.audit_release().await });
                        return self.drain(&mut signals, SUCCESSOR).await;
                    }
                }
                Signal::Drain => {
                    // Only here: after a hand-over it is the successor that systemd looks at.
                    signals::notify_stopping();
                    return self.drain(&mut signals, "drained").await;
                }
                Signal::Panic => self.protocols.edge().panic_by_signal("SIGUSR2"),
                Signal::Stop => return self.ended("stopped"),
            }
        }
    }

    /// Writes the last changes: from now on the file may be a successor's.
    fn save(&self) {
        let edge = self.protocols.edge();
        tokio::task::block_in_place(|| {
            edge.ban_file().save(edge.live().snapshot.bans());
            edge.auth().report().save(edge);
        });
    }

    /// Ends what only one process may do: admin calls reach the successor from now on, and the
    /// bans are its own.
    fn let_go(&self) {
        self.admin.accepting.abort();
        let edge = self.protocols.edge();
        tokio::task::block_in_place(|| edge.ban_file().let_go(edge.live().snapshot.bans()));
    }

    /// Loads the configuration again, all or nothing.
    fn reload(&mut self, by: &By) -> Result<(), String> {
        signals::notify_reloading();
        let outcome = tokio::task::block_in_place(|| self.try_reload(by));
        let edge = self.protocols.edge();
        edge.metrics().config_reloaded(outcome.is_ok(), edge.clock().wall());
        signals::notify_ready();
        match outcome {
            Ok(()) => {
                edge.announce(&happened::config_applied(edge, by));
                Ok(())
            }
            Err(errors) => {
                let errors = errors.to_string();
                edge.announce(&happened::config_refused(edge, by, &errors));
                edge.audit_config_refused(by, &errors);
                Err(errors)
            }
        }
    }

    fn try_reload(&mut self, by: &By) -> Result<(), ServeError> {
        let config = self.source.load()?;
        let prepared = self.prepare(&config)?;
        let before = self.protocols.edge().live();
        self.put_in_force(prepared)?;
        let keys = Fingerprints::of(&self.protocols.edge().live().snapshot);
        let edge = self.protocols.edge();
        edge.audit_config(by, &before.snapshot, (&self.keys, &keys));
        let changed = self.keys.changed(&keys);
        if !changed.is_empty() {
            edge.announce(&happened::certificates_changed(edge, by, &changed));
        }
        self.keys = keys;
        self.anchors.renew(self.protocols.edge(), &self.outbound);
        Ok(())
    }

    fn prepare(&self, config: &Config) -> Result<Prepared, ServeError> {
        let edge = self.protocols.edge();
        let snapshot = Snapshot::compile(config, Some(&edge.live().snapshot))?;
        let (running, wanted) = (edge.live(), &snapshot.settings().audit);
        audit::check_reload(running.snapshot.settings().audit.as_ref(), wanted.as_ref())
            .map_err(|found| config.errors(vec![found]))?;
        let receptions =
            receptions(&self.crypto, &snapshot).map_err(|found| config.errors(found))?;
        let access_log = AccessLog::stage(&snapshot.settings().access_log)?;
        let bound = |address| self.listeners.iter().any(|listener| listener.address == address);
        let listeners = receptions
            .into_iter()
            .map(|(address, reception)| {
                let socket = (!bound(address)).then(|| sockets::bind(address, None)).transpose()?;
                Ok((address, reception, socket))
            })
            .collect::<Result<_, ServeError>>()?;
        let live = Live::prepare(snapshot, edge.metrics(), Some(&edge.live()))
            .map_err(|found| config.errors(found))?;
        Ok(Prepared { live, listeners, access_log })
    }

    fn put_in_force(&mut self, prepared: Prepared) -> Result<(), ServeError> {
        let edge = self.protocols.edge().clone();
        edge.access_log().apply(prepared.access_log);
        edge.replace(prepared.live);
        tokio::task::block_in_place(|| auth::catch_up(edge.live().snapshot.auth()));
        self.protocols.set_limits(&edge.limits());
        let addresses: Vec<_> = prepared.listeners.iter().map(|(address, ..)| *address).collect();
        self.listeners.retain(|listener| addresses.contains(&listener.address));
        for (address, reception, socket) in prepared.listeners {
            let running = self.listeners.iter().find(|listener| listener.address == address);
            match (running, socket) {
                (Some(listener), _) => listener.receive_as(reception),
                (None, Some(socket)) => self.listen(address, socket, reception)?,
                (None, None) => {}
            }
        }
        self.attend_pools();
        Ok(())
    }

    /// Starts to accept on a bound socket.
    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        socket: StdListener,
        reception: Reception,
    ) -> Result<(), ServeError> {
        let draining: ShutdownWatch = self.draining.subscribe();
        let listener = Listener::start(address, socket, reception, &self.protocols, draining)
            .map_err(|source| ServeError::Listen { address, source })?;
        tracing::info!(listener = %listener.bound, kind = "http", "listening");
        self.listeners.push(listener);
        Ok(())
    }

    /// Gives every issuer its fetches, and every pool its health checks and lookups; a pool that did not change keeps them.
    pub(crate) fn attend_pools(&mut self) {
        let edge = self.protocols.edge();
        let live = edge.live();
        edge.auth().attend(&live.snapshot, &live.trusts, edge);
        let pools = live.snapshot.pools();
        self.attendants.retain(|name, attendant| {
            pools.get(name).is_some_and(|pool| Arc::ptr_eq(pool, &attendant.pool))
        });
        for (name, pool) in pools {
            self.attendants.entry(name.clone()).or_insert_with(|| {
                let health =
                    tokio::spawn(check_pool(pool.clone(), self.prober.clone(), edge.clone()));
                let names =
                    tokio::spawn(resolve_pool(pool.clone(), self.resolver.clone(), edge.clone()));
                let rest = tokio::spawn(tend_pool(pool.clone(), edge.clone()));
                Attendant {
                    pool: pool.clone(),
                    tasks: [health.abort_handle(), names.abort_handle(), rest.abort_handle()],
                }
            });
        }
    }

    /// Turns unready, stops accepting, and waits for what runs; a second signal ends the wait.
    async fn drain(mut self, signals: &mut signals::Signals, why: &'static str) -> Ended {
        let edge = self.protocols.edge().clone();
        let settings = edge.live().snapshot.settings().server.clone();
        edge.set_ready(false);
        let limit = settings.unready_delay.0 + settings.drain_timeout.0;
        let ended = tokio::select! {
            () = self.finish(settings.unready_delay.0) => "nothing runs any more",
            () = sleep(limit) => "the drain timeout is over",
            () = signals.stop() => "told to stop at once",
        };
        tracing::info!(connections_left = edge.connections().total(), ended, "drained");
        self.ended(why)
    }

    /// What is left to do when nothing is served any more.
    fn ended(self, why: &'static str) -> Ended {
        Ended { why, anchors: self.anchors, outbound: self.outbound }
    }

    /// Closes the listeners after `delay`, and waits for the last connection.
    async fn finish(&mut self, delay: Duration) {
        let edge = self.protocols.edge();
        tracing::info!(connections = edge.connections().total(), "draining");
        sleep(delay).await;
        self.listeners.clear();
        edge.start_draining();
        self.draining.send_replace(true);
        while edge.connections().total() > 0 {
            sleep(DRAIN_LOOK).await;
        }
    }
}

/// What each listener does with connections, by address.
///
/// # Errors
/// Every certificate file that cannot be used, with its path in the configuration.
pub(crate) fn receptions(
    crypto: &Crypto,
    snapshot: &Snapshot,
) -> Result<Vec<(SocketAddr, Reception)>, Vec<SettingsError>> {
    let mut errors = Vec::new();
    let mut receptions = Vec::new();
    for (index, listener) in snapshot.settings().listeners.iter().enumerate() {
        match Reception::prepare(crypto, listener) {
            Ok(reception) => receptions.push((listener.address.0, reception)),
            Err(found) => errors.extend(
                found.into_iter().map(|error| error.under(["listeners", &index.to_string()])),
            ),
        }
    }
    if errors.is_empty() { Ok(receptions) } else { Err(errors) }
}

/// Binds every listener's socket, inherited ones first.
///
/// # Errors
/// An address that cannot be bound.
pub(crate) fn bind_all(
    receptions: Vec<(SocketAddr, Reception)>,
    inherited: &mut Inherited,
) -> Result<Vec<(SocketAddr, Reception, StdListener)>, ServeError> {
    receptions
        .into_iter()
        .map(|(address, reception)| {
            Ok((address, reception, sockets::bind(address, Some(inherited))?))
        })
        .collect()
}
