//! Listening sockets: inherited from a predecessor or from systemd, or bound here.

use std::net::{SocketAddr, TcpListener as StdListener};

use listenfd::ListenFd;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::TcpSocket;

use crate::serve::ServeError;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 8192;

/// Sockets that came with the process (`LISTEN_FDS`, the protocol of systemd's socket activation;
/// an upgrade uses the same).
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<StdListener>);

impl Inherited {
    /// Takes the sockets over. What is no TCP listener is left alone.
    pub(crate) fn take() -> Self {
        let mut passed = ListenFd::from_env();
        let sockets = 0..passed.len();
        let sockets = sockets.filter_map(|index| passed.take_tcp_listener(index).ok().flatten());
        // systemd passes them as blocking.
        Self(sockets.filter(|socket| socket.set_nonblocking(true).is_ok()).collect())
    }

    /// The socket for `address`; a configured port 0 takes any that nobody else names.
    fn claim(&mut self, address: SocketAddr) -> Option<StdListener> {
        let fits = |socket: &StdListener| {
            socket.local_addr().is_ok_and(|bound| {
                bound.ip() == address.ip()
                    && (bound.port() == address.port() || address.port() == 0)
            })
        };
        let index = self.0.iter().position(fits)?;
        Some(self.0.remove(index))
    }
}

/// A listening socket for `address`.
///
/// # Errors
/// The address is in use, not ours, or not allowed.
pub(crate) fn bind(
    address: SocketAddr,
    inherited: Option<&mut Inherited>,
) -> Result<StdListener, ServeError> {
    if let Some(socket) = inherited.and_then(|inherited| inherited.claim(address)) {
        return Ok(socket);
    }
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        if address.is_ipv6() {
            // `[::]` is every IPv6 address, so that `0.0.0.0` can stand beside it.
            set_ipv6_v6only(&socket, true)?;
        }
        // Connections of a predecessor in TIME_WAIT must not keep us from starting.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listen().map_err(|source| ServeError::Listen { address, source })
}
