//! What a ban's look-up costs among a million, beside a prefix trie and a hash map in the same run;
//! what a change costs, and how much memory a ban takes. Target: 200 ns for a look-up.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use tidegate_core::Clock;
use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::Network;
use tidegate_guard::bans::{Ban, Bans, Now};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers that neither repeat soon nor go in steps.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64)).unwrap_or_default()
    }

    /// Never loopback's.
    fn v4(&mut self) -> u32 {
        0x8000_0000 | u32::try_from(self.next() >> 32).unwrap_or_default()
    }
}

/// A set of networks, and how to make a client of it.
struct Set {
    name: &'static str,
    networks: Vec<IpNet>,
}

fn sets(size: usize) -> [Set; 4] {
    let mut numbers = Numbers(7);
    let v6 = |high: u32, low: u64| {
        let bits = 0x2001_0db8 << 96 | u128::from(high) << 64 | u128::from(low);
        Ipv6Addr::from_bits(bits)
    };
    let hosts_v4 = distinct(size, || IpNet::from(IpAddr::from(Ipv4Addr::from_bits(numbers.v4()))));
    let hosts_v6 = distinct(size, || IpNet::from(IpAddr::from(v6(numbers.v4(), numbers.next()))));
    let nets_v6 = distinct(size, || IpNet::V6(Ipv6Net::new_assert(v6(numbers.v4(), 0), 64)));
    let mut lengths = blocklist_lengths(size);
    let mix = distinct(size, || {
        let length = lengths.pop().unwrap_or(32);
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(numbers.v4()), length).trunc())
    });
    [
        Set { name: "IPv4 hosts", networks: hosts_v4 },
        Set { name: "IPv6 hosts", networks: hosts_v6 },
        Set { name: "IPv6 /64", networks: nets_v6 },
        Set { name: "IPv4, /8 to /32", networks: mix },
    ]
}

fn distinct(size: usize, mut make: impl FnMut() -> IpNet) -> Vec<IpNet> {
    let mut seen = std::collections::HashSet::with_capacity(size);
    while seen.len() < size {
        seen.insert(make());
    }
    seen.into_iter().collect()
}

/// As in published lists: mostly hosts, a twentieth /24, and some of every other length, wide ones
/// fewer, so that all of one length cover at most a hundredth of the addresses.
fn blocklist_lengths(size: usize) -> Vec<u8> {
    let mut lengths = vec![24; size / 20];
    for length in 8..=31 {
        let fit = (1 << (length - 1)) / 100 + 1;
        lengths.extend(std::iter::repeat_n(length, fit.min(size / 2_500)));
    }
    lengths
}

/// Somebody in a network.
fn member(net: IpNet, numbers: &mut Numbers) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let host = !net.netmask().to_bits() & numbers.v4();
            Ipv4Addr::from_bits(net.addr().to_bits() | host).into()
        }
        IpNet::V6(net) => {
            let host = !net.netmask().to_bits() & u128::from(numbers.next());
            Ipv6Addr::from_bits(net.addr().to_bits() | host).into()
        }
    }
}

/// Clients in the order in which they come, enough to empty the caches in between: those who are
/// banned and those who are not.
fn clients(set: &Set, bans: &Bans, now: Now) -> [Vec<IpAddr>; 2] {
    let mut numbers = Numbers(9);
    let count = set.networks.len();
    let mut one = || {
        let net = set.networks.get(numbers.below(count)).copied().unwrap_or_default();
        member(net, &mut numbers)
    };
    let hits: Vec<_> = (0..1 << 20).map(|_| one()).collect();
    let mut other = |address: &IpAddr| match address {
        IpAddr::V4(_) => Ipv4Addr::from_bits(numbers.v4()).into(),
        IpAddr::V6(address) => {
            let bits = address.to_bits() ^ u128::from(numbers.next() >> 40) << 56;
            Ipv6Addr::from_bits(bits).into()
        }
    };
    let is_free = |address: &IpAddr| bans.look_up(*address, now.instant).is_none();
    let misses = hits.iter().map(|address| {
        loop {
            let other = other(address);
            if is_free(&other) {
                return other;
            }
        }
    });
    let misses = misses.collect();
    [hits, misses]
}

