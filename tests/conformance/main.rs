//! Conformance: what a stranger may send and what reaches the origin. The tables are sent to the
//! running binary, and to a bare Pingora proxy to show what our own reading adds.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bare_pingora;
mod frames;
mod h2;
mod h2_requests;
mod http1;
mod http1_cases;
mod trailers;
