//! The clients of the last quarter of an hour, and how many of them measures hit: what the cap
//! looks at.
//!
//! Up to some 8000 clients each is known. Of more a sample is kept, chosen by hash, so that the
//! shares stay right and the memory stays the same. IPv6 clients count by /48, the most that one
//! site gets: whoever has it could else be as many clients as he likes.

use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tidegate_core::Event;
use tidegate_core::decision::Target;

use super::hash::Secret;

/// The clients, in shards.
#[derive(Debug)]
pub(super) struct Population {
    secret: Secret,
    shards: [Mutex<Shard>; SHARDS],
    told: Mutex<Told>,
}

/// How many clients there are, and how many of them are hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Clients of the last quarter of an hour.
    pub clients: u64,
    /// Those of them that a measure hits now.
    pub hit: u64,
}

/// How much may be hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cap {
    /// In hundredths of a percent.
    pub(super) share: u64,
    /// Whatever the share.
    pub(super) floor: u64,
}

/// What the last count said, and whether the policy only tells.
#[derive(Debug, Default)]
struct Told {
    counted: Option<(u64, Counted)>,
    capped: bool,
}

#[derive(Debug, Default)]
struct Shard {
    clients: FxHashMap<u64, Client>,
    /// One of 2^level clients is known.
    level: u32,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    address: IpAddr,
    /// When it was last seen, and until when it is hit, in nanoseconds.
    seen: u64,
    hit_until: u64,
    /// A bit for each route that it used, by hash.
    routes: u64,
    /// Whom it was last known as: hashes of subjects, clients and tokens.
    parties: [u32; PARTIES],
}

/// As many parties behind one address are known.
const PARTIES: usize = 6;

const SHARDS: usize = 16;

/// As many as a shard knows.
const KNOWN: usize = 512;

/// Who was not seen for as long is no recent client.
pub(super) const RECENT: u64 = 15 * 60 * 1_000_000_000;

/// A count may be as old before the clients are counted again.
const COUNTED_FOR: u64 = 1_000_000_000;

/// What became of a wish to hit somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are hit from now on.
    Hit,
    /// It would be too many.
    Capped {
        /// What was counted, if it was not so before.
        newly: Option<Counted>,
    },
}