#[expect(clippy::print_stderr, reason = "Criterion has no word for bytes and the fastest round")]
fn look_ups() {
    let now = now();
    for size in [1_000, 1_000_000] {
        for set in sets(size) {
            let before = resident();
            let bans = of(&set.networks, now);
            let taken = resident().saturating_sub(before) / size;
            eprintln!("{size} {}: about {taken} bytes a ban, with the book", set.name);
            let peers = peers(&set.networks);
            let [hits, misses] = clients(&set, &bans, now);
            let mut coins = Numbers(3);
            let pairs = hits.iter().zip(&misses);
            let half = pairs.map(|(hit, miss)| if coins.below(2) == 0 { *hit } else { *miss });
            let half: Vec<_> = half.collect();
            for (whom, clients) in [("hits", &hits), ("misses", &misses), ("half", &half)] {
                let time = |who: &str, find: &dyn Fn(IpAddr) -> bool| {
                    let [fastest, median] = rounds(clients, find);
                    eprintln!("  {whom}, {who}: fastest {fastest:.0} ns, median {median:.0} ns");
                };
                time("look-up", &|client| bans.look_up(client, now.instant).is_some());
                time("prefix trie", &|client| peers.finds(client));
                if let Some(hosts) = &peers.hosts {
                    time("hash map", &|client| hosts.contains_key(&client));
                }
            }
        }
    }
}

/// The time of one look-up, by the fastest of many rounds and by their median: rounds are short
/// enough to find a core to themselves on a machine that has other work.
fn rounds(clients: &[IpAddr], find: &dyn Fn(IpAddr) -> bool) -> [f64; 2] {
    const EACH: u32 = 5_000;
    let clock = Clock::System;
    let mut clients = clients.iter().copied().cycle();
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let began = clock.now();
            for client in clients.by_ref().take(EACH as usize) {
                black_box(find(client));
            }
            (clock.now() - began).as_secs_f64() * 1e9 / f64::from(EACH)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [0, times.len() / 2].map(|at| times.get(at).copied().unwrap_or_default())
}

/// The same networks in what others use.
struct Peers {
    v4: PrefixMap<Ipv4Net, u32>,
    v6: PrefixMap<Ipv6Net, u32>,
    hosts: Option<HashMap<IpAddr, u32>>,
}

impl Peers {
    fn finds(&self, client: IpAddr) -> bool {
        match client {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).is_some(),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).is_some(),
        }
    }
}

fn peers(networks: &[IpNet]) -> Peers {
    let mut peers = Peers { v4: PrefixMap::new(), v6: PrefixMap::new(), hosts: None };
    for net in networks {
        match net {
            IpNet::V4(net) => peers.v4.insert(*net, 1),
            IpNet::V6(net) => peers.v6.insert(*net, 1),
        };
    }
    let are_hosts = networks.iter().all(|net| net.prefix_len() == net.max_prefix_len());
    peers.hosts = are_hosts.then(|| networks.iter().map(|net| (net.addr(), 1)).collect());
    peers
}

fn of(networks: &[IpNet], now: Now) -> Bans {
    let bans = Bans::default();
    let source: Arc<str> = "bench".into();
    let all = networks.iter().map(|net| ban((*net).into(), Measure::Block, &source));
    let (taken, refused) = bans.add(all, now);
    assert_eq!((taken, refused.len()), (networks.len(), 0), "all are banned");
    bans.settle(now);
    bans
}

fn ban(network: Network, measure: Measure, source: &Arc<str>) -> Ban {
    Ban {
        target: Target::Network(network),
        measure,
        until: Some(4_000_000_000),
        since: 0,
        source: Arc::clone(source),
        reason: Arc::clone(source),
    }
}

fn now() -> Now {
    let clock = Clock::System;
    Now { instant: clock.now(), wall: clock.wall() }
}

/// How much memory the process has.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1_024
}

/// What a change costs while the tables wait to be made anew, and what that takes.
fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("bans");
    group.sample_size(10);
    let now = now();
    for size in [1_000, 1_000_000] {
        let [hosts, ..] = sets(size);
        let bans = of(&hosts.networks, now);
        let mut numbers = Numbers(5);
        group.bench_function(BenchmarkId::new("add one", size), |b| {
            b.iter_custom(|rounds| add_one_by_one(&bans, &mut numbers, rounds, now));
        });
        group.bench_function(BenchmarkId::new("settle", size), |b| b.iter(|| bans.settle(now)));
    }
    group.finish();
}

/// Adds and lifts bans one by one, and settles in between as the process does; only the adding is
/// timed.
fn add_one_by_one(bans: &Bans, numbers: &mut Numbers, rounds: u64, now: Now) -> Duration {
    let (clock, source) = (Clock::System, Arc::<str>::from("bench"));
    let mut spent = Duration::ZERO;
    let mut added = Vec::new();
    for round in 0..rounds {
        let client = IpAddr::from(Ipv4Addr::from_bits(numbers.v4()));
        let ban = ban(client.into(), Measure::Tarpit, &source);
        added.push((ban.target.clone(), ban.measure, Arc::clone(&source)));
        let began = clock.now();
        black_box(bans.add([ban], now));
        spent += clock.now() - began;
        if round % 256 == 255 {
            bans.lift_each(added.drain(..), now);
            bans.settle(now);
        }
    }
    bans.lift_each(added, now);
    bans.settle(now);
    spent
}

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--bench") {
        look_ups();
    }
    let mut criterion = Criterion::default().configure_from_args();
    changes(&mut criterion);
    criterion.final_summary();
}
