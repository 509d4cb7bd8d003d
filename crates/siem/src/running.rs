//! All sinks of the running process: what happens is told to each that wants it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_core::notice::{Notice, NoticeKind};
use tidegate_core::{Clock, Event};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::compile::{Compiled, SinkSet};
use crate::formats::{Format, Node};
use crate::gate::Gate;
use crate::http::HttpClient;
use crate::pipe::Pipe;
use crate::record::{Draft, REQUEST};
use crate::sinks;
use crate::stats::{Dropped, SinkSample};

/// What a reload takes out of the configuration has this long to send what waits.
const LAST_WISH: Duration = Duration::from_secs(5);

/// Threads that tell an event while sinks change may tell it to those of before for so long.
const GRACE: Duration = Duration::from_millis(100);

/// The time for the end beside the time to send.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// So many notices of sinks may wait to be told.
const NOTICES: usize = 64;

/// What sinks need from the process.
#[derive(Clone)]
pub struct Surroundings {
    /// Who tells.
    pub node: Node,
    /// Makes calls for sinks over HTTP.
    pub client: Arc<dyn HttpClient>,
    /// The time.
    pub clock: Clock,
    /// A random number that no other process has.
    pub seed: u64,
}

/// All sinks of the running process.
pub struct Sinks {
    surroundings: Surroundings,
    running: ArcSwap<Vec<Arc<Running>>>,
    /// Counts the pipes, so that each has an origin of its own.
    started: Mutex<u64>,
    /// Pipes that send what is left to them, under the name of their sink.
    leaving: Mutex<Vec<Leaving>>,
    /// What pipes counted that have ended: a counter that went back would look like a restart.
    ended: Mutex<Vec<SinkSample>>,
    notices: mpsc::Sender<Notice>,
}

/// A pipe that gets nothing more.
struct Leaving {
    pipe: Arc<Pipe>,
    task: JoinHandle<()>,
}

struct Running {
    compiled: Arc<Compiled>,
    gate: Gate,
    pipe: Arc<Pipe>,
}

