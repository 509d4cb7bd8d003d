//! Signals in, systemd notifications out.

use tokio::signal::unix::{SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ReopenLogs,
    /// SIGQUIT.
    Upgrade,
    /// SIGTERM.
    Drain,
    /// SIGINT.
    Stop,
    /// SIGUSR2.
    Panic,
}

/// The signals that the process listens to, from now on.
pub(crate) struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    /// Listens. A signal that cannot be listened to keeps its default effect.
    pub(crate) fn listen() -> Self {
        let kinds = [
            (Signal::Reload, SignalKind::hangup()),
            (Signal::ReopenLogs, SignalKind::user_defined1()),
            (Signal::Upgrade, SignalKind::quit()),
            (Signal::Drain, SignalKind::terminate()),
            (Signal::Stop, SignalKind::interrupt()),
            (Signal::Panic, SignalKind::user_defined2()),
        ];
        let listen = |(meaning, kind)| match signal(kind) {
            Ok(stream) => Some((meaning, stream)),
            Err(error) => {
                tracing::error!(signal = ?meaning, %error, "cannot listen to a signal");
                None
            }
        };
        Self(kinds.into_iter().filter_map(listen).collect())
    }

    /// The next signal; pending signals of different kinds come in the order of the table.
    pub(crate) async fn next(&mut self) -> Signal {
        let next = std::future::poll_fn(|cx| {
            for (meaning, stream) in &mut self.0 {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*meaning);
                }
            }
            std::task::Poll::Pending
        });
        next.await
    }

    /// Waits for a signal that ends a drain.
    pub(crate) async fn stop(&mut self) {
        loop {
            if matches!(self.next().await, Signal::Drain | Signal::Stop) {
                return;
            }
        }
    }
}

/// Tells systemd, and a predecessor that waits for it, that traffic is served.
pub(crate) fn notify_ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd that a reload begins; [`notify_ready`] ends it.
pub(crate) fn notify_reloading() {
    let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() else { return };
    notify(&[sd_notify::NotifyState::Reloading, now]);
}

/// Tells systemd that the process ends.
pub(crate) fn notify_stopping() {
    notify(&[sd_notify::NotifyState::Stopping]);
}

/// Tells systemd that `pid` is the main process from now on.
pub(crate) fn notify_successor(pid: u32) {
    notify(&[sd_notify::NotifyState::MainPid(pid)]);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell, and that is fine.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
