//! The rules of adding, lifting and looking up.

mod model;

use std::net::{IpAddr, Ipv4Addr};

use tidegate_core::clock::{Clock, ManualClock};
use tidegate_core::decision::Party;

use super::*;

struct Rig {
    clock: ManualClock,
    bans: Bans,
}

impl Rig {
    fn new() -> Self {
        Self { clock: ManualClock::new(), bans: Bans::default() }
    }

    fn now(&self) -> Now {
        let clock = Clock::Manual(self.clock.clone());
        Now { instant: clock.now(), wall: clock.wall() }
    }

    fn ban(&self, network: &str, until: Option<u64>) -> Result<bool, Why> {
        self.take(ban(network, until))
    }

    fn take(&self, ban: Ban) -> Result<bool, Why> {
        let (taken, refused) = self.bans.add([ban], self.now());
        refused.first().map_or(Ok(taken == 1), |not_taken| Err(not_taken.why))
    }

    fn by(&self, client: &str) -> Option<String> {
        let found = self.bans.look_up(client.parse().unwrap(), self.now().instant);
        found.map(|found| found.target.to_string())
    }

    fn done_about(&self, client: &str) -> Option<Measure> {
        let found = self.bans.look_up(client.parse().unwrap(), self.now().instant);
        found.map(|found| found.measure)
    }

    fn known(&self, subject: &str, client: &str, token: Option<&str>) -> Option<Measure> {
        let known = Known { provider: "corp", subject: Some(subject), client: Some(client) };
        let now = self.now().instant;
        let found = self.bans.look_up_known(known, now);
        let token = self.bans.look_up_token(|| token.map(str::to_owned), now);
        [found, token].into_iter().flatten().map(|found| found.measure).max()
    }

    fn lift(&self, network: &str) -> bool {
        !self.bans.lift(&target(network), None, None, self.now()).is_empty()
    }
}

fn target(network: &str) -> Target {
    Target::Network(network.parse().unwrap())
}

fn ban(network: &str, until: Option<u64>) -> Ban {
    of(target(network), Measure::Block, until)
}

fn of(target: Target, measure: Measure, until: Option<u64>) -> Ban {
    Ban { target, measure, until, since: 0, source: "test".into(), reason: "because".into() }
}

fn party(id: &str) -> Party {
    Party { provider: "corp".into(), id: id.into() }
}

#[test]
fn a_ban_holds_its_network_until_it_ends() {
    let rig = Rig::new();
    assert_eq!(rig.ban("192.0.2.0/24", Some(60)), Ok(true));
    assert_eq!(rig.ban("2001:db8::/32", None), Ok(true));
    assert_eq!(rig.by("192.0.2.255").as_deref(), Some("192.0.2.0/24"));
    assert_eq!(rig.by("192.0.3.0"), None);
    assert_eq!(rig.by("::ffff:192.0.2.1").as_deref(), Some("192.0.2.0/24"));
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(rig.by("192.0.2.1"), None);
    assert_eq!(rig.by("2001:db8::1").as_deref(), Some("2001:db8::/32"));
    assert_eq!(rig.bans.sweep(rig.now()), 1);
    assert_eq!(rig.bans.stats().added, 1);
}

#[test]
fn a_shorter_ban_does_not_shorten() {
    let rig = Rig::new();
    assert_eq!(rig.ban("192.0.2.1", Some(60)), Ok(true));
    assert_eq!(rig.ban("192.0.2.1", Some(30)), Ok(false));
    assert_eq!(rig.ban("192.0.2.1", None), Ok(true));
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(rig.ban("192.0.2.2", Some(30)), Err(Why::Over));
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.1"));
}

