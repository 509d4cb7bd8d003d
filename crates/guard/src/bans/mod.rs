//! Bans: addresses and networks that are refused for a while, whatever they ask for. They are
//! added and lifted while requests pass; a look-up reads one immutable table and waits for nobody.
//!
//! Some addresses are never banned: loopback, and what the configuration protects (trusted
//! proxies, allow-lists). That is checked when a ban is added and once more when it would refuse,
//! because the list may have changed in between, and a network may hold a protected address.
//!
//! Time is an argument, and nothing here reads or writes a file; [`file`] has the lines that a
//! caller keeps them in.

pub mod file;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tidegate_core::net::{AddressSet, Network};
use tidegate_core::{Denial, Reason};

pub use self::settings::BansSettings;
use self::table::{End, Table};

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// Who is banned.
    pub network: Network,
    /// When it ends, as seconds since the Unix epoch; `None` if only lifting ends it.
    pub until: Option<u64>,
    /// Since when, as seconds since the Unix epoch.
    pub since: u64,
    /// Who decided: `admin`, the name of a file, the name of a rule.
    pub source: Box<str>,
    /// Why, for people; may be empty.
    pub reason: Box<str>,
}

/// A moment, by both clocks: bans are written by the wall clock and end by the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic time.
    pub instant: Instant,
    /// The wall clock's time.
    pub wall: SystemTime,
}

/// The bans in force.
#[derive(Debug)]
pub struct Bans {
    book: Mutex<Book>,
    never: ArcSwap<AddressSet>,
    table: ArcSwap<Table>,
}

#[derive(Debug)]
struct Book {
    /// What was added while the process runs, or before its last restart.
    bans: BTreeMap<Network, Ban>,
    /// What the configuration's lists say.
    listed: BTreeMap<Network, Ban>,
    max: usize,
    /// Counts changes of `bans`, so that whoever keeps them sees that there is something to keep.
    changes: u64,
}

impl Default for Bans {
    fn default() -> Self {
        let max = BansSettings::default().max();
        let book = Book { bans: BTreeMap::new(), listed: BTreeMap::new(), max, changes: 0 };
        let never = loopback().collect::<AddressSet>();
        Self {
            book: Mutex::new(book),
            never: ArcSwap::from_pointee(never),
            table: ArcSwap::default(),
        }
    }
}

impl Bans {
    /// Puts a configuration in force: who is `never` banned, beside loopback, how many bans there
    /// may be, and what its lists say. Bans that were added stay, whatever the lists say; of a
    /// protected address they are without effect.
    pub fn configure(&self, never: &[Network], max: usize, listed: Vec<Ban>, now: Now) {
        self.never.store(Arc::new(never.iter().copied().chain(loopback()).collect()));
        let mut book = self.book.lock();
        book.max = max;
        book.listed = listed.into_iter().map(|ban| (ban.network, ban)).collect();
        self.publish(&book, now);
    }

    /// The ban that refuses the client at `now`, if there is one. At a million bans this takes
    /// some 100 ns, and it takes no lock.
    ///
    /// # Errors
    ///
    /// The ban's network.
    pub fn check(&self, client: IpAddr, now: Instant) -> Result<(), Banned> {
        match self.table.load().find(client, now) {
            Some(network) if !self.never.load().contains(client) => Err(Banned { network }),
            _ => Ok(()),
        }
    }

    /// Adds bans, or prolongs those that are there; a shorter one does not shorten. All are in
    /// force when this returns. Answers how many are new or longer.
    ///
    /// # Errors
    ///
    /// Says of each ban that was not taken why.
    pub fn add(&self, bans: impl IntoIterator<Item = Ban>, now: Now) -> (usize, Vec<NotTaken>) {
        let mut book = self.book.lock();
        let never = self.never.load_full();
        let (mut taken, mut refused) = (0, Vec::new());
        for ban in bans {
            match book.take(ban, &never, now.wall) {
                Ok(true) => taken += 1,
                Ok(false) => {}
                Err(not_taken) => refused.push(not_taken),
            }
        }
        if taken > 0 {
            self.changed(&mut book, now);
        }
        (taken, refused)
    }

    /// Lifts the ban of exactly this network. Answers it, or `None` if there was none.
    pub fn lift(&self, network: Network, now: Now) -> Option<Ban> {
        let mut book = self.book.lock();
        let ban = book.bans.remove(&network)?;
        self.changed(&mut book, now);
        Some(ban)
    }

    /// Lifts each ban that the predicate names. Answers how many there were.
    pub fn lift_where(&self, mut predicate: impl FnMut(&Ban) -> bool, now: Now) -> usize {
        let mut book = self.book.lock();
        let before = book.bans.len();
        book.bans.retain(|_, ban| !predicate(ban));
        let lifted = before - book.bans.len();
        if lifted > 0 {
            self.changed(&mut book, now);
        }
        lifted
    }

