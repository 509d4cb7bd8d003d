#![no_main]
//! Any text as a configuration. It loads or is refused with errors that point into it; what loads
//! is printed as something that loads again.

use libfuzzer_sys::fuzz_target;
use tidegate_engine::{Config, Snapshot};

fuzz_target!(|text: &str| {
    // Other files are not the subject, and a walk over the disk is slow.
    if text.contains("include") || text.contains("${") || text.contains(".pem") {
        return;
    }
    match Config::from_text("fuzz.yaml", text) {
        Ok(config) => {
            let compiled = Snapshot::compile(&config, None).is_ok();
            let again = Config::from_text("effective.yaml", &config.effective());
            let again = again.expect("the effective configuration loads");
            assert_eq!(again.settings.routes, config.settings.routes);
            if config.settings.admin.token.is_none() {
                assert_eq!(Snapshot::compile(&again, None).is_ok(), compiled);
            }
        }
        Err(errors) => {
            let lines = text.split(['\n', '\r']).count() + 1;
            for error in errors.errors() {
                assert!(usize::try_from(error.line).unwrap() <= lines, "{error}");
            }
            assert!(!errors.to_string().is_empty());
        }
    }
});
