//! The clients of the last quarter of an hour, and how many of them measures hit: what the cap
//! looks at.
//!
//! The cap is about clients who are *served*: they had good answers, and no more than ten bad ones
//! for each. To keep those away is an outage; to keep somebody away who never got anything but
//! refusals is none. So beyond the cap the latter are hit all the same, lightly at first: whoever is
//! honest gets a good answer even then, and counts from then on. That holds as long as the service
//! does well by those it serves. When it does not, nobody can tell who is honest, and all count.
//!
//! An address behind which many people are, as their agents tell, is never hit: a carrier's gateway is
//! not one client.
//!
//! Up to some 8000 clients each is known. Of more a sample is kept, chosen by hash, so that the
//! shares stay right and the memory stays the same. IPv6 clients count by /48, the most that one
//! site gets: whoever has it could else be as many clients as he likes.

mod client;

use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tidegate_core::Event;
use tidegate_core::decision::Target;

use self::client::{Client, Meant, hash_of};
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

/// A wish to hit somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Until when.
    pub(super) until: u64,
    /// Whether they were hit lightly before, and went on.
    pub(super) warned: bool,
}

/// What the last count said, and whether the policy only tells.
#[derive(Debug, Default)]
struct Told {
    census: Option<(u64, Census)>,
    capped: bool,
}

/// Everybody, counted.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    all: Counted,
    served: Counted,
    /// Of the served that were seen lately, all and those whose last answer was good.
    lately: u64,
    content: u64,
}

#[derive(Debug, Default)]
struct Shard {
    clients: FxHashMap<u64, Client>,
    /// Whether the policy only tells, so that who is hit stays known although they are gone.
    capped: bool,
    /// One of 2^level clients is known.
    level: u32,
}

const SHARDS: usize = 16;

/// As many as a shard knows.
const KNOWN: usize = 512;

/// Who was not seen for as long is no recent client.
pub(super) const RECENT: u64 = 15 * 60 * 1_000_000_000;

/// The service does well if at least half of the served whom it saw within that time had a good
/// answer last, and there were as many.
const LATELY: u64 = 60 * 1_000_000_000;
const ENOUGH: u64 = 5;

/// For how long somebody is hit lightly.
pub(super) const LIGHTLY: u64 = 5 * 60 * 1_000_000_000;

/// A count may be as old before the clients are counted again.
const COUNTED_FOR: u64 = 1_000_000_000;

