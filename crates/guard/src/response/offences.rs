//! Who offended how often against one rule, and until when a measure of it holds.

use std::time::Duration;

use super::hash::Secret;
use super::population::{LIGHTLY, Verdict};
use super::settings::TtlSettings;
use super::table::{Fill, Slot, Table};
use crate::rate::nanos;

/// The offenders of one rule.
#[derive(Debug)]
pub(super) struct Offences {
    secret: Secret,
    table: Table<Offender>,
}

#[derive(Debug)]
struct Offender {
    target: u64,
    offences: u32,
    /// Whether the last measure was light.
    warned: bool,
    /// The step of the ladder whose measure holds until then.
    step: usize,
    until: u64,
    forgotten_at: u64,
}

impl Offender {
    fn new(target: u64) -> Self {
        Self { target, offences: 0, warned: false, step: 0, until: 0, forgotten_at: 0 }
    }
}

impl Slot for Offender {
    fn key(&self) -> u64 {
        self.target
    }

    fn weight(&self, now: u64) -> u64 {
        self.until.max(self.forgotten_at).saturating_sub(now)
    }
}

/// How a rule answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Steps of the ladder.
    pub(super) steps: usize,
    pub(super) ttl: TtlSettings,
    pub(super) remember: Duration,
}

/// What is to be done about an offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Which offence of this offender it is, from 1.
    pub(super) offence: u32,
    /// The step of the ladder.
    pub(super) step: usize,
    /// For how long.
    pub(super) ttl: Duration,
    /// Whether they were hit lightly before.
    pub(super) warned: bool,
}

/// For how long a decision is not made again that was only told, or carried out lightly, because of
/// the cap.
const CAPPED: u64 = 60 * 1_000_000_000;

impl Offences {
    pub(super) fn new(max_keys: usize, secret: Secret) -> Self {
        Self { secret, table: Table::new(max_keys) }
    }

    /// Counts an offence; `None` if what would be done about it holds already. `judge` answers
    /// whether the measure of a step is taken; if not, or lightly, the offence is told and does not
    /// count.
    pub(super) fn count(
        &self,
        target: u64,
        answer: Answer,
        now: u64,
        judge: impl FnOnce(Step) -> Verdict,
    ) -> Option<(Step, Verdict)> {
        let count = |shard: &mut super::table::Shard<Offender>| {
            let new = || Offender::new(target);
            let offender = self.table.entry(shard, target, now, new)?;
            if offender.until.max(offender.forgotten_at) <= now {
                *offender = new();
            }
            let offence = offender.offences.saturating_add(1);
            let step = usize::try_from(offence).unwrap_or(usize::MAX).min(answer.steps) - 1;
            if offender.until > now && offender.step >= step {
                return None;
            }
            let ttl = ttl(answer.ttl, offence, self.secret.chance(target ^ u64::from(offence)));
            let step = Step { offence, step, ttl, warned: offender.warned };
            let verdict = judge(step);
            offender.step = step.step;
            if verdict == Verdict::Hit {
                offender.offences = offence;
                offender.until = now.saturating_add(nanos(ttl));
                offender.forgotten_at =
                    offender.until.max(now).saturating_add(nanos(answer.remember));
            } else {
                offender.until = now.saturating_add(CAPPED.min(nanos(ttl)));
            }
            if verdict == Verdict::Lightly {
                offender.warned = true;
                offender.forgotten_at = offender.forgotten_at.max(now.saturating_add(LIGHTLY));
            }
            Some((step, verdict))
        };
        self.table.with(target, count).flatten()
    }

    /// What was answered last is not carried out: it does not count, and is not answered again
    /// before the time that a decision beyond the cap has.
    pub(super) fn not_done(&self, target: u64, now: u64) {
        self.table.with(target, |shard| {
            if let Some(offender) = self.table.entry(shard, target, now, || Offender::new(target)) {
                offender.offences = offender.offences.saturating_sub(1);
                offender.until = now.saturating_add(CAPPED);
                offender.forgotten_at = offender.forgotten_at.max(offender.until);
            }
        });
    }

    pub(super) fn forget(&self, target: u64) {
        self.table.remove(target);
    }

    pub(super) fn fill(&self, now: u64) -> Fill {
        self.table.fill(now)
    }
}

