//! The task that moves records from the queue to the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_core::notice::NoticeKind;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Shared;
use crate::backoff::Backoff;
use crate::queue::BatchLimits;
use crate::spool::{AppendError, Spool};
use crate::stats::Stats;

/// How much is written at once.
const BATCH: BatchLimits = BatchLimits { records: 4096, bytes: 1 << 20 };

/// How long what was written may wait for the disk to keep it.
const SYNC: Duration = Duration::from_secs(1);

/// How often a full spool is asked again.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>, spool: Arc<Spool>, retry: (Duration, Duration)) {
    let mut backoff = Backoff::new(retry.0, retry.1, shared.queue.origin());
    let mut told = false;
    loop {
        match timeout(SYNC, shared.queue.wait()).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_nothing_came) => {
                sync(&spool, false).await;
                continue;
            }
        }
        let records = shared.queue.peek(BATCH);
        let count = records.len();
        let to = Arc::clone(&spool);
        let written = spawn_blocking(move || {
            let written = to.append(&records);
            written.and_then(|()| Ok(to.sync(false)?))
        });
        match written.await {
            Ok(Ok(())) => {
                // Before the queue lets go of them, so that nothing is counted as gone.
                Stats::add(&shared.stats.on_disk, count);
                Stats::add(&shared.stats.spooled, count);
                shared.queue.done(count);
                shared.stats.spool_is_full.store(false, Ordering::Relaxed);
                backoff.succeeded();
                told = false;
            }
            Ok(Err(AppendError::Full)) => {
                shared.stats.spool_is_full.store(true, Ordering::Relaxed);
                if shared.is_ending() {
                    break;
                }
                shared.pause(LOOK).await;
            }
            Ok(Err(AppendError::Io(error))) => {
                if !std::mem::replace(&mut told, true) {
                    let summary =
                        format!("the spool of the sink {} cannot be written", shared.name);
                    shared.tell(NoticeKind::SinkFailing, summary, Some(&error.to_string()));
                }
                if shared.is_ending() {
                    break;
                }
                shared.pause(backoff.failed()).await;
            }
            Err(_ended) => break,
        }
    }
    sync(&spool, true).await;
    // The sender ends when it finds no more.
    spool.wake();
}

async fn sync(spool: &Arc<Spool>, at_once: bool) {
    let spool = Arc::clone(spool);
    let synced = spawn_blocking(move || spool.sync(at_once)).await;
    if let Ok(Err(error)) = synced {
        tracing::warn!(%error, "a spool cannot be kept by the disk");
    }
}
