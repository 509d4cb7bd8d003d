//! The task that opens the spool, and moves records from the queue to the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Place, Shared};
use crate::backoff::Backoff;
use crate::queue::BatchLimits;
use crate::spool::{AppendError, Spool};
use crate::stats::Stats;

/// How much is written at once, at most.
const BATCH: BatchLimits = BatchLimits { records: 4096, bytes: 1 << 20 };

/// How long what was written may wait for the disk to keep it.
const SYNC: Duration = Duration::from_secs(1);

/// How often a full spool is asked again.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>, retry: (Duration, Duration)) {
    let mut backoff = Backoff::new(retry.0, retry.1, shared.queue.origin());
    let Some(spool) = open(&shared, &mut backoff).await else {
        if let Some(place) = &shared.place {
            place.given_up.store(true, Ordering::Release);
        }
        return;
    };
    loop {
        match timeout(SYNC, shared.queue.wait()).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_nothing_came) => {
                sync(&spool, false).await;
                continue;
            }
        }
        match write(&shared, &spool).await {
            Some(Ok(())) => {
                backoff.succeeded();
                shared.stats.spool_is_full.store(false, Ordering::Relaxed);
                shared.writing.lock().works();
            }
            Some(Err(AppendError::Full)) => {
                shared.stats.spool_is_full.store(true, Ordering::Relaxed);
                if shared.is_ending() {
                    break;
                }
                shared.pause(LOOK).await;
            }
            Some(Err(AppendError::Io(error))) => {
                shared.cannot_write(&error.to_string());
                if shared.is_ending() {
                    break;
                }
                shared.pause(backoff.failed()).await;
            }
            None => break,
        }
        sync(&spool, false).await;
    }
    sync(&spool, true).await;
    // The sender ends when it finds no more.
    spool.wake();
}

/// Opens the spool, as often as it takes; `None` if all is to end before.
async fn open(shared: &Arc<Shared>, backoff: &mut Backoff) -> Option<Arc<Spool>> {
    loop {
        let (for_it, clock) = (Arc::clone(shared), shared.clock.clone());
        let opened = spawn_blocking(move || {
            let Place { path, max, .. } = for_it.place.as_ref()?;
            let origin = for_it.queue.origin();
            Some(Spool::open(path, max.load(Ordering::Relaxed), origin, clock))
        });
        match opened.await.ok()?? {
            Ok(spool) => {
                let spool = Arc::new(spool);
                let place = shared.place.as_ref()?;
                let (Ok(()) | Err(_)) = place.opened.set(Arc::clone(&spool));
                shared.works();
                return Some(spool);
            }
            Err(error) => {
                Stats::add(&shared.stats.failures, 1);
                shared.fails(&format!("the spool cannot be opened: {error}"));
            }
        }
        if shared.is_ending() {
            return None;
        }
        shared.pause(backoff.failed()).await;
    }
}

/// Moves what waits to the disk; `None` if the process ends.
async fn write(shared: &Arc<Shared>, spool: &Arc<Spool>) -> Option<Result<(), AppendError>> {
    let bytes = BATCH.bytes.min(spool.largest_batch());
    let records = shared.queue.peek(BatchLimits { bytes, ..BATCH });
    let count = records.len();
    // Before the sender can see them there: it counts them off.
    Stats::add(&shared.stats.on_disk, count);
    let to = Arc::clone(spool);
    let written = spawn_blocking(move || to.append(&records)).await.ok()?;
    if written.is_ok() {
        Stats::add(&shared.stats.spooled, count);
        shared.queue.done(count);
    } else {
        shared.stats.left_disk(count);
    }
    Some(written)
}

async fn sync(spool: &Arc<Spool>, at_once: bool) {
    let spool = Arc::clone(spool);
    let synced = spawn_blocking(move || spool.sync(at_once)).await;
    if let Ok(Err(error)) = synced {
        tracing::warn!(%error, "a spool cannot be kept by the disk");
    }
}
