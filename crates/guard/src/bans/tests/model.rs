//! Bans against a list that is asked from front to back, through random changes: nested networks,
//! several measures and sources, ends, and tables made anew at any moment.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// What happens to the bans.
#[derive(Clone, Debug)]
enum Step {
    Add(Ban),
    Lift(Network, Option<Measure>, Option<&'static str>),
    KeepNone(&'static str),
    List(Vec<Network>),
    Pass(Duration),
    Settle,
    Sweep,
}

const SOURCES: [&str; 3] = ["admin", "crowdsec", "rule"];

/// Few addresses of both families, so that networks lie in each other and meet.
fn network() -> impl Strategy<Value = Network> {
    let v4 = (0_u32..32, 27_u8..=32).prop_map(|(low, length)| (address_v4(low), length));
    let v6 = (0_u32..32, prop::sample::select(vec![32_u8, 48, 62, 63, 64, 127, 128]))
        .prop_map(|(low, length)| (address_v6(low), length));
    prop_oneof![v4, v6]
        .prop_map(|(address, length)| Network::from(ipnet::IpNet::new(address, length).unwrap()))
}

fn address_v4(low: u32) -> IpAddr {
    Ipv4Addr::from(0xC000_0200 | low).into()
}

/// Half of the bits are above the /64.
fn address_v6(low: u32) -> IpAddr {
    let (high, low) = (u128::from(low >> 2), u128::from(low & 3));
    Ipv6Addr::from(0x2001_0db8 << 96 | high << 64 | low).into()
}

fn addresses() -> impl Iterator<Item = IpAddr> {
    (0..34).flat_map(|low| [address_v4(low), address_v6(low)])
}

fn measure() -> impl Strategy<Value = Measure> {
    prop::sample::select(vec![Measure::Throttle, Measure::Tarpit, Measure::Isolate, Measure::Block])
}

fn source() -> impl Strategy<Value = &'static str> {
    prop::sample::select(SOURCES.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let ban = (network(), measure(), source(), prop::option::of(1_u64..90));
    let add = ban.prop_map(|(network, measure, source, until)| {
        Step::Add(Ban { source: source.into(), ..of(Target::Network(network), measure, until) })
    });
    let lift = (network(), prop::option::of(measure()), prop::option::of(source()));
    prop_oneof![
        12 => add,
        6 => lift.prop_map(|(network, measure, source)| Step::Lift(network, measure, source)),
        1 => source().prop_map(Step::KeepNone),
        1 => prop::collection::vec(network(), 0..3).prop_map(Step::List),
        4 => (0_u64..15_000).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        2 => Just(Step::Settle),
        1 => Just(Step::Sweep),
    ]
}

/// The same by a list.
#[derive(Default)]
struct Model {
    bans: Vec<Ban>,
    listed: Vec<Ban>,
}

impl Model {
    fn add(&mut self, ban: Ban, wall: u64) {
        if lasts(&ban) <= wall {
            return;
        }
        match self.bans.iter_mut().find(|there| key(there) == key(&ban)) {
            Some(there) if lasts(there) < lasts(&ban) => *there = ban,
            Some(_) => {}
            None => self.bans.push(ban),
        }
    }

    /// The hardest measure that holds, and its end.
    fn holds(&self, client: IpAddr, wall: u64) -> Option<(Measure, u64)> {
        let holds = |ban: &&Ban| {
            let Target::Network(network) = ban.target else { return false };
            network.net().contains(&client) && lasts(ban) > wall
        };
        let all = self.bans.iter().chain(&self.listed);
        all.filter(holds).map(|ban| (ban.measure, lasts(ban))).max()
    }

    /// When this very ban ends.
    fn end_of(&self, found: &InForce) -> u64 {
        let is_it = |ban: &&Ban| key(ban) == (&found.target, found.measure, &found.source);
        let all = self.bans.iter().chain(&self.listed);
        all.filter(is_it).map(lasts).max().expect("what is found is there")
    }
}

fn key(ban: &Ban) -> (&Target, Measure, &Arc<str>) {
    (&ban.target, ban.measure, &ban.source)
}

fn lasts(ban: &Ban) -> u64 {
    ban.until.unwrap_or(u64::MAX)
}

fn apply(rig: &Rig, model: &mut Model, step: Step) {
    let now = rig.now();
    match step {
        Step::Add(ban) => {
            // A ban that is over when it comes is refused.
            let _refused = rig.take(ban.clone());
            model.add(ban, seconds(now.wall));
        }
        Step::Lift(network, measure, source) => {
            let target = Target::Network(network);
            let lifted = rig.bans.lift(&target, measure, source, now);
            let before = model.bans.len();
            model.bans.retain(|ban| {
                ban.target != target
                    || measure.is_some_and(|measure| measure != ban.measure)
                    || source.is_some_and(|source| *source != *ban.source)
            });
            assert_eq!(lifted.len(), before - model.bans.len());
        }
        Step::KeepNone(source) => {
            rig.bans.retain_of(source, |_, _| false, now);
            model.bans.retain(|ban| *ban.source != *source);
        }
        Step::List(networks) => {
            let ban = |network| ban(&Network::to_string(network), None);
            model.listed = networks.iter().map(ban).collect();
            rig.bans.configure(&[], 100_000, model.listed.clone(), now);
        }
        Step::Pass(time) => rig.clock.advance(time),
        Step::Settle => rig.bans.settle(now),
        Step::Sweep => {
            rig.bans.sweep(now);
            model.bans.retain(|ban| lasts(ban) > seconds(now.wall));
        }
    }
}

fn check(steps: Vec<Step>, rig: &Rig) {
    let mut model = Model::default();
    for step in steps {
        let told = format!("{step:?}");
        apply(rig, &mut model, step);
        let now = rig.now();
        for client in addresses() {
            let expected = model.holds(client, seconds(now.wall));
            let found = rig.bans.look_up(client, now.instant);
            let found = found.map(|found| (found.measure, model.end_of(&found)));
            assert_eq!(found, expected, "{client} after {told}");
        }
    }
}

proptest! {
    #[test]
    fn look_ups_agree_with_asking_each_ban(
        steps in prop::collection::vec(step(), 0..60),
        part in 0_u64..1_000,
    ) {
        let rig = Rig::new();
        rig.clock.advance(Duration::from_millis(part));
        check(steps, &rig);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The changes stand beside the tables until those are made anew.
    #[test]
    fn so_they_do_beside_large_tables(
        steps in prop::collection::vec(step(), 0..60),
        part in 0_u64..1_000,
    ) {
        let rig = Rig::new();
        many(&rig);
        rig.clock.advance(Duration::from_millis(part));
        check(steps, &rig);
    }
}
