//! Where a request goes: routes, pools, endpoint state and balancing.
//!
//! Everything here is pure: no I/O, no tokio, no clock and no source of randomness of its own on
//! the paths that decide. `proxy` resolves names, probes endpoints and sends requests; it tells
//! this crate what it saw and asks it where to go. A queue and stepped, judged canaries are
//! deliberately absent; they will wrap [`pool::Pool`] and [`Split`], not change them.

pub mod algorithms;
pub mod breaker;
pub mod cookies;
pub mod endpoint;
pub mod filters;
mod hash_key;
pub mod health;
pub mod hedge;
pub mod limits;
pub mod outlier;
mod path;
mod pattern;
pub mod pool;
pub mod random;
pub mod retry;
pub mod router;
pub mod settings;
pub mod slow_start;
pub mod split;
pub mod sticky;
pub mod zones;

#[cfg(test)]
mod testing;

pub use endpoint::{Endpoint, Lease};
pub use hash_key::HashKey;
pub use pool::{NoPick, Pick, Pool};
pub use router::{Lookup, RouteError, RouteMatch, Router};
pub use settings::UpstreamSettings;
pub use split::Split;
pub use sticky::Sticky;
