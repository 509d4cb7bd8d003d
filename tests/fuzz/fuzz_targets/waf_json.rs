//! JSON bodies: what an independent reader takes is taken, what it refuses is told as not readable,
//! and a member that comes first is seen whatever follows it, or the body is refused.

#![no_main]

mod firewall;

use libfuzzer_sys::fuzz_target;

const JSON: &[(&str, &[u8])] = &[("content-type", b"application/json")];

fuzz_target!(|body: &[u8]| {
    let seen = firewall::inspect(JSON, body, true).unwrap();
    let first = [br#"{"q":"needle","#, body].concat();
    assert!(firewall::inspect(JSON, &first, true).unwrap().stops_needle());
    // Single surrogates are read as what stands for them; the depths that are read differ.
    let escapes = body.windows(2).any(|pair| pair == b"\\u");
    let nested = body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 60;
    if body.is_empty() || body.starts_with(b"\xef") || escapes || nested || seen.exceeded {
        return;
    }
    let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(body);
    assert_eq!(seen.readable(), theirs.is_ok() && std::str::from_utf8(body).is_ok());
});
