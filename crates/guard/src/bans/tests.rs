//! Bans against a model that asks every network in turn, and the rules of adding and lifting.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;
use tidegate_core::clock::{Clock, ManualClock};

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
        let (taken, refused) = self.bans.add([ban(network, until)], self.now());
        refused.first().map_or(Ok(taken == 1), |not_taken| Err(not_taken.why))
    }

    fn by(&self, client: &str) -> Option<String> {
        let banned = self.bans.check(client.parse().unwrap(), self.now().instant);
        banned.err().map(|banned| banned.network.to_string())
    }
}

fn ban(network: &str, until: Option<u64>) -> Ban {
    let network = network.parse().unwrap();
    Ban { network, until, since: 0, source: "test".into(), reason: "because".into() }
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
    assert!(rig.bans.lift("10.0.0.0/8".parse().unwrap(), rig.now()).is_some());
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
    assert_eq!(rig.bans.stats(), BanStats { added: 1, listed: 2, changes: 1 });
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.0/24"));
    assert_eq!(rig.bans.explain("192.0.2.1".parse().unwrap()).0.len(), 2);
    rig.bans.configure(&[], 10, Vec::new(), rig.now());
    assert_eq!(rig.by("192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(rig.by("198.51.100.1"), None);
}

#[test]
fn a_file_gives_back_what_was_written_and_names_bad_lines() {
    let bans = vec![ban("192.0.2.1", Some(60)), ban("2001:db8::/32", None)];
    let text = format!("{}not a ban\n", file::write(&bans));
    let (read, bad) = file::read(&text);
    assert_eq!(read, bans);
    assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [3]);
    let list = "# a list\n192.0.2.0/24 ; SBL1\n\n2001:db8::1\n10.0.0.1/8\n";
    let (read, bad) = file::read_list(list, "list.txt", 5, Some(9));
    assert_eq!(read.len(), 2);
    assert_eq!((&*read[0].source, read[0].since, read[0].until), ("list.txt", 5, Some(9)));
    assert!(bad[0].to_string().starts_with("line 5: `10.0.0.1/8` is not a network"));
}

fn network() -> impl Strategy<Value = Network> {
    (0_u32..64, 26_u8..=32).prop_map(|(low, length)| {
        let address = Ipv4Addr::from(0xC000_0200 | low);
        let net = ipnet::IpNet::new(address.into(), length).unwrap().trunc();
        net.to_string().parse().unwrap()
    })
}

proptest! {
    #[test]
    fn the_table_agrees_with_asking_each_network(
        bans in prop::collection::btree_map(network(), prop::option::of(1_u64..100), 0..40),
        at in 0_u64..100,
    ) {
        let rig = Rig::new();
        let bans: Vec<_> = bans.into_iter().map(|(network, until)| Ban { until, ..ban(&network.to_string(), None) }).collect();
        let (taken, refused) = rig.bans.add(bans.clone(), rig.now());
        prop_assert_eq!((taken, refused.len()), (bans.len(), 0));
        rig.clock.advance(Duration::from_secs(at));
        let now = rig.now().instant;
        for low in 0..=66_u32 {
            let client = IpAddr::from(Ipv4Addr::from(0xC000_0200 + low));
            let holds = |ban: &&Ban| ban.network.net().contains(&client) && ban.until.is_none_or(|until| until > at);
            let longest = bans.iter().filter(holds).map(lasts).max();
            let found = rig.bans.check(client, now).err().map(|banned| {
                lasts(bans.iter().find(|ban| ban.network == banned.network).unwrap())
            });
            prop_assert_eq!(found, longest);
        }
    }
}

#[test]
fn look_ups_go_on_while_bans_change() {
    let rig = Arc::new(Rig::new());
    let now = rig.now();
    let reader = {
        let rig = Arc::clone(&rig);
        std::thread::spawn(move || {
            let always = "198.51.100.1".parse().unwrap();
            (0..20_000).filter(|_| rig.bans.check(always, now.instant).is_err()).count()
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