/// What became of a wish to hit somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are hit from now on.
    Hit,
    /// They are hit, but no harder than by a throttle, and for no longer than [`LIGHTLY`].
    Lightly,
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

    /// Somebody asked for something; nobody who is protected counts. `is_met` says that a measure of
    /// the policy met it: so it is hit, although that may not have been known when that was decided,
    /// or was so in another process.
    pub(super) fn see(
        &self,
        event: &Event<'_>,
        now: u64,
        is_met: bool,
        is_protected: impl FnOnce() -> bool,
    ) {
        let hash = hash_of(event.client, self.secret);
        let Some(shard) = self.shard(hash) else { return };
        let mut shard = shard.lock();
        if !shard.knows(hash) {
            return;
        }
        let client = match shard.clients.entry(hash) {
            Entry::Occupied(client) => client.into_mut(),
            Entry::Vacant(_) if is_protected() => return,
            Entry::Vacant(place) => place.insert(Client::new(event.client)),
        };
        client.asked(event, now, self.secret);
        if is_met {
            client.met_until = client.met_until.max(now.saturating_add(RECENT));
        }
        if shard.clients.len() > KNOWN {
            shard.shrink(now);
        }
    }

    /// Hits those whom the target means, unless that would be too many.
    pub(super) fn hit(&self, target: &Target, wish: Wish, cap: Cap, now: u64) -> Verdict {
        let meant = Meant::new(target, self.secret);
        let mut told = self.told.lock();
        let census = self.census(&mut told, now);
        let (mut known, mut crowd, mut all, mut served) = (false, false, 0, 0);
        self.each(&meant, now, |client, weight| {
            known = true;
            crowd |= meant.is_by_address() && client.is_crowd();
            if client.hit_until <= now {
                all += weight;
                served += if client.is_served() { weight } else { 0 };
            }
        });
        if crowd {
            return Verdict::Capped { newly: None };
        }
        let counted = census.counted();
        let more = if census.is_well() { served } else { all };
        // Whom another measure hits already makes nothing worse.
        let verdict = if known && all == 0 {
            Verdict::Hit
        } else if known && more == 0 && counted.hit <= cap.most(counted.clients) {
            let few = census.all.hit + all <= cap.most(census.all.clients);
            if few || wish.warned { Verdict::Hit } else { Verdict::Lightly }
        } else if !told.capped && counted.hit + more <= cap.most(counted.clients) {
            Verdict::Hit
        } else {
            // One target that is too large for the cap must not take it from all the others.
            let newly = !told.capped && !cap.has_room(counted);
            told.capped |= newly;
            return Verdict::Capped { newly: newly.then_some(counted) };
        };
        if let Some((_, kept)) = &mut told.census {
            kept.all.hit += all;
            kept.served.hit += served;
        }
        self.each(&meant, now, |client, _| match verdict {
            Verdict::Lightly => client.met_until = wish.until.min(now.saturating_add(LIGHTLY)),
            _ => client.hit_until = client.hit_until.max(wish.until),
        });
        verdict
    }

    /// Whom the target means is hit no more.
    pub(super) fn spare(&self, target: &Target, now: u64) {
        self.each(&Meant::new(target, self.secret), now, |client, _| {
            (client.hit_until, client.met_until) = (0, 0);
        });
        self.told.lock().census = None;
    }

    /// Forgets clients that were not seen for long. Answers the count if the policy only tells from
    /// now on (`true`), or may act again: somebody may come into what is hit already.
    pub(super) fn tick(&self, cap: Cap, now: u64) -> Option<(bool, Counted)> {
        let mut told = self.told.lock();
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.capped = told.capped;
            shard.forget(now);
        }
        told.census = None;
        let census = self.census(&mut told, now);
        let counted = if told.capped { census.counted() } else { census.served };
        let turns = match told.capped {
            true => cap.has_room(counted),
            false => counted.hit > cap.most(counted.clients),
        };
        told.capped ^= turns;
        turns.then_some((told.capped, counted))
    }

    /// How many there are now, and whether the policy only tells.
    pub(super) fn count(&self, now: u64) -> (Counted, bool) {
        let mut told = self.told.lock();
        (self.census(&mut told, now).all, told.capped)
    }

    #[cfg(test)]
    pub(super) fn served(&self, now: u64) -> Counted {
        self.told.lock().census = None;
        self.census(&mut self.told.lock(), now).served
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        // A map keeps a byte of control for each place, and up to an eighth of them free.
        let place = size_of::<(u64, Client)>() + 1;
        self.shards.iter().map(|shard| shard.lock().clients.capacity() * place * 8 / 7).sum()
    }

    fn census(&self, told: &mut Told, now: u64) -> Census {
        if let Some((at, census)) = told.census
            && now.saturating_sub(at) < COUNTED_FOR
        {
            return census;
        }
        let mut census = Census::default();
        for shard in &self.shards {
            let shard = shard.lock();
            for client in shard.clients.values().filter(|client| shard.keeps(client, now)) {
                census.add(client, 1 << shard.level, now);
            }
        }
        told.census = Some((now, census));
        census
    }

    /// Does something with each known client that is meant, told for how many it stands.
    fn each(&self, meant: &Meant, now: u64, mut work: impl FnMut(&mut Client, u64)) {
        if let Meant::One(hash) = meant {
            let Some(shard) = self.shard(*hash) else { return };
            let mut shard = shard.lock();
            let weight = 1 << shard.level;
            if let Some(client) = shard.clients.get_mut(hash) {
                work(client, weight);
            }
            return;
        }
        for shard in &self.shards {
            let mut shard = shard.lock();
            let weight = 1 << shard.level;
            let clients = shard.clients.values_mut();
            for client in clients.filter(|client| client.is_recent(now) && meant.means(client)) {
                work(client, weight);
            }
        }
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(hash >> 32).unwrap_or(0) % SHARDS)
    }
}

impl Census {
    fn add(&mut self, client: &Client, weight: u64, now: u64) {
        let hit = if client.is_hit(now) { weight } else { 0 };
        self.all.clients += weight;
        self.all.hit += hit;
        if !client.is_served() {
            return;
        }
        self.served.clients += weight;
        self.served.hit += hit;
        if now.saturating_sub(client.seen) <= LATELY {
            self.lately += weight;
            self.content += if client.content { weight } else { 0 };
        }
    }

    /// Whether the service does well by those it serves.
    fn is_well(&self) -> bool {
        self.lately >= ENOUGH && self.content * 2 >= self.lately
    }

    /// Those whom the cap is about.
    fn counted(&self) -> Counted {
        if self.is_well() { self.served } else { self.all }
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

impl Shard {
    fn knows(&self, hash: u64) -> bool {
        // The map and the choice of the shard use other bits.
        (hash >> 8).trailing_zeros() >= self.level
    }

    /// Whether a client still counts. Those who are hit and leave must not make room for others as
    /// long as the cap is reached: a rule that means everybody would have all of them in turn.
    fn keeps(&self, client: &Client, now: u64) -> bool {
        client.is_recent(now) || self.capped && client.is_hit(now)
    }

    fn drop_gone(&mut self, now: u64) {
        let mut clients = std::mem::take(&mut self.clients);
        clients.retain(|_, client| self.keeps(client, now));
        self.clients = clients;
    }

    fn forget(&mut self, now: u64) {
        self.drop_gone(now);
        if self.level > 0 && self.clients.len() < KNOWN / 4 {
            self.level -= 1;
        }
    }

    fn shrink(&mut self, now: u64) {
        self.drop_gone(now);
        while self.clients.len() > KNOWN && self.level < 40 {
            self.level += 1;
            let level = self.level;
            self.clients.retain(|hash, _| (hash >> 8).trailing_zeros() >= level);
        }
    }
}

#[cfg(test)]
mod tests;
