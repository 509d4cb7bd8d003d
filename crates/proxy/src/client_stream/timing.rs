//! How long a client may keep us waiting: deadlines, and the rate at which it sends and takes bytes.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// How long a client may be waited for before its rate counts.
const PACE_GRACE: Duration = Duration::from_secs(10);

/// A timer that is armed lazily: a deadline that moves later, as with each request, leaves the
/// timer as it is until it fires.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether `deadline` is past; if not, the task is woken when it is, or before.
    pub(super) fn is_past(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

/// How many bytes the client sent or took in the time that it was waited for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    pub(super) bytes: u64,
}

impl Pace {
    /// Adds a wait; true once the client is slower than `rate` bytes a second.
    pub(super) fn is_too_slow(&mut self, waited: Duration, rate: u64) -> bool {
        self.waited += waited;
        self.waited > PACE_GRACE && self.bytes < self.waited.as_secs().saturating_mul(rate)
    }
}

/// How fast a request body comes while somebody waits for it.
#[derive(Debug, Default)]
pub(super) struct BodyPace {
    waiting_since: Option<Instant>,
    pub(super) pace: Pace,
}

impl BodyPace {
    /// Notes a read that brought `bytes`, or that begins to wait; the wait that it ended, if the
    /// message goes on.
    pub(super) fn note(&mut self, bytes: Option<usize>, waits_for_body: bool) -> Option<Duration> {
        let Some(bytes) = bytes else {
            if waits_for_body {
                self.waiting_since.get_or_insert_with(Instant::now);
            }
            return None;
        };
        self.pace.bytes += bytes as u64;
        self.waiting_since.take().filter(|_| waits_for_body).map(|since| since.elapsed())
    }
}

/// How long the client has not taken a byte.
#[derive(Debug, Default)]
pub(super) struct SendStall {
    since: Option<Instant>,
    pub(super) timer: Timer,
}

impl SendStall {
    pub(super) fn since(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now)
    }

    /// The client takes bytes again; how long it did not.
    pub(super) fn end(&mut self) -> Option<Duration> {
        let since = self.since.take()?;
        self.timer = Timer::default();
        Some(since.elapsed())
    }
}