#[test]
fn when_networks_overlap_the_longest_ban_decides_and_lifting_one_leaves_the_other() {
    let rig = Rig::new();
    for (network, until) in [("10.0.0.0/8", 100), ("10.1.0.0/16", 50), ("10.1.2.3", 200)] {
        assert_eq!(rig.ban(network, Some(until)), Ok(true));
    }
    assert_eq!(rig.by("10.1.9.9").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(rig.by("10.1.2.3").as_deref(), Some("10.1.2.3"));
    assert_eq!(rig.by("10.1.2.4").as_deref(), Some("10.0.0.0/8"));
    let (bans, protected) = rig.bans.explain("10.1.2.3".parse().unwrap());
    assert_eq!(
        bans.iter().map(|ban| ban.until).collect::<Vec<_>>(),
        [Some(100), Some(50), Some(200)]
    );
    assert!(!protected);
    assert!(rig.lift("10.0.0.0/8"));
    assert_eq!(rig.by("10.1.9.9").as_deref(), Some("10.1.0.0/16"));
    assert_eq!(rig.by("10.2.0.1"), None);
}

#[test]
fn nobody_bans_loopback_or_the_protected() {
    let rig = Rig::new();
    assert_eq!(rig.ban("127.0.0.1", None), Err(Why::Protected));
    assert_eq!(rig.ban("192.0.0.0/8", None), Ok(true));
    rig.bans.configure(&["192.0.2.7".parse().unwrap()], 2, Vec::new(), rig.now());
    assert_eq!(rig.ban("192.0.2.7", None), Err(Why::Protected));
    // A wide ban does not reach whom it must not.
    assert_eq!(rig.by("192.0.2.7"), None);
    assert_eq!(rig.by("192.0.2.8").as_deref(), Some("192.0.0.0/8"));
    assert_eq!(rig.ban("0.0.0.0/0", None), Ok(true));
    assert_eq!(rig.by("127.0.0.1"), None);
    assert_eq!(rig.ban("198.51.100.1", None), Err(Why::Full));
}

#[test]
fn lists_come_and_go_with_the_configuration_beside_what_was_added() {
    let rig = Rig::new();
    let list = vec![ban("192.0.2.0/24", None), ban("198.51.100.1", None)];
    rig.ban("192.0.2.1", Some(60)).unwrap();
    rig.bans.configure(&[], 10, list, rig.now());
    let measures = [0, 0, 0, 0, 3];
    assert_eq!(rig.bans.stats(), BanStats { added: 1, listed: 2, changes: 1, measures });
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.0/24"));
    assert_eq!(rig.bans.explain("192.0.2.1".parse().unwrap()).0.len(), 2);
    rig.bans.configure(&[], 10, Vec::new(), rig.now());
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(rig.by("198.51.100.1"), None);
}

#[test]
fn a_file_gives_back_what_was_written_and_names_bad_lines() {
    let subject = of(Target::Subject(party("ann")), Measure::Tarpit, None);
    let bans = vec![ban("192.0.2.1", Some(60)), ban("2001:db8::/32", None), subject];
    let text = format!("{}not a ban\n", file::write(&bans));
    let (read, bad) = file::read(&text);
    assert_eq!(read, bans);
    assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [4]);
    let list = "# a list\n192.0.2.0/24 ; SBL1\n\n2001:db8::1\n10.0.0.1/8\n";
    let (read, bad) = file::read_list(list, "list.txt", 5, Some(9));
    assert_eq!(read.len(), 2);
    assert_eq!((&*read[0].source, read[0].since, read[0].until), ("list.txt", 5, Some(9)));
    assert!(bad[0].to_string().starts_with("line 5: `10.0.0.1/8` is not a network"));
}

#[test]
fn look_ups_go_on_while_bans_change() {
    let rig = Arc::new(Rig::new());
    let now = rig.now();
    let reader = {
        let rig = Arc::clone(&rig);
        std::thread::spawn(move || {
            let always = "198.51.100.1".parse().unwrap();
            (0..20_000).filter(|_| rig.bans.look_up(always, now.instant).is_some()).count()
        })
    };
    rig.ban("198.51.100.1", None).unwrap();
    for low in 0..200_u8 {
        rig.ban(&format!("203.0.113.{low}"), Some(5)).unwrap();
    }
    reader.join().unwrap();
    assert_eq!(rig.bans.stats().added, 201);
    assert_eq!(rig.by("203.0.113.199").as_deref(), Some("203.0.113.199"));
}

#[test]
fn of_several_measures_the_hardest_counts_until_it_ends() {
    let rig = Rig::new();
    rig.take(of(target("192.0.2.0/24"), Measure::Throttle, None)).unwrap();
    rig.take(of(target("192.0.2.1"), Measure::Tarpit, Some(60))).unwrap();
    rig.take(of(target("192.0.2.1"), Measure::Block, Some(30))).unwrap();
    assert_eq!(rig.done_about("192.0.2.1"), Some(Measure::Block));
    assert_eq!(rig.done_about("192.0.2.2"), Some(Measure::Throttle));
    rig.clock.advance(Duration::from_secs(30));
    assert_eq!(rig.done_about("192.0.2.1"), Some(Measure::Tarpit));
    rig.clock.advance(Duration::from_secs(30));
    assert_eq!(rig.done_about("192.0.2.1"), Some(Measure::Throttle));
    assert_eq!(rig.take(of(target("192.0.2.1"), Measure::Alert, None)), Err(Why::Senseless));
}

