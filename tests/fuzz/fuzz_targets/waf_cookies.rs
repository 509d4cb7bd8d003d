//! Cookies: one is seen whatever stands before it.

#![no_main]

mod firewall;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|field: &[u8]| {
    if field.len() > 8_000 || field.iter().filter(|byte| **byte == b';').count() > 900 {
        return;
    }
    let _seen = firewall::inspect(&[("cookie", field)], b"", true);
    let last = [field, b"; q=needle"].concat();
    if let Some(seen) = firewall::inspect(&[("cookie", &last)], b"", true) {
        assert!(seen.exceeded || seen.rules.contains(&10));
    }
});