    /// Forgets bans that have ended. Answers how many there were.
    pub fn sweep(&self, now: Now) -> usize {
        let wall = seconds(now.wall);
        self.lift_where(|ban| ban.until.is_some_and(|until| until <= wall), now)
    }

    /// The bans that hold the address, the widest network first, and whether it is protected.
    #[must_use]
    pub fn explain(&self, address: IpAddr) -> (Vec<Ban>, bool) {
        let book = self.book.lock();
        let address = address.to_canonical();
        let lengths = 0..=if address.is_ipv4() { 32 } else { 128 };
        let around = lengths.filter_map(|length| {
            let net = ipnet::IpNet::new(address, length).ok()?.trunc();
            Some(Network::from(net))
        });
        let around = around.flat_map(|network| {
            let bans = [book.listed.get(&network), book.bans.get(&network)];
            bans.into_iter().flatten().cloned().collect::<Vec<_>>()
        });
        (around.collect(), self.never.load().contains(address))
    }

    /// Bans that were added, after the given network in the order of networks, at most `limit`.
    /// Those of lists are not among them.
    #[must_use]
    pub fn list(&self, after: Option<Network>, limit: usize) -> Vec<Ban> {
        let book = self.book.lock();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = book.bans.range((from, std::ops::Bound::Unbounded));
        range.take(limit).map(|(_, ban)| ban.clone()).collect()
    }

    /// How many bans were added, how many lists say, and a number that changes with the former.
    #[must_use]
    pub fn stats(&self) -> BanStats {
        let book = self.book.lock();
        BanStats { added: book.bans.len(), listed: book.listed.len(), changes: book.changes }
    }

    fn changed(&self, book: &mut Book, now: Now) {
        book.changes += 1;
        self.publish(book, now);
    }

    fn publish(&self, book: &Book, now: Now) {
        let mut bans: Vec<&Ban> = book.bans.values().chain(book.listed.values()).collect();
        bans.sort_by_key(|ban| ban.network);
        let bans = bans.into_iter().map(|ban| (&ban.network, ban.end(now)));
        self.table.store(Table::new(bans).into());
    }
}

impl Book {
    /// Takes a ban; answers whether it changes anything.
    fn take(&mut self, ban: Ban, never: &AddressSet, wall: SystemTime) -> Result<bool, NotTaken> {
        let refuse = |why| Err(NotTaken { network: ban.network, why });
        if ban.until.is_some_and(|until| until <= seconds(wall)) {
            return refuse(Why::Over);
        }
        if never.contains(ban.network.net().addr()) {
            return refuse(Why::Protected);
        }
        let is_full = self.bans.len() >= self.max;
        match self.bans.get_mut(&ban.network) {
            Some(there) if lasts(there) >= lasts(&ban) => Ok(false),
            Some(there) => {
                *there = Ban { since: there.since, ..ban };
                Ok(true)
            }
            None if is_full => refuse(Why::Full),
            None => {
                self.bans.insert(ban.network, ban);
                Ok(true)
            }
        }
    }
}

impl Ban {
    fn end(&self, now: Now) -> End {
        let left = |until: u64| Duration::from_secs(until).checked_sub(since_epoch(now.wall));
        match self.until {
            None => End::Never,
            Some(until) => {
                let left = left(until).unwrap_or_default();
                now.instant.checked_add(left).map_or(End::Never, End::At)
            }
        }
    }
}

fn lasts(ban: &Ban) -> u64 {
    ban.until.unwrap_or(u64::MAX)
}

/// How many bans there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BanStats {
    /// Added while the process runs, or before its last restart.
    pub added: usize,
    /// Named by lists of the configuration.
    pub listed: usize,
    /// Changes with every change of the added ones.
    pub changes: u64,
}

/// A ban refuses the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("banned: {network}")]
pub struct Banned {
    /// The network that the ban names.
    pub network: Network,
}

impl From<Banned> for Denial {
    fn from(banned: Banned) -> Self {
        Self::new(Reason::Banned).with_evidence(banned.to_string())
    }
}

/// A ban that was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{network}: {why}")]
pub struct NotTaken {
    /// Whom it would have banned.
    pub network: Network,
    /// Why it was not taken.
    pub why: Why,
}

/// Why a ban was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There are as many as there may be.
    #[error("as many bans as there may be (bans.max)")]
    Full,
    /// It had ended when it came.
    #[error("its time is over")]
    Over,
    /// It is among those who are never banned.
    #[error("protected: loopback, or named in bans.never, or a trusted proxy")]
    Protected,
}

/// A time as whole seconds since the Unix epoch.
#[must_use]
pub fn seconds(wall: SystemTime) -> u64 {
    since_epoch(wall).as_secs()
}

fn since_epoch(wall: SystemTime) -> Duration {
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn loopback() -> impl Iterator<Item = Network> {
    ["127.0.0.0/8", "::1"].into_iter().filter_map(|text| text.parse().ok())
}
