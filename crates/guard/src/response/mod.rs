//! The response policy: what is noticed in the stream of events, and what is decided about it.
//!
//! [`ResponsePolicy::observe`] takes each request's event, [`ResponsePolicy::observe_notice`] what
//! happens beside requests. Both answer decisions, which others carry out: nothing here refuses
//! anybody. Time is an argument and so is the seed of chance; nothing here reads a clock or a file.
//!
//! What keeps the policy from being the outage: a rule is in dry-run unless it says otherwise;
//! whom [`Surroundings::protected`] names is neither counted nor hit; what enforcement answered
//! counts for nothing; and measures hit no more than a share of the recent clients who are served,
//! or leave an upstream no less than half of its endpoints.

mod check;
mod compile;
mod distinct;
mod geo;
mod hash;
mod key;
mod leaky;
mod offences;
mod population;
mod rule;
mod seen;
pub mod settings;
mod table;
#[cfg(test)]
mod tests;
mod upstreams;
mod when;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tidegate_core::decision::{Decision, Evidence, Standing, Target};
use tidegate_core::net::AddressSet;
use tidegate_core::{Event, Measure, Notice, NoticeKind};

pub use self::geo::{Geo, NotADatabase, Place};
use self::hash::Secret;
use self::offences::Step;
pub use self::population::Counted;
use self::population::{Cap, LIGHTLY, Population, Verdict, Wish};
use self::rule::Rule;
pub use self::rule::RuleFill;
use self::seen::{Seen, What};
pub use self::settings::{Builtin, ResponseSettings, RuleSettings};
pub use self::table::Fill;
pub use self::upstreams::{NoUpstreams, Remaining, Upstreams};
use crate::bans::Now;
use crate::rate::nanos;

/// A compiled policy. Its rules are immutable; what they counted lives on over a reload.
#[derive(Debug)]
pub struct ResponsePolicy {
    /// The rules about requests, and those about notices.
    requests: Box<[Rule]>,
    notices: Box<[Rule]>,
    protected: AddressSet,
    cap: Cap,
    geo: Arc<Geo>,
    upstreams: Arc<dyn Upstreams>,
    shared: Arc<Shared>,
}

/// What every rule shares, and a reload keeps.
#[derive(Debug)]
struct Shared {
    secret: Secret,
    /// Zero of the policy's time.
    origin: OnceLock<Instant>,
    population: Population,
}

/// What an event led to.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// The decisions, each with what becomes of it.
    pub decided: Vec<Arc<Decision>>,
    /// What else is to be told: the cap was reached, or is so no more.
    pub notices: Vec<Notice>,
}

/// What a policy must know beside its settings.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The shipped rules.
    pub builtin: &'a BTreeMap<String, RuleSettings>,
    /// The ids of all routes.
    pub routes: &'a [&'a str],
    /// Where addresses are.
    pub geo: Geo,
    /// Who knows the upstreams, and who is one of us.
    pub upstreams: Arc<dyn Upstreams>,
    /// Where chance comes from.
    pub seed: u64,
}

/// One rule of a policy, as it is in force.
#[derive(Clone, Copy, Debug)]
pub struct RuleInForce<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is about.
    pub about: &'a str,
    /// Whether its decisions are carried out.
    pub enforce: bool,
}

impl ResponsePolicy {
    /// Takes the event of a request that has ended. Answers of enforcement count for nothing.
    pub fn observe(&self, event: &Event<'_>, now: Now) -> Option<Decisions> {
        let at = self.shared.at(now);
        let is_met = event.measure.is_some_and(|by| self.rule(by.rule).is_some());
        self.shared.population.see(event, at, is_met, || self.is_protected(event.client));
        if event.is_own_enforcement() {
            return None;
        }
        self.look(&self.requests, &Seen::new(What::Request(event), &self.geo), Moment { now, at })
    }

