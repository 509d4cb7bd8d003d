//! What every hash algorithm has to do, for their unit tests.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::testing::{build, choice, endpoints, tally};
use super::{Algorithm, Balance, Choice};
use crate::endpoint::{Endpoint, Lease};
use crate::random::{below, mix};

/// What part of all keys may move though they need not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) needless: f64,
}

fn hash(bounded: &str) -> Balance {
    serde_json::from_str(&format!(r#"{{"hash":"client_ip"{bounded}}}"#)).unwrap()
}

/// Shares differ from the weights by no more than `tolerance`, as a part of the share.
#[track_caller]
pub(super) fn check_shares(algorithm: Algorithm, weights: &[u32], tolerance: f64) {
    let endpoints = endpoints(weights);
    let counts = tally(&*build(algorithm, &endpoints, &hash("")), &endpoints, 400_000);
    let total: u32 = weights.iter().sum();
    for (count, weight) in counts.iter().zip(weights) {
        let due = 400_000.0 * f64::from(*weight) / f64::from(total);
        let off = (f64::from(*count) - due).abs() / due;
        assert!(off < tolerance, "{weights:?}: {counts:?}, {off} off");
    }
}

fn owners(algorithm: Algorithm, endpoints: &[Arc<Endpoint>], keys: u64) -> Vec<SocketAddr> {
    let balancer = build(algorithm, endpoints, &hash(""));
    let turns = AtomicU64::new(0);
    let start = choice(endpoints, &turns, 0, 0);
    let pick = |key| balancer.pick(&Choice { key, ..start }).unwrap();
    (0..keys).map(|key| endpoints[pick(key)].address()).collect()
}

/// One of `count` endpoints leaves: its keys move, and hardly others.
#[track_caller]
pub(super) fn check_leaving(algorithm: Algorithm, count: usize, expected: Expected) {
    let all = endpoints(&vec![1; count]);
    let mut fewer = all.clone();
    let gone = fewer.remove(count / 2).address();
    let keys = 40_000;
    let (before, after) = (owners(algorithm, &all, keys), owners(algorithm, &fewer, keys));
    let owned = before.iter().filter(|owner| **owner == gone).count();
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
    let needless = (moved - owned) as f64 / 40_000.0;
    assert!(needless <= expected.needless, "{count}: {moved} moved for {owned}, {needless}");
    let share = 40_000.0 / count as f64;
    assert!((owned as f64) < share * 1.6 + 20.0, "{count}: {owned}");
}

/// The keys of an endpoint that is not to be chosen go to many others, and only those keys.
#[track_caller]
pub(super) fn check_heirs(algorithm: Algorithm) {
    let all = endpoints(&[1; 10]);
    let (balancer, turns) = (build(algorithm, &all, &hash("")), AtomicU64::new(0));
    let mut heirs = BTreeSet::new();
    let tried = [all[3].address()];
    for key in 0..2_000 {
        let choice = choice(&all, &turns, key, 0);
        let owner = balancer.pick(&choice).unwrap();
        let heir = balancer.pick(&Choice { tried: &tried, ..choice }).unwrap();
        assert!(heir != 3 && (owner == heir || owner == 3));
        if owner == 3 {
            heirs.insert(heir);
        }
    }
    assert!(heirs.len() >= 7, "{heirs:?}");
}

/// A proxy that knows the endpoints in another order sends keys to the same ones.
#[track_caller]
pub(super) fn check_order(algorithm: Algorithm) {
    let all = endpoints(&[1, 3, 1, 2, 1, 1, 4, 1]);
    let mut turned = all.clone();
    turned.rotate_left(3);
    turned.swap(0, 5);
    assert_eq!(owners(algorithm, &all, 5_000), owners(algorithm, &turned, 5_000));
}

/// A few hot keys under requests of random length: nobody has more than its bounded share, and a
/// key goes to few endpoints.
#[track_caller]
pub(super) fn check_bounds(algorithm: Algorithm) {
    for (bound, factor) in [("125%", 1.25), ("150%", 1.5), ("200%", 2.0)] {
        for keys in [1_u64, 3, 100, 100_000] {
            check_bound(algorithm, bound, factor, keys);
        }
    }
}

#[track_caller]
fn check_bound(algorithm: Algorithm, bound: &str, factor: f64, keys: u64) {
    let weights = [1, 1, 2, 1, 3, 1, 1, 1, 2, 1];
    let endpoints = endpoints(&weights);
    let balance = hash(&format!(r#","bounded_load":"{bound}""#));
    let balancer = build(algorithm, &endpoints, &balance);
    let (turns, shared) = (AtomicU64::new(0), Arc::default());
    let start = choice(&endpoints, &turns, 0, 0);
    let mut open = VecDeque::new();
    let mut at_home = 0;
    for round in 0..6_000_u64 {
        let random = mix(round ^ keys << 32);
        let in_flight = open.len() as u64;
        let choice = Choice { key: mix(random % keys), in_flight, ..start };
        let index = balancer.pick(&choice).unwrap();
        let again = balancer.pick(&choice).unwrap();
        assert_eq!(index, again, "deterministic");
        open.push_back(Lease::new(&endpoints[index], &shared));
        let share = f64::from(weights[index]) / f64::from(weights.iter().sum::<u32>());
        let most = (factor * open.len() as f64 * share).ceil();
        let found = f64::from(endpoints[index].in_flight());
        assert!(found <= most, "{bound}, {keys} keys: {found} on one that may have {most}");
        let home = owners_index(&*balancer, &choice);
        at_home += u32::from(index == home);
        if open.len() > 200 {
            drop(open.swap_remove_back(below(mix(random), open.len())));
        }
    }
    if keys == 100_000 {
        let least = if factor < 1.4 { 4_000 } else { 5_000 };
        assert!(at_home > least, "{bound}: only {at_home} of 6,000 where they belong");
    }
}

/// Where a key belongs while nobody is at its bound.
fn owners_index(balancer: &dyn super::Balancer, choice: &Choice<'_>) -> usize {
    balancer.pick(&Choice { in_flight: u64::from(u32::MAX), ..*choice }).unwrap()
}
