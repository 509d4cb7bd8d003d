//! Which scopes clients were granted, which of them they used, and on which routes.
//!
//! A request that passes is noted in a small table of the thread it runs on; every now and then the
//! tables are gathered into the store, which is bounded and can be kept in a file. Whoever calls
//! [`ScopeReport::gather`] and writes the file does it beside the requests.

mod store;
mod view;

use std::cell::Cell;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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
/// What one table takes between two gatherings, and in how many bytes; more is only counted.
const MAX_BATCHES: usize = 4_096;
const MAX_BYTES: usize = 2 << 20;
/// Clients and scopes with longer names are only counted.
pub(crate) const MAX_NAME: usize = 256;

/// What was granted and used.
#[derive(Debug)]
pub struct ScopeReport {
    tables: [Mutex<Table>; TABLES],
    /// Passes that found no place in a table.
    overflowed: AtomicU64,
    /// Whether subjects without a client are told apart.
    subjects: AtomicBool,
    store: Mutex<Store>,
}

/// What a thread noted since the last gathering.
#[derive(Debug, Default)]
struct Table {
    noted: FxHashMap<u64, Noted>,
    bytes: usize,
}

/// What is noted of equal requests.
#[derive(Debug)]
struct Noted {
    access: Access,
    /// Which demands of the route were met.
    place: usize,
    route: Box<str>,
    who: Who,
    batch: Batch,
}

/// What is noted of an identity.
#[derive(Debug, PartialEq)]
pub(crate) struct Who {
    pub(crate) provider: Arc<str>,
    pub(crate) client: Option<Box<str>>,
    /// Only where there is no client, and subjects are told apart.
    pub(crate) subject: Option<Box<str>>,
    pub(crate) scopes: Box<[Box<str>]>,
}

impl ScopeReport {
    /// An empty report that begins now, in seconds since 1970.
    #[must_use]
    pub fn new(settings: &ReportSettings, now: u64) -> Self {
        Self::of(Store::new(settings, now), settings)
    }

    /// A report of what a file held.
    ///
    /// # Errors
    /// It is no report.
    pub fn read(settings: &ReportSettings, text: &[u8], now: u64) -> Result<Self, StoreError> {
        Ok(Self::of(Store::read(settings, text, now)?, settings))
    }

    fn of(store: Store, settings: &ReportSettings) -> Self {
        Self {
            tables: std::array::from_fn(|_| Mutex::default()),
            overflowed: AtomicU64::new(0),
            subjects: AtomicBool::new(settings.subjects),
            store: Mutex::new(store),
        }
    }

    /// Applies other limits from now on.
    pub fn set_limits(&self, settings: &ReportSettings) {
        self.subjects.store(settings.subjects, Ordering::Relaxed);
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
        let (place, who) = (access.place(method), who.identity());
        let subject = who
            .subject
            .as_deref()
            .filter(|_| who.client.is_none() && self.subjects.load(Ordering::Relaxed));
        let key = key((access, place), who, subject);
        let Some(table) = self.tables.get(own_table()) else { return };
        let mut table = table.lock();
        let full = table.noted.len() >= MAX_BATCHES || table.bytes >= MAX_BYTES;
        match table.noted.get_mut(&key) {
            Some(noted) if noted.is((access, place), who, subject) => noted.batch.add(now),
            None if !full => {
                let (who, route) = (Who::new(who, subject), route.into());
                let (access, batch) = (access.clone(), Batch::new(now));
                table.bytes += who.footprint();
                table.noted.insert(key, Noted { access, place, route, who, batch });
            }
            Some(_) | None => {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Moves what was noted into the store. Subjects are named as `auth` shows them in the log.
    pub fn gather(&self, auth: &Auth, now: u64) {
        for table in &self.tables {
            let Table { noted, .. } = std::mem::take(&mut *table.lock());
            if noted.is_empty() {
                continue;
            }
            let mut store = self.store.lock();
            for Noted { access, place, route, mut who, batch } in noted.into_values() {
                let shown = |subject: Box<str>| auth.shown_subject(&subject);
                who.subject = who.subject.take().and_then(shown);
                let used = access.used_scopes(place, &who.scopes);
                store.add(&who, &route, &used, batch);
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
    fn is(&self, at: (&Access, usize), who: &Identity, subject: Option<&str>) -> bool {
        let own = &self.who;
        self.place == at.1
            && self.access.is(at.0)
            && own.provider == who.provider
            && own.client == who.client
            && own.subject.as_deref() == subject
            && own.scopes == who.scopes
    }
}

impl Who {
    fn new(who: &Identity, subject: Option<&str>) -> Self {
        Self {
            provider: Arc::clone(&who.provider),
            client: who.client.clone(),
            subject: subject.map(Into::into),
            scopes: who.scopes.clone(),
        }
    }

    /// About how many bytes of memory it takes.
    fn footprint(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let scopes: usize = self.scopes.iter().map(|scope| scope.len() + 32).sum();
        size_of::<Noted>() + text(&self.client) + text(&self.subject) + scopes
    }
}

fn key((access, place): (&Access, usize), who: &Identity, subject: Option<&str>) -> u64 {
    let mut hasher = FxHasher::default();
    (access.address(), place, subject).hash(&mut hasher);
    who.provider.hash(&mut hasher);
    who.client.hash(&mut hasher);
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
