//! What the report remembers: clients, their scopes, and the routes that needed them. Each list is
//! bounded; what finds no place is counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MAX_NAME, Who};
use crate::settings::ReportSettings;

/// How often what is too old is forgotten, in seconds.
const SWEEP: u64 = 3_600;
/// The form of the file.
const VERSION: u32 = 1;

/// How often something was seen, and when, in seconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) passes: u64,
}

/// Passes that were left out for want of room.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    /// They came faster than they could be noted.
    pub(super) passes: u64,
    /// Of clients that are not told apart.
    pub(super) of_clients: u64,
    /// With scopes that were not noted.
    pub(super) of_scopes: u64,
    /// On routes that were not noted.
    pub(super) of_routes: u64,
}

/// One client.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) seen: Batch,
    pub(super) scopes: BTreeMap<Box<str>, Scope>,
}

/// One scope of a client.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    /// Passes with a credential that had it.
    pub(super) granted: Batch,
    /// Passes that needed it, by route.
    pub(super) routes: BTreeMap<Box<str>, Batch>,
    /// Passes that needed it, on routes that found no room.
    pub(super) elsewhere: Option<Batch>,
}

/// Clients and subjects have names of their own.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Client,
    Subject,
}

/// Whose row it is: of what kind, by provider and name.
type Key<'k> = (Kind, &'k str, &'k str);

type Clients = BTreeMap<Box<str>, BTreeMap<Box<str>, Client>>;

/// All that is remembered.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) since: u64,
    /// By provider and name.
    pub(super) clients: Clients,
    /// Subjects without a client, as they may be named; those that are not told apart have no name.
    pub(super) subjects: Clients,
    pub(super) left_out: LeftOut,
    limits: ReportSettings,
    count: usize,
    entries: usize,
    swept: u64,
    changed: bool,
}

/// What stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    since: u64,
    left_out: LeftOut,
    clients: Clients,
    subjects: Clients,
}

/// The same, to be written.
#[derive(Serialize)]
struct Keeping<'s> {
    version: u32,
    since: u64,
    left_out: LeftOut,
    clients: &'s Clients,
    subjects: &'s Clients,
}

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is no such JSON.
    #[error("it is no report: {0}")]
    Json(#[from] serde_json::Error),
    /// Another Tidegate wrote it.
    #[error("its form is version {0}, and not {VERSION}")]
    Version(u32),
}

impl Batch {
    pub(super) const fn new(now: u64) -> Self {
        Self { first: now, last: now, passes: 1 }
    }

    pub(super) fn add(&mut self, now: u64) {
        self.merge(Self::new(now));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.passes = self.passes.saturating_add(other.passes);
    }
}

impl Store {
    pub(super) fn new(limits: &ReportSettings, now: u64) -> Self {
        Self {
            since: now,
            clients: BTreeMap::new(),
            subjects: BTreeMap::new(),
            left_out: LeftOut::default(),
            limits: limits.clone(),
            count: 0,
            entries: 0,
            swept: now,
            changed: false,
        }
    }

    /// Takes over what a file holds, within the limits of today.
    pub(super) fn read(limits: &ReportSettings, text: &[u8], now: u64) -> Result<Self, StoreError> {
        let kept: Kept = serde_json::from_slice(text)?;
        if kept.version != VERSION {
            return Err(StoreError::Version(kept.version));
        }
        let mut store = Self::new(limits, now);
        store.since = kept.since.min(now);
        store.left_out = kept.left_out;
        for (kind, all) in [(Kind::Client, kept.clients), (Kind::Subject, kept.subjects)] {
            for (provider, clients) in all {
                for (name, client) in clients {
                    store.take_over((kind, &provider, &name), client);
                }
            }
        }
        store.sweep(now);
        Ok(store)
    }

    fn take_over(&mut self, key: Key<'_>, client: Client) {
        self.with(key, client.seen, |own, room| {
            for (scope, kept) in client.scopes {
                let Some(scope) = own.scope(&scope, kept.granted, room) else { continue };
                if let Some(batch) = kept.elsewhere {
                    scope.used_elsewhere(batch);
                }
                for (route, batch) in kept.routes {
                    scope.used_on(&route, batch, room);
                }
            }
        });
    }

    pub(super) fn set_limits(&mut self, limits: &ReportSettings) {
        self.limits.clone_from(limits);
    }

    /// Adds that a client passed a route, with the scopes for want of which it would not have.
    pub(super) fn add(&mut self, who: &Who, route: &str, used: &[&str], batch: Batch) {
        let (kind, name) = match &who.client {
            Some(client) => (Kind::Client, &**client),
            None => (Kind::Subject, who.subject.as_deref().unwrap_or_default()),
        };
        self.with((kind, &who.provider, name), batch, |client, room| {
            for granted in &who.scopes {
                let Some(scope) = client.scope(granted, batch, room) else { continue };
                if used.contains(&&**granted) {
                    scope.used_on(route, batch, room);
                }
            }
        });
    }

