//! SIGQUIT: the binary at our own path, perhaps a newer one, takes the listening sockets over and
//! serves before we let go of them, so that no connection is refused.
//!
//! Sockets travel as `LISTEN_FDS`, as from systemd. The successor reports through a datagram
//! socket that only it knows the name of.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tidegate_traffic::random;
use tokio::time::{Instant, sleep, timeout_at};

use crate::listener::Listener;
use crate::signals;

/// The name of the socket that a predecessor waits on, in the successor's environment.
const PREDECESSOR: &str = "TIDEGATE_PREDECESSOR";
/// How long a successor may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a successor is looked at while it starts.
const LOOK: Duration = Duration::from_millis(50);
/// The first descriptor that is passed on (`sd_listen_fds(3)`).
const FIRST_FD: i32 = 3;

/// Starts a successor on our sockets; true once it serves. If it fails, we serve on.
pub(crate) async fn hand_over(listeners: &[Listener], admin: Option<&StdListener>) -> bool {
    match try_hand_over(listeners, admin).await {
        Ok(pid) => {
            signals::notify_successor(pid);
            tracing::info!(pid, "the successor serves");
            true
        }
        Err(error) => {
            report(&error);
            false
        }
    }
}

fn report(error: &io::Error) {
    tracing::error!(%error, "the upgrade failed, this process serves on");
}

async fn try_hand_over(listeners: &[Listener], admin: Option<&StdListener>) -> io::Result<u32> {
    let name = format!("tidegate-{:016x}{:016x}", random::next(), random::next());
    let reports = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    reports.set_nonblocking(true)?;
    let reports = tokio::net::UnixDatagram::from_std(reports)?;
    let sockets = listeners.iter().map(|listener| &listener.socket).chain(admin);
    let sockets =
        sockets.map(|socket| Ok(socket.try_clone()?.into())).collect::<io::Result<Vec<_>>>()?;
    let mut successor = start(sockets, &name)?;
    let deadline = Instant::now() + PATIENCE;
    let mut report = [0; 16];
    loop {
        let look = (Instant::now() + LOOK).min(deadline);
        if let Ok(received) = timeout_at(look, reports.recv(&mut report)).await {
            received?;
            return Ok(successor.id());
        }
        if let Some(status) = successor.try_wait()? {
            return Err(io::Error::other(format!("the successor ended: {status}")));
        }
        if Instant::now() >= deadline {
            successor.kill()?;
            successor.wait()?;
            return Err(io::Error::other("the successor did not serve in time"));
        }
    }
}

fn start(sockets: Vec<OwnedFd>, name: &str) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program: OsString = arguments.next().unwrap_or_else(|| "tidegate".into());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LISTEN_FDS", sockets.len().to_string())
        // Whoever inherits the descriptors is meant: the successor's id is not known yet.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDNAMES")
        .env(PREDECESSOR, name);
    let mapping = |(parent_fd, child_fd)| FdMapping { parent_fd, child_fd };
    command
        .fd_mappings(sockets.into_iter().zip(FIRST_FD..).map(mapping).collect())
        .map_err(io::Error::other)?;
    command.spawn()
}

/// Whether this process was started by another one that serves until this one does.
pub(crate) fn has_predecessor() -> bool {
    std::env::var_os(PREDECESSOR).is_some()
}

/// Tells the predecessor, if there is one that waits, that we serve.
pub(crate) async fn report_ready() {
    let Some(name) = std::env::var_os(PREDECESSOR) else { return };
    let report = || {
        let address = SocketAddr::from_abstract_name(name.as_encoded_bytes())?;
        UnixDatagram::unbound()?.send_to_addr(b"READY", &address)
    };
    // It may have given up a moment ago; then it serves on beside us until it is told to end.
    for _attempt in 0..3 {
        match report() {
            Ok(_count) => return,
            Err(error) => tracing::warn!(%error, "cannot report to the predecessor"),
        }
        sleep(LOOK).await;
    }
}
