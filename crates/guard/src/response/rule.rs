//! One rule: what it counts, and what its decisions are.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::decision::{Evidence, Target};
use tidegate_core::units::Span;
use tidegate_core::{Measure, SettingsError};

use super::Moment;
use super::check;
use super::distinct::{Distinct, Room, Values};
use super::hash::Secret;
use super::leaky::{Bucket, Leaky, TooMany};
use super::offences::{Answer, Offences, Step};
use super::population::Verdict;
use super::seen::Seen;
use super::settings::{DistinctOf, KeySettings, RuleSettings};
use super::table::{Fill, Shard, Slot, Table};
use super::upstreams::Upstreams;
use super::when::{Known, When};
use crate::rate::nanos;

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    settings: RuleSettings,
    when: When,
    unless: Option<When>,
    pub(super) key: KeySettings,
    ladder: Box<[Measure]>,
    answer: Answer,
    pub(super) enforce: bool,
    max_keys: usize,
    counts: Arc<Counts>,
    offences: Arc<Offences>,
}

/// What the rules of a policy have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) known: Known<'a>,
    pub(super) max_keys: usize,
    pub(super) secret: Secret,
}

#[derive(Debug)]
enum Counts {
    Leaky(Leaky, Table<Bucket>),
    Distinct(Distinct, DistinctOf, Table<Values>, Arc<Room>),
}

/// For each key that may be counted, as many bytes for bitmaps.
const ROOM_PER_KEY: usize = 64;

/// How a rule's memory is used.
#[derive(Clone, Debug)]
pub struct RuleFill {
    /// The rule's name.
    pub rule: Arc<str>,
    /// What it counts.
    pub counts: Fill,
    /// Whom it decided about.
    pub offenders: Fill,
}