impl Population {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, shards: Default::default(), told: Mutex::default() }
    }

    /// Somebody asked for something.
    pub(super) fn see(&self, event: &Event<'_>, now: u64) {
        let address = site(event.client);
        let hash = self.secret.hash(CLIENT, &address);
        let Some(shard) = self.shard(hash) else { return };
        let mut shard = shard.lock();
        if !shard.knows(hash) {
            return;
        }
        let new = Client { address, seen: now, hit_until: 0, routes: 0, parties: [0; PARTIES] };
        let client = shard.clients.entry(hash).or_insert(new);
        client.seen = client.seen.max(now);
        client.routes |= event.route.map_or(0, |route| route_bit(route, self.secret));
        client.is_known_as(event, self.secret);
        if shard.clients.len() > KNOWN {
            shard.shrink(now);
        }
    }

    /// Hits those whom the target means until then, unless that would be too many.
    pub(super) fn hit(&self, target: &Target, until: u64, cap: Cap, now: u64) -> Verdict {
        let meant = Meant::new(target, self.secret);
        let mut told = self.told.lock();
        let mut counted = self.counted(&mut told, now);
        let mut known = false;
        let more = self.each(&meant, now, |client, weight| {
            known = true;
            if client.hit_until > now { 0 } else { weight }
        });
        // Whom another measure hits already makes nothing worse.
        let is_hit = known && more == 0;
        if !is_hit && (told.capped || counted.hit + more > cap.most(counted.clients)) {
            // One target that is too large for the cap must not take it from all the others.
            let newly = !told.capped && !cap.has_room(counted);
            told.capped |= newly;
            return Verdict::Capped { newly: newly.then_some(counted) };
        }
        counted.hit += more;
        if let Some((_, kept)) = &mut told.counted {
            *kept = counted;
        }
        self.each(&meant, now, |client, _| {
            client.hit_until = client.hit_until.max(until);
            0
        });
        Verdict::Hit
    }

    /// Whom the target means is hit no more.
    pub(super) fn spare(&self, target: &Target, now: u64) {
        self.each(&Meant::new(target, self.secret), now, |client, _| {
            client.hit_until = 0;
            0
        });
        self.told.lock().counted = None;
    }

    /// Forgets clients that were not seen for long; answers the count if the policy may act again.
    pub(super) fn tick(&self, cap: Cap, now: u64) -> Option<Counted> {
        for shard in &self.shards {
            shard.lock().forget(now);
        }
        let mut told = self.told.lock();
        told.counted = None;
        let counted = self.counted(&mut told, now);
        let over = told.capped && cap.has_room(counted);
        told.capped &= !over;
        over.then_some(counted)
    }

    /// How many there are now, and whether the policy only tells.
    pub(super) fn count(&self, now: u64) -> (Counted, bool) {
        let mut told = self.told.lock();
        (self.counted(&mut told, now), told.capped)
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        // A map keeps a byte of control for each place, and up to an eighth of them free.
        let place = size_of::<(u64, Client)>() + 1;
        self.shards.iter().map(|shard| shard.lock().clients.capacity() * place * 8 / 7).sum()
    }

    fn counted(&self, told: &mut Told, now: u64) -> Counted {
        if let Some((at, counted)) = told.counted
            && now.saturating_sub(at) < COUNTED_FOR
        {
            return counted;
        }
        let mut counted = Counted::default();
        for shard in &self.shards {
            let shard = shard.lock();
            for client in shard.clients.values().filter(|client| client.is_recent(now)) {
                counted.clients += 1 << shard.level;
                counted.hit += u64::from(client.hit_until > now) << shard.level;
            }
        }
        told.counted = Some((now, counted));
        counted
    }

    /// Does something with each known client that is meant; adds up what it answers.
    fn each(&self, meant: &Meant, now: u64, mut work: impl FnMut(&mut Client, u64) -> u64) -> u64 {
        let mut sum = 0;
        if let Meant::One(hash) = meant {
            let Some(shard) = self.shard(*hash) else { return 0 };
            let mut shard = shard.lock();
            let weight = 1 << shard.level;
            return shard.clients.get_mut(hash).map_or(0, |client| work(client, weight));
        }
        for shard in &self.shards {
            let mut shard = shard.lock();
            let weight = 1 << shard.level;
            let clients = shard.clients.values_mut();
            for client in clients.filter(|client| client.is_recent(now) && meant.means(client)) {
                sum += work(client, weight);
            }
        }
        sum
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(hash >> 32).unwrap_or(0) % SHARDS)
    }
}

impl Cap {
    fn most(self, clients: u64) -> u64 {
        (clients * self.share / 10_000).max(self.floor)
    }

    /// Whether at most four fifths of what may be hit are.
    fn has_room(self, counted: Counted) -> bool {
        counted.hit * 5 <= self.most(counted.clients) * 4
    }
}

impl Client {
    fn is_known_as(&mut self, event: &Event<'_>, secret: Secret) {
        let mut know = |party: u32| {
            if !self.parties.contains(&party) {
                self.parties.rotate_right(1);
                if let Some(first) = self.parties.first_mut() {
                    *first = party;
                }
            }
        };
        if let Some(identity) = event.identity {
            let provider = &*identity.provider;
            identity.subject.iter().for_each(|id| know(party(SUBJECT, provider, id, secret)));
            identity.client.iter().for_each(|id| know(party(ACTOR, provider, id, secret)));
        }
        event.credential.iter().for_each(|token| know(party(TOKEN, "", token, secret)));
    }