#[test]
fn names_are_held_wherever_they_come_from() {
    let rig = Rig::new();
    assert!(!rig.bans.has_parties());
    rig.take(of(Target::Subject(party("ann")), Measure::Block, Some(60))).unwrap();
    rig.take(of(Target::Client(party("app")), Measure::Throttle, None)).unwrap();
    assert!(rig.bans.has_parties());
    let unasked = rig.bans.look_up_token(|| panic!("no token is banned"), rig.now().instant);
    assert_eq!(unasked, None);
    let hash = "ab".repeat(32);
    rig.take(of(Target::Token(hash.as_str().into()), Measure::Isolate, None)).unwrap();
    assert_eq!(rig.known("ann", "web", None), Some(Measure::Block));
    assert_eq!(rig.known("bob", "app", None), Some(Measure::Throttle));
    assert_eq!(rig.known("bob", "app", Some(&hash)), Some(Measure::Isolate));
    assert_eq!(rig.known("app", "ann", None), None, "a subject is no client");
    let other = Known { provider: "other", subject: Some("ann"), client: None };
    assert_eq!(rig.bans.look_up_known(other, rig.now().instant), None);
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(rig.known("ann", "web", None), None);
}

#[test]
fn a_route_spares_the_protected_and_the_panic_switch_everybody() {
    let rig = Rig::new();
    rig.bans.configure(&["192.0.2.7".parse().unwrap()], 10, Vec::new(), rig.now());
    rig.take(of(Target::Route("login".into()), Measure::Tarpit, None)).unwrap();
    rig.ban("198.51.100.1", None).unwrap();
    let on_route = |client: &str| {
        let found = rig.bans.look_up_route("login", client.parse().unwrap(), rig.now().instant);
        found.map(|found| found.measure)
    };
    assert_eq!((on_route("192.0.2.1"), on_route("192.0.2.7")), (Some(Measure::Tarpit), None));
    assert!(rig.bans.suspend(true) && !rig.bans.suspend(true));
    assert_eq!((on_route("192.0.2.1"), rig.by("198.51.100.1")), (None, None));
    assert!(rig.bans.suspend(false));
    assert_eq!(rig.by("198.51.100.1").as_deref(), Some("198.51.100.1"));
}

#[test]
fn endpoints_and_zones_are_only_isolated() {
    let rig = Rig::new();
    let zone = Target::Zone { upstream: "api".into(), zone: "a".into() };
    let endpoint =
        Target::Endpoint { upstream: "api".into(), endpoint: "10.0.0.1:80".parse().unwrap() };
    assert_eq!(rig.take(of(zone.clone(), Measure::Block, None)), Err(Why::Senseless));
    rig.take(of(zone.clone(), Measure::Isolate, None)).unwrap();
    rig.take(of(endpoint.clone(), Measure::Isolate, Some(60))).unwrap();
    rig.ban("192.0.2.1", None).unwrap();
    let isolated = |rig: &Rig| {
        rig.bans.isolated(rig.now()).into_iter().map(|ban| ban.target).collect::<Vec<_>>()
    };
    assert_eq!(isolated(&rig), [endpoint, zone.clone()]);
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(isolated(&rig), [zone]);
    rig.bans.suspend(true);
    assert!(isolated(&rig).is_empty());
}

/// More than are put into new tables with each change.
fn many(rig: &Rig) {
    let bans = (0..10_000_u32).map(|n| ban(&Ipv4Addr::from(0x0A00_0000 + 2 * n).to_string(), None));
    assert_eq!(rig.bans.add(bans, rig.now()).0, 10_000);
    rig.bans.settle(rig.now());
    assert!(!rig.bans.is_unsettled());
}

