//! What look-ups read: the tables of all bans, and beside them the few that changed since those
//! were made. Both are immutable and change together.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::Network;

use super::book::{Book, Key, Line};
use super::names::{Kind, Named, Names};
use super::networks::Networks;
use super::{InForce, Now, since_epoch};

/// Everything at one moment.
#[derive(Debug, Default)]
pub(super) struct View {
    base: Arc<Layer>,
    /// What holds of all that changed since `base` was made.
    recent: Layer,
    /// What changed, so that what `base` says of it does not count.
    changed: BTreeSet<Key>,
}

/// Tables of bans.
#[derive(Debug, Default)]
pub(super) struct Layer {
    networks: Networks,
    parties: Names,
    tokens: Names,
    routes: Names,
}

/// When a ban ends; later is greater, and a ban without an end is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    At(Instant),
    Never,
}

/// A ban that holds, as a table has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'t> {
    pub(super) whom: Whom<'t>,
    pub(super) measure: Measure,
    pub(super) source: &'t Arc<str>,
    pub(super) end: End,
}

/// Whom it names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom<'t> {
    Network(Network),
    Named(&'t Target),
}

impl View {
    /// What there is when all of `base` holds but what changed in the book.
    pub(super) fn new(base: Arc<Layer>, book: &Book, now: Now) -> Self {
        let (lines, changed) = book.recent();
        Self { base, recent: Layer::new(&lines, now), changed }
    }

    pub(super) fn base(&self) -> &Arc<Layer> {
        &self.base
    }

    pub(super) fn is_unsettled(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether somebody is held by a name of this kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        [&*self.base, &self.recent].into_iter().any(|layer| !layer.names(kind).is_empty())
    }

    /// The hardest measure that holds an address.
    pub(super) fn find(&self, client: IpAddr, now: Instant) -> Option<Found<'_>> {
        let client = client.to_canonical();
        self.hardest(|layer, outdated| layer.networks.find(client, now, outdated))
    }

    /// The hardest measure that holds somebody by name.
    pub(super) fn find_named(&self, name: &Named<'_>, now: Instant) -> Option<Found<'_>> {
        self.hardest(|layer, outdated| layer.names(name.kind()).find(name, now, outdated))
    }

    fn hardest<'v>(
        &'v self,
        find: impl Fn(&'v Layer, &BTreeSet<Key>) -> Option<Found<'v>>,
    ) -> Option<Found<'v>> {
        static NOTHING: BTreeSet<Key> = BTreeSet::new();
        let base = find(&self.base, &self.changed);
        if self.changed.is_empty() {
            return base;
        }
        [base, find(&self.recent, &NOTHING)].into_iter().flatten().max_by_key(Found::rank)
    }
}

impl Found<'_> {
    /// The harder is greater, and of two that are as hard the longer.
    pub(super) const fn rank(&self) -> (Measure, End) {
        (self.measure, self.end)
    }

    pub(super) fn key(&self) -> Key {
        let InForce { measure, target, source } = self.in_force();
        Key { target, measure, source }
    }

    pub(super) fn in_force(&self) -> InForce {
        let target = match self.whom {
            Whom::Network(network) => Target::Network(network),
            Whom::Named(target) => target.clone(),
        };
        InForce { measure: self.measure, target, source: Arc::clone(self.source) }
    }
}

impl Layer {
    pub(super) fn new(bans: &[Line], now: Now) -> Self {
        Self {
            networks: Networks::new(bans, now),
            parties: Names::new(Kind::Party, bans),
            tokens: Names::new(Kind::Token, bans),
            routes: Names::new(Kind::Route, bans),
        }
    }

    const fn names(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Party => &self.parties,
            Kind::Token => &self.tokens,
            Kind::Route => &self.routes,
        }
    }
}

impl End {
    /// The moment when the wall clock, which shows `now.wall`, is to show `until`.
    pub(super) fn new(until: Option<u64>, now: Now) -> Self {
        let Some(until) = until else { return Self::Never };
        let left = Duration::from_secs(until).saturating_sub(since_epoch(now.wall));
        now.instant.checked_add(left).map_or(Self::Never, Self::At)
    }

    /// Whether the ban holds at `now`.
    pub(super) fn is_after(self, now: Instant) -> bool {
        match self {
            Self::At(end) => end > now,
            Self::Never => true,
        }
    }
}
