//! The table of banned addresses and networks: for each length of prefix that occurs a flat hash
//! table, in which a ban is a dozen bytes or two beside those that hash alike, and a filter before
//! it of a bit for each hash. A look-up asks all filters first, without a branch, so that their
//! cache misses overlap; then it touches a cache line or two of each table whose filter did not say
//! no. It is immutable; a change makes a new one.
//!
//! All that holds for an address is compared at the moment of the look-up, so nothing has to be
//! made anew when one ban ends or is lifted before another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::BitAnd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tidegate_core::decision::{Measure, Target};

use super::book::{Key, Line};
use super::hash::{Secret, halves};
use super::view::{End, Found, Whom};
use super::{Now, since_epoch};

/// The networks at one moment.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: Vec<Table<u32>>,
    /// Those of at most 64 bits, which are the upper half of the address.
    v6_short: Vec<Table<u64>>,
    v6_long: Vec<Table<Wide>>,
    verdicts: Vec<(Measure, Arc<str>)>,
    /// A whole second of the wall clock, which ends are counted from; `None` if nobody is banned.
    origin: Option<Instant>,
}

/// The networks with prefixes of one length: each at the place that its hash names, or the next one
/// that is free. A third of the places stay free. What several sources and measures say of a
/// network has as many places.
#[derive(Debug)]
struct Table<A> {
    length: u8,
    mask: A,
    secret: Secret,
    /// A bit for the hash of each network: 8 to 16 times as many bits as networks, so that about one
    /// in ten of the others is asked for in vain. A power of two of words.
    filter: Box<[u64]>,
    places: Box<[Place<A>]>,
}

/// A ban, or nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Place<A> {
    network: A,
    /// Seconds after the origin, 0 if the place is free. Bans end at whole seconds of the wall
    /// clock, so only a step of that clock makes this less than exact, by half a second.
    end: u32,
    /// Which of the verdicts it is.
    verdict: u32,
}

/// A look-up.
struct Asked<'a> {
    address: IpAddr,
    /// Seconds since the origin.
    passed: u32,
    outdated: &'a BTreeSet<Key>,
}

/// The longest prefix of IPv6 that is a number of 64 bits.
const SHORT: u8 = 64;

/// An end that does not come.
const NEVER: u32 = u32::MAX;

/// An IPv6 address, which as a `u128` would take more room beside what holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wide {
    high: u64,
    low: u64,
}

impl Networks {
    /// The networks among the bans.
    pub(super) fn new(bans: &[Line], now: Now) -> Self {
        let part = Duration::from_nanos(since_epoch(now.wall).subsec_nanos().into());
        let origin = now.instant.checked_sub(part).unwrap_or(now.instant);
        let mut lengths = [const { BTreeMap::new() }; 3];
        let [of_v4, of_v6_short, of_v6_long] = &mut lengths;
        for net in bans.iter().filter_map(|(key, _)| net(key)) {
            let lengths = match net {
                IpNet::V4(_) => &mut *of_v4,
                IpNet::V6(_) if net.prefix_len() <= SHORT => &mut *of_v6_short,
                IpNet::V6(_) => &mut *of_v6_long,
            };
            *lengths.entry(net.prefix_len()).or_default() += 1;
        }
        let [of_v4, of_v6_short, of_v6_long] = lengths;
        let (mut v4, mut v6_short, mut v6_long) =
            (tables(of_v4), tables(of_v6_short), tables(of_v6_long));
        let mut verdicts = Verdicts::default();
        for (key, end) in bans {
            let Some(net) = net(key) else { continue };
            // A place with an end of 0 is a free one, and such a ban is over.
            let (end, verdict) = (seconds_to(*end, origin), verdicts.place(key));
            match net.addr() {
                IpAddr::V4(address) => {
                    insert(&mut v4, net, Place { network: address.to_bits(), end, verdict });
                }
                IpAddr::V6(address) => {
                    let network = Wide::from(address.to_bits());
                    if net.prefix_len() <= SHORT {
                        insert(&mut v6_short, net, Place { network: network.high, end, verdict });
                    } else {
                        insert(&mut v6_long, net, Place { network, end, verdict });
                    }
                }
            }
        }
        let verdicts = verdicts.all;
        let origin = (!verdicts.is_empty()).then_some(origin);
        Self { v4, v6_short, v6_long, verdicts, origin }
    }

