//! What is measured of a request whose trace is recorded: the pipeline's stages, and its tries on
//! upstreams. For other requests nothing is measured, and nothing allocated.

use std::net::SocketAddr;
use std::time::Instant;

use super::SpanId;
use crate::Clock;

/// A part of a request's way, in the order in which they are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding the route.
    Route,
    /// Looking whether the client is banned or otherwise held back.
    Bans,
    /// The route's lists of addresses.
    Addresses,
    /// Taking tokens from the rate limits.
    RateLimits,
    /// The firewall's look at the head.
    WafHead,
    /// Finding out who asks and what they may do, with what had to be fetched for it.
    Auth,
    /// What a measure holds back: the tarpit.
    Held,
    /// Waiting for the request's body.
    Body,
    /// The firewall's look at the request's body.
    WafBody,
    /// Waiting for the audit log.
    Audit,
    /// Choosing an endpoint, with the pause and the room that a retry waits for.
    Endpoint,
    /// From the upstream's response head to the last byte sent.
    Response,
}

impl Stage {
    /// The span's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route => "find route",
            Self::Bans => "bans",
            Self::Addresses => "addresses",
            Self::RateLimits => "rate limits",
            Self::WafHead => "waf head",
            Self::Auth => "auth",
            Self::Held => "held back",
            Self::Body => "read body",
            Self::WafBody => "waf body",
            Self::Audit => "audit",
            Self::Endpoint => "choose endpoint",
            Self::Response => "response",
        }
    }
}

/// A stage that was passed, or ended the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSpan {
    /// Which.
    pub stage: Stage,
    /// From.
    pub started: Instant,
    /// Until.
    pub ended: Instant,
}

/// What became of a try on an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was not over when the request ended.
    #[default]
    Open,
    /// A response head of this status came.
    Answered(u16),
    /// Nobody's fault: the client left, or another endpoint was quicker.
    Canceled,
    /// No response; the code of the cause.
    Failed(&'static str),
}

/// One try on one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TrySpan {
    /// Its id, which the endpoint got as its parent.
    pub id: SpanId,
    /// Where it went.
    pub endpoint: SocketAddr,
    /// When it was decided on.
    pub started: Instant,
    /// When the connection stood.
    pub connected: Option<Instant>,
    /// Whether the connection had been used before.
    pub reused: bool,
    /// Whether it is the second request of a hedge.
    pub hedge: bool,
    /// When its response head came, or it failed.
    pub ended: Option<Instant>,
    /// What became of it.
    pub outcome: Outcome,
}

/// How many spans of either sort one request keeps.
const MOST: usize = 64;

/// Measures the stages of one request, if its trace is recorded.
#[derive(Debug, Default)]
pub struct Stages {
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Kept {
    clock: Clock,
    stages: Vec<StageSpan>,
    tries: Vec<TrySpan>,
    dropped: u32,
}

impl Stages {
    /// Measures nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { kept: None }
    }

    /// Measures.
    #[must_use]
    pub fn on(clock: Clock) -> Self {
        let (stages, tries) = (Vec::with_capacity(12), Vec::with_capacity(2));
        Self { kept: Some(Box::new(Kept { clock, stages, tries, dropped: 0 })) }
    }

    /// Whether it measures.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.kept.is_some()
    }

    /// The time, if it matters.
    #[must_use]
    pub fn now(&self) -> Option<Instant> {
        self.kept.as_ref().map(|kept| kept.clock.now())
    }

    /// A stage is over that began at `since`, as [`Stages::now`] said.
    pub fn passed(&mut self, stage: Stage, since: Option<Instant>) {
        if let (Some(kept), Some(started)) = (&mut self.kept, since) {
            let ended = kept.clock.now();
            kept.keep(StageSpan { stage, started, ended });
        }
    }

    /// Does what a stage does.
    pub fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let since = self.now();
        let done = work();
        self.passed(stage, since);
        done
    }

    /// A try begins.
    pub fn try_begins(&mut self, begun: TrySpan) {
        let Some(kept) = &mut self.kept else { return };
        if kept.tries.len() < MOST {
            kept.tries.push(begun);
        } else {
            kept.dropped += 1;
        }
    }

    /// The try with this id, to note what became of it.
    pub fn try_of(&mut self, id: SpanId) -> Option<&mut TrySpan> {
        self.kept.as_mut()?.tries.iter_mut().rev().find(|known| known.id == id)
    }

    /// The stages that were passed.
    #[must_use]
    pub fn stages(&self) -> &[StageSpan] {
        self.kept.as_ref().map(|kept| kept.stages.as_slice()).unwrap_or_default()
    }

    /// The tries.
    #[must_use]
    pub fn tries(&self) -> &[TrySpan] {
        self.kept.as_ref().map(|kept| kept.tries.as_slice()).unwrap_or_default()
    }

    /// How many spans there was no room for.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.kept.as_ref().map_or(0, |kept| kept.dropped)
    }
}

impl Kept {
    fn keep(&mut self, span: StageSpan) {
        if self.stages.len() < MOST {
            self.stages.push(span);
        } else {
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn stages_last_from_their_beginning_to_their_end() {
        let manual = ManualClock::new();
        let clock = Clock::Manual(manual.clone());
        let began = clock.now();
        let mut stages = Stages::on(clock);
        let found = stages.time(Stage::Route, || {
            manual.advance(Duration::from_micros(3));
            7
        });
        assert_eq!(found, 7);
        let ended = began + Duration::from_micros(3);
        assert_eq!(stages.stages(), [StageSpan { stage: Stage::Route, started: began, ended }]);
    }

    #[test]
    fn what_is_off_measures_nothing() {
        let mut stages = Stages::off();
        assert_eq!(stages.now(), None);
        stages.passed(Stage::Auth, None);
        assert!(stages.stages().is_empty() && !stages.is_on());
    }

    #[test]
    fn a_request_keeps_a_bounded_number() {
        let mut stages = Stages::on(Clock::System);
        for _ in 0..MOST + 5 {
            stages.time(Stage::Endpoint, || ());
        }
        assert_eq!((stages.stages().len(), stages.dropped()), (MOST, 5));
    }
}