#[test]
fn changes_of_a_large_table_hold_at_once_and_still_when_it_is_settled() {
    let rig = Rig::new();
    many(&rig);
    let check = || {
        assert_eq!(rig.by("192.0.2.9").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(rig.by("10.0.0.0"), None, "it was lifted");
        assert_eq!(rig.by("10.0.0.2").as_deref(), Some("10.0.0.2"));
        assert_eq!(rig.known("ann", "app", None), Some(Measure::Throttle));
    };
    rig.ban("192.0.2.0/24", Some(60)).unwrap();
    rig.take(of(Target::Subject(party("ann")), Measure::Throttle, None)).unwrap();
    assert!(rig.lift("10.0.0.0"));
    assert!(rig.bans.is_unsettled());
    check();
    rig.bans.settle(rig.now());
    assert!(!rig.bans.is_unsettled());
    check();
    // Lifted and added again while nobody settles.
    assert!(rig.lift("10.0.0.2") && rig.by("10.0.0.2").is_none());
    rig.ban("10.0.0.2", Some(5)).unwrap();
    check();
    assert!(!rig.bans.lift(&Target::Subject(party("ann")), None, None, rig.now()).is_empty());
    assert_eq!(rig.known("ann", "app", None), None);
}

#[test]
fn a_step_of_the_wall_clock_neither_frees_nor_holds() {
    for ahead in [true, false] {
        let rig = Rig::new();
        rig.clock.advance(Duration::from_millis(7_200_400));
        let until = Some(7_260);
        rig.ban("192.0.2.1", until).unwrap();
        rig.take(of(Target::Subject(party("ann")), Measure::Block, until)).unwrap();
        let zone = Target::Zone { upstream: "api".into(), zone: "a".into() };
        rig.take(of(zone, Measure::Isolate, until)).unwrap();
        let stepped = |rig: &Rig| {
            let Now { instant, wall } = rig.now();
            let step = Duration::from_secs(3_600);
            Now { instant, wall: if ahead { wall + step } else { wall - step } }
        };
        let held = |rig: &Rig| {
            rig.bans.settle(stepped(rig));
            let by_name = rig.known("ann", "app", None).is_some();
            let isolated = rig.bans.isolated(stepped(rig)).len();
            (rig.by("192.0.2.1").is_some(), by_name, isolated, rig.bans.sweep(stepped(rig)))
        };
        assert_eq!(held(&rig), (true, true, 1, 0));
        rig.clock.advance(Duration::from_millis(59_599));
        assert_eq!(held(&rig), (true, true, 1, 0));
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(held(&rig), (false, false, 0, 3));
    }
}

#[test]
fn a_source_lifts_and_prolongs_only_its_own() {
    let rig = Rig::new();
    let by = |source: &str, until| Ban { source: source.into(), ..ban("192.0.2.1", until) };
    rig.take(by("policy", Some(60))).unwrap();
    assert_eq!(rig.take(by("crowdsec", Some(30))), Ok(true), "it is not the policy's");
    let held_by = || rig.bans.look_up("192.0.2.1".parse().unwrap(), rig.now().instant);
    assert_eq!(&*held_by().unwrap().source, "policy", "the longer one is told");
    let ends = |rig: &Rig| {
        let bans = rig.bans.explain("192.0.2.1".parse().unwrap()).0;
        bans.into_iter().map(|ban| (ban.source.to_string(), ban.until)).collect::<Vec<_>>()
    };
    rig.take(by("crowdsec", Some(90))).unwrap();
    assert_eq!(ends(&rig), [("crowdsec".into(), Some(90)), ("policy".into(), Some(60))]);
    let lift = |source| {
        let wanted = ["192.0.2.1", "192.0.2.2"]
            .map(|network| (target(network), Measure::Block, Arc::from(source)));
        rig.bans.lift_each(wanted, rig.now()).len()
    };
    assert_eq!((lift("crowdsec"), lift("crowdsec")), (1, 0));
    assert_eq!(ends(&rig), [("policy".into(), Some(60))]);
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.1"));
    rig.take(by("admin", None)).unwrap();
    assert_eq!(rig.bans.retain_of("policy", |_, _| false, rig.now()).len(), 1);
    assert_eq!(ends(&rig), [("admin".into(), None)]);
    assert!(rig.lift("192.0.2.1") && rig.by("192.0.2.1").is_none(), "all of them");
}

#[test]
fn each_source_counts() {
    let rig = Rig::new();
    rig.bans.configure(&[], 2, Vec::new(), rig.now());
    let by = |source: &str| rig.take(Ban { source: source.into(), ..ban("192.0.2.1", None) });
    assert_eq!((by("a"), by("b"), by("c")), (Ok(true), Ok(true), Err(Why::Full)));
    assert_eq!(rig.bans.stats().added, 2);
}

#[test]
fn a_nested_ban_holds_when_the_longer_one_around_it_is_lifted() {
    let rig = Rig::new();
    many(&rig);
    rig.ban("192.0.2.0/24", None).unwrap();
    rig.ban("192.0.2.1", Some(60)).unwrap();
    rig.bans.settle(rig.now());
    assert!(rig.lift("192.0.2.0/24") && rig.bans.is_unsettled());
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(rig.by("192.0.2.2"), None);
}

#[test]
fn a_ban_that_is_given_anew_for_a_shorter_time_ends_with_that() {
    let rig = Rig::new();
    many(&rig);
    assert!(rig.lift("10.0.0.2"));
    rig.ban("10.0.0.2", Some(5)).unwrap();
    assert!(rig.bans.is_unsettled() && rig.by("10.0.0.2").is_some());
    rig.clock.advance(Duration::from_secs(5));
    assert_eq!(rig.by("10.0.0.2"), None);
}

#[test]
fn lines_of_the_first_version_are_read() {
    let old = r#"{"network":"192.0.2.0/24","until":60,"since":1,"source":"admin","reason":"x"}"#;
    let (read, bad) = file::read(old);
    assert_eq!((read.len(), bad.len()), (1, 0));
    assert_eq!(
        (read[0].measure, read[0].target.to_string()),
        (Measure::Block, "192.0.2.0/24".into())
    );
    let newer = old.replace("{", r#"{"v":3,"#);
    assert_eq!(file::read(&newer).1[0].what, "version 3 of bans is not known");
}
