//! For tests: the running binary, origins that record and misbehave, real nginx pods, clients that
//! send raw bytes, certificates, and waiting on conditions.
//!
//! Everything blocks and everything fails by panicking at the caller's line: a test reads as a
//! list of what is done and what must be true. There is no clock here that tests move; that one is
//! [`tidegate_core::clock::ManualClock`].

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test kit fails by panicking, and says why a test was skipped"
)]

pub mod client;
pub mod gateway;
pub mod load;
mod message;
pub mod nginx;
pub mod origin;
pub mod programs;
pub mod tls;
pub mod tokens;
pub mod wait;

pub use client::{Ask, Connection, Response};
pub use gateway::Gateway;
pub use load::Load;
pub use nginx::Nginx;
pub use origin::{Origin, Received, Reply};
pub use tls::{Ca, Leaf};
