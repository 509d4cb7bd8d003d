#![no_main]
//! Any bytes as a PROXY header. What is read as one is all of the input, and a byte more or less
//! makes another thing of it.

use libfuzzer_sys::fuzz_target;
use tidegate_core::proxy_protocol::{V1, V2, parse};

fuzz_target!(|bytes: &[u8]| {
    if parse(bytes).is_none() {
        return;
    }
    assert!(bytes.starts_with(V1) || bytes.starts_with(V2));
    assert_eq!(parse(&[bytes, b"G"].concat()), None, "it ends where the header ends");
    if let Some((_last, shorter)) = bytes.split_last() {
        assert_eq!(parse(shorter), None, "a header cut short is none");
    }
});
