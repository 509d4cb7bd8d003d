//! What happens to a pool beside its requests: ejections, returns, slow starts, zones that go out
//! and come back. [`Pool::tend`] is to be called about every second, from one task.

use std::sync::Arc;
use std::time::Instant;

use super::{Isolation, Pool};
use crate::breaker::BreakerState;
use crate::endpoint::Endpoint;
use crate::outlier::{self, Cause};
use crate::zones::IsolateSettings;

/// Something that operators want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The breaker turned into this state.
    Breaker(BreakerState),
    /// Outlier detection took an endpoint out.
    Ejected {
        /// Which one.
        endpoint: std::net::SocketAddr,
        /// Why.
        cause: Cause,
        /// Until when.
        until: Instant,
    },
    /// An endpoint's ejection is over.
    Readmitted {
        /// Which one.
        endpoint: std::net::SocketAddr,
    },
    /// A zone was taken out, since too many of its endpoints cannot serve.
    ZoneIsolated {
        /// Which one.
        zone: Box<str>,
    },
    /// A zone is back.
    ZoneReturned {
        /// Which one.
        zone: Box<str>,
    },
}

impl Pool {
    /// Does what is due by now; tells what it did.
    pub fn tend(&self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let all = self.endpoints();
        let mut changed = self.readmit(&all, now, &mut events);
        self.sweep(&all, now, &mut events);
        changed |= self.tend_zones(&all, now, &mut events);
        for endpoint in all.iter() {
            changed |= endpoint.warm(self.settings.slow_start.as_ref(), now);
        }
        let members = self.members.load();
        changed |= (0..members.all.len()).any(|place| members.is_stale(place));
        drop(members);
        if changed {
            let mut changes = self.changes.lock();
            changes.rebuilt = Some(now);
            self.rebuild(&self.endpoints());
        }
        events
    }

    /// Takes an endpoint out, or lets it in again, by hand; weights are left as they are. Says
    /// whether there is such an endpoint. It lasts until it is taken back or the process ends.
    pub fn drain_endpoint(&self, address: std::net::SocketAddr, drained: bool) -> bool {
        let _changes = self.changes.lock();
        let all = self.endpoints();
        let Some(endpoint) = all.iter().find(|endpoint| endpoint.address() == address) else {
            return false;
        };
        if endpoint.set_drained(drained) {
            if !drained {
                self.enter(std::slice::from_ref(endpoint));
            }
            self.rebuild(&all);
        }
        true
    }

    /// Takes a zone out, or lets it in again, by hand. Says whether any endpoint is in it. It lasts
    /// until it is taken back or the process ends; a reload does not change it.
    pub fn drain_zone(&self, zone: &str, drained: bool) -> bool {
        let _changes = self.changes.lock();
        let all = self.endpoints();
        if !all.iter().any(|endpoint| endpoint.locality().zone.as_deref() == Some(zone)) {
            return false;
        }
        {
            let mut isolated = self.shared.isolated.lock();
            let isolation = isolated.entry(zone.into()).or_default();
            *isolation = Isolation { by_hand: drained, until: None };
        }
        self.apply_isolation(&all);
        self.rebuild(&all);
        true
    }

    /// The zones that are out now, by hand or since too much of them failed; those that the
    /// settings drain are not among them.
    #[must_use]
    pub fn zones_out(&self) -> Vec<Box<str>> {
        let isolated = self.shared.isolated.lock();
        let mut out: Vec<Box<str>> = isolated
            .iter()
            .filter(|(_, isolation)| isolation.by_hand || isolation.until.is_some())
            .map(|(zone, _)| zone.clone())
            .collect();
        out.sort_unstable();
        out
    }

    /// Takes an endpoint out, if the cap allows it.
    pub(super) fn eject(
        &self,
        endpoint: &Arc<Endpoint>,
        cause: Cause,
        now: Instant,
    ) -> Option<Event> {
        let settings = self.settings.outlier.as_ref()?;
        let _changes = self.changes.lock();
        let all = self.endpoints();
        let share = all.len() * usize::from(settings.max_ejected.basis_points()) / 10_000;
        let ejected = all.iter().filter(|endpoint| endpoint.is_ejected()).count();
        let is_last =
            !all.iter().any(|other| !Arc::ptr_eq(other, endpoint) && other.is_available());
        if endpoint.is_ejected() || ejected >= share.max(1) || is_last {
            return None;
        }
        let until = endpoint.record().eject(cause, now, settings);
        endpoint.set_ejected(true);
        self.rebuild(&all);
        Some(Event::Ejected { endpoint: endpoint.address(), cause, until })
    }

