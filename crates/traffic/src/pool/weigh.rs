//! How much of the load each endpoint should get now: by weight, slow start, zone and priority, and
//! whether so few can serve that all are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::algorithms::WEIGHT_ONE;
use crate::endpoint::Endpoint;
use crate::settings::UpstreamSettings;
use crate::zones::{Locality, Zone, ZoneMode, by_priority, covers, local_first};

/// What [`weigh`] finds.
#[derive(Debug, PartialEq)]
pub(super) struct Weighed {
    /// For each endpoint its effective weight, in units of 1/[`WEIGHT_ONE`]; 0 for those that
    /// get nothing.
    pub(super) weights: Vec<u32>,
    /// Whether fewer than the panic threshold can serve: then all that are open get requests.
    pub(super) panic: bool,
}

pub(super) fn weigh(
    all: &[Arc<Endpoint>],
    settings: &UpstreamSettings,
    here: &Locality,
) -> Weighed {
    let panic = is_panic(all, usize::from(settings.panic_threshold.basis_points()));
    let serves = |e: &Endpoint| if panic { e.is_open() } else { e.is_available() };
    let own = |endpoint: &Arc<Endpoint>| {
        if serves(endpoint) {
            f64::from(endpoint.weight()) * f64::from(endpoint.warmth())
        } else {
            0.0
        }
    };
    let mut weights: Vec<f64> = all.iter().map(own).collect();
    if !panic {
        share_by_priority(all, &mut weights);
        if settings.zones.mode == ZoneMode::PreferLocal && here.zone.is_some() {
            let levels: BTreeSet<u8> = all.iter().map(|endpoint| endpoint.priority()).collect();
            for level in levels {
                share_by_zone(all, level, settings.zones.min_endpoints, here, &mut weights);
            }
        }
    }
    let rounded = |weight: f64| {
        if weight <= 0.0 {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let rounded = weight.round().clamp(1.0, f64::from(u32::MAX)) as u32;
        rounded
    };
    Weighed { weights: weights.into_iter().map(rounded).collect(), panic }
}

/// Whether so few can serve that all should be tried. Levels of priority that can take over what
/// others cannot serve are what they are there for, however small they are.
fn is_panic(all: &[Arc<Endpoint>], threshold: usize) -> bool {
    let mut levels: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
    for endpoint in all.iter().filter(|endpoint| endpoint.is_open()) {
        let (open, available) = levels.entry(endpoint.priority()).or_default();
        *open += 1;
        *available += usize::from(endpoint.is_available());
    }
    let open: usize = levels.values().map(|(open, _)| open).sum();
    let available: usize = levels.values().map(|(_, available)| available).sum();
    let parts: Vec<f64> =
        levels.values().map(|(open, available)| *available as f64 / *open as f64).collect();
    let covered = parts.len() > 1 && covers(&parts);
    // With none, there is no load that the others would have to be spared.
    available > 0 && available * 10_000 < open * threshold && !covered
}

/// Scales the weights of each level, so that the levels' sums have the shares they should have.
fn share_by_priority(all: &[Arc<Endpoint>], weights: &mut [f64]) {
    // For each level: the weight of those that are open, and of those that can serve.
    let mut levels: BTreeMap<u8, (f64, f64)> = BTreeMap::new();
    for (endpoint, weight) in all.iter().zip(weights.iter()).filter(|(e, _)| e.is_open()) {
        let level = levels.entry(endpoint.priority()).or_default();
        level.0 += f64::from(endpoint.weight());
        if *weight > 0.0 {
            level.1 += f64::from(endpoint.weight());
        }
    }
    if levels.len() < 2 {
        return;
    }
    let able: Vec<f64> = levels.values().map(|(open, able)| able / open.max(1.0)).collect();
    let total: f64 = levels.values().map(|(_, able)| able).sum();
    let factors: BTreeMap<u8, f64> = levels
        .iter()
        .zip(by_priority(&able))
        .map(|((level, (_, able)), share)| (*level, share * total / able.max(1.0)))
        .collect();
    for (endpoint, weight) in all.iter().zip(weights) {
        *weight *= factors.get(&endpoint.priority()).copied().unwrap_or(0.0);
    }
}

/// Scales the weights of each zone of one level, so that ours comes first.
fn share_by_zone(
    all: &[Arc<Endpoint>],
    level: u8,
    min_endpoints: u32,
    here: &Locality,
    weights: &mut [f64],
) {
    // Zones that cannot serve have proxies of their own still, which send elsewhere.
    let mut zones: BTreeMap<&Locality, f64> = BTreeMap::new();
    let mut able = 0;
    for (endpoint, weight) in all.iter().zip(weights.iter()) {
        if endpoint.weight() > 0 && endpoint.priority() == level {
            *zones.entry(endpoint.locality()).or_default() += weight / f64::from(WEIGHT_ONE);
            able += usize::from(*weight > 0.0);
        }
    }
    let Some(local) = local_zone(&zones, here) else { return };
    if able < min_endpoints as usize || zones.len() < 2 {
        return;
    }
    let seen: Vec<Zone<'_>> = zones
        .iter()
        .map(|(zone, able)| Zone {
            able: *able,
            is_local: *zone == local,
            region: zone.region.as_deref(),
        })
        .collect();
    let total: f64 = zones.values().sum();
    let factors: BTreeMap<&Locality, f64> = zones
        .iter()
        .zip(local_first(&seen))
        .map(|((zone, able), share)| (*zone, if *able > 0.0 { share * total / able } else { 0.0 }))
        .collect();
    for (endpoint, weight) in all.iter().zip(weights).filter(|(e, _)| e.priority() == level) {
        *weight *= factors.get(endpoint.locality()).copied().unwrap_or(0.0);
    }
}

/// The zone that we are in. Who does not know their own region are in the only zone of that name.
fn local_zone<'a>(zones: &BTreeMap<&'a Locality, f64>, here: &Locality) -> Option<&'a Locality> {
    let mut named = zones.keys().copied().filter(|zone| zone.zone == here.zone);
    if here.region.is_some() {
        return named.find(|zone| zone.region == here.region);
    }
    let only = named.next()?;
    named.next().is_none().then_some(only)
}
