//! SIGQUIT: the binary at our own path, perhaps a newer one, takes the listening sockets over and
//! serves before we let go of them, so that no connection is refused.
//!
//! Sockets travel as `LISTEN_FDS`, as from systemd. The successor reports through a datagram
//! socket that only it knows the name of. Then the predecessor takes no admin connections any more,
//! ends its changes of the bans, and says so through such a socket of the successor's.

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
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::listener::Listener;
use crate::signals;

/// The name of the socket that a predecessor waits on, in the successor's environment.
const PREDECESSOR: &str = "TIDEGATE_PREDECESSOR";
/// What is added to that name for the socket that the successor waits on.
const SUCCESSOR: &str = "-successor";
/// How long one waits for the other: until the successor serves, until the predecessor lets go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a successor is looked at while it starts.
const LOOK: Duration = Duration::from_millis(50);
/// The first descriptor that is passed on (`sd_listen_fds(3)`).
const FIRST_FD: i32 = 3;

/// A process that serves on our sockets, and waits for us to let go of the rest.
pub(crate) struct Successor {
    /// Of the socket that it waits on.
    name: String,
}

impl Successor {
    /// Tells it that what two processes cannot have at once is its own from now on.
    pub(crate) fn let_go(self) {
        if let Err(error) = tell(self.name.as_bytes(), b"YOURS") {
            tracing::warn!(%error, "cannot tell the successor");
        }
    }
}

/// A process that served on our sockets, and has not let go of the rest yet.
pub(crate) struct Predecessor {
    socket: tokio::net::UnixDatagram,
}

impl Predecessor {
    /// Waits until it lets go, or can be taken for gone.
    pub(crate) async fn lets_go(self) {
        if timeout(PATIENCE, self.socket.recv(&mut [0; 16])).await.is_err() {
            tracing::warn!("the predecessor says nothing; what is its is taken over");
        }
    }
}

/// Starts a successor on our sockets, and answers it once it serves. If it fails, we serve on.
pub(crate) async fn hand_over(
    listeners: &[Listener],
    admin: Option<&StdListener>,
) -> Option<Successor> {
    match try_hand_over(listeners, admin).await {
        Ok((pid, successor)) => {
            signals::notify_successor(pid);
            tracing::info!(pid, "the successor serves");
            Some(successor)
        }
        Err(error) => {
            report(&error);
            None
        }
    }
}

fn report(error: &io::Error) {
    tracing::error!(%error, "the upgrade failed, this process serves on");
}

async fn try_hand_over(
    listeners: &[Listener],
    admin: Option<&StdListener>,
) -> io::Result<(u32, Successor)> {
    let name = format!("tidegate-{:016x}{:016x}", random::next(), random::next());
    let reports = bind(name.as_bytes())?;
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
            return Ok((successor.id(), Successor { name: name + SUCCESSOR }));
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

/// Tells the predecessor, if there is one that waits, that we serve; answers it while there is
/// something left that it has to let go of.
pub(crate) async fn report_ready() -> Option<Predecessor> {
    let name = std::env::var_os(PREDECESSOR)?;
    let name = name.as_encoded_bytes();
    let socket = bind(&[name, SUCCESSOR.as_bytes()].concat());
    // It may have given up a moment ago; then it serves on beside us until it is told to end.
    for _attempt in 0..3 {
        match tell(name, b"READY") {
            Ok(()) => return socket.ok().map(|socket| Predecessor { socket }),
            Err(error) => tracing::warn!(%error, "cannot report to the predecessor"),
        }
        sleep(LOOK).await;
    }
    None
}

/// A socket of this name, which files know nothing of.
fn bind(name: &[u8]) -> io::Result<tokio::net::UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixDatagram::from_std(socket)
}

fn tell(name: &[u8], word: &[u8]) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(name)?;
    UnixDatagram::unbound()?.send_to_addr(word, &address).map(drop)
}
