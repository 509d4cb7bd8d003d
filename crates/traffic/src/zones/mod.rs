//! Zones and priorities: how much of the load each endpoint should get, given where it runs and
//! where we run.
//!
//! **Zones**, as Envoy's zone-aware routing: every proxy sends to its own zone as much as keeps the
//! load per endpoint equal over all zones, if those are reached by about the same number of
//! requests each. What its own zone has not the endpoints for goes to zones that have more than
//! their share, of the same region first, in proportion to what they have more.
//!
//! **Priorities**, as Envoy's: level 0 gets everything while enough of it can serve; when less than
//! 1/1.4 of it can, the rest goes to the next level.
//!
//! Both are functions from counts to factors of weights: one balancer over all endpoints does the
//! rest, so that zones work with every algorithm.

mod settings;

use std::sync::Arc;

pub use self::settings::{IsolateSettings, ZoneMode, ZoneSettings};

/// Where something runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// The region, if it is known.
    pub region: Option<Arc<str>>,
    /// The zone, if it is known.
    pub zone: Option<Arc<str>>,
}

/// The endpoints of one zone, as [`local_first`] sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Zone {
    /// The weight of those that can serve.
    pub(crate) able: f64,
    pub(crate) is_local: bool,
    pub(crate) same_region: bool,
}

/// The share of our requests that each zone should get. They add up to 1, if any zone can serve.
pub(crate) fn local_first(zones: &[Zone]) -> Vec<f64> {
    let total: f64 = zones.iter().map(|zone| zone.able).sum();
    let part = |zone: &Zone| if total > 0.0 { zone.able / total } else { 0.0 };
    // Every zone's proxies are taken to have the same number of requests.
    let demand = 1.0 / zones.len().max(1) as f64;
    let Some(local) = zones.iter().find(|zone| zone.is_local) else {
        return zones.iter().map(part).collect();
    };
    let kept = (part(local) / demand).min(1.0);
    let residual = |zone: &Zone| if zone.is_local { 0.0 } else { (part(zone) - demand).max(0.0) };
    let near: f64 = zones.iter().filter(|zone| zone.same_region).map(residual).sum();
    let any: f64 = zones.iter().map(residual).sum();
    let spilled = 1.0 - kept;
    let share = |zone: &Zone| {
        if zone.is_local {
            kept
        } else if near > 0.0 {
            if zone.same_region { spilled * residual(zone) / near } else { 0.0 }
        } else if any > 0.0 {
            spilled * residual(zone) / any
        } else {
            0.0
        }
    };
    zones.iter().map(share).collect()
}

/// A level serves all that it should while this part of it, and more, can serve: 1/1.4.
const OVERPROVISION: f64 = 1.4;

/// The share of requests that each level of priority should get, from the part of each that can
/// serve. They add up to 1, if anything can serve.
pub(crate) fn by_priority(able: &[f64]) -> Vec<f64> {
    let mut left = 1.0_f64;
    let shares: Vec<f64> = able
        .iter()
        .map(|able| {
            let share = left.min(able * OVERPROVISION);
            left -= share;
            share
        })
        .collect();
    let given = 1.0 - left;
    let scale = if given > 0.0 { 1.0 / given } else { 0.0 };
    shares.into_iter().map(|share| share * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zones with so much weight that can serve; the first is ours, the last of another region if
    /// that is said.
    #[track_caller]
    fn check(able: &[f64], far_last: bool, expected: &[f64]) {
        let last = able.len() - 1;
        let zone = |(at, able): (usize, &f64)| Zone {
            able: *able,
            is_local: at == 0,
            same_region: !(far_last && at == last),
        };
        let zones: Vec<Zone> = able.iter().enumerate().map(zone).collect();
        let shares = local_first(&zones);
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 1e-9, "{able:?}: {shares:?}");
        }
        if able.iter().sum::<f64>() > 0.0 {
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{able:?}: {shares:?}");
        }
    }

    #[test]
    fn local_first_and_the_rest_to_those_who_have_more() {
        check(&[2.0, 2.0, 2.0], false, &[1.0, 0.0, 0.0]);
        check(&[4.0, 1.0, 1.0], false, &[1.0, 0.0, 0.0]);
        check(&[1.0, 2.0, 2.0], false, &[0.6, 0.2, 0.2]);
        check(&[0.0, 2.0, 2.0], false, &[0.0, 0.5, 0.5]);
        check(&[1.0, 3.0, 1.0], false, &[0.6, 0.4, 0.0]);
        check(&[0.0, 2.0, 2.0], true, &[0.0, 1.0, 0.0]);
        check(&[0.0, 0.0, 2.0], true, &[0.0, 0.0, 1.0]);
        check(&[0.0, 0.0, 0.0], false, &[0.0, 0.0, 0.0]);
        check(&[1.0, 1.0], false, &[1.0, 0.0]);
        check(&[1.0, 3.0], false, &[0.5, 0.5]);
    }

    /// What every zone's proxies do together keeps the load per endpoint equal.
    #[test]
    fn together_the_proxies_load_every_endpoint_alike() {
        for able in [[6.0, 6.0, 6.0], [3.0, 6.0, 6.0], [1.0, 2.0, 6.0], [0.0, 3.0, 6.0]] {
            let mut load = [0.0; 3];
            for local in 0..3 {
                let zone =
                    |at: usize| Zone { able: able[at], is_local: at == local, same_region: true };
                let shares = local_first(&[zone(0), zone(1), zone(2)]);
                for (load, share) in load.iter_mut().zip(shares) {
                    *load += share;
                }
            }
            let total: f64 = able.iter().sum();
            for (load, able) in load.iter().zip(able) {
                assert!((load / 3.0 - able / total).abs() < 1e-9, "{able:?}: {load:?}");
            }
        }
    }

    #[track_caller]
    fn check_levels(able: &[f64], expected: &[f64]) {
        let shares = by_priority(able);
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 1e-9, "{able:?}: {shares:?}");
        }
    }

    #[test]
    fn lower_levels_take_what_higher_ones_cannot() {
        check_levels(&[1.0, 1.0], &[1.0, 0.0]);
        check_levels(&[0.72, 1.0], &[1.0, 0.0]);
        check_levels(&[0.5, 1.0], &[0.7, 0.3]);
        check_levels(&[0.0, 1.0], &[0.0, 1.0]);
        check_levels(&[0.25, 0.25], &[0.5, 0.5]);
        check_levels(&[0.0, 0.0], &[0.0, 0.0]);
    }
}
