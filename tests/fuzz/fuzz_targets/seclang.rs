//! Files of SecLang, broken in any way: reading ends without a panic, and each mistake has a line
//! that the file has. What is read after a line of its own says the same as before it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{RuleFile, check_seclang};

fuzz_target!(|text: &str| {
    let read =
        |text: &str| check_seclang(&RuleFile { name: "fuzz.conf".into(), text: text.to_owned() });
    // A byte order mark means something at the beginning only.
    let text = text.trim_start_matches('\u{feff}');
    let first = read(text);
    if let Err(errors) = &first {
        let lines = text.split('\n').count();
        assert!(!errors.0.is_empty());
        assert!(errors.0.iter().all(|error| (1..=lines).contains(&error.line)));
    }
    let again = read(&format!("# one line more\n{text}"));
    assert_eq!(first.is_ok(), again.is_ok());
    if let (Err(first), Err(again)) = (first, again) {
        assert_eq!(first.0.len(), again.0.len());
        for (first, again) in first.0.iter().zip(&again.0) {
            assert_eq!(first.line + 1, again.line);
        }
    }
});