    /// Takes what happened beside requests.
    pub fn observe_notice(&self, notice: &Notice, now: Now) -> Option<Decisions> {
        if self.notices.is_empty() {
            return None;
        }
        let at = self.shared.at(now);
        self.look(&self.notices, &Seen::new(What::Notice(notice), &self.geo), Moment { now, at })
    }

    /// Forgets clients that are gone; to be called about once a second. Answers if the cap is
    /// reached, or was and is so no more.
    pub fn tick(&self, now: Now) -> Option<Decisions> {
        let (capped, counted) = self.shared.population.tick(self.cap, self.shared.at(now))?;
        let kind = match capped {
            true => NoticeKind::EnforcementCapped,
            false => NoticeKind::EnforcementResumed,
        };
        Some(Decisions { decided: Vec::new(), notices: vec![cap_notice(now.wall, kind, counted)] })
    }

    /// A decision was not carried out: its rule takes it back, and decides about its target again
    /// in a minute at the earliest.
    pub fn not_done(&self, decision: &Decision, now: Now) {
        let Some(rule) = self.rule(&decision.rule) else { return };
        let at = self.shared.at(now);
        rule.not_done(self.shared.secret.hash(TARGET, &decision.target), at);
        self.shared.population.spare(&decision.target, at);
    }

    /// Forgets offences of somebody whose measures were lifted by hand: the next is the first.
    pub fn forget(&self, target: &Target, now: Now) {
        let hash = self.shared.secret.hash(TARGET, target);
        for rule in self.requests.iter().chain(&self.notices) {
            rule.forget(hash);
        }
        self.shared.population.spare(target, self.shared.at(now));
    }

    /// Where an address is, by the databases of `geo`.
    #[must_use]
    pub fn geo(&self) -> &Geo {
        &self.geo
    }

    /// Whether a rule asks for the hash of the credential that was shown.
    #[must_use]
    pub fn needs_credential(&self) -> bool {
        self.requests.iter().any(Rule::needs_credential)
    }

    /// Whether the address is one that no rule counts and no measure may hit.
    #[must_use]
    pub fn is_protected(&self, address: IpAddr) -> bool {
        self.protected.contains(address) || self.upstreams.is_ours(address)
    }

    /// The recent clients and how many of them measures hit, and whether the cap is reached.
    #[must_use]
    pub fn population(&self, now: Now) -> (Counted, bool) {
        self.shared.population.count(self.shared.at(now))
    }

    /// Of the recent clients those who are served, and how many of them are hit.
    #[cfg(test)]
    fn served(&self, now: Now) -> Counted {
        self.shared.population.served(self.shared.at(now))
    }

