//! What happens to a pool beside its requests: ejections, returns, slow starts, zones that go out
//! and come back. [`Pool::tend`] is to be called about every second, from one task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::{Isolation, Pool, UNPACED};
use crate::breaker::BreakerState;
use crate::endpoint::Endpoint;
use crate::outlier::{self, Cause};
use crate::slow_start::SlowStartSettings;
use crate::zones::{IsolateSettings, Locality};

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
    /// Outlier detection would have taken an endpoint out, were it enforced.
    Suspected {
        /// Which one.
        endpoint: std::net::SocketAddr,
        /// Why.
        cause: Cause,
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
        let ramp = self.ramp();
        for endpoint in all.iter() {
            changed |= endpoint.warm(Some(&ramp), now);
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

    /// Takes a zone out, or lets it in again, by hand: `a`, or `eu-1/a` where regions have zones of
    /// one name. Says whether any endpoint is in it. It lasts until it is taken back or the process
    /// ends; a reload does not change it. What comes back comes back gradually.
    pub fn drain_zone(&self, zone: &str, drained: bool) -> bool {
        let _changes = self.changes.lock();
        let all = self.endpoints();
        if !all.iter().any(|endpoint| endpoint.locality().is_named(zone)) {
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

    /// Quarantines these endpoints and those of these zones, and no others, for the response policy.
    /// Answers for how many endpoints that is new. What comes back comes back gradually. Those that
    /// are quarantined already go first, and as many follow as at least half of all that are not
    /// drained can serve beside.
    pub fn quarantine(&self, endpoints: &[std::net::SocketAddr], zones: &[Box<str>]) -> usize {
        let all = self.endpoints();
        let named = |endpoint: &Endpoint| {
            endpoints.contains(&endpoint.address())
                || zones.iter().any(|zone| endpoint.locality().is_named(zone))
        };
        let serves = |e: &Endpoint| e.is_healthy() && !e.is_ejected();
        let open = || all.iter().filter(|endpoint| endpoint.is_open());
        let mut candidates: Vec<_> = all.iter().filter(|endpoint| named(endpoint)).collect();
        candidates.sort_by_key(|endpoint| !endpoint.is_quarantined());
        let mut out = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            out.push(candidate.address());
            let others = |endpoint: &&Arc<Endpoint>| !out.contains(&endpoint.address());
            let able = open().filter(others).filter(|endpoint| serves(endpoint)).count();
            if able == 0 || able * 2 < open().count() {
                out.pop();
            }
        }
        let wanted = |endpoint: &Endpoint| out.contains(&endpoint.address());
        if all.iter().all(|endpoint| endpoint.is_quarantined() == wanted(endpoint)) {
            return 0;
        }
        let _changes = self.changes.lock();
        let (all, ramp) = (self.endpoints(), self.ramp());
        let mut changed = 0;
        for endpoint in all.iter() {
            let quarantined = wanted(endpoint);
            if endpoint.set_quarantined(quarantined) {
                changed += 1;
                if !quarantined {
                    endpoint.enter(Some(&ramp));
                }
            }
        }
        self.rebuild(&all);
        changed
    }

    /// The zones that are out now, by hand or since too much of them failed; those that the
    /// settings drain are not among them.
    #[must_use]
    pub fn zones_out(&self) -> Vec<Box<str>> {
        self.shared.zones_out()
    }

    /// Takes an endpoint out for what requests got, if the cap allows it. Whoever changes the pool
    /// just now is not waited for: the endpoint's next failures lead here again.
    pub(super) fn eject(
        &self,
        endpoint: &Arc<Endpoint>,
        cause: Cause,
        now: Instant,
    ) -> Option<Event> {
        if endpoint.is_ejected() {
            return None;
        }
        let _changes = self.changes.try_lock()?;
        self.take_out(endpoint, cause, now)
    }

    /// Call it with `changes` locked.
    fn take_out(&self, endpoint: &Arc<Endpoint>, cause: Cause, now: Instant) -> Option<Event> {
        let settings = self.settings.outlier.as_ref()?;
        let address = endpoint.address();
        if !settings.enforce {
            if endpoint.ejection().until.is_some_and(|until| until > now) {
                return None;
            }
            endpoint.record().eject(cause, now, settings);
            return Some(Event::Suspected { endpoint: address, cause });
        }
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
        // Picks skip it; what is large is rebuilt by [`Self::tend`] rather than by a request.
        if all.len() <= UNPACED {
            self.rebuild(&all);
        }
        Some(Event::Ejected { endpoint: address, cause, until })
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
                let _changes = self.changes.lock();
                events.extend(self.take_out(endpoint, cause, now));
            }
        }
        for endpoint in inside {
            endpoint.record().forgive(now);
        }
    }

    /// Takes zones out that cannot serve, and ends that when its time is over.
    fn tend_zones(&self, all: &[Arc<Endpoint>], now: Instant, events: &mut Vec<Event>) -> bool {
        let _changes = self.changes.lock();
        let settings = self.settings.zones.isolate.as_ref();
        {
            let mut isolated = self.shared.isolated.lock();
            tend_isolation(&mut isolated, all, settings, now, events);
        }
        self.apply_isolation(all)
    }

    /// How what was out as a whole comes back: as slowly as single endpoints, or as they would by
    /// default.
    fn ramp(&self) -> SlowStartSettings {
        self.settings.slow_start.unwrap_or_default()
    }

    /// Marks the endpoints of zones that are out; says whether that changed any. Those that come
    /// back do so gradually.
    pub(super) fn apply_isolation(&self, all: &[Arc<Endpoint>]) -> bool {
        let (out, ramp) = (self.zones_out(), self.ramp());
        let mut changed = false;
        for endpoint in all {
            let isolated = out.iter().any(|zone| endpoint.locality().is_named(zone));
            if endpoint.set_isolated(isolated) {
                changed = true;
                if !isolated {
                    endpoint.enter(Some(&ramp));
                }
            }
        }
        changed
    }
}

