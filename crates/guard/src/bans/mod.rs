//! Bans: what holds for whom for a while. Whoever is named (an address or network, a subject, a
//! client, a token, a route, an endpoint, a zone) is blocked, isolated, held in the tarpit or
//! throttled. Bans are added and lifted while requests pass; a look-up reads immutable tables and
//! waits for nobody. Of several that hold the hardest measure counts, and of those the longest.
//!
//! A ban belongs to who decided it: several sources may ban one target, and what one of them
//! prolongs or lifts leaves the others' as they are.
//!
//! Some addresses are never banned: loopback, and what the configuration protects (trusted
//! proxies, allow-lists). That is checked when a ban is added and once more when it would hold,
//! because the list may have changed in between, and a network may hold a protected address. And
//! while enforcement is [suspended](Bans::suspend), nothing holds for anybody.
//!
//! Time is an argument. Ends are written by the wall clock, and count by the monotonic one from
//! when a ban is added, so that a step of the wall clock neither frees nor holds anybody. Nothing
//! here reads or writes a file; [`file`] has the lines that a caller keeps bans in.

mod book;
pub mod file;
mod hash;
mod names;
mod networks;
mod settings;
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

use self::book::{Book, Key};
use self::names::{Kind, Named};
pub use self::settings::{BansSettings, CrowdsecSettings};
use self::view::{Found, Layer, View};
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

