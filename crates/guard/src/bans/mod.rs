//! Bans: what holds for whom for a while. Whoever is named (an address or network, a subject, a
//! client, a token, a route, an endpoint, a zone) is blocked, isolated, held in the tarpit or
//! throttled. Bans are added and lifted while requests pass; a look-up reads immutable tables and
//! waits for nobody. Of several that hold the hardest measure counts.
//!
//! Some addresses are never banned: loopback, and what the configuration protects (trusted
//! proxies, allow-lists). That is checked when a ban is added and once more when it would hold,
//! because the list may have changed in between, and a network may hold a protected address. And
//! while enforcement is [suspended](Bans::suspend), nothing holds for anybody.
//!
//! Time is an argument, and nothing here reads or writes a file; [`file`] has the lines that a
//! caller keeps them in.

mod book;
pub mod file;
mod names;
mod settings;
mod table;
pub mod target;
#[cfg(test)]
mod tests;
mod view;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::{AddressSet, Network};
use tidegate_core::{Denial, Reason};

use self::book::Book;
use self::names::Named;
pub use self::settings::{BansSettings, CrowdsecSettings};
use self::view::View;
use crate::rate::Known;

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom it holds.
    pub target: Target,
    /// What is done about them.
    pub measure: Measure,
    /// When it ends, as seconds since the Unix epoch; `None` if only lifting ends it.
    pub until: Option<u64>,
    /// Since when, as seconds since the Unix epoch.
    pub since: u64,
    /// Who decided: `admin`, the name of a file, the name of a rule.
    pub source: Arc<str>,
    /// Why, for people; may be empty.
    pub reason: Arc<str>,
}

/// A ban that holds for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// What is to be done.
    pub measure: Measure,
    /// Whom the ban names.
    pub target: Target,
    /// Who decided it.
    pub source: Arc<str>,
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
    view: ArcSwap<View>,
    suspended: AtomicBool,
    /// Held by whoever makes the whole tables anew.
    settling: Mutex<()>,
}

impl Default for Bans {
    fn default() -> Self {
        let never = loopback().collect::<AddressSet>();
        Self {
            book: Mutex::new(Book::new(BansSettings::default().max())),
            never: ArcSwap::from_pointee(never),
            view: ArcSwap::default(),
            suspended: AtomicBool::new(false),
            settling: Mutex::new(()),
        }
    }
}

impl Bans {
    /// Puts a configuration in force: who is `never` banned, beside loopback, how many bans there
    /// may be, and what its lists say. Bans that were added stay, whatever the lists say; of a
    /// protected address they are without effect.
    pub fn configure(&self, never: &[Network], max: usize, listed: Vec<Ban>, now: Now) {
        self.protect(never);
        let settling = self.settling.lock();
        self.book.lock().configure(max, listed);
        self.settle_locked(&settling, now);
    }

    /// Says who is `never` banned, beside loopback.
    pub fn protect(&self, never: &[Network]) {
        let never: AddressSet = never.iter().copied().chain(loopback()).collect();
        if **self.never.load() != never {
            self.never.store(Arc::new(never));
        }
    }

    /// The hardest measure that holds for an address at `now`. It takes no lock; what
    /// it costs is in `docs/benchmarks.md`.
    #[must_use]
    pub fn look_up(&self, client: IpAddr, now: Instant) -> Option<InForce> {
        let found = self.view.load().find(client, now)?;
        let spared = self.is_suspended() || self.never.load().contains(client);
        (!spared).then_some(found)
    }

    /// The hardest measure that holds for all on a route; the protected are spared.
    #[must_use]
    pub fn look_up_route(&self, route: &str, client: IpAddr, now: Instant) -> Option<InForce> {
        let view = self.view.load();
        if !view.has_names() {
            return None;
        }
        let found = view.find_named(&Named::Route(route), now)?;
        let spared = self.is_suspended() || self.never.load().contains(client);
        (!spared).then_some(found)
    }

    /// The hardest measure that holds for who asks, wherever they come from. `token` is the SHA-256
    /// of their token in hexadecimal.
    #[must_use]
    pub fn look_up_known(
        &self,
        known: Known<'_>,
        token: Option<&str>,
        now: Instant,
    ) -> Option<InForce> {
        let view = self.view.load();
        if !view.has_names() || self.is_suspended() {
            return None;
        }
        let provider = known.provider;
        let names = [
            known.subject.map(|id| Named::Subject { provider, id }),
            known.client.map(|id| Named::Client { provider, id }),
            token.map(Named::Token),
        ];
        let found = names.iter().flatten().filter_map(|name| view.find_named(name, now));
        found.max_by_key(|found| found.measure)
    }

