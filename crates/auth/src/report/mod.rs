//! Which scopes clients were granted, which of them they used, and on which routes.
//!
//! A request that passes is noted in a small table of the thread it runs on; every now and then the
//! tables are gathered into the store, which is bounded and can be kept in a file. Whoever calls
//! [`ScopeReport::gather`] and writes the file does it beside the requests.

mod store;
mod view;

use std::cell::Cell;
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::Method as HttpMethod;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHasher};

pub use self::store::StoreError;
use self::store::{Batch, Store};
use crate::access::Access;
use crate::identity::{Authenticated, Identity, Method};
use crate::providers::Auth;
use crate::settings::ReportSettings;

/// More threads share tables.
const TABLES: usize = 16;
/// What one table takes between two gatherings; more is only counted.
const MAX_BATCHES: usize = 4_096;

/// What was granted and used.
#[derive(Debug)]
pub struct ScopeReport {
    tables: [Mutex<FxHashMap<u64, Noted>>; TABLES],
    /// Passes that found no place in a table.
    overflowed: AtomicU64,
    store: Mutex<Store>,
}

/// What is noted of equal requests.
#[derive(Debug)]
struct Noted {
    access: Access,
    /// Which demands of the route were met.
    place: usize,
    route: Box<str>,
    who: Authenticated,
    batch: Batch,
}

impl ScopeReport {
    /// An empty report that begins now, in seconds since 1970.
    #[must_use]
    pub fn new(settings: &ReportSettings, now: u64) -> Self {
        Self::of(Store::new(settings, now))
    }

    /// A report of what a file held.
    ///
    /// # Errors
    /// It is no report.
    pub fn read(settings: &ReportSettings, text: &[u8], now: u64) -> Result<Self, StoreError> {
        Ok(Self::of(Store::read(settings, text, now)?))
    }

    fn of(store: Store) -> Self {
        let tables = std::array::from_fn(|_| Mutex::default());
        Self { tables, overflowed: AtomicU64::new(0), store: Mutex::new(store) }
    }

    /// Applies other limits from now on.
    pub fn set_limits(&self, settings: &ReportSettings) {
        self.store.lock().set_limits(settings);
    }

    /// Notes that somebody passed a route, at `now` in seconds since 1970.
    pub fn passed(
        &self,
        (route, access): (&str, &Access),
        method: &HttpMethod,
        who: &Authenticated,
        now: u64,
    ) {
        if who.identity().method == Method::External {
            return;
        }
        let place = access.place(method);
        let key = key(access, place, who.identity());
        let Some(table) = self.tables.get(own_table()) else { return };
        let mut table = table.lock();
        let full = table.len() >= MAX_BATCHES;
        match table.get_mut(&key) {
            Some(noted) if noted.is(access, place, who) => noted.batch.add(now),
            None if !full => {
                let (who, route) = (who.clone(), route.into());
                let (access, batch) = (access.clone(), Batch::new(now));
                table.insert(key, Noted { access, place, route, who, batch });
            }
            Some(_) | None => {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Moves what was noted into the store. Subjects are named as `auth` shows them in the log.
    pub fn gather(&self, auth: &Auth, now: u64) {
        for table in &self.tables {
            let noted: Vec<Noted> = table.lock().drain().map(|(_, noted)| noted).collect();
            if noted.is_empty() {
                continue;
            }
            let mut store = self.store.lock();
            for Noted { access, place, route, who, batch } in noted {
                let who = who.identity();
                let used = access.used_scopes(place, who);
                store.add((&who.provider, &name(who, auth)), &route, (who, &used), batch);
            }
        }
        let overflowed = self.overflowed.swap(0, Ordering::Relaxed);
        self.store.lock().round_off(overflowed, now);
    }

    /// The store as a file keeps it, if it changed since the last time.
    #[must_use]
    pub fn changes(&self) -> Option<Vec<u8>> {
        self.store.lock().changes()
    }

    /// Has the next [`ScopeReport::changes`] tell everything again: the file could not be written.
    pub fn not_written(&self) {
        self.store.lock().not_written();
    }

    /// The report, with what these routes demand.
    pub fn view<'r>(
        &self,
        routes: impl Iterator<Item = (&'r str, &'r Access)>,
        now: u64,
    ) -> serde_json::Value {
        view::view(&self.store.lock(), routes, now)
    }
}

impl Noted {
    /// Whether another request would be noted alike.
    fn is(&self, access: &Access, place: usize, who: &Authenticated) -> bool {
        let same = |own: &Identity, other: &Identity| {
            own.provider == other.provider
                && own.client == other.client
                && (own.client.is_some() || own.subject == other.subject)
                && own.scopes == other.scopes
        };
        self.place == place
            && self.access.is(access)
            && (self.who.is(who) || same(self.who.identity(), who.identity()))
    }
}

/// What a client is called in the report: by its own name, or as a subject may be shown.
fn name(who: &Identity, auth: &Auth) -> Box<str> {
    match (&who.client, &who.subject) {
        (Some(client), _) => client.clone(),
        (None, Some(subject)) => {
            auth.shown_subject(subject).unwrap_or_else(|| "(a subject)".into())
        }
        (None, None) => "(nobody named)".into(),
    }
}

fn key(access: &Access, place: usize, who: &Identity) -> u64 {
    let mut hasher = FxHasher::default();
    (access.address(), place).hash(&mut hasher);
    who.provider.hash(&mut hasher);
    match &who.client {
        Some(client) => client.hash(&mut hasher),
        None => who.subject.hash(&mut hasher),
    }
    who.scopes.hash(&mut hasher);
    hasher.finish()
}

/// The present thread's table.
fn own_table() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static TABLE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    TABLE.with(|table| {
        let own = table.get().unwrap_or_else(|| THREADS.fetch_add(1, Ordering::Relaxed) % TABLES);
        table.set(Some(own));
        own
    })
}
