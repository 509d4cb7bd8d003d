//! A world of virtual time: clients that ask at random moments, proxies that choose endpoints as
//! `tidegate_traffic` says, and endpoints that fail as a plan says. The same seed gives the same
//! run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidegate_core::Clock;
use tidegate_traffic::health::Outcome;
use tidegate_traffic::outlier::Answer;
use tidegate_traffic::random::{below, mix};
use tidegate_traffic::zones::Locality;
use tidegate_traffic::{Lease, Pick, Pool};

/// How an endpoint behaves at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Answers in 10 ms on average, more under load.
    Good,
    /// Refuses connections.
    Refuses,
    /// Answers 500 at once, though its health checks pass.
    Errors,
    /// Accepts and never answers.
    Freezes,
    /// Takes so many times as long.
    Slow(f64),
}

/// What happens when, in seconds: from then on this endpoint behaves like that.
pub(crate) type Change = (f64, usize, Behaviour);

/// Who chooses endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chooser<'a> {
    /// Knows how every endpoint behaves, and takes good ones in turn.
    Oracle,
    /// Pools with these settings, behind as many further tries.
    Pools { settings: &'a str, retries: usize },
}

/// What is simulated.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    /// Requests per second, over all proxies.
    pub(crate) rate: f64,
    pub(crate) weights: Vec<u32>,
    /// Endpoints and proxies are spread over so many zones, one proxy in each.
    pub(crate) zones: usize,
    pub(crate) changes: Vec<Change>,
    /// Whether good endpoints take the same time for each request.
    pub(crate) even: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// For each second: requests and failures.
    pub(crate) seconds: Vec<(u32, u32)>,
    /// Of each request, in milliseconds; sorted.
    pub(crate) latencies: Vec<f64>,
    /// For each second and endpoint: tries.
    pub(crate) tries: Vec<Vec<u32>>,
}

impl Report {
    pub(crate) fn failed_share(&self) -> f64 {
        self.failed as f64 / self.requests.max(1) as f64
    }

    /// In milliseconds.
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        let at = whole(self.latencies.len() as f64 * quantile);
        self.latencies[at.min(self.latencies.len() - 1)]
    }

    /// How long after `onset` the last second was that failed more than one request in a hundred.
    pub(crate) fn recovery(&self, onset: f64) -> f64 {
        let bad = |(asked, failed): &(u32, u32)| f64::from(*failed) > f64::from(*asked) / 100.0;
        let last = self.seconds.iter().rposition(bad);
        last.map_or(0.0, |last| (last as f64 + 1.0 - onset).max(0.0))
    }

    /// The share of tries that each endpoint got within these seconds.
    pub(crate) fn shares(&self, from: usize, to: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.tries[0].len()];
        for second in &self.tries[from..to.min(self.tries.len())] {
            for (sum, tries) in sums.iter_mut().zip(second) {
                *sum += f64::from(*tries);
            }
        }
        let total: f64 = sums.iter().sum();
        sums.into_iter().map(|sum| sum / total).collect()
    }
}

/// How long a try may take.
const PER_TRY: f64 = 0.5;
const LATENCY: f64 = 0.010;
/// Requests at the same time that an endpoint serves without getting slower.
const CAPACITY: f64 = 16.0;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small, never negative"
)]
fn whole(number: f64) -> usize {
    number as usize
}

struct World<'a> {
    plan: &'a Plan,
    chooser: Chooser<'a>,
    start: Instant,
    now: f64,
    randomness: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    behaviours: Vec<Behaviour>,
    loads: Vec<u32>,
    index: HashMap<SocketAddr, usize>,
    pools: Vec<Pool>,
    requests: HashMap<u64, Request>,
    turns: usize,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Change(usize),
    Check { proxy: usize, endpoint: usize },
    Tend { proxy: usize },
    TryEnds { request: u64 },
}

struct Request {
    proxy: usize,
    key: u64,
    began: f64,
    tried: Vec<SocketAddr>,
    current: Option<Try>,
}

struct Try {
    endpoint: usize,
    lease: Option<Lease>,
    began: f64,
    answer: Answer,
}

