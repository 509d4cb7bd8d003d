//! An audit log that proves itself: what is recorded ([`mod@record`]), how it is stored, and how it
//! is verified.
//!
//! The crate knows nothing of the gateway: it takes records and gives proofs.

pub mod record;

pub use record::{Kind, Record};
