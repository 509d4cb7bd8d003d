//! An audit log that proves itself: a Merkle tree over records ([`mod@record`]), in the C2SP
//! tlog-tiles layout, with signed checkpoints, so that what happened can be shown to somebody who
//! trusts neither us nor the operator, with tools that nobody here wrote.
//!
//! The crate knows nothing of the gateway: it takes records and gives proofs.

pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod hash;
mod key_event;
pub mod log;
#[cfg(test)]
mod memory;
pub mod note;
pub mod proof;
pub mod receipt;
pub mod record;
pub mod redact;
pub mod scan;
pub mod search;
pub mod settings;
pub mod tile;
pub mod tiles;
pub mod tree;
pub mod verify;

pub use key_event::{Field, KeyEvent};
pub use record::{Kind, Record};