    /// Of the bans that hold the canonical address at `now` and are not `outdated` the hardest, and
    /// of those the longest.
    pub(super) fn find(
        &self,
        address: IpAddr,
        now: Instant,
        outdated: &BTreeSet<Key>,
    ) -> Option<Found<'_>> {
        let passed = now.saturating_duration_since(self.origin?).as_secs();
        let passed = u32::try_from(passed).unwrap_or(NEVER - 1);
        let asked = Asked { address, passed, outdated };
        match address {
            IpAddr::V4(it) => self.hardest(&self.v4, it.to_bits(), &asked),
            IpAddr::V6(it) => {
                let bits = Wide::from(it.to_bits());
                let short = self.hardest(&self.v6_short, bits.high, &asked);
                let long = self.hardest(&self.v6_long, bits, &asked);
                [short, long].into_iter().flatten().max_by_key(Found::rank)
            }
        }
    }

    fn hardest<A: Address>(
        &self,
        tables: &[Table<A>],
        bits: A,
        asked: &Asked<'_>,
    ) -> Option<Found<'_>> {
        let mut hardest = None;
        for tables in tables.chunks(32) {
            let mut likely = 0_u32;
            for (at, table) in (0..).zip(tables) {
                likely |= u32::from(table.is_likely(bits)) << at;
            }
            while likely != 0 {
                let table = tables.get(likely.trailing_zeros() as usize);
                likely &= likely - 1;
                if let Some(table) = table {
                    hardest = self.harder(table, bits, asked, hardest);
                }
            }
        }
        hardest
    }

    /// What a table says, if it is harder than what is known.
    fn harder<'n, A: Address>(
        &'n self,
        table: &Table<A>,
        bits: A,
        asked: &Asked<'_>,
        mut hardest: Option<Found<'n>>,
    ) -> Option<Found<'n>> {
        let Asked { address, passed, outdated } = *asked;
        for place in table.of(bits).filter(|place| place.end > passed) {
            let Some(found) = self.found(address, table.length, place) else { continue };
            let is_harder = hardest.is_none_or(|hardest| found.rank() > hardest.rank());
            if is_harder && (outdated.is_empty() || !outdated.contains(&found.key())) {
                hardest = Some(found);
            }
        }
        hardest
    }

    fn found<A>(&self, address: IpAddr, length: u8, place: &Place<A>) -> Option<Found<'_>> {
        let end = match place.end {
            NEVER => End::Never,
            end => End::At(self.origin?.checked_add(Duration::from_secs(end.into()))?),
        };
        let (measure, source) = self.verdicts.get(usize::try_from(place.verdict).ok()?)?;
        let whom = Whom::Network(IpNet::new(address, length).ok()?.into());
        Some(Found { whom, measure: *measure, source, end })
    }
}

impl<A: Address> Table<A> {
    /// An empty one that has room for so many.
    fn new(length: u8, count: usize) -> Self {
        Self {
            length,
            mask: A::mask(length),
            secret: Secret::default(),
            filter: vec![0; (count / 8 + 1).next_power_of_two()].into(),
            places: vec![Place::default(); count + count / 2 + 1].into(),
        }
    }