    /// The rules, those about requests first.
    pub fn rules(&self) -> impl Iterator<Item = RuleInForce<'_>> {
        self.requests.iter().chain(&self.notices).map(|rule| RuleInForce {
            name: &rule.name,
            about: rule.about(),
            enforce: rule.enforce,
        })
    }

    /// How the memory of each rule is used.
    #[must_use]
    pub fn fill(&self, now: Now) -> Vec<RuleFill> {
        let at = self.shared.at(now);
        self.requests.iter().chain(&self.notices).map(|rule| rule.fill(at)).collect()
    }

    /// Bytes that counting holds now, over all rules and the clients that are known.
    #[must_use]
    pub fn bytes(&self, now: Now) -> usize {
        let rules = self
            .fill(now)
            .iter()
            .map(|fill| fill.counts.bytes + fill.offenders.bytes)
            .sum::<usize>();
        rules + self.shared.population.bytes()
    }

    fn look(&self, rules: &[Rule], seen: &Seen<'_>, moment: Moment) -> Option<Decisions> {
        let mut decisions: Option<Decisions> = None;
        let mut protected = None;
        for rule in rules.iter().filter(|rule| rule.concerns(seen)) {
            let is_protected = || seen.client().is_some_and(|client| self.is_protected(client));
            if !rule.key.is_upstream() && *protected.get_or_insert_with(is_protected) {
                continue;
            }
            let (upstreams, secret) = (&*self.upstreams, self.shared.secret);
            let evidence = rule.count(seen, moment, upstreams, secret);
            let decided = evidence.and_then(|evidence| self.decide(rule, seen, evidence, moment));
            if let Some((decision, notice)) = decided {
                let decisions = decisions.get_or_insert_default();
                decisions.decided.push(Arc::new(decision));
                decisions.notices.extend(notice);
            }
        }
        decisions
    }

    /// Decides what is done about an offence, unless that is being done; with what else is to be
    /// told.
    fn decide(
        &self,
        rule: &Rule,
        seen: &Seen<'_>,
        evidence: Evidence,
        Moment { now, at }: Moment,
    ) -> Option<(Decision, Option<Notice>)> {
        let target = rule.target(seen, &*self.upstreams)?;
        let hash = self.shared.secret.hash(TARGET, &target);
        let (measure, step, verdict) = rule.answer(hash, at, |measure, step| {
            if !rule.enforce || measure == Measure::Alert {
                return Verdict::Hit;
            }
            self.hit(&target, step, at)
        })?;
        let (mut notice, mut ttl, mut done) = (None, step.ttl, measure);
        let standing = match verdict {
            _ if !rule.enforce => Standing::DryRun,
            Verdict::Hit => Standing::Enforced,
            Verdict::Lightly => {
                (done, ttl) = (measure.min(Measure::Throttle), ttl.min(LIGHTLY_LASTS));
                Standing::Enforced
            }
            Verdict::Capped { newly } => {
                let told = |it| cap_notice(now.wall, NoticeKind::EnforcementCapped, it);
                notice = newly.map(told);
                Standing::Capped
            }
        };
        let decision = Decision {
            time: now.wall,
            rule: Arc::clone(&rule.name),
            measure: done,
            target,
            until: now.wall.checked_add(ttl),
            standing,
            offence: step.offence,
            evidence,
        };
        Some((decision, notice))
    }

    /// Whether a measure may be taken; if so, its target is hit from now on.
    fn hit(&self, target: &Target, step: Step, at: u64) -> Verdict {
        if !matches!(target, Target::Endpoint { .. } | Target::Zone { .. }) {
            let until = at.saturating_add(nanos(step.ttl));
            let wish = Wish { until, warned: step.warned };
            return self.shared.population.hit(target, wish, self.cap, at);
        }
        match self.upstreams.without(target) {
            Some(left) if left.is_enough() => Verdict::Hit,
            _ => Verdict::Capped { newly: None },
        }
    }
}

/// A moment, by the clocks and as rules count it.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: Now,
    at: u64,
}

impl Shared {
    fn new(seed: u64) -> Self {
        let secret = Secret::new(seed);
        Self { secret, origin: OnceLock::new(), population: Population::new(secret) }
    }

    /// The time as rules count it: nanoseconds since a moment before the first event, so that 0
    /// is long ago.
    fn at(&self, now: Now) -> u64 {
        let origin = self.origin.get_or_init(|| now.instant);
        nanos(now.instant.saturating_duration_since(*origin)).saturating_add(LONG_AGO)
    }
}

const LIGHTLY_LASTS: Duration = Duration::from_nanos(LIGHTLY);

/// An hour.
const LONG_AGO: u64 = 3_600_000_000_000;

/// Keeps the hashes of targets apart from those of keys.
const TARGET: u8 = 100;

fn cap_notice(time: SystemTime, kind: NoticeKind, counted: Counted) -> Notice {
    let Counted { clients, hit } = counted;
    let summary = match kind {
        NoticeKind::EnforcementCapped => {
            format!(
                "measures hit {hit} of {clients} recent clients, and may hit no more: from now on they are only told"
            )
        }
        _ => format!("measures hit {hit} of {clients} recent clients, and are carried out again"),
    };
    let mut notice = Notice::new(time, kind, summary);
    notice.by = Some("response.cap".into());
    notice.details = vec![("clients", clients.to_string().into()), ("hit", hit.to_string().into())];
    notice
}
