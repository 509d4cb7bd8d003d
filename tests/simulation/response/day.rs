//! The day itself: what everybody does, in the order of time, and what the policy makes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use tidegate_core::clock::ManualClock;
use tidegate_core::decision::{Decision, Measure, Standing, Target};
use tidegate_core::event::{Applied, Identity, WafMatch, WafSummary};
use tidegate_core::{Clock, Event, NoticeKind, Reason};
use tidegate_guard::ResponsePolicy;
use tidegate_guard::bans::Now;
use tidegate_guard::response::{
    Builtin, Decisions, Geo, NoUpstreams, ResponseSettings, Surroundings,
};

use super::actors::{ATTACKERS, Act, Aim, Group, Home, NORMAL, Plan};

/// A day that is over.
pub(crate) struct Day {
    pub(crate) hours: u32,
    pub(crate) events: usize,
    pub(crate) sources: usize,
    pub(crate) capped: usize,
    pub(crate) bytes: usize,
    outcomes: BTreeMap<&'static str, Outcome>,
}

/// What became of a group.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sources: usize,
    pub(crate) events: usize,
    /// Sources that some decision was about, and those that were throttled, blocked or the like.
    pub(crate) detected: usize,
    pub(crate) stopped: usize,
    to_told: Vec<f64>,
    to_stop: Vec<f64>,
    events_before: Vec<usize>,
}

impl Outcome {
    pub(crate) fn median_to_told(&self) -> Option<f64> {
        median(&self.to_told)
    }

    pub(crate) fn median_to_stop(&self) -> Option<f64> {
        median(&self.to_stop)
    }

