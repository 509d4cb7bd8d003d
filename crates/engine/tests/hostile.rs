//! Whatever the bytes, loading a configuration ends with a configuration or with errors.

#![cfg(test)]

use proptest::prelude::*;
use tidegate_engine::{Config, Snapshot};

fn load(text: &str) {
    match Config::from_text("hostile.yaml", text) {
        Ok(config) => drop(Snapshot::compile(&config, None)),
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            assert!(!errors.to_string().is_empty());
        }
    }
}

/// Pieces that configurations are made of.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "listeners",
        "routes",
        "upstreams",
        "policies",
        "defaults",
        "include",
        "address",
        "path",
        "to",
        "(policy)",
        "(match)",
        "waf",
        "api",
        "/",
        "0.0.0.0:80",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n- ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "'",
        "\"",
        "~",
        "#",
        "|",
        ">",
        "!",
        "%",
        "---",
        "...",
        "1",
        "30s",
        "<<",
        "${env:X}",
        "${",
        "\t",
        "\u{feff}",
        "\u{0}",
        "?",
        "é",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        load(&text);
    }

    #[test]
    fn any_mix_of_pieces_is_read_or_refused(pieces in prop::collection::vec(piece(), 0..60)) {
        load(&pieces.concat());
    }
}
