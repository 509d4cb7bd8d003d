//! Where a request goes: routes, pools, endpoint state and balancing.
//!
//! Everything here is pure: no I/O, no tokio, no clock and no source of randomness of its own on
//! the paths that decide. `proxy` resolves names, probes endpoints and sends requests; it tells
//! this crate what it saw and asks it where to go. Splits, outlier detection, zones and queues are
//! deliberately absent; they will wrap [`pool::Pool`], not change it.

pub mod algorithms;
pub mod endpoint;
pub mod filters;
pub mod health;
pub mod hedge;
mod path;
mod pattern;
pub mod pool;
pub mod random;
pub mod retry;
pub mod router;
pub mod settings;

#[cfg(test)]
mod testing;

pub use endpoint::{Endpoint, Lease};
pub use pool::{Pick, Pool};
pub use router::{Lookup, RouteError, RouteMatch, Router};
pub use settings::UpstreamSettings;