    /// Does something with a client, if there is room for it.
    fn with(
        &mut self,
        (kind, provider, name): Key<'_>,
        batch: Batch,
        fill: impl FnOnce(&mut Client, &mut Room<'_>),
    ) {
        self.changed = true;
        let Self { clients, subjects, limits, count, entries, left_out, .. } = self;
        let all = match kind {
            Kind::Client => clients,
            Kind::Subject => subjects,
        };
        let known = all.get(provider).is_some_and(|names| names.contains_key(name));
        if !known {
            if *count >= limits.max_clients as usize || name.len() > MAX_NAME {
                left_out.of_clients += batch.passes;
                return;
            }
            *count += 1;
        }
        let mut room = Room { limits, entries, left_out };
        let names = all.entry(provider.into()).or_default();
        match names.get_mut(name) {
            Some(client) => {
                client.seen.merge(batch);
                fill(client, &mut room);
            }
            None => {
                let mut client = Client { seen: batch, scopes: BTreeMap::new() };
                fill(&mut client, &mut room);
                names.insert(name.into(), client);
            }
        }
    }

    /// Counts passes that were not noted, and forgets what is too old, now and then.
    pub(super) fn round_off(&mut self, overflowed: u64, now: u64) {
        if overflowed > 0 {
            self.left_out.passes = self.left_out.passes.saturating_add(overflowed);
            self.changed = true;
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: u64) {
        self.swept = now;
        let oldest = now.saturating_sub(self.limits.keep.0.as_secs());
        let fresh = |batch: &Batch| batch.last >= oldest;
        let all = self.clients.values_mut().chain(self.subjects.values_mut());
        for names in all {
            names.retain(|_, client| {
                client.scopes.retain(|_, scope| {
                    scope.routes.retain(|_, batch| fresh(batch));
                    scope.elsewhere = scope.elsewhere.filter(fresh);
                    fresh(&scope.granted)
                });
                fresh(&client.seen)
            });
        }
        self.clients.retain(|_, names| !names.is_empty());
        self.subjects.retain(|_, names| !names.is_empty());
        let names = || self.clients.values().chain(self.subjects.values());
        let clients = || names().flat_map(BTreeMap::values);
        let scopes = clients().flat_map(|client| client.scopes.values());
        let entries: usize = scopes.map(|scope| 1 + scope.routes.len()).sum();
        let count = clients().count();
        self.changed |= entries != self.entries || count != self.count;
        (self.entries, self.count) = (entries, count);
    }

    pub(super) fn changes(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let Self { since, left_out, clients, subjects, .. } = self;
        let (since, left_out) = (*since, *left_out);
        // Maps with texts as keys are always JSON.
        serde_json::to_vec(&Keeping { version: VERSION, since, left_out, clients, subjects }).ok()
    }

    /// From when on all is known that was seen: what is older was forgotten.
    pub(super) fn known_since(&self, now: u64) -> u64 {
        self.since.max(now.saturating_sub(self.limits.keep.0.as_secs()))
    }

    pub(super) fn not_written(&mut self) {
        self.changed = true;
    }
}

/// What room there is.
struct Room<'s> {
    limits: &'s ReportSettings,
    entries: &'s mut usize,
    left_out: &'s mut LeftOut,
}

impl Room<'_> {
    /// Takes a place in a list, if there is one.
    fn take(&mut self, present: usize, most: u32) -> bool {
        let room = present < most as usize && *self.entries < self.limits.max_entries as usize;
        *self.entries += usize::from(room);
        room
    }
}

impl Client {
    fn scope(&mut self, name: &str, batch: Batch, room: &mut Room<'_>) -> Option<&mut Scope> {
        if !self.scopes.contains_key(name) {
            let fits = name.len() <= MAX_NAME;
            if !fits || !room.take(self.scopes.len(), room.limits.max_scopes) {
                room.left_out.of_scopes += batch.passes;
                return None;
            }
            // Its batch is added below.
            let granted = Batch { passes: 0, ..batch };
            let scope = Scope { granted, routes: BTreeMap::new(), elsewhere: None };
            self.scopes.insert(name.into(), scope);
        }
        let scope = self.scopes.get_mut(name)?;
        scope.granted.merge(batch);
        Some(scope)
    }
}

impl Scope {
    fn used_on(&mut self, route: &str, batch: Batch, room: &mut Room<'_>) {
        if let Some(used) = self.routes.get_mut(route) {
            used.merge(batch);
        } else if room.take(self.routes.len(), room.limits.max_routes) {
            self.routes.insert(route.into(), batch);
        } else {
            self.used_elsewhere(batch);
            room.left_out.of_routes += batch.passes;
        }
    }

    fn used_elsewhere(&mut self, batch: Batch) {
        match &mut self.elsewhere {
            Some(used) => used.merge(batch),
            None => self.elsewhere = Some(batch),
        }
    }
}