impl Rule {
    /// Compiles a rule whose settings are complete, as far as it can be.
    pub(super) fn compile(
        name: &str,
        settings: RuleSettings,
        enforce: bool,
        frame: Frame<'_>,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let Frame { known, max_keys, secret } = frame;
        let mut errors = check::errors_in(&settings);
        let mut compile = |field: &'static str, when| match When::compile(when, known) {
            Ok(when) => Some(when),
            Err(found) => {
                errors.extend(found.into_iter().map(|error| error.under([field])));
                None
            }
        };
        let when = settings.when.as_ref().and_then(|when| compile("when", when));
        let unless = settings.unless.as_ref().and_then(|when| compile("unless", when));
        let (Some(when), Some(counts), true) =
            (when, Counts::new(&settings, max_keys), errors.is_empty())
        else {
            return Err(errors);
        };
        let ladder = settings.ladder.clone().unwrap_or_else(|| vec![Measure::Alert]);
        let answer = Answer {
            steps: ladder.len(),
            ttl: settings.ttl.unwrap_or_default(),
            remember: settings.remember.unwrap_or(REMEMBER).0,
        };
        let same = previous.filter(|old| {
            *old.name == *name && old.max_keys == max_keys && old.settings.counts_like(&settings)
        });
        // What was only told did not happen: who offended in dry-run begins anew, and the reverse; so
        // does who stands on a step of another ladder.
        let offences = same.filter(|old| old.enforce == enforce && *old.ladder == *ladder);
        let new = || Arc::new(Offences::new(max_keys, secret));
        Ok(Self {
            name: name.into(),
            counts: same.map_or_else(|| Arc::new(counts), |old| Arc::clone(&old.counts)),
            offences: offences.map_or_else(new, |old| Arc::clone(&old.offences)),
            key: settings.key.clone().unwrap_or_default(),
            settings,
            when,
            unless,
            ladder: ladder.into(),
            answer,
            enforce,
            max_keys,
        })
    }

    pub(super) fn needs_credential(&self) -> bool {
        let distinct = self.settings.distinct.is_some_and(|of| of.of == DistinctOf::Token);
        distinct || self.key == KeySettings::Token
    }

    pub(super) fn is_about_notices(&self) -> bool {
        self.when.is_about_notices()
    }

    /// What the rule is about, for people.
    pub(super) fn about(&self) -> &str {
        self.settings.about.as_deref().unwrap_or_default()
    }

    pub(super) fn concerns(&self, seen: &Seen<'_>) -> bool {
        self.when.holds(seen) && !self.unless.as_ref().is_some_and(|unless| unless.holds(seen))
    }

    /// Counts what happened; answers the evidence if it was too many.
    pub(super) fn count(
        &self,
        seen: &Seen<'_>,
        Moment { now, at }: Moment,
        upstreams: &dyn Upstreams,
        secret: Secret,
    ) -> Option<Evidence> {
        let key = self.key.hash(seen, upstreams, secret)?;
        let sample = seen.sample(now.wall);
        let evidence = |too_many: TooMany, samples| Evidence {
            count: too_many.count,
            since: now.wall.checked_sub(Duration::from_nanos(at.saturating_sub(too_many.since))),
            samples,
        };
        match &*self.counts {
            Counts::Leaky(leaky, table) => table.with(key, |shard| {
                remember(shard, key, sample);
                let new = || Bucket::new(key, at);
                let too_many = table.entry(shard, key, at, new)?.add(*leaky, at)?;
                Some(evidence(too_many, shard.samples_of(key)))
            })?,
            Counts::Distinct(distinct, of, table, room) => table.with(key, |shard| {
                remember(shard, key, sample);
                let new = || Values::new(key, at, *distinct);
                let values = table.entry(shard, key, at, new)?;
                let mut too_many = None;
                of.values(seen, secret, |value| {
                    too_many = too_many.or(values.add(value, *distinct, at, room));
                });
                Some(evidence(too_many?, shard.samples_of(key)))
            })?,
        }
    }

    /// What is to be done about an offence, and what `judge` makes of it; `None` if it is being
    /// done.
    pub(super) fn answer(
        &self,
        target: u64,
        at: u64,
        judge: impl FnOnce(Measure, Step) -> Verdict,
    ) -> Option<(Measure, Step, Verdict)> {
        let judge = |step: Step| judge(self.measure(step), step);
        let (step, verdict) = self.offences.count(target, self.answer, at, judge)?;
        Some((self.measure(step), step, verdict))
    }

    fn measure(&self, step: Step) -> Measure {
        self.ladder.get(step.step).copied().unwrap_or(Measure::Alert)
    }

    pub(super) fn target(&self, seen: &Seen<'_>, upstreams: &dyn Upstreams) -> Option<Target> {
        self.key.target(seen, upstreams)
    }

    /// What was to be done about somebody is not.
    pub(super) fn not_done(&self, target: u64, at: u64) {
        self.offences.not_done(target, at);
    }

    pub(super) fn forget(&self, target: u64) {
        self.offences.forget(target);
    }

    pub(super) fn fill(&self, at: u64) -> RuleFill {
        let counts = match &*self.counts {
            Counts::Leaky(_, table) => table.fill(at),
            Counts::Distinct(_, _, table, _) => table.fill(at),
        };
        RuleFill { rule: Arc::clone(&self.name), counts, offenders: self.offences.fill(at) }
    }
}

const REMEMBER: Span = Span::seconds(86_400);

impl Counts {
    fn new(settings: &RuleSettings, max_keys: usize) -> Option<Self> {
        if let Some(leaky) = settings.leaky {
            let interval = nanos(leaky.leak.interval());
            let full = interval.saturating_mul(u64::from(leaky.capacity.get()));
            return Some(Self::Leaky(Leaky { interval, full }, Table::new(max_keys)));
        }
        let distinct = settings.distinct?;
        let more_than = usize::try_from(distinct.more_than.get()).unwrap_or(usize::MAX);
        let counted = Distinct { more_than, within: nanos(distinct.within.0) };
        let room = Room::new(max_keys.saturating_mul(ROOM_PER_KEY));
        Some(Self::Distinct(counted, distinct.of, Table::new(max_keys), room))
    }
}

impl RuleSettings {
    /// Whether both count the same, whatever they then do.
    fn counts_like(&self, other: &Self) -> bool {
        let of = |rule: &Self| {
            let rule = rule.clone();
            (rule.when, rule.unless, rule.key, rule.leaky, rule.distinct)
        };
        of(self) == of(other)
    }
}

fn remember<S: Slot>(
    shard: &mut Shard<S>,
    key: u64,
    sample: Option<tidegate_core::decision::Sample>,
) {
    if let Some(sample) = sample {
        shard.remember(key, sample);
    }
}
