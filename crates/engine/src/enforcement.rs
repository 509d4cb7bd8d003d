//! What of the measures in force is done about a request: blocked ones and throttled ones without
//! a token are refused here; what is to be held back or isolated is told to the proxy.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tidegate_auth::{Auth, token_hash};
use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::site;
use tidegate_core::{Denial, Request};
use tidegate_guard::bans::{Ban, Bans, InForce};
use tidegate_guard::measures::{IsolateSettings, Place, Tarpit, TarpitSettings, ThrottleSettings};
use tidegate_guard::rate::{Known, Throttle};

/// The measures in force, and how they are carried out. Bans, buckets and places outlive a reload.
#[derive(Debug)]
pub struct Enforcement {
    bans: Arc<Bans>,
    pub(crate) listed: Vec<Ban>,
    buckets: Arc<Throttle>,
    places: Tarpit,
    throttle: ThrottleSettings,
    tarpit: TarpitSettings,
    isolate: Option<IsolateSettings>,
    auth: Arc<Auth>,
}

/// How the measures are carried out, by the settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means {
    pub(crate) throttle: ThrottleSettings,
    pub(crate) tarpit: TarpitSettings,
    pub(crate) isolate: Option<IsolateSettings>,
}

/// A refusal that a measure demands.
pub(crate) type Stopped = Box<(Denial, InForce)>;

impl Enforcement {
    pub(crate) fn new(
        means: Means,
        listed: Vec<Ban>,
        auth: Arc<Auth>,
        previous: Option<&Self>,
    ) -> Self {
        let Means { throttle, tarpit, isolate } = means;
        Self {
            bans: previous.map(|previous| Arc::clone(&previous.bans)).unwrap_or_default(),
            buckets: previous.map(|previous| Arc::clone(&previous.buckets)).unwrap_or_default(),
            places: previous.map(|previous| previous.places.clone()).unwrap_or_default(),
            listed,
            throttle,
            tarpit,
            isolate,
            auth,
        }
    }

    /// The bans in force, which outlive a reload.
    #[must_use]
    pub fn bans(&self) -> &Arc<Bans> {
        &self.bans
    }

    /// A place in the tarpit and for how long it is to be kept; `None` if all are taken.
    #[must_use]
    pub fn enter_tarpit(&self) -> Option<(Place, Duration)> {
        let place = self.places.enter(self.tarpit.max_held.get())?;
        Some((place, self.tarpit.delay.0))
    }

    /// How many requests are held in the tarpit.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.places.held()
    }

    /// The upstream that isolated requests go to.
    #[must_use]
    pub fn quarantine(&self) -> Option<&str> {
        self.isolate.as_ref().map(|isolate| &*isolate.to)
    }

    /// What holds for the request's address, or for all on its route.
    pub(crate) fn check_head(
        &self,
        request: &Request<'_>,
        route: Option<&str>,
    ) -> Result<Option<InForce>, Stopped> {
        let now = request.received_at;
        let address = self.bans.look_up(request.client, now);
        let route = route.and_then(|route| self.bans.look_up_route(route, request.client, now));
        self.apply(hardest(address, route), request)
    }

    /// What holds for who asks, beside what is `already` done.
    pub(crate) fn check_known(
        &self,
        request: &Request<'_>,
        known: Known<'_>,
        already: Option<InForce>,
    ) -> Result<Option<InForce>, Stopped> {
        let now = request.received_at;
        let mut found = self.bans.look_up_token(|| token_hash(request.headers()), now);
        if self.bans.has_parties() {
            found = hardest(found, self.bans.look_up_known(known, now));
            // Whoever decides by the log knows the subject as it is shown there.
            let shown = known.subject.and_then(|subject| self.auth.shown_subject(subject));
            let shown = Known { subject: shown.as_deref(), client: None, ..known };
            found = hardest(found, self.bans.look_up_known(shown, now));
        }
        let applied = self.apply(found, request)?;
        Ok(hardest(already, applied))
    }

    /// Refuses, or says what else is to be done.
    fn apply(
        &self,
        found: Option<InForce>,
        request: &Request<'_>,
    ) -> Result<Option<InForce>, Stopped> {
        let Some(found) = found else { return Ok(None) };
        match found.measure {
            Measure::Alert => Ok(None),
            // The tarpit has a tighter bucket, too: nobody fills all of its places.
            Measure::Throttle | Measure::Tarpit => {
                // All on a route or in a network are not one offender.
                let each = is_many(&found.target).then(|| site(request.client, 64));
                match self.take((&found.target, each), request) {
                    Ok(()) => Ok(Some(found).filter(|found| found.measure == Measure::Tarpit)),
                    Err(wait) => Err(Box::new((found.slow_down(wait), found))),
                }
            }
            Measure::Isolate if self.isolate.is_some() => Ok(Some(found)),
            // Without a quarantine the isolated have nowhere to go.
            Measure::Isolate | Measure::Block => Err(Box::new((found.denial(), found))),
        }
    }

    fn take(&self, key: impl Hash, request: &Request<'_>) -> Result<(), Duration> {
        let ThrottleSettings { rate, burst } = self.throttle;
        self.buckets.take(key, (rate, NonZeroU32::get(burst)), request.received_at)
    }
}

fn hardest(a: Option<InForce>, b: Option<InForce>) -> Option<InForce> {
    [a, b].into_iter().flatten().max_by_key(|found| found.measure)
}

/// Whether a target stands for more than one client.
fn is_many(target: &Target) -> bool {
    match target {
        Target::Network(network) => {
            let net = network.net();
            net.prefix_len() < if net.addr().is_ipv4() { 32 } else { 64 }
        }
        Target::Route(_) => true,
        _ => false,
    }
}
