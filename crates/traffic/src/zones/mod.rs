//! Zones and priorities: how much of the load each endpoint should get, given where it runs and
//! where we run.
//!
//! **Zones**, as Envoy's zone-aware routing: every proxy sends to its own zone as much as keeps the
//! load per endpoint equal over all zones, if those are reached by about the same number of
//! requests each. What its own zone has not the endpoints for goes to zones that have more than
//! their share, in proportion to what they have more: to those of the same region as far as they
//! can make up for all that is lacking there, and then to other regions.
//!
//! **Priorities**, as Envoy's: level 0 gets everything while enough of it can serve; when less than
//! 1/1.4 of it can, the rest goes to the next level.
//!
//! Both are functions from counts to factors of weights: one balancer over all endpoints does the
//! rest, so that zones work with every algorithm.

mod settings;

use std::collections::BTreeMap;
use std::fmt;
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

impl Locality {
    /// Whether `name` means this zone: `a`, or `eu-1/a` where regions have zones of one name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let Some(zone) = self.zone.as_deref() else { return false };
        let in_region = |region: &str| {
            let rest = name.strip_prefix(region).and_then(|rest| rest.strip_prefix('/'));
            rest == Some(zone)
        };
        name == zone || self.region.as_deref().is_some_and(in_region)
    }
}

/// The zone, with its region before it if that is known.
impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(region) = &self.region {
            write!(f, "{region}/")?;
        }
        f.write_str(self.zone.as_deref().unwrap_or_default())
    }
}

/// The endpoints of one zone, as [`local_first`] sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Zone<'a> {
    /// The weight of those that can serve.
    pub(crate) able: f64,
    pub(crate) is_local: bool,
    pub(crate) region: Option<&'a str>,
}

/// What the zones of one region have more than their share of the load, and what they lack.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    residual: f64,
    deficit: f64,
}

impl Balance {
    /// What is left for other regions.
    fn excess(self) -> f64 {
        (self.residual - self.deficit).max(0.0)
    }
}

/// The share of our requests that each zone should get. They add up to 1, if any zone can serve.
///
/// If the proxies of all zones do the same, every endpoint gets the same load for its weight, and
/// no request leaves its zone or region that does not have to.
pub(crate) fn local_first(zones: &[Zone<'_>]) -> Vec<f64> {
    let total: f64 = zones.iter().map(|zone| zone.able).sum();
    let part = |zone: &Zone<'_>| if total > 0.0 { zone.able / total } else { 0.0 };
    let Some(local) = zones.iter().find(|zone| zone.is_local).filter(|_| total > 0.0) else {
        return zones.iter().map(part).collect();
    };
    // Every zone's proxies are taken to have the same number of requests.
    let demand = 1.0 / zones.len().max(1) as f64;
    let residual = |zone: &Zone<'_>| (part(zone) - demand).max(0.0);
    let mut regions: BTreeMap<Option<&str>, Balance> = BTreeMap::new();
    for zone in zones {
        let region = regions.entry(zone.region).or_default();
        region.residual += residual(zone);
        region.deficit += (demand - part(zone)).max(0.0);
    }
    let of = |zone: &Zone<'_>| regions.get(&zone.region).copied().unwrap_or_default();
    let own = of(local);
    let elsewhere: f64 = regions.values().map(|region| region.excess()).sum();
    let kept = (part(local) / demand).min(1.0);
    let spilled = 1.0 - kept;
    // What the region has more is for all of its zones that lack something.
    let covered = if own.deficit > 0.0 { (own.residual / own.deficit).min(1.0) } else { 1.0 };
    let near = if elsewhere > 0.0 { spilled * covered } else { spilled };
    let share = |zone: &Zone<'_>| {
        let region = of(zone);
        if zone.is_local {
            kept
        } else if region.residual <= 0.0 {
            0.0
        } else if zone.region == local.region {
            near * residual(zone) / region.residual
        } else if elsewhere > 0.0 {
            let part_of_region = region.excess() / elsewhere;
            (spilled - near) * part_of_region * residual(zone) / region.residual
        } else {
            0.0
        }
    };
    zones.iter().map(share).collect()
}

/// A level serves all that it should while this part of it, and more, can serve: 1/1.4.
const OVERPROVISION: f64 = 1.4;

/// Whether the levels together can serve everything, from the part of each that can serve.
pub(crate) fn covers(able: &[f64]) -> bool {
    able.iter().map(|able| (able * OVERPROVISION).min(1.0)).sum::<f64>() >= 1.0
}

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
    use proptest::prelude::*;

    use super::*;

    /// Zones with so much weight that can serve; the first is ours, the last of another region if
    /// that is said.
    #[track_caller]
    fn check(able: &[f64], far_last: bool, expected: &[f64]) {
        let last = able.len() - 1;
        let zone = |(at, able): (usize, &f64)| Zone {
            able: *able,
            is_local: at == 0,
            region: Some(if far_last && at == last { "far" } else { "near" }),
        };
        let zones: Vec<Zone<'_>> = able.iter().enumerate().map(zone).collect();
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
        // The near one has half of what is lacking.
        check(&[0.0, 2.0, 2.0], true, &[0.0, 0.5, 0.5]);
        check(&[1.0, 3.0, 1.0], true, &[0.6, 0.4, 0.0]);
        check(&[1.0, 2.0, 2.0], true, &[0.6, 0.2, 0.2]);
        check(&[0.0, 0.0, 2.0], true, &[0.0, 0.0, 1.0]);
        check(&[0.0, 0.0, 0.0], false, &[0.0, 0.0, 0.0]);
        check(&[1.0, 1.0], false, &[1.0, 0.0]);
        check(&[1.0, 3.0], false, &[0.5, 0.5]);
    }

    /// What every zone's proxies send to each zone, in all.
    fn together(able: &[f64], regions: &[&str]) -> Vec<f64> {
        let mut load = vec![0.0; able.len()];
        for local in 0..able.len() {
            let zone = |at: usize| Zone {
                able: able[at],
                is_local: at == local,
                region: Some(regions[at]),
            };
            let zones: Vec<Zone<'_>> = (0..able.len()).map(zone).collect();
            for (load, share) in load.iter_mut().zip(local_first(&zones)) {
                *load += share / able.len() as f64;
            }
        }
        load
    }

    proptest! {
        #[test]
        fn together_the_proxies_load_every_endpoint_alike(
            able in prop::collection::vec(prop_oneof![Just(0.0), 0.1..50.0_f64], 1..9),
            regions in prop::collection::vec(prop::sample::select(vec!["x", "y", "z"]), 9),
        ) {
            let total: f64 = able.iter().sum();
            prop_assume!(total > 0.0);
            for (load, able) in together(&able, &regions).iter().zip(&able) {
                prop_assert!((load - able / total).abs() < 1e-9, "{able}: {load}");
            }
        }
    }

    #[test]
    fn a_zone_has_a_short_and_a_long_name() {
        let there = Locality { region: Some("eu-1".into()), zone: Some("a".into()) };
        assert_eq!(there.to_string(), "eu-1/a");
        assert!(there.is_named("a") && there.is_named("eu-1/a"));
        assert!(!there.is_named("eu-2/a") && !there.is_named("eu-1") && !there.is_named(""));
        assert!(!Locality::default().is_named(""));
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