    /// Ends ejections that are over.
    fn readmit(&self, all: &[Arc<Endpoint>], now: Instant, events: &mut Vec<Event>) -> bool {
        let mut changed = false;
        for endpoint in all.iter().filter(|endpoint| endpoint.is_ejected()) {
            // Without outlier settings nobody would end it.
            let over = endpoint.ejection().until.is_none_or(|until| until <= now)
                || self.settings.outlier.is_none();
            if over {
                endpoint.record().readmit();
                endpoint.set_ejected(false);
                self.enter(std::slice::from_ref(endpoint));
                events.push(Event::Readmitted { endpoint: endpoint.address() });
                changed = true;
            }
        }
        changed
    }

    /// Compares the endpoints' rates, once per interval.
    fn sweep(&self, all: &[Arc<Endpoint>], now: Instant, events: &mut Vec<Event>) {
        let Some(settings) = &self.settings.outlier else { return };
        {
            let mut changes = self.changes.lock();
            let last = *changes.swept.get_or_insert(now);
            if now.saturating_duration_since(last) < settings.interval.0 {
                return;
            }
            changes.swept = Some(now);
        }
        let inside: Vec<_> = all.iter().filter(|endpoint| !endpoint.is_ejected()).collect();
        let records: Vec<_> = inside.iter().map(|endpoint| endpoint.record()).collect();
        for (at, cause) in outlier::compare(&records, settings) {
            if let Some(endpoint) = inside.get(at) {
                events.extend(self.eject(endpoint, cause, now));
            }
        }
        for endpoint in inside {
            endpoint.record().forgive();
        }
    }

    /// Takes zones out that cannot serve, and ends that when its time is over.
    fn tend_zones(&self, all: &[Arc<Endpoint>], now: Instant, events: &mut Vec<Event>) -> bool {
        let _changes = self.changes.lock();
        {
            let mut isolated = self.shared.isolated.lock();
            for (zone, isolation) in isolated.iter_mut() {
                if isolation.until.is_some_and(|until| until <= now) {
                    isolation.until = None;
                    events.push(Event::ZoneReturned { zone: zone.clone() });
                }
            }
            if let Some(settings) = &self.settings.zones.isolate {
                for zone in failing_zones(all, settings) {
                    let isolation = isolated.entry(zone.clone()).or_default();
                    isolation.until = Some(now + settings.time.0);
                    events.push(Event::ZoneIsolated { zone });
                }
            }
        }
        self.apply_isolation(all)
    }

    /// Marks the endpoints of zones that are out; says whether that changed any. Those that come
    /// back start slowly.
    pub(super) fn apply_isolation(&self, all: &[Arc<Endpoint>]) -> bool {
        let out = self.zones_out();
        let mut changed = false;
        for endpoint in all {
            let zone = endpoint.locality().zone.as_deref();
            let isolated = zone.is_some_and(|zone| out.iter().any(|out| **out == *zone));
            if endpoint.set_isolated(isolated) {
                changed = true;
                if !isolated {
                    self.enter(std::slice::from_ref(endpoint));
                }
            }
        }
        changed
    }
}

/// The zones of which too many endpoints cannot serve, if another zone can.
fn failing_zones(all: &[Arc<Endpoint>], settings: &IsolateSettings) -> Vec<Box<str>> {
    let mut zones = std::collections::BTreeMap::<&str, (usize, usize)>::new();
    for endpoint in all.iter().filter(|endpoint| endpoint.is_open()) {
        if let Some(zone) = endpoint.locality().zone.as_deref() {
            let (count, unable) = zones.entry(zone).or_default();
            *count += 1;
            *unable += usize::from(!endpoint.is_able());
        }
    }
    let fails = |(count, unable): &(usize, usize)| {
        *count >= settings.min_endpoints as usize
            && *unable > 0
            && *unable * 10_000 >= *count * usize::from(settings.unable.basis_points())
    };
    // With no zone left that works, isolation would take out what little there is.
    if zones.values().all(fails) {
        return Vec::new();
    }
    zones.iter().filter(|(_, counts)| fails(counts)).map(|(zone, _)| (*zone).into()).collect()
}
