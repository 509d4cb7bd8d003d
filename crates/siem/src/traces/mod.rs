//! Spans of requests, sent with OTLP over HTTP.
//!
//! [`Traces::record`] encodes the spans of one request on its own thread into a bounded queue; a
//! task sends batches, and again what a collector takes later. A collector that is slow or dead
//! costs spans, which are counted, and never a request's time.

mod batch;
mod collector;
mod sender;
pub mod settings;
mod spans;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_core::notice::Severity;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::batch::Envelope;
use self::collector::Target;
use self::sender::Sender;
use self::settings::{OtlpSettings, TracingSettings};
pub use self::spans::Traced;
use crate::formats::Node;
use crate::http::HttpClient;
use crate::queue::Queue;
use crate::record::{Draft, REQUEST};

/// The spans of a process on their way to a collector; a reload may name another one.
pub struct Traces {
    node: Node,
    client: Arc<dyn HttpClient>,
    random: fn() -> u64,
    present: ArcSwapOption<Line>,
    /// Tasks that send, also what was left when a reload named another collector.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    counts: Arc<Counts>,
}

/// The way to one collector.
#[derive(Debug)]
struct Line {
    service: Box<str>,
    settings: OtlpSettings,
    queue: Arc<Queue>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    full: AtomicU64,
    refused: AtomicU64,
    left: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
}

/// How the sending of spans is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceStats {
    /// Spans that a collector took.
    pub sent: u64,
    /// Spans that found no room in the queue.
    pub dropped_full: u64,
    /// Spans that a collector refuses.
    pub dropped_refused: u64,
    /// Spans that nobody took before the process ended, or another collector was named.
    pub dropped_left: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Whether the last call failed.
    pub failing: bool,
    /// Requests whose spans wait.
    pub waiting: usize,
    /// Bytes of the queue that are used.
    pub queued_bytes: usize,
}

impl Traces {
    /// Sends nothing until settings are applied. `random` makes ids of spans.
    #[must_use]
    pub fn new(node: Node, client: Arc<dyn HttpClient>, random: fn() -> u64) -> Self {
        Self {
            node,
            client,
            random,
            present: ArcSwapOption::empty(),
            tasks: Mutex::default(),
            counts: Arc::default(),
        }
    }

    /// Puts settings in force, which were checked. Inside a Tokio runtime.
    pub fn apply(&self, settings: Option<&TracingSettings>) {
        let wanted = settings.and_then(|settings| Some((settings, settings.otlp.as_ref()?)));
        let present = self.present.load();
        if let (Some(line), Some((settings, otlp))) = (&*present, wanted)
            && (&line.settings, &line.service) == (otlp, &settings.service)
        {
            return;
        }
        let line = wanted.and_then(|(settings, otlp)| self.start(settings, otlp));
        if let Some(old) = self.present.swap(line.map(Arc::new)) {
            old.queue.close();
        }
    }

    fn start(&self, settings: &TracingSettings, otlp: &OtlpSettings) -> Option<Line> {
        // It was checked; a file that vanished since is told when the next reload looks.
        let target = Target::new(otlp).ok()?;
        let queue = Arc::new(Queue::new((self.random)(), otlp.queue.as_usize()));
        let sender = Sender {
            target,
            envelope: Envelope::new(&settings.service, &self.node),
            queue: Arc::clone(&queue),
            client: Arc::clone(&self.client),
            counts: Arc::clone(&self.counts),
            longest: otlp.max_pause.0,
            random: self.random,
        };
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(sender.run()));
        Some(Line { service: settings.service.clone(), settings: otlp.clone(), queue })
    }

    /// Whether spans are sent anywhere.
    #[must_use]
    pub fn are_sent(&self) -> bool {
        self.present.load().is_some()
    }

    /// Queues the spans of a request; what finds no room is counted.
    pub fn record(&self, traced: &Traced<'_>) {
        let present = self.present.load();
        let Some(line) = &*present else { return };
        let expected = 1 + traced.stages.stages().len() + traced.stages.tries().len();
        if line.queue.is_full() {
            self.counts.full.fetch_add(expected as u64, Ordering::Relaxed);
            return;
        }
        let spans = traced.spans(self.random);
        let draft = Draft {
            time: traced.event.time,
            severity: Severity::Informational,
            kind: REQUEST,
            body: Bytes::from(batch::record(&spans)),
        };
        if line.queue.push(draft).is_err() {
            self.counts.full.fetch_add(spans.len() as u64, Ordering::Relaxed);
        }
    }

    /// How it is.
    #[must_use]
    pub fn stats(&self) -> TraceStats {
        let present = self.present.load();
        let queue = present.as_ref().map(|line| &line.queue);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        TraceStats {
            sent: count(&counts.sent),
            dropped_full: count(&counts.full),
            dropped_refused: count(&counts.refused),
            dropped_left: count(&counts.left),
            failures: count(&counts.failures),
            failing: counts.failing.load(Ordering::Relaxed),
            waiting: queue.map_or(0, |queue| queue.len()),
            queued_bytes: queue.map_or(0, |queue| queue.used()),
        }
    }

    /// Sends what waits, for at most so long, at the end of the process.
    pub async fn finish(&self, patience: Duration) {
        if let Some(line) = self.present.swap(None) {
            line.queue.close();
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let all = async {
            for task in tasks {
                // A task ends; that it could panic changes nothing here.
                drop(task.await);
            }
        };
        drop(timeout(patience, all).await);
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