    fn is_recent(&self, now: u64) -> bool {
        now.saturating_sub(self.seen) <= RECENT
    }
}

impl Shard {
    fn knows(&self, hash: u64) -> bool {
        // The map and the choice of the shard use other bits.
        (hash >> 8).trailing_zeros() >= self.level
    }

    fn forget(&mut self, now: u64) {
        self.clients.retain(|_, client| client.is_recent(now));
        if self.level > 0 && self.clients.len() < KNOWN / 4 {
            self.level -= 1;
        }
    }

    fn shrink(&mut self, now: u64) {
        self.clients.retain(|_, client| client.is_recent(now));
        while self.clients.len() > KNOWN && self.level < 40 {
            self.level += 1;
            let level = self.level;
            self.clients.retain(|hash, _| (hash >> 8).trailing_zeros() >= level);
        }
    }
}

const CLIENT: u8 = 101;
const ROUTE: u8 = 102;
const SUBJECT: u8 = 103;
const ACTOR: u8 = 104;
const TOKEN: u8 = 105;

fn party(kind: u8, provider: &str, id: &str, secret: Secret) -> u32 {
    u32::try_from(secret.hash(kind, &(provider, id)) >> 32).unwrap_or(0)
}

/// What counts as one client.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn route_bit(route: &str, secret: Secret) -> u64 {
    1 << (secret.hash(ROUTE, route) % 64)
}

/// Which clients a target means.
enum Meant {
    Nobody,
    /// The one with this hash.
    One(u64),
    /// Those in a network.
    Within(ipnet::IpNet),
    /// Those who used a route that has one of these bits.
    On(u64),
    /// Those who were known as somebody.
    As(u32),
}

impl Meant {
    fn new(target: &Target, secret: Secret) -> Self {
        let one = |address| Self::One(secret.hash(CLIENT, &site(address)));
        match target {
            Target::Network(network) => {
                let net = network.net();
                let whole = if net.addr().is_ipv4() { 32 } else { 48 };
                if net.prefix_len() >= whole { one(net.addr()) } else { Self::Within(net) }
            }
            Target::Subject(who) => Self::As(party(SUBJECT, &who.provider, &who.id, secret)),
            Target::Client(who) => Self::As(party(ACTOR, &who.provider, &who.id, secret)),
            Target::Token(token) => Self::As(party(TOKEN, "", token, secret)),
            Target::Route(route) => Self::On(route_bit(route, secret)),
            Target::Endpoint { .. } | Target::Zone { .. } => Self::Nobody,
        }
    }