/// A moment, by both clocks.
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
        self.book.lock().configure(max, listed, now);
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
        let view = self.view.load();
        let found = view.find(client, now)?;
        (!self.spares(client)).then(|| found.in_force())
    }

    fn spares(&self, client: IpAddr) -> bool {
        self.is_suspended() || self.is_protected(client)
    }

    /// The hardest measure that holds for all on a route; the protected are spared.
    #[must_use]
    pub fn look_up_route(&self, route: &str, client: IpAddr, now: Instant) -> Option<InForce> {
        let view = self.view.load();
        let found = view.find_named(&Named::Route(route), now)?;
        (!self.spares(client)).then(|| found.in_force())
    }

    /// The hardest measure that holds for who asks, wherever they come from.
    #[must_use]
    pub fn look_up_known(&self, known: Known<'_>, now: Instant) -> Option<InForce> {
        if self.is_suspended() {
            return None;
        }
        let view = self.view.load();
        let provider = known.provider;
        let names = [
            known.subject.map(|id| Named::Subject { provider, id }),
            known.client.map(|id| Named::Client { provider, id }),
        ];
        let found = names.iter().flatten().filter_map(|name| view.find_named(name, now));
        found.max_by_key(Found::rank).map(|found| found.in_force())
    }

    /// The hardest measure that holds for a token, by its SHA-256 in hexadecimal. That costs
    /// something, and is asked for only if a token is banned.
    #[must_use]
    pub fn look_up_token(
        &self,
        hash: impl FnOnce() -> Option<String>,
        now: Instant,
    ) -> Option<InForce> {
        let view = self.view.load();
        if !view.has(Kind::Token) || self.is_suspended() {
            return None;
        }
        view.find_named(&Named::Token(&hash()?), now).map(|found| found.in_force())
    }

    /// Whether a subject or client is banned, so that it is worth knowing who asks.
    #[must_use]
    pub fn has_parties(&self) -> bool {
        self.view.load().has(Kind::Party)
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
        self.book.lock().upstream_bans(now.instant)
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
        self.add_telling(bans, |_taken| {}, now)
    }

    /// The same, and tells of each that is new or longer.
    ///
    /// # Errors
    ///
    /// Says of each ban that was not taken why.
    pub fn add_telling(
        &self,
        bans: impl IntoIterator<Item = Ban>,
        mut tell: impl FnMut(&Ban),
        now: Now,
    ) -> (usize, Vec<NotTaken>) {
        let mut book = self.book.lock();
        let never = self.never.load_full();
        let (mut taken, mut refused) = (0, Vec::new());
        for ban in bans {
            match book.take(&ban, &never, now) {
                Ok(true) => {
                    taken += 1;
                    tell(&ban);
                }
                Ok(false) => {}
                Err(why) => refused.push(NotTaken { target: ban.target, why }),
            }
        }
        if taken > 0 {
            self.publish(&mut book, now);
        }
        (taken, refused)
    }

    /// Lifts the bans of exactly this target, or of these those with one measure, or those of one
    /// source. Answers them.
    pub fn lift(
        &self,
        target: &Target,
        measure: Option<Measure>,
        source: Option<&str>,
        now: Now,
    ) -> Vec<Ban> {
        let mut book = self.book.lock();
        let lifted = book.lift(target, measure, source);
        if !lifted.is_empty() {
            self.publish(&mut book, now);
        }
        lifted
    }

    /// Lifts these bans, each by its target, measure and source. Answers them.
    pub fn lift_each(
        &self,
        bans: impl IntoIterator<Item = (Target, Measure, Arc<str>)>,
        now: Now,
    ) -> Vec<Ban> {
        let mut book = self.book.lock();
        let keys =
            bans.into_iter().map(|(target, measure, source)| Key { target, measure, source });
        let lifted: Vec<_> = keys.filter_map(|key| book.remove(key)).collect();
        if !lifted.is_empty() {
            self.publish(&mut book, now);
        }
        lifted
    }

    /// Lifts the bans of a source that it does not keep. Answers them.
    pub fn retain_of(
        &self,
        source: &str,
        keep: impl FnMut(&Target, Measure) -> bool,
        now: Now,
    ) -> Vec<Ban> {
        let mut book = self.book.lock();
        let lifted = book.retain_of(source, keep);
        if !lifted.is_empty() {
            self.publish(&mut book, now);
        }
        lifted
    }

    /// Forgets bans that have ended. Answers how many there were.
    pub fn sweep(&self, now: Now) -> usize {
        let mut book = self.book.lock();
        let ended = book.sweep(now.instant);
        if ended > 0 {
            self.publish(&mut book, now);
        }
        ended
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
        let base = Arc::new(Layer::new(&all, now));
        let mut book = self.book.lock();
        if book.is_beyond(seen) {
            // Meanwhile a change made the tables anew, and knew more.
            return;
        }
        book.forget_changes(seen);
        self.view.store(Arc::new(View::new(base, &book, now)));
    }

    /// Makes a change hold: at once in all of a small table, beside a large one until that is
    /// settled.
    fn publish(&self, book: &mut Book, now: Now) {
        if book.is_cheap() {
            let (all, seen) = book.copy();
            book.forget_changes(seen);
            let base = Arc::new(Layer::new(&all, now));
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

    /// Bans that were added, after the given one in the order of targets, measures and sources, at
    /// most `limit`. Those of lists are not among them.
    #[must_use]
    pub fn list(&self, after: Option<(Target, Measure, Arc<str>)>, limit: usize) -> Vec<Ban> {
        let after = after.map(|(target, measure, source)| Key { target, measure, source });
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
        Denial::new(Reason::Banned).with_evidence(self.evidence("banned"))
    }

    /// The refusal of somebody who is throttled, or finds the tarpit full.
    #[must_use]
    pub fn slow_down(&self, retry_after: Duration) -> Denial {
        let evidence = self.evidence(self.measure.name());
        Denial::new(Reason::Throttled).with_evidence(evidence).with_retry_after(retry_after)
    }

    /// Whose name is not everybody's business is not named: the log has its own way to show it.
    fn evidence(&self, what: &str) -> String {
        match &self.target {
            Target::Subject(party) | Target::Client(party) => {
                format!("{what}: {} of {}", self.target.kind(), party.provider)
            }
            target => format!("{what}: {target}"),
        }
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

/// An end as whole seconds since the Unix epoch, not before it.
#[must_use]
pub fn seconds_until(end: SystemTime) -> u64 {
    let end = since_epoch(end);
    end.as_secs() + u64::from(end.subsec_nanos() > 0)
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