/// The endpoints of a zone that should have requests.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    count: usize,
    unable: usize,
}

impl Census {
    fn fails(self, settings: &IsolateSettings) -> bool {
        self.count >= settings.min_endpoints as usize
            && self.unable > 0
            && self.unable * 10_000 >= self.count * usize::from(settings.unable.basis_points())
    }
}

/// Ends isolations whose time is over, begins new ones, and never leaves a pool without a zone for
/// the sake of one that failed earlier.
fn tend_isolation(
    isolated: &mut FxHashMap<Box<str>, Isolation>,
    all: &[Arc<Endpoint>],
    settings: Option<&IsolateSettings>,
    now: Instant,
    events: &mut Vec<Event>,
) {
    let mut zones = BTreeMap::<&Locality, Census>::new();
    for endpoint in all.iter().filter(|endpoint| endpoint.is_wanted()) {
        let zone = zones.entry(endpoint.locality()).or_default();
        zone.count += 1;
        zone.unable += usize::from(!endpoint.is_able());
    }
    let is_out = |isolated: &FxHashMap<Box<str>, Isolation>, zone: &Locality| {
        isolated.iter().any(|(name, isolation)| isolation.is_out() && zone.is_named(name))
    };
    let fails = |census: &Census| settings.is_some_and(|settings| census.fails(settings));
    let one_works =
        zones.iter().any(|(zone, c)| !is_out(isolated, zone) && c.unable < c.count && !fails(c));
    for (name, isolation) in isolated.iter_mut() {
        if isolation.until.is_none_or(|until| now < until && one_works) {
            continue;
        }
        let here = || zones.iter().filter(|(zone, _)| zone.is_named(name));
        let mut censuses = here().map(|(_, census)| census).peekable();
        let useless = censuses.peek().is_some() && censuses.all(|c| c.unable == c.count);
        let still_fails = useless || one_works && here().any(|(_, census)| fails(census));
        isolation.until = settings.filter(|_| still_fails).map(|settings| now + settings.time.0);
        if isolation.until.is_none() {
            events.push(Event::ZoneReturned { zone: name.clone() });
        }
    }
    let Some(settings) = settings.filter(|_| one_works) else { return };
    for (zone, census) in zones.iter().filter(|(zone, _)| zone.zone.is_some()) {
        if census.fails(settings) && !is_out(isolated, zone) {
            let name: Box<str> = zone.to_string().into();
            isolated.entry(name.clone()).or_default().until = Some(now + settings.time.0);
            events.push(Event::ZoneIsolated { zone: name });
        }
    }
}
