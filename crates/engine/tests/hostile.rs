//! Whatever the bytes, loading a configuration ends with a configuration or with errors.

#![cfg(test)]

use proptest::prelude::*;
use tidegate_engine::{Config, Snapshot};

fn load(text: &str) {
    match Config::from_text("hostile.yaml", text) {
        Ok(config) => {
            drop(Snapshot::compile(&config, None));
            if !text.contains("${") {
                let again = Config::from_text("effective.yaml", &config.effective()).unwrap();
                assert_eq!(again.settings.routes, config.settings.routes);
            }
        }
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
        "\r",
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
    fn any_string_reads_back_from_the_effective_configuration(
        texts in prop::collection::vec("[^$]{0,12}|[-~0-9.:eE+xo#&*!|>%@`\\[\\]{}'\" ]{1,5}", 1..6),
    ) {
        let query: serde_json::Map<_, _> =
            texts.iter().map(|text| (format!("q{text}"), text.clone().into())).collect();
        let root = serde_json::json!({ "routes": [{ "query": query }] });
        let before = Config::from_text("any.yaml", &root.to_string()).unwrap();
        let after = Config::from_text("effective.yaml", &before.effective()).unwrap();
        prop_assert_eq!(&after.settings.routes, &before.settings.routes);
        prop_assert_eq!(after.settings.routes.first().unwrap().matches.query.len(), query.len());
    }

    #[test]
    fn an_error_points_into_the_text(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Err(errors) = Config::from_text("hostile.yaml", &text) {
            let lines = text.split(['\n', '\r']).count() + 1;
            for error in errors.errors() {
                prop_assert!(usize::try_from(error.line).unwrap() <= lines, "{}", error);
            }
        }
    }

    #[test]
    fn any_mix_of_pieces_is_read_or_refused(pieces in prop::collection::vec(piece(), 0..60)) {
        load(&pieces.concat());
    }
}
