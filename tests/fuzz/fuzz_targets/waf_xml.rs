//! XML bodies: reading ends, no document grows by being read, and text that comes first is seen
//! whatever follows it, or the body is refused.

#![no_main]

mod firewall;

use libfuzzer_sys::fuzz_target;

const XML: &[(&str, &[u8])] = &[("content-type", b"text/xml")];

fuzz_target!(|input: (&[u8], bool)| {
    let (body, complete) = input;
    let seen = firewall::inspect(XML, body, complete).unwrap();
    assert!(seen.size == 0);
    let first = [b"<a>needle</a>", body].concat();
    assert!(firewall::inspect(XML, &first, complete).unwrap().stops_needle());
});