    /// Whether anybody is banned by another name than an address, so that it is worth knowing the
    /// names of a request.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.view.load().has_names()
    }

    /// Whether an address is never banned.
    #[must_use]
    pub fn is_protected(&self, address: IpAddr) -> bool {
        self.never.load().contains(address)
    }

    /// The endpoints and zones that are isolated at `now`.
    #[must_use]
    pub fn isolated(&self, now: Now) -> Vec<Ban> {
        if self.is_suspended() {
            return Vec::new();
        }
        let wall = seconds(now.wall);
        let mut found = self.book.lock().upstream_bans();
        found.retain(|ban| ban.until.is_none_or(|until| until > wall));
        found
    }

    /// The panic switch: while it is on, nothing holds for anybody. Answers whether that is new.
    pub fn suspend(&self, suspended: bool) -> bool {
        self.suspended.swap(suspended, Ordering::Relaxed) != suspended
    }

    /// Whether the panic switch is on.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
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
            self.publish(&mut book, now);
        }
        (taken, refused)
    }

    /// Lifts the bans of exactly this target, or that of one measure. Answers them.
    pub fn lift(&self, target: &Target, measure: Option<Measure>, now: Now) -> Vec<Ban> {
        let mut book = self.book.lock();
        let lifted = book.lift(target, measure, None);
        if !lifted.is_empty() {
            self.publish(&mut book, now);
        }
        lifted
    }

    /// Lifts bans that a source added, if they still are that source's. Answers them.
    pub fn lift_of(
        &self,
        source: &str,
        bans: impl IntoIterator<Item = (Target, Option<Measure>)>,
        now: Now,
    ) -> Vec<Ban> {
        let mut book = self.book.lock();
        let lift = |(target, measure)| book.lift(&target, measure, Some(source));
        let lifted: Vec<_> = bans.into_iter().flat_map(lift).collect();
        if !lifted.is_empty() {
            self.publish(&mut book, now);
        }
        lifted
    }

    /// Lifts each ban that the predicate names. Answers how many there were.
    pub fn lift_where(&self, predicate: impl FnMut(&Ban) -> bool, now: Now) -> usize {
        let mut book = self.book.lock();
        let lifted = book.lift_where(predicate);
        if lifted > 0 {
            self.publish(&mut book, now);
        }
        lifted
    }

    /// Forgets bans that have ended. Answers how many there were.
    pub fn sweep(&self, now: Now) -> usize {
        let wall = seconds(now.wall);
        self.lift_where(|ban| ban.until.is_some_and(|until| until <= wall), now)
    }

    /// Whether changes wait for [`Self::settle`]: bans that were added hold already, those that
    /// were lifted no longer do, and each further change takes longer.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.view.load().is_unsettled()
    }

    /// Makes the tables anew from all that changed. It takes some 100 ms for a million bans, during
    /// which look-ups and changes go on.
    pub fn settle(&self, now: Now) {
        let settling = self.settling.lock();
        self.settle_locked(&settling, now);
    }

    fn settle_locked(&self, _settling: &parking_lot::MutexGuard<'_, ()>, now: Now) {
        let (all, seen) = self.book.lock().copy();
        let base = Arc::new(view::Layer::new(all, now));
        let mut book = self.book.lock();
        book.forget_changes(seen);
        self.view.store(Arc::new(View::new(base, &book, now)));
    }

    /// Makes a change hold: at once in all of a small table, beside a large one until that is
    /// settled.
    fn publish(&self, book: &mut Book, now: Now) {
        if book.is_cheap() {
            let (all, seen) = book.copy();
            book.forget_changes(seen);
            let base = Arc::new(view::Layer::new(all, now));
            self.view.store(Arc::new(View::new(base, book, now)));
        } else {
            let base = Arc::clone(self.view.load().base());
            self.view.store(Arc::new(View::new(base, book, now)));
        }
    }

    /// The bans that hold the address, the widest network first, and whether it is protected.
    #[must_use]
    pub fn explain(&self, address: IpAddr) -> (Vec<Ban>, bool) {
        let address = address.to_canonical();
        let lengths = 0..=if address.is_ipv4() { 32 } else { 128 };
        let around = lengths.filter_map(|length| {
            let net = ipnet::IpNet::new(address, length).ok()?.trunc();
            Some(Target::Network(Network::from(net)))
        });
        let book = self.book.lock();
        (around.flat_map(|target| book.of(&target)).collect(), self.is_protected(address))
    }

    /// The bans of exactly this target.
    #[must_use]
    pub fn of(&self, target: &Target) -> Vec<Ban> {
        self.book.lock().of(target)
    }

    /// Bans that were added, after the given one in the order of targets and measures, at most
    /// `limit`. Those of lists are not among them.
    #[must_use]
    pub fn list(&self, after: Option<(Target, Measure)>, limit: usize) -> Vec<Ban> {
        self.book.lock().list(after, limit)
    }

    /// How many bans there are, and a number that changes with those that were added.
    #[must_use]
    pub fn stats(&self) -> BanStats {
        self.book.lock().stats()
    }
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
    /// All of them by measure, in the order of [`Measure::ALL`].
    pub measures: [usize; Measure::ALL.len()],
}

impl InForce {
    /// The refusal of somebody who is blocked.
    #[must_use]
    pub fn denial(&self) -> Denial {
        Denial::new(Reason::Banned).with_evidence(format!("banned: {}", self.target))
    }

    /// The refusal of somebody who is throttled, or finds the tarpit full.
    #[must_use]
    pub fn slow_down(&self, retry_after: Duration) -> Denial {
        let evidence = format!("{}: {}", self.measure.name(), self.target);
        Denial::new(Reason::Throttled).with_evidence(evidence).with_retry_after(retry_after)
    }
}

/// A ban that was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target}: {why}")]
pub struct NotTaken {
    /// Whom it would have banned.
    pub target: Target,
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
    #[error("protected: loopback, named in bans.never or response.allow, or one of us")]
    Protected,
    /// The measure does not go with the target.
    #[error("an alert holds nobody, and endpoints and zones can only be isolated")]
    Senseless,
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