thread_local! {
    /// What is encoded, and in which formats it was already.
    static ENCODED: RefCell<Vec<(Format, Bytes)>> = const { RefCell::new(Vec::new()) };
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that was needed once for something long is given back.
const KEPT: usize = 64 << 10;

impl Sinks {
    /// Starts sinks; call it inside a runtime. What they have to tell themselves comes out of the
    /// receiver.
    #[must_use]
    pub fn start(set: &SinkSet, surroundings: Surroundings) -> (Self, mpsc::Receiver<Notice>) {
        let (notices, told) = mpsc::channel(NOTICES);
        let sinks = Self {
            surroundings,
            running: ArcSwap::default(),
            started: Mutex::new(0),
            leaving: Mutex::default(),
            ended: Mutex::default(),
            notices,
        };
        sinks.apply(set);
        (sinks, told)
    }

    /// Puts other sinks in force. Those that did not change are not touched; those that changed
    /// keep what waits; those that are gone have a few seconds to send what waits. Where a sink gets
    /// another spool or none, what waits in the one before goes to the new receiver beside the rest.
    pub fn apply(&self, set: &SinkSet) {
        let before = self.running.load_full();
        let mut kept = Vec::new();
        let (mut after, mut moved) = (Vec::new(), Vec::new());
        for compiled in &set.sinks {
            let same = |running: &&Arc<Running>| running.compiled.name == compiled.name;
            let old = before.iter().find(same);
            match old.map(|old| (old, old.compiled.shares_spool(compiled))) {
                Some((old, _)) if old.compiled == *compiled => {
                    kept.push(Arc::clone(&compiled.name));
                    after.push(Arc::clone(old));
                }
                Some((old, true)) => {
                    kept.push(Arc::clone(&compiled.name));
                    let max = compiled.settings.spool.as_ref().map(|spool| spool.max.0);
                    let sink = sinks::make(compiled, &self.surroundings);
                    old.pipe.change(&compiled.options(), max, sink);
                    after.push(Arc::new(Running::new(compiled, Arc::clone(&old.pipe))));
                }
                Some((old, false)) => {
                    kept.push(Arc::clone(&compiled.name));
                    let max = old.compiled.settings.spool.as_ref().map(|spool| spool.max.0);
                    let sink = sinks::make(compiled, &self.surroundings);
                    old.pipe.change(&compiled.options(), max, sink);
                    moved.push(Arc::clone(&old.pipe));
                    after.push(self.begin(compiled));
                }
                None => after.push(self.begin(compiled)),
            }
        }
        self.running.store(Arc::new(after));
        let gone = before.iter().filter(|old| !kept.contains(&old.compiled.name));
        self.bury();
        for pipe in moved {
            let leaves = Arc::clone(&pipe);
            let task = tokio::spawn(async move {
                sleep(GRACE).await;
                leaves.drain().await;
            });
            self.leaving.lock().push(Leaving { pipe, task });
        }
        for old in gone {
            let pipe = Arc::clone(&old.pipe);
            let task = tokio::spawn(async move {
                sleep(GRACE).await;
                pipe.finish(LAST_WISH, Dropped::Removed).await;
            });
            self.leaving.lock().push(Leaving { pipe: Arc::clone(&old.pipe), task });
        }
    }

    fn begin(&self, compiled: &Arc<Compiled>) -> Arc<Running> {
        let mut started = self.started.lock();
        *started += 1;
        let origin = self.surroundings.seed.wrapping_add(*started);
        drop(started);
        let spool = compiled.settings.spool.as_ref().map(|spool| (&*spool.path, spool.max.0));
        let sink = sinks::make(compiled, &self.surroundings);
        let rest = (self.notices.clone(), self.surroundings.clock.clone());
        let pipe = Pipe::start(&compiled.options(), origin, spool, sink, rest);
        Arc::new(Running::new(compiled, Arc::new(pipe)))
    }

    /// Tells the sinks what became of a request.
    pub fn event(&self, event: &Event<'_>) {
        let running = self.running.load();
        let node = &self.surroundings.node;
        let encode = |format: Format, out: &mut Vec<u8>| format.event(out, node, event);
        tell(running.iter().filter(|sink| sink.gate.takes(event)), encode, |body| Draft {
            // When it is known: a receiver may refuse what is hours old, as a long session's
            // beginning is.
            time: event.time + event.duration,
            severity: event.severity(),
            kind: REQUEST,
            body,
        });
    }

    /// Tells the sinks a notice. A sink is not told of its own failures.
    pub fn notice(&self, notice: &Notice) {
        let running = self.running.load();
        let node = &self.surroundings.node;
        let encode = |format: Format, out: &mut Vec<u8>| format.notice(out, node, notice);
        let wants = |sink: &&Arc<Running>| {
            sink.gate.takes_notice(notice) && !is_about(notice, &sink.compiled.name)
        };
        tell(running.iter().filter(wants), encode, |body| Draft {
            time: notice.time,
            severity: notice.severity,
            kind: notice.kind.code(),
            body,
        });
    }

    /// Has files opened anew, after a rotation by others.
    pub fn reopen(&self) {
        self.running.load().iter().for_each(|sink| sink.pipe.reopen());
    }

    /// Keeps only the counters of pipes that have ended.
    fn bury(&self) {
        let now = self.surroundings.clock.wall();
        let mut ended = self.ended.lock();
        self.leaving.lock().retain(|leaving| {
            let is_running = !leaving.task.is_finished();
            if !is_running {
                add(&mut ended, leaving.pipe.sample(now).at_rest());
            }
            is_running
        });
    }

    /// How each sink is. Those that a reload took away keep their counters.
    #[must_use]
    pub fn samples(&self) -> Vec<SinkSample> {
        let now = self.surroundings.clock.wall();
        let mut samples: Vec<_> =
            self.running.load().iter().map(|sink| sink.pipe.sample(now)).collect();
        self.bury();
        let leaving = self.leaving.lock();
        leaving.iter().for_each(|leaving| add(&mut samples, leaving.pipe.sample(now)));
        drop(leaving);
        self.ended.lock().iter().for_each(|sample| add(&mut samples, sample.clone()));
        samples
    }

    /// Sends what waits, and ends; what is not sent within the time stays in spools or is lost.
    pub async fn finish(&self, within: Duration) {
        let running = self.running.load_full();
        let leaving = std::mem::take(&mut *self.leaving.lock());
        leaving.iter().for_each(|leaving| leaving.pipe.hurry());
        let mut tasks: Vec<_> = leaving.into_iter().map(|leaving| leaving.task).collect();
        for sink in running.iter() {
            let pipe = Arc::clone(&sink.pipe);
            tasks.push(tokio::spawn(async move { pipe.finish(within, Dropped::Stopped).await }));
        }
        // Each keeps to its own time; this is for the last of their words.
        let all = async {
            for task in tasks {
                let (Ok(()) | Err(_)) = task.await;
            }
        };
        let (Ok(()) | Err(_)) = timeout(within + LAST_MOMENT, all).await;
    }
}

/// Adds to what is counted under the same name.
fn add(samples: &mut Vec<SinkSample>, sample: SinkSample) {
    match samples.iter_mut().find(|known| known.name == sample.name) {
        Some(known) => known.add(&sample),
        None => samples.push(sample),
    }
}

/// Encodes once for each format that is asked for, and queues.
fn tell<'a>(
    sinks: impl Iterator<Item = &'a Arc<Running>>,
    encode: impl Fn(Format, &mut Vec<u8>),
    draft: impl Fn(Bytes) -> Draft,
) {
    ENCODED.with_borrow_mut(|encoded| {
        encoded.clear();
        for sink in sinks {
            // A sink that is full costs no encoding.
            if sink.pipe.is_full() {
                continue;
            }
            let format = sink.compiled.format();
            let known = encoded.iter().find(|(known, _)| *known == format);
            let body = known.map(|(_, body)| body.clone()).unwrap_or_else(|| {
                let body = BUFFER.with_borrow_mut(|buffer| {
                    buffer.clear();
                    buffer.shrink_to(KEPT);
                    encode(format, buffer);
                    Bytes::copy_from_slice(buffer)
                });
                encoded.push((format, body.clone()));
                body
            });
            sink.pipe.offer(draft(body));
        }
        encoded.clear();
    });
}

/// Whether the notice is about this very sink: telling it would be news for each attempt.
fn is_about(notice: &Notice, name: &str) -> bool {
    matches!(notice.kind, NoticeKind::SinkFailing | NoticeKind::SinkRecovered)
        && notice.details.iter().any(|(field, value)| *field == "sink" && &**value == name)
}

impl Running {
    fn new(compiled: &Arc<Compiled>, pipe: Arc<Pipe>) -> Self {
        Self { compiled: Arc::clone(compiled), gate: Gate::new(&compiled.settings), pipe }
    }
}

impl Compiled {
    /// Whether what waits for one can be sent by the other.
    fn shares_spool(&self, other: &Self) -> bool {
        let path = |compiled: &Self| compiled.settings.spool.as_ref().map(|s| s.path.clone());
        path(self) == path(other)
    }
}

/// Without what may be secret.
impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.running.load();
        let names: Vec<_> = running.iter().map(|sink| &*sink.compiled.name).collect();
        f.debug_struct("Sinks").field("running", &names).finish_non_exhaustive()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("node", &self.node).finish_non_exhaustive()
    }
}
