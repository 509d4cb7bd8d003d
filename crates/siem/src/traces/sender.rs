//! The task that sends batches of spans to one collector.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::Counts;
use super::batch::{self, Envelope};
use super::collector::{Sent, Target};
use crate::backoff::Backoff;
use crate::http::HttpClient;
use crate::queue::{BatchLimits, Queue};
use crate::record::Record;

/// How much one call carries.
const BATCH: BatchLimits = BatchLimits { records: 512, bytes: 1 << 20 };
/// How long the first spans of a batch wait for more.
const GATHER: Duration = Duration::from_secs(1);
/// How often is looked whether a batch is full.
const LOOK: Duration = Duration::from_millis(50);
/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Sender {
    pub(super) target: Target,
    pub(super) envelope: Envelope,
    pub(super) queue: Arc<Queue>,
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) counts: Arc<Counts>,
    pub(super) longest: Duration,
    pub(super) random: fn() -> u64,
}

impl Sender {
    /// Sends until the queue is closed and empty. What is not taken at once after it was closed is
    /// given up.
    pub(super) async fn run(self) {
        let longest = self.longest.max(FIRST_PAUSE);
        let mut backoff = Backoff::new(FIRST_PAUSE, longest, (self.random)());
        while self.queue.wait().await {
            self.gather().await;
            let batch = self.queue.peek(BATCH);
            let bodies = batch.iter().map(|record| &*record.body);
            let body = Bytes::from(self.envelope.body(bodies));
            let sent = self.target.send(&*self.client, body).await;
            if let Some(after) = self.settle(&batch, sent) {
                if self.queue.is_closed() {
                    return self.give_up();
                }
                let pause = backoff.failed();
                self.pause(after.unwrap_or(pause).clamp(pause, longest)).await;
            } else {
                backoff.succeeded();
            }
        }
    }

    /// Waits for a full batch, for a moment.
    async fn gather(&self) {
        let mut waited = Duration::ZERO;
        while waited < GATHER && !self.queue.is_closed() && !self.queue.has_batch(BATCH) {
            sleep(LOOK).await;
            waited += LOOK;
        }
    }

    /// Waits, unless the queue is closed meanwhile.
    async fn pause(&self, wait: Duration) {
        let mut waited = Duration::ZERO;
        while waited < wait && !self.queue.is_closed() {
            let step = LOOK.min(wait - waited);
            sleep(step).await;
            waited += step;
        }
    }

    /// Counts what became of a batch; returns that it has to be sent again, and when.
    fn settle(&self, batch: &[Record], sent: Sent) -> Option<Option<Duration>> {
        let spans = batch.iter().map(|record| batch::count(&record.body)).sum::<u64>();
        match sent {
            Sent::Taken { rejected, why } => {
                let rejected = rejected.min(spans);
                self.counts.sent.fetch_add(spans - rejected, Ordering::Relaxed);
                self.counts.refused.fetch_add(rejected, Ordering::Relaxed);
                self.say(true, why.as_deref());
                self.queue.done(batch.len());
                None
            }
            Sent::Refused { why } => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                self.counts.refused.fetch_add(spans, Ordering::Relaxed);
                self.say(false, Some(&why));
                self.queue.done(batch.len());
                None
            }
            Sent::Later { after, why } => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                self.say(false, Some(&why));
                Some(after)
            }
        }
    }

    /// Logs changes only: a dead collector is one line.
    #[expect(
        clippy::cognitive_complexity,
        reason = "what a log line expands to counts as branches"
    )]
    fn say(&self, works: bool, why: Option<&str>) {
        let failed_before = self.counts.failing.swap(!works, Ordering::Relaxed);
        match (works, failed_before) {
            (false, false) => tracing::warn!(why, "the collector does not take spans"),
            (true, true) => tracing::info!("the collector takes spans again"),
            (true, false) | (false, true) => {}
        }
    }

    fn give_up(&self) {
        let everything = BatchLimits { records: usize::MAX, bytes: usize::MAX };
        let left = self.queue.peek(everything);
        let spans = left.iter().map(|record| batch::count(&record.body)).sum::<u64>();
        self.counts.left.fetch_add(spans, Ordering::Relaxed);
        self.queue.done(left.len());
    }
}
