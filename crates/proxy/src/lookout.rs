//! What would be told again and again if each time were a notice: refused connections, providers
//! that fail, an audit log that loses records. It is told when it begins, summed up while it goes
//! on, and told when it is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_core::notice::{Notice, NoticeKind};
use tokio::time::sleep;

use crate::edge::Edge;
use crate::happened;

/// How often sums and states are looked at.
const PACE: Duration = Duration::from_secs(1);
/// How long refused connections of one kind are summed up.
const WINDOW: Duration = Duration::from_secs(10);
/// How long an audit log has to lose nothing until it counts as recovered.
const CALM: Duration = Duration::from_secs(10);
/// How long a provider's state stays at least, so that one that answers now and then is told of
/// now and then.
const DWELL: Duration = Duration::from_secs(5);
/// More providers than this are not told apart.
const MAX_PROVIDERS: usize = 1_000;

/// What goes on.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    refused: Mutex<HashMap<RefusedKey, Refused>>,
    providers: Mutex<HashMap<ProviderKey, Provider>>,
    audit: Mutex<AuditState>,
}

/// Kind, listener and cause: all of them ours, so that a client cannot make more of them.
type RefusedKey = (NoticeKind, Arc<str>, &'static str);

/// Connections that were refused since it was told last.
#[derive(Debug)]
struct Refused {
    told: Instant,
    count: u64,
    last: IpAddr,
}

/// What sort of provider, and its name in the configuration.
type ProviderKey = (&'static str, Box<str>);

/// A provider of identities that failed at some time.
#[derive(Debug)]
struct Provider {
    /// Whether it was told of as failing, and when; nothing was told yet if there is no time.
    failing: bool,
    told: Option<Instant>,
    /// What it answered last.
    last: Result<(), String>,
}

impl Provider {
    /// Whether the last answer is news, and may be told at this time.
    fn is_due(&self, now: Instant) -> bool {
        let may = self.told.is_none_or(|told| now.saturating_duration_since(told) >= DWELL);
        may && self.failing != self.last.is_err()
    }

    /// What to tell if something is to be told now; it counts as told then.
    fn news(&mut self, edge: &Edge, (sort, name): &ProviderKey, now: Instant) -> Option<Notice> {
        if !self.is_due(now) {
            return None;
        }
        (self.failing, self.told) = (self.last.is_err(), Some(now));
        let notice = match &self.last {
            Ok(()) => {
                happened::notice(edge, NoticeKind::ProviderRecovered, "a provider answers again")
            }
            Err(error) => happened::notice(edge, NoticeKind::ProviderFailing, "a provider fails")
                .with("error", error.as_str()),
        };
        Some(notice.with("sort", *sort).with("provider", name.clone()))
    }
}

#[derive(Debug, Default)]
struct AuditState {
    losses: u64,
    /// When the last loss was seen, while it counts as failing.
    failing: Option<Instant>,
}

impl Edge {
    /// A connection ended before its first request. The first of its kind is told at once, those
    /// that follow as a number.
    pub(crate) fn connection_refused(
        &self,
        (kind, cause): (NoticeKind, &'static str),
        listener: &Arc<str>,
        client: IpAddr,
        error: &dyn std::fmt::Display,
    ) {
        let now = self.clock().now();
        let key = (kind, Arc::clone(listener), cause);
        let mut refused = self.lookout().refused.lock();
        if let Some(known) = refused.get_mut(&key) {
            known.count += 1;
            known.last = client;
            return;
        }
        refused.insert(key, Refused { told: now, count: 0, last: client });
        drop(refused);
        let notice = refusal(self, (kind, cause), listener, client, 1);
        self.announce(&notice.with("error", error.to_string()));
    }

    /// A provider of identities answered, or did not; a change of that is told. What comes too
    /// soon after the last change is told later, if it is still so.
    pub(crate) fn provider_answered<E: std::fmt::Display>(
        &self,
        sort: &'static str,
        name: &str,
        answer: Result<(), E>,
    ) {
        let last = answer.map_err(|error| error.to_string());
        let mut providers = self.lookout().providers.lock();
        let key = (sort, name.into());
        let known = providers.contains_key(&key);
        if !known && (last.is_ok() || providers.len() >= MAX_PROVIDERS) {
            return;
        }
        let new = || Provider { failing: false, told: None, last: Ok(()) };
        let provider = providers.entry(key.clone()).or_insert_with(new);
        provider.last = last;
        let news = provider.news(self, &key, self.clock().now());
        drop(providers);
        if let Some(notice) = news {
            self.announce(&notice);
        }
    }

    /// Tells of providers what could not be told at once.
    fn tell_providers(&self, now: Instant) {
        let mut providers = self.lookout().providers.lock();
        let news = providers.iter_mut().filter_map(|(key, state)| state.news(self, key, now));
        let news: Vec<_> = news.collect();
        drop(providers);
        news.iter().for_each(|notice| self.announce(notice));
    }

    /// Tells the sums that are due.
    fn tell_refused(&self, now: Instant) {
        let mut due = Vec::new();
        self.lookout().refused.lock().retain(|(kind, listener, cause), refused| {
            if now.saturating_duration_since(refused.told) < WINDOW {
                return true;
            }
            let count = std::mem::take(&mut refused.count);
            refused.told = now;
            if count > 0 {
                due.push(refusal(self, (*kind, *cause), listener, refused.last, count));
            }
            count > 0
        });
        due.iter().for_each(|notice| self.announce(notice));
    }

    /// Tells when records begin to be lost, and when no more are and the log takes them again.
    fn tell_audit(&self, now: Instant) {
        let Some(auditor) = self.audit() else { return };
        let losses = auditor.losses();
        let mut state = self.lookout().audit.lock();
        let fails = losses > state.losses || !auditor.takes_records();
        state.losses = losses;
        let told = match state.failing {
            None if fails => (NoticeKind::AuditFailing, "audit records cannot be kept"),
            Some(last) if !fails && now.saturating_duration_since(last) >= CALM => {
                (NoticeKind::AuditRecovered, "audit records are kept again")
            }
            _ => {
                state.failing = state.failing.map(|last| if fails { now } else { last });
                return;
            }
        };
        state.failing = fails.then_some(now);
        drop(state);
        let notice = happened::notice(self, told.0, told.1);
        self.announce(&notice.with("lost", losses.to_string()));
    }
}

fn refusal(
    edge: &Edge,
    (kind, cause): (NoticeKind, &'static str),
    listener: &Arc<str>,
    client: IpAddr,
    count: u64,
) -> Notice {
    let summary = match kind {
        NoticeKind::TlsFailed => "TLS handshake failed",
        _ => "connection refused",
    };
    let notice = happened::notice(edge, kind, summary);
    Notice { client: Some(client), listener: Some(Arc::clone(listener)), ..notice }
        .with("cause", cause)
        .with("count", count.to_string())
}

/// Looks until the process ends.
pub(crate) async fn keep(edge: Arc<Edge>) {
    loop {
        sleep(PACE).await;
        let now = edge.clock().now();
        edge.tell_refused(now);
        edge.tell_providers(now);
        edge.tell_audit(now);
    }
}