/// Runs a plan.
pub(crate) fn run(plan: &Plan, chooser: Chooser<'_>) -> Report {
    let mut world = World::new(plan, chooser);
    world.schedule(0.0, Event::Arrival);
    for (at, change) in plan.changes.iter().enumerate() {
        world.schedule(change.0, Event::Change(at));
    }
    for proxy in 0..world.pools.len() {
        world.schedule(0.0, Event::Tend { proxy });
        for endpoint in 0..plan.weights.len() {
            let delay = world.unit() * 2.0;
            world.schedule(delay, Event::Check { proxy, endpoint });
        }
    }
    while let Some(Reverse((at, _, event))) = world.events.pop() {
        world.now = at as f64 / 1e6;
        if world.now >= plan.seconds {
            break;
        }
        world.happen(event);
    }
    world.report.latencies.sort_by(f64::total_cmp);
    world.report
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, chooser: Chooser<'a>) -> Self {
        let count = plan.weights.len();
        let address = |n: usize| format!("10.0.{}.{}:80", n / 250, n % 250);
        let zone = |n: usize| format!("zone-{}", n % plan.zones);
        let endpoints: Vec<String> = (0..count)
            .map(|n| {
                let (address, weight, zone) = (address(n), plan.weights[n], zone(n));
                format!(r#"{{"address":"{address}","weight":{weight},"zone":"{zone}"}}"#)
            })
            .collect();
        let pool = |settings: &str, proxy: usize| {
            let json = format!(r#"{{"endpoints":[{}],{settings}}}"#, endpoints.join(","));
            let zone = (plan.zones > 1).then(|| zone(proxy).as_str().into());
            let here = Locality { region: None, zone };
            Pool::compile("api", &serde_json::from_str(&json).unwrap(), &here, None).unwrap()
        };
        let pools = match chooser {
            Chooser::Oracle => Vec::new(),
            Chooser::Pools { settings, .. } => {
                (0..plan.zones).map(|proxy| pool(settings, proxy)).collect()
            }
        };
        let seconds = whole(plan.seconds.ceil());
        let report = Report {
            seconds: vec![(0, 0); seconds],
            tries: vec![vec![0; count]; seconds],
            ..Report::default()
        };
        Self {
            plan,
            chooser,
            start: Clock::System.now(),
            now: 0.0,
            randomness: plan.seed,
            events: BinaryHeap::new(),
            scheduled: 0,
            behaviours: vec![Behaviour::Good; count],
            loads: vec![0; count],
            index: (0..count).map(|n| (address(n).parse().unwrap(), n)).collect(),
            pools,
            requests: HashMap::new(),
            turns: 0,
            report,
        }
    }

    fn random(&mut self) -> u64 {
        self.randomness = self.randomness.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.randomness)
    }

    /// Above 0 and below 1.
    fn unit(&mut self) -> f64 {
        ((self.random() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    fn schedule(&mut self, delay: f64, event: Event) {
        let at = whole((self.now + delay) * 1e6) as u64;
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                let delay = self.exponential(1.0 / self.plan.rate);
                self.schedule(delay, Event::Arrival);
                self.arrive();
            }
            Event::Change(at) => {
                let (_, endpoint, behaviour) = self.plan.changes[at];
                self.behaviours[endpoint] = behaviour;
            }
            Event::Check { proxy, endpoint } => self.check(proxy, endpoint),
            Event::Tend { proxy } => {
                self.pools[proxy].tend(self.instant());
                self.schedule(1.0, Event::Tend { proxy });
            }
            Event::TryEnds { request } => self.try_ends(request),
        }
    }

    fn check(&mut self, proxy: usize, endpoint: usize) {
        let pool = &self.pools[proxy];
        let Some(check) = pool.health() else { return };
        let fails = matches!(self.behaviours[endpoint], Behaviour::Refuses | Behaviour::Freezes);
        let outcome = if fails { Outcome::Failed } else { Outcome::Passed };
        let (interval, address) = (check.interval, pool.endpoints()[endpoint].address());
        pool.observe(address, outcome, self.instant());
        let delay = interval.as_secs_f64() * (0.9 + 0.2 * self.unit());
        self.schedule(delay, Event::Check { proxy, endpoint });
    }

    fn arrive(&mut self) {
        let (key, began) = (self.random(), self.now);
        let proxy = below(self.random(), self.pools.len().max(1));
        let id = self.scheduled;
        self.requests.insert(id, Request { proxy, key, began, tried: Vec::new(), current: None });
        self.begin_try(id);
    }

    /// The endpoint of the next try, and the right to use it.
    fn choose(&mut self, request: &Request) -> Option<(usize, Option<Lease>)> {
        if self.pools.is_empty() {
            let good = |n: &usize| self.behaviours[*n] == Behaviour::Good;
            let good: Vec<usize> = (0..self.behaviours.len()).filter(good).collect();
            self.turns += 1;
            return (!good.is_empty()).then(|| (good[self.turns % good.len()], None));
        }
        let random = self.random();
        let (now, key, tried) = (self.instant(), request.key, request.tried.as_slice());
        let pick = Pick { key, now, prefer: None, random, tried };
        let lease = self.pools[request.proxy].pick(&pick).ok()?;
        Some((self.index[&lease.address()], Some(lease)))
    }

    fn begin_try(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        let Some((endpoint, lease)) = self.choose(&request) else {
            return self.finish(&request, false);
        };
        self.loads[endpoint] += 1;
        self.report.tries[whole(self.now)][endpoint] += 1;
        let crowd = (f64::from(self.loads[endpoint]) / CAPACITY).max(1.0);
        let service = match self.plan.even {
            true => LATENCY * crowd,
            false => self.exponential(LATENCY * crowd),
        };
        let (took, answer) = match self.behaviours[endpoint] {
            Behaviour::Good => (service, Answer::Status(200)),
            Behaviour::Slow(factor) => (service * factor, Answer::Status(200)),
            Behaviour::Refuses => (0.001, Answer::None),
            Behaviour::Errors => (0.005, Answer::Status(500)),
            Behaviour::Freezes => (PER_TRY, Answer::None),
        };
        let (took, answer) = if took > PER_TRY { (PER_TRY, Answer::None) } else { (took, answer) };
        request.tried.extend(lease.as_ref().map(|lease| lease.address()));
        request.current = Some(Try { endpoint, lease, began: self.now, answer });
        self.requests.insert(id, request);
        self.schedule(took, Event::TryEnds { request: id });
    }

    fn try_ends(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        let Some(Try { endpoint, lease, began, answer }) = request.current.take() else { return };
        self.loads[endpoint] -= 1;
        if let Some(lease) = lease {
            let took = Duration::from_secs_f64(self.now - began);
            self.pools[request.proxy].report(&lease, answer, took, self.instant());
        }
        let retries = match self.chooser {
            Chooser::Oracle => 0,
            Chooser::Pools { retries, .. } => retries,
        };
        if answer.failed() && request.tried.len() <= retries {
            self.requests.insert(id, request);
            return self.begin_try(id);
        }
        self.finish(&request, !answer.failed());
    }

    fn finish(&mut self, request: &Request, good: bool) {
        let second = &mut self.report.seconds[whole(self.now)];
        second.0 += 1;
        second.1 += u32::from(!good);
        self.report.requests += 1;
        self.report.failed += u64::from(!good);
        self.report.latencies.push((self.now - request.began) * 1e3);
    }
}
