//! Splits: a route that names several upstreams by weight, such as two versions of a service. A
//! client stays on its side.
//!
//! The side of a client is drawn by weighted rendezvous hashing (Thaler and Ravishankar 1998; the
//! weights as Schindelhauer and Schomaker 2005 have them): each side scores `weight / -ln(u)`
//! with a number `u` between 0 and 1 that depends on client and side only, and the best wins. A
//! score depends on no other side, so when weights change clients move only to sides whose share
//! grew, and only as many as it grew by: no more than an exact change of the shares needs. The
//! names of the sides seed the numbers, so that all proxies agree and the order in the file does
//! not matter.
//!
//! By cookie a client is drawn at its first request and told its side; changed weights then apply
//! to new clients only. A side that is taken out by weight 0, or whose upstream is gone, loses its
//! clients either way.
//!
//! While no endpoint of a side can serve, its clients go to their next best side, and come back
//! afterwards: nobody is refused while some side can serve. A stepped canary would change the
//! weights of a [`Split`] between two values of its settings, and nothing else.

mod settings;

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use tidegate_core::{Request, SettingsError};

use crate::cookies::SignedCookie;
use crate::hash_key::HashKey;
use crate::pool::Pool;
use crate::random::{hash_bytes, mix};

pub use self::settings::{SplitKey, SplitSettings};

/// Weights above this would not split any better.
const MAX_WEIGHT: u32 = 65_535;

/// Decides on which side a client is.
#[derive(Debug)]
pub struct Split {
    sides: Box<[Side]>,
    by: By,
    failover: bool,
}

#[derive(Debug)]
struct Side {
    weight: u32,
    seed: u64,
    /// What the cookie calls it, for each key.
    ids: Box<[u64]>,
}

#[derive(Debug)]
enum By {
    Cookie(Box<SignedCookie>),
    Key(HashKey),
}

/// The side of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The index among the sides, in the order of their names.
    pub side: usize,
    /// The `Set-Cookie` field that the response owes the client.
    pub set_cookie: Option<HeaderValue>,
}

impl Split {
    /// Compiles a split.
    ///
    /// # Errors
    ///
    /// All settings that cannot be used, with paths relative to `to`. Whether the upstreams exist
    /// is the caller's to check.
    pub fn compile(settings: &SplitSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        if settings.split.is_empty() {
            errors.push(SettingsError::new(["split"], "a split needs at least one upstream"));
        } else if settings.split.values().all(|weight| *weight == 0) {
            errors.push(
                SettingsError::new(["split"], "all weights are 0, so that nothing would be served")
                    .with_hint("leave at least one upstream with a weight above 0"),
            );
        }
        for (name, weight) in settings.split.iter().filter(|(_, weight)| **weight > MAX_WEIGHT) {
            let message = format!("the weight {weight} is above {MAX_WEIGHT}");
            errors.push(SettingsError::new(["split", name], message));
        }
        let by = match &settings.by {
            SplitKey::ClientIp => By::Key(HashKey::ClientIp),
            SplitKey::Header(name) => By::Key(HashKey::Header(name.clone())),
            SplitKey::Cookie(cookie) => match SignedCookie::compile("split", cookie) {
                Ok(cookie) => By::Cookie(Box::new(cookie)),
                Err(found) => {
                    errors.extend(found.into_iter().map(|error| error.under(["by"])));
                    return Err(errors);
                }
            },
        };
        let sides = settings.split.iter().map(|(name, weight)| Side::new(name, *weight, &by));
        let sides = sides.collect();
        let failover = settings.failover;
        if errors.is_empty() { Ok(Self { sides, by, failover }) } else { Err(errors) }
    }

    /// The side of a request. `available` says whether a side can serve, `random` draws for a
    /// client that has no side yet.
    pub fn choose(
        &self,
        request: &Request<'_>,
        random: u64,
        wall: SystemTime,
        available: impl Fn(usize) -> bool,
    ) -> Chosen {
        let cookie = match &self.by {
            By::Key(key) => {
                let key = mix(key.hash(request));
                let side = self.serving(key, self.best(key, |_| true), available);
                return Chosen { side, set_cookie: None };
            }
            By::Cookie(cookie) => cookie,
        };
        let token = cookie.read(request.headers(), wall);
        let told = token.and_then(|token| {
            let names = |side: &Side| side.weight > 0 && side.ids.get(token.key) == Some(&token.id);
            self.sides.iter().position(names)
        });
        let own = told.or_else(|| self.best(random, |_| true));
        let keeps = told.is_some() && token.is_some_and(|token| !cookie.is_old(&token, wall));
        let id = own.and_then(|own| self.sides.get(own)?.ids.first().copied());
        let set_cookie = match id {
            Some(id) if !keeps => cookie.issue(id, wall, request.secure),
            _ => None,
        };
        Chosen { side: self.serving(random, own, available), set_cookie }
    }

    /// A client's own side, or its next best while that cannot serve.
    fn serving(&self, key: u64, own: Option<usize>, available: impl Fn(usize) -> bool) -> usize {
        let own = own.unwrap_or_default();
        if !self.failover || available(own) {
            return own;
        }
        self.best(key, available).unwrap_or(own)
    }

    /// The side with the best score of those that are wanted and have a weight.
    fn best(&self, key: u64, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let sides = self.sides.iter().enumerate();
        sides
            .filter(|(index, side)| side.weight > 0 && wanted(*index))
            .map(|(index, side)| (side.score(key), index))
            .max_by(|(score, _), (other, _)| score.total_cmp(other))
            .map(|(_, index)| index)
    }
}

impl Side {
    fn new(name: &str, weight: u32, by: &By) -> Self {
        let ids = match by {
            By::Cookie(cookie) => {
                (0..cookie.keys()).map(|key| cookie.id(key, name.as_bytes())).collect()
            }
            By::Key(_) => Box::default(),
        };
        Self { weight, seed: hash_bytes(name.as_bytes()), ids }
    }

    fn score(&self, key: u64) -> f64 {
        // 53 bits and a half: strictly between 0 and 1, so that the logarithm is below zero.
        let unit = ((mix(key ^ self.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        f64::from(self.weight) / -unit.ln()
    }
}

/// Where a route's requests go: to one pool, or to the pool of the client's side.
#[derive(Debug)]
pub struct Destination {
    pools: Box<[Arc<Pool>]>,
    split: Option<Split>,
}

impl Destination {
    /// One pool for all.
    #[must_use]
    pub fn pool(pool: Arc<Pool>) -> Self {
        Self { pools: [pool].into(), split: None }
    }

    /// A pool for each side of the split, in the order of their names.
    #[must_use]
    pub fn split(split: Split, pools: impl IntoIterator<Item = Arc<Pool>>) -> Self {
        Self { pools: pools.into_iter().collect(), split: Some(split) }
    }

    /// All pools that requests may go to, at least one.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// Which of [`Self::pools`] a request goes to, with all its attempts, and the cookie that the
    /// response has to set. Choose once per request.
    #[must_use]
    pub fn choose(&self, request: &Request<'_>, random: u64, wall: SystemTime) -> Chosen {
        let Some(split) = &self.split else { return Chosen { side: 0, set_cookie: None } };
        let available = |side: usize| self.pools.get(side).is_some_and(|pool| pool.is_available());
        split.choose(request, random, wall, available)
    }
}

#[cfg(test)]
mod tests;