    pub(crate) fn median_events(&self) -> Option<usize> {
        let mut sorted = self.events_before.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Somebody with an address.
struct Source {
    group: &'static Group,
    address: IpAddr,
    name: String,
    first_bad: Option<f64>,
    told: Option<f64>,
    stopped: Option<f64>,
    events: usize,
    events_before: usize,
}

#[derive(Clone, Copy)]
struct Happening {
    at: f64,
    source: u32,
    /// Who of the people behind an address.
    person: u32,
    act: Act,
}

impl Day {
    pub(crate) fn run(seed: u64) -> Self {
        Self::run_hours(seed, 24)
    }

    pub(crate) fn run_hours(seed: u64, hours: u32) -> Self {
        let mut chance = Chance(seed);
        let mut sources = sources(&mut chance);
        let mut happenings = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let index = u32::try_from(index).unwrap();
            let mut add =
                |at, person, act| happenings.push(Happening { at, source: index, person, act });
            plan(source, &mut chance, &mut add);
        }
        happenings.retain(|happening| happening.at < f64::from(hours) * 3_600.0);
        happenings.sort_by(|one, other| one.at.total_cmp(&other.at));
        let mut run = Run::new(seed);
        for happening in &happenings {
            run.step(*happening, &mut sources);
        }
        let now = run.now();
        Self {
            hours,
            events: happenings.len(),
            sources: sources.len(),
            capped: run.capped,
            bytes: run.policy.bytes(now),
            outcomes: outcomes(&sources),
        }
    }

    pub(crate) fn outcome(&self, name: &str) -> &Outcome {
        &self.outcomes[name]
    }
}

fn sources(chance: &mut Chance) -> Vec<Source> {
    let mut sources = Vec::new();
    for (number, group) in (0_u32..).zip(NORMAL.iter().chain(ATTACKERS)) {
        for n in 0..group.sources {
            let address = match group.home {
                Home::Neighbours => {
                    Ipv4Addr::from_bits(0xc612_0000 + (number << 8) + n % 250).into()
                }
                // Never 0 below the first 48 bits.
                Home::Hopping(_) => Ipv6Addr::from_bits(
                    0x2001_0db8 << 96 | u128::from((number << 10) + n) << 80 | 1,
                )
                .into(),
                Home::Behind(name) => address_of(&sources, name),
                // From 11.0.0.0 on, never twice.
                Home::Anywhere => {
                    let far = chance.below(0x70) << 24;
                    Ipv4Addr::from_bits(0x0b00_0000 + far + (number << 18) + (n << 3)).into()
                }
            };
            sources.push(Source {
                group,
                address,
                name: format!("{}-{n}", group.name),
                first_bad: None,
                told: None,
                stopped: None,
                events: 0,
                events_before: 0,
            });
        }
    }
    sources
}

fn address_of(sources: &[Source], name: &str) -> IpAddr {
    sources.iter().find(|source| source.group.name == name).unwrap().address
}

impl Source {
    /// The address of a request: whoever hops has another one for each person or request.
    fn address_now(&self, person: u32) -> IpAddr {
        match (self.group.home, self.address) {
            (Home::Hopping(bits), IpAddr::V6(base)) => {
                let hop = u128::try_from(self.events).unwrap() + u128::from(person);
                let hop = if bits == 48 { (hop % 65_535 + 1) << 64 } else { hop << 16 };
                Ipv6Addr::from_bits(base.to_bits() | hop).into()
            }
            (_, address) => address,
        }
    }
}

/// When a bad release serves pages with files that are not there, and when the application fails.
const BAD_RELEASE: std::ops::Range<f64> = 50_400.0..52_200.0;
const FAILING: std::ops::Range<f64> = 57_600.0..58_800.0;

const DAY: f64 = 86_400.0;

fn plan(source: &Source, chance: &mut Chance, add: &mut impl FnMut(f64, u32, Act)) {
    match source.group.plan {
        Plan::People { people, sessions } => {
            for n in 0..people * sessions {
                session(chance, &mut |at, act| add(at, n % people, act));
            }
        }
        Plan::Program { every, broken } => {
            let fails_from = chance.unit() * (DAY - 3_600.0);
            let mut at = chance.unit() * every;
            while at < DAY {
                let is_broken = broken && (fails_from..fails_from + 3_600.0).contains(&at);
                add(at, 0, if is_broken { Act::Expired(0) } else { Act::Page });
                at += every;
            }
        }
        Plan::Polling { every } => {
            let begin = chance.unit() * (DAY - 3_600.0);
            let mut at = begin;
            while at < begin + 3_600.0 {
                add(at, 0, Act::Anonymous);
                at += every;
            }
        }
        Plan::Lured { times, every, act } => {
            let at = chance.unit() * (DAY - 60.0);
            (0..times).for_each(|n| add(at + f64::from(n) * every, 0, act(n)));
        }
        Plan::Crawler { every } => {
            let (mut at, mut page) = (0.0, 0);
            while at < DAY {
                let gone = chance.unit() < 0.03;
                add(at, 0, if gone { Act::Missing(page) } else { Act::Page });
                (at, page) = (at + every * 2.0 * chance.unit(), page + 1);
            }
        }
        Plan::Attack { every, lasts, act } => {
            // Groups of one campaign begin together.
            let campaign = source.group.home == Home::Neighbours || source.group.sources > 100;
            let begin = if campaign { 30_000.0 } else { chance.unit() * (DAY - lasts) };
            let (mut at, mut n) = (begin + chance.unit() * every, chance.below(1_000) * 100_000);
            while at < begin + lasts {
                add(at, 0, act(n));
                (at, n) = (at + every * (0.8 + 0.4 * chance.unit()), n + 1);
            }
        }
    }
}

/// One person's visit: a token that may have expired, a login that may fail, pages.
fn session(chance: &mut Chance, add: &mut impl FnMut(f64, Act)) {
    // Most of them by day: the mean of two times of day.
    let begin = (chance.unit() + chance.unit()) / 2.0 * (DAY - 1_800.0);
    let mut at = begin;
    if chance.unit() < 0.3 {
        add(at, Act::Expired(chance.below(u32::MAX)));
        at += 1.0;
    }
    for _ in 0..3 {
        let failed = chance.unit() < 0.06;
        add(at, if failed { Act::LoginFailed } else { Act::Login });
        at += 8.0;
        if !failed {
            break;
        }
    }
    for _ in 0..10 {
        let roll = chance.unit();
        if BAD_RELEASE.contains(&at) {
            // Each page asks for files of the release before; there are 30 of them.
            (0..6).for_each(|_| add(at, Act::Missing(chance.below(30))));
        }
        let act = match roll {
            _ if FAILING.contains(&at) && roll < 0.3 => Act::Failed,
            _ if roll < 0.01 => Act::Missing(chance.below(500)),
            _ if roll < 0.010_2 => Act::Attack(0),
            _ if roll < 0.012 => Act::Limited,
            _ => Act::Page,
        };
        add(at, act);
        at += 2.0 + 40.0 * chance.unit();
    }
}

/// The policy, and the measures that hold.
struct Run {
    policy: ResponsePolicy,
    clock: ManualClock,
    time: f64,
    holds: Vec<(Arc<Decision>, f64)>,
    capped: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let builtin = tidegate_engine::snapshot::shipped_rules().unwrap();
        let settings =
            ResponseSettings { builtin: Builtin::Enforce, ..ResponseSettings::default() };
        let around = Surroundings {
            builtin: &builtin,
            routes: &["shop"],
            geo: Geo::default(),
            upstreams: Arc::new(NoUpstreams),
            seed,
        };
        let policy = ResponsePolicy::compile(&settings, around, None).unwrap();
        Self { policy, clock: ManualClock::new(), time: 0.0, holds: Vec::new(), capped: 0 }
    }