    fn means(&self, client: &Client) -> bool {
        match self {
            Self::Within(net) => net.contains(&client.address),
            Self::On(bit) => client.routes & bit != 0,
            Self::As(party) => client.parties.contains(party),
            Self::Nobody | Self::One(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tidegate_core::decision::Party;
    use tidegate_core::event::Identity;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const CAP: Cap = Cap { share: 500, floor: 1 };

    fn client(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn from(client: IpAddr) -> Event<'static> {
        Event { client, ..Event::default() }
    }

    fn people(count: u32) -> Population {
        let population = Population::new(Secret::new(5));
        for n in 0..count {
            let route = Some(if n < 10 { "few" } else { "many" });
            population.see(&Event { route, ..from(client(n)) }, 0);
        }
        population
    }

    fn hit(population: &Population, target: &str, now: u64) -> bool {
        let target = match target.parse() {
            Ok(network) => Target::Network(network),
            Err(_) => Target::Route(target.into()),
        };
        let until = now + 600 * SECOND;
        population.hit(&target, until, CAP, now) == Verdict::Hit
    }

    #[test]
    fn one_of_few_may_be_hit_and_of_many_a_share() {
        let few = people(3);
        assert!(hit(&few, "10.0.0.1", 0));
        assert!(!hit(&few, "10.0.0.2", 0));
        let many = people(1_000);
        let taken = (0..100).filter(|n| hit(&many, &client(*n).to_string(), 0)).count();
        assert_eq!(taken, 50);
    }

    #[test]
    fn a_network_and_a_route_count_with_everybody_in_them() {
        let people = people(1_000);
        assert!(!hit(&people, "10.0.0.0/16", 0));
        assert_eq!(people.count(0), (Counted { clients: 1_000, hit: 0 }, false));
        assert_eq!(people.tick(CAP, SECOND), None);
        assert!(hit(&people, "10.0.0.0/27", SECOND));
        assert_eq!(people.count(SECOND).0, Counted { clients: 1_000, hit: 32 });
        assert!(hit(&people, "few", SECOND), "they are hit already");
        assert!(!hit(&people, "many", SECOND));
    }

    #[test]
    fn once_capped_only_time_or_mercy_helps() {
        let people = people(100);
        (0..5).for_each(|n| assert!(hit(&people, &client(n).to_string(), 0)));
        assert!(!hit(&people, "10.0.0.9", 0));
        assert_eq!(people.tick(CAP, SECOND), None);
        people.spare(&Target::Network("10.0.0.4".parse().unwrap()), SECOND);
        assert_eq!(people.tick(CAP, 2 * SECOND), Some(Counted { clients: 100, hit: 4 }));
        assert!(hit(&people, "10.0.0.9", 2 * SECOND));
        assert!(!hit(&people, "10.0.0.8", 2 * SECOND));
        for n in 0..100 {
            people.see(&from(client(n)), 601 * SECOND);
        }
        assert_eq!(people.tick(CAP, 700 * SECOND), Some(Counted { clients: 100, hit: 0 }));
    }

    #[test]
    fn a_million_clients_are_a_sample_and_the_share_stays_right() {
        let people = people(1_000_000);
        let (counted, _) = people.count(0);
        assert!((900_000..1_100_000).contains(&counted.clients), "{counted:?}");
        assert!(people.bytes() < 2_000_000, "{}", people.bytes());
        let taken =
            (0..1_000_000).step_by(4).filter(|n| hit(&people, &client(*n).to_string(), 0)).count();
        // 5 % of a million, by a sample of a few thousand.
        assert!((35_000..65_000).contains(&taken), "{taken}");
    }

    #[test]
    fn a_shared_identity_counts_with_everybody_who_shows_it() {
        let people = people(1_000);
        let identity = Identity {
            provider: "corp".into(),
            client: Some("web-app".into()),
            ..Identity::default()
        };
        for n in 0..800 {
            people.see(&Event { identity: Some(&identity), ..from(client(n)) }, 0);
        }
        let party = Party { provider: "corp".into(), id: "web-app".into() };
        let until = 600 * SECOND;
        assert_ne!(people.hit(&Target::Client(party.clone()), until, CAP, 0), Verdict::Hit);
        let nobody = Party { id: "other".into(), ..party };
        assert_eq!(people.hit(&Target::Client(nobody), until, CAP, 0), Verdict::Hit);
        assert_eq!(people.count(0).0, Counted { clients: 1_000, hit: 0 });
    }

    #[test]
    fn a_site_of_ipv6_is_one_client_however_many_addresses_it_has() {
        let people = people(100);
        for n in 0..1_000_u32 {
            people.see(&from(format!("2001:db8:7:{n:x}::1").parse().unwrap()), 0);
        }
        assert_eq!(people.count(0).0.clients, 101);
        assert!((0..1_000).all(|n| hit(&people, &format!("2001:db8:7:{n:x}::/64"), 0)));
        assert_eq!(people.count(0).0.hit, 1);
    }

    #[test]
    fn who_was_not_seen_for_long_is_no_client() {
        let people = people(1_000);
        people.see(&from(client(7)), RECENT);
        assert_eq!(people.tick(CAP, RECENT + 1), None);
        assert_eq!(people.count(RECENT + 1).0.clients, 1);
    }
}
