//! Anchors: the latest checkpoint is sent elsewhere, so that whoever holds this machine cannot
//! rewrite what is older than that. Each anchor has a task of its own; one that is dead is tried
//! again with growing pauses, and nobody waits for it.

mod send;
mod states;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use tidegate_audit::settings::{Anchor, AnchorSettings};
use tidegate_traffic::random;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use self::send::Sender;
pub(super) use self::states::AnchorStates;
use crate::edge::Edge;
use crate::outbound::Outbound;

/// How often a checkpoint is sent, unless the settings say otherwise.
const EVERY: Duration = Duration::from_secs(10);
/// The first and the longest pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long the last checkpoint may take to be sent when the process ends.
const LAST: Duration = Duration::from_secs(3);

/// The running anchors; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Anchors {
    settings: Vec<AnchorSettings>,
    tasks: Vec<AbortHandle>,
}

impl Anchors {
    /// Starts those that the configuration in force has.
    pub(crate) fn start(edge: &Arc<Edge>, outbound: &Arc<Outbound>) -> Self {
        let settings = settings(edge);
        let senders = senders(edge, outbound, &settings);
        let tasks = senders.into_iter().map(|(sender, every)| tokio::spawn(run(sender, every)));
        let tasks = tasks.map(|task| task.abort_handle()).collect();
        Self { settings, tasks }
    }

    /// Starts them anew if a reload changed them.
    pub(crate) fn renew(&mut self, edge: &Arc<Edge>, outbound: &Arc<Outbound>) {
        if settings(edge) != self.settings {
            *self = Self::start(edge, outbound);
        }
    }

    /// Sends the last checkpoint, as far as that is quick.
    pub(crate) async fn finish(self, edge: &Arc<Edge>, outbound: &Arc<Outbound>) {
        let senders = senders(edge, outbound, &self.settings);
        drop(self);
        let tasks = senders.into_iter().map(|(mut sender, _every)| {
            tokio::spawn(async move { drop(timeout(LAST, sender.send_if_new()).await) })
        });
        for task in tasks.collect::<Vec<_>>() {
            // It ends by itself, within its time.
            drop(task.await);
        }
    }
}

impl Drop for Anchors {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn settings(edge: &Edge) -> Vec<AnchorSettings> {
    let live = edge.live();
    live.snapshot.settings().audit.as_ref().map(|audit| audit.anchors.clone()).unwrap_or_default()
}

fn senders(
    edge: &Arc<Edge>,
    outbound: &Arc<Outbound>,
    settings: &[AnchorSettings],
) -> Vec<(Sender, Duration)> {
    let Some(auditor) = edge.audit_handle() else { return Vec::new() };
    let sender = |settings: &AnchorSettings| {
        // They were checked when the configuration was compiled.
        let anchor = settings.anchor().ok()?;
        let state = auditor.anchors.state(&label(&anchor));
        let sender = Sender::new(Arc::clone(&auditor), anchor, settings, state, outbound.clone());
        Some((sender, settings.every.map_or(EVERY, |every| every.0)))
    };
    settings.iter().filter_map(sender).collect()
}

/// The anchor's name in metrics and logs, without what may be secret.
fn label(anchor: &Anchor) -> String {
    let public = |url: &str| {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        match url
            .split_once("://")
            .and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1)))
        {
            Some((scheme, rest)) => format!("{scheme}://{rest}"),
            None => url.to_owned(),
        }
    };
    match anchor {
        Anchor::File(path) => format!("file {}", path.display()),
        Anchor::Http(url) => format!("http {}", public(url)),
        Anchor::Witness { url, .. } => format!("witness {}", public(url)),
    }
}

async fn run(mut sender: Sender, every: Duration) {
    let mut failures = 0;
    loop {
        let pause = match sender.send_if_new().await {
            Ok(()) => {
                failures = 0;
                every
            }
            Err(error) => {
                failures += 1;
                sender.report(&error, failures);
                pause_after(failures)
            }
        };
        sleep(pause).await;
    }
}

/// Doubles with each failure, and is spread so that many gateways do not come back at once.
fn pause_after(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + random::unit(random::next()) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        for (failures, longest) in [(1, 1), (2, 2), (5, 16), (20, 300), (u32::MAX, 300)] {
            let pause = pause_after(failures);
            assert!(pause <= Duration::from_secs(longest), "{failures}: {pause:?}");
            assert!(pause >= Duration::from_secs(longest) / 2, "{failures}: {pause:?}");
        }
    }

    #[test]
    fn labels_hold_no_secrets() {
        let http = Anchor::Http("https://user:pass@log.example/in?token=x".into());
        assert_eq!(label(&http), "http https://log.example/in");
        assert_eq!(label(&Anchor::File("/mnt/worm/c".into())), "file /mnt/worm/c");
    }
}