    /// Whether there may be something about the network that an address is in.
    fn is_likely(&self, address: A) -> bool {
        let (word, bit) = self.bit((address & self.mask).hash(self.secret));
        self.filter.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn bit(&self, hash: u64) -> (usize, u64) {
        let word = usize::try_from(hash / 64).unwrap_or_default();
        (word & (self.filter.len() - 1), hash % 64)
    }

    /// What there is about the network that an address is in.
    fn of(&self, address: A) -> impl Iterator<Item = &Place<A>> {
        let network = address & self.mask;
        let (before, from) = self.places.split_at(self.start(network));
        let taken = from.iter().chain(before).take_while(|place| place.end > 0);
        taken.filter(move |place| place.network == network)
    }

    fn insert(&mut self, new: Place<A>) {
        let (word, bit) = self.bit(new.network.hash(self.secret));
        if let Some(word) = self.filter.get_mut(word) {
            *word |= 1 << bit;
        }
        let (before, from) = self.places.split_at_mut(self.start(new.network));
        if let Some(free) = from.iter_mut().chain(before).find(|place| place.end == 0) {
            *free = new;
        }
    }

    /// Where the network is, or shortly after.
    fn start(&self, network: A) -> usize {
        let [_, start] = halves(u128::from(network.hash(self.secret)) * self.places.len() as u128);
        usize::try_from(start).unwrap_or_default()
    }
}

fn seconds_to(end: End, origin: Instant) -> u32 {
    match end {
        End::Never => NEVER,
        End::At(end) => {
            let left = end.saturating_duration_since(origin) + Duration::from_millis(500);
            u32::try_from(left.as_secs()).unwrap_or(NEVER)
        }
    }
}

fn net(key: &Key) -> Option<IpNet> {
    match &key.target {
        Target::Network(network) => Some(network.net()),
        _ => None,
    }
}

/// Empty tables for all lengths that occur, each of the size it needs.
fn tables<A: Address>(counts: BTreeMap<u8, usize>) -> Vec<Table<A>> {
    counts.into_iter().map(|(length, count)| Table::new(length, count)).collect()
}

fn insert<A: Address>(tables: &mut [Table<A>], net: IpNet, place: Place<A>) {
    if let Some(table) = tables.iter_mut().find(|table| table.length == net.prefix_len()) {
        table.insert(place);
    }
}

/// An address as a number.
trait Address: Copy + Default + Eq + BitAnd<Output = Self> {
    /// With as many bits set as the prefix has.
    fn mask(length: u8) -> Self;

    fn hash(self, secret: Secret) -> u64;
}

impl Address for u32 {
    fn mask(length: u8) -> Self {
        Self::MAX.checked_shl(Self::BITS.saturating_sub(length.into())).unwrap_or(0)
    }

    fn hash(self, secret: Secret) -> u64 {
        secret.hash(self.into())
    }
}

impl Address for u64 {
    fn mask(length: u8) -> Self {
        Self::MAX.checked_shl(Self::BITS.saturating_sub(length.into())).unwrap_or(0)
    }

    fn hash(self, secret: Secret) -> u64 {
        secret.hash(self)
    }
}

impl Address for Wide {
    fn mask(length: u8) -> Self {
        u128::MAX.checked_shl(u128::BITS.saturating_sub(length.into())).unwrap_or(0).into()
    }

    fn hash(self, secret: Secret) -> u64 {
        secret.hash_pair(self.high, self.low)
    }
}

impl BitAnd for Wide {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self { high: self.high & other.high, low: self.low & other.low }
    }
}

impl From<u128> for Wide {
    fn from(bits: u128) -> Self {
        let [low, high] = halves(bits);
        Self { high, low }
    }
}

/// What is done and who decided it: few, for many bans.
#[derive(Default)]
struct Verdicts {
    all: Vec<(Measure, Arc<str>)>,
    places: HashMap<(Measure, Arc<str>), u32>,
}

impl Verdicts {
    fn place(&mut self, key: &Key) -> u32 {
        // Neighbours mostly have one.
        let is_it = |(measure, source): &(Measure, Arc<str>)| {
            *measure == key.measure && Arc::ptr_eq(source, &key.source)
        };
        if let (Some(last), Ok(place)) = (self.all.last(), u32::try_from(self.all.len()))
            && is_it(last)
        {
            return place - 1;
        }
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let verdict = (key.measure, Arc::clone(&key.source));
        *self.places.entry(verdict.clone()).or_insert_with(|| {
            self.all.push(verdict);
            next
        })
    }
}