    fn now(&self) -> Now {
        let clock = Clock::Manual(self.clock.clone());
        Now { instant: clock.now(), wall: clock.wall() }
    }

    fn step(&mut self, happening: Happening, sources: &mut [Source]) {
        let source = &mut sources[happening.source as usize];
        if happening.at.floor() > self.time.floor() {
            self.policy.tick(self.now());
            self.holds.retain(|(_, until)| *until > happening.at);
        }
        self.clock.advance(Duration::from_secs_f64((happening.at - self.time).max(0.0)));
        self.time = happening.at;
        source.events += 1;
        if happening.act != Act::Page && happening.act != Act::Login {
            source.first_bad.get_or_insert(happening.at);
        }
        let address = source.address_now(happening.person);
        let held = self.holds.iter().find(|(decision, _)| {
            decision.measure == Measure::Block && means(&decision.target, source, address)
        });
        let held = held.map(|(decision, _)| Arc::clone(decision));
        if held.is_none() && source.stopped.is_none() {
            source.events_before += 1;
        }
        let made = self.observe(happening, source, address, held.as_deref());
        self.take(made, sources);
    }

    fn take(&mut self, made: Decisions, sources: &mut [Source]) {
        let capped = made.notices.iter().filter(|of| of.kind == NoticeKind::EnforcementCapped);
        self.capped += capped.count();
        for decision in made.decided {
            let stops =
                decision.measure > Measure::Alert && decision.standing == Standing::Enforced;
            let is_meant = |source: &&mut Source| means(&decision.target, source, source.address);
            for source in sources.iter_mut().filter(is_meant) {
                source.told.get_or_insert(self.time);
                if stops {
                    source.stopped.get_or_insert(self.time);
                }
            }
            if stops {
                let lasts = decision.until.unwrap().duration_since(decision.time).unwrap();
                self.holds.push((decision, self.time + lasts.as_secs_f64()));
            }
        }
    }

