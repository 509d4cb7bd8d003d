//! Any bytes on the way of a token: as claims that the issuer signs, as a proof, as a request, as a
//! key set. What must hold stands beside the crate, where an ordinary test uses it too.

#![no_main]

#[path = "../../../crates/auth/tests/properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    properties::check(bytes);
});
