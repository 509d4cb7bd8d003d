//! Multipart bodies: nothing panics whatever the boundary and the parts are, and a well-formed part
//! that comes first is seen whatever follows it, or the body is refused.

#![no_main]

mod firewall;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], bool)| {
    let (parameters, body, complete) = input;
    let content_type = [b"multipart/form-data", parameters].concat();
    let _seen = firewall::inspect(&[("content-type", &content_type)], body, complete);
    let head = b"--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nneedle\r\n--b\r\n";
    let form: &[u8] = b"multipart/form-data; boundary=b";
    let seen = firewall::inspect(&[("content-type", form)], &[head, body].concat(), complete);
    assert!(seen.unwrap().stops_needle());
});