    fn observe(
        &self,
        Happening { act, person, .. }: Happening,
        source: &Source,
        address: IpAddr,
        held: Option<&Decision>,
    ) -> Decisions {
        let path = match act {
            Act::Secret(n) | Act::Lured(n) => format!("/{n}/.env"),
            Act::Missing(n) | Act::Forbidden(n) => format!("/records/{n}"),
            _ => "/".to_owned(),
        };
        let token = match act {
            Act::Forged(n) | Act::Expired(n) => format!("{n:064x}"),
            _ => String::new(),
        };
        let (status, reason) = answer(act);
        let found =
            WafSummary { score: 10, matches: vec![WafMatch::default()], ..WafSummary::default() };
        let identity = Identity {
            provider: "corp".into(),
            subject: Some(source.name.as_str().into()),
            ..Identity::default()
        };
        let expired = matches!(act, Act::Expired(_)).then_some("the token expired 60 s ago");
        let is_login = matches!(act, Act::Login | Act::LoginFailed | Act::Anonymous);
        // People have one of a few hundred browsers and versions.
        let agent = match person % 300 {
            0 => source.group.user_agent.to_owned(),
            n => format!("{} ({n})", source.group.user_agent),
        };
        let mut fields = HeaderMap::new();
        fields.insert("user-agent", HeaderValue::from_str(&agent).unwrap());
        if matches!(act, Act::Lured(_) | Act::LuredMalformed | Act::LuredFlood) {
            fields.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        }
        let event = Event {
            client: address,
            method: Some(if is_login { &Method::POST } else { &Method::GET }),
            path: &path,
            user_agent: Some(&agent),
            headers: Some(&fields),
            route: Some("shop"),
            status,
            upstream_status: reason.is_none().then_some(status),
            reason,
            evidence: expired,
            waf: matches!(act, Act::Attack(_)).then_some(&found),
            identity: source.group.known.then_some(&identity),
            credential: Some(token.as_str()).filter(|token| !token.is_empty()),
            measure: held.map(|by| Applied { measure: by.measure, rule: &by.rule }),
            ..Event::default()
        };
        self.policy.observe(&event, self.now()).unwrap_or_default()
    }
}

fn answer(act: Act) -> (u16, Option<Reason>) {
    match act {
        Act::Page | Act::Login => (200, None),
        Act::Missing(_) | Act::Secret(_) | Act::Lured(_) => (404, None),
        Act::Anonymous => (401, Some(Reason::Unauthenticated)),
        Act::LoginFailed => (401, None),
        Act::Expired(_) | Act::Forged(_) => (401, Some(Reason::InvalidToken)),
        Act::Attack(_) => (403, Some(Reason::WafBlocked)),
        Act::Limited | Act::LuredFlood => (429, Some(Reason::RateLimited)),
        Act::Malformed | Act::LuredMalformed => (400, Some(Reason::MalformedRequest)),
        Act::Forbidden(_) => (403, Some(Reason::AccessDenied)),
        Act::Failed => (500, None),
    }
}

/// Whether a decision is about somebody. One about a route tells of the campaign, and so counts
/// for those who take part in it.
fn means(target: &Target, source: &Source, address: IpAddr) -> bool {
    match target {
        Target::Network(network) => network.net().contains(&address),
        Target::Subject(party) => *party.id == *source.name,
        Target::Route(_) => source.group.aim == Aim::Told && source.first_bad.is_some(),
        _ => false,
    }
}

fn outcomes(sources: &[Source]) -> BTreeMap<&'static str, Outcome> {
    let mut outcomes: BTreeMap<&'static str, Outcome> = BTreeMap::new();
    for source in sources {
        let outcome = outcomes.entry(source.group.name).or_default();
        // A network may be known before all of it has begun.
        let since = |at: f64| (at - source.first_bad.unwrap_or(at)).max(0.0);
        outcome.sources += 1;
        outcome.events += source.events;
        outcome.detected += usize::from(source.told.is_some());
        outcome.stopped += usize::from(source.stopped.is_some());
        outcome.to_told.extend(source.told.map(since));
        outcome.to_stop.extend(source.stopped.map(since));
        outcome.events_before.extend(source.stopped.map(|_| source.events_before));
    }
    outcomes
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        f64::from(self.below(u32::MAX)) / f64::from(u32::MAX)
    }

    fn below(&mut self, most: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(most)) >> 32).unwrap()
    }
}
