//! Who may pass now: address policies, bans, connection counts and token buckets.
//!
//! Everything here is pure: time and addresses are arguments, nothing reads a clock, a socket or
//! a file. State that outlives a reload ([`RateLimit`]'s buckets, [`ConnectionCounts`], [`Bans`],
//! [`Throttle`]) is
//! shared by reference and carried over by the caller.

pub mod addresses;
pub mod bans;
pub mod connections;
pub mod measures;
pub mod rate;
pub mod response;

pub use addresses::{AddressDenied, AddressPolicy};
pub use bans::{Ban, Bans, BansSettings, InForce};
pub use connections::{ConnectionCounts, ConnectionLimits, Slot, TooMany};
pub use measures::{Tarpit, Throttle};
pub use rate::{Decision, RateLimit, RateLimitSettings, TableStats};
pub use response::{ResponsePolicy, ResponseSettings};