/// `first`, `factor` times as long for each offence before, at most `max`, and a little by chance,
/// which is from -1 to 1.
fn ttl(ttl: TtlSettings, offence: u32, chance: f64) -> Duration {
    let (first, max) = (ttl.first.0.as_secs_f64(), ttl.max.0.as_secs_f64());
    let before = i32::try_from(offence.saturating_sub(1)).unwrap_or(i32::MAX);
    let escalated = (first * ttl.factor.powi(before)).min(max);
    let seconds = escalated * (1.0 + ttl.jitter.fraction() * chance);
    Duration::try_from_secs_f64(seconds).unwrap_or(ttl.max.0)
}

#[cfg(test)]
mod tests {
    use tidegate_core::units::{Percent, Span};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn answer() -> Answer {
        let jitter = Percent::new(0);
        let ttl =
            TtlSettings { first: Span::seconds(60), factor: 2.0, max: Span::seconds(300), jitter };
        Answer { steps: 2, ttl, remember: Duration::from_secs(600) }
    }

    /// The offence, the step and the seconds that are answered at this second.
    fn at(offences: &Offences, second: u64) -> Option<(u32, usize, u64)> {
        let count = offences.count(1, answer(), second * SECOND, |_| Verdict::Hit);
        count.map(|(step, _)| (step.offence, step.step, step.ttl.as_secs()))
    }

    #[test]
    fn measures_grow_harder_and_longer_and_are_not_repeated() {
        let offences = Offences::new(100, Secret::new(1));
        assert_eq!(at(&offences, 0), Some((1, 0, 60)));
        assert_eq!(at(&offences, 1), Some((2, 1, 120)));
        assert_eq!(at(&offences, 2), None);
        assert_eq!(at(&offences, 120), None);
        assert_eq!(at(&offences, 121), Some((3, 1, 240)));
        assert_eq!(at(&offences, 361), Some((4, 1, 300)));
        // 300 s that it holds, and 600 s that it is remembered.
        assert_eq!(at(&offences, 361 + 899), Some((5, 1, 300)));
        assert_eq!(at(&offences, 361 + 899 + 900), Some((1, 0, 60)));
        offences.forget(1);
        assert_eq!(at(&offences, 2_200), Some((1, 0, 60)));
    }

    #[test]
    fn an_offence_beyond_the_cap_is_told_once_a_minute_and_does_not_count() {
        let offences = Offences::new(100, Secret::new(1));
        let count = |second: u64, verdict| {
            let answer = Answer { steps: 1, ..answer() };
            let counted = offences.count(1, answer, second * SECOND, |_| verdict);
            counted.map(|(step, verdict)| (step.offence, step.warned, verdict))
        };
        let capped = Verdict::Capped { newly: None };
        assert_eq!(count(0, capped), Some((1, false, capped)));
        assert_eq!(count(59, capped), None);
        assert_eq!(count(60, Verdict::Lightly), Some((1, false, Verdict::Lightly)));
        assert_eq!(count(119, Verdict::Hit), None);
        assert_eq!(count(120, Verdict::Hit), Some((1, true, Verdict::Hit)));
        assert_eq!(count(121, Verdict::Hit), None);
    }

    #[test]
    fn what_is_not_done_does_not_count_and_is_not_answered_at_once() {
        let offences = Offences::new(100, Secret::new(1));
        assert_eq!(at(&offences, 0), Some((1, 0, 60)));
        assert_eq!(at(&offences, 1), Some((2, 1, 120)));
        offences.not_done(1, SECOND);
        assert!((2..61).all(|second| at(&offences, second).is_none()));
        assert_eq!(at(&offences, 61), Some((2, 1, 120)));
    }

    #[test]
    fn a_light_measure_is_forgotten_with_its_end() {
        let offences = Offences::new(100, Secret::new(1));
        let lightly = |at| {
            let counted = offences.count(1, answer(), at, |_| Verdict::Lightly);
            counted.map(|(step, _)| step.warned)
        };
        assert_eq!((lightly(SECOND), lightly(SECOND + LIGHTLY)), (Some(false), Some(false)));
        assert_eq!(lightly(2 * SECOND + LIGHTLY + CAPPED), Some(true));
    }

    #[test]
    fn chance_moves_the_end_by_no_more_than_it_may() {
        let ttl_settings = TtlSettings::default();
        for chance in [-1.0, 0.0, 1.0] {
            let seconds = ttl(ttl_settings, 1, chance).as_secs_f64();
            assert!((seconds - 600.0 - 60.0 * chance).abs() < 1e-6, "{seconds}");
        }
        assert!(ttl(ttl_settings, u32::MAX, 1.0) <= Duration::from_secs(95_040));
    }
}
