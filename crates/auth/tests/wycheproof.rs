//! The public Wycheproof vectors for JOSE signatures: nothing of theirs is kept here, the files are
//! read from a checkout of github.com/C2SP/wycheproof that `TIDEGATE_WYCHEPROOF` names.

#![cfg(test)]

use std::path::PathBuf;

use serde_json::Value;
use tidegate_auth::jose::{Algorithm, KeySet, Signed};

/// The vectors of a file, or `None` if there is no checkout.
fn vectors(name: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("TIDEGATE_WYCHEPROOF").map(PathBuf::from) else {
        eprintln!("skipped: TIDEGATE_WYCHEPROOF names no checkout of C2SP/wycheproof");
        return None;
    };
    let inner = folder.join("testvectors_v1").join(name);
    let file = if inner.exists() { inner } else { folder.join(name) };
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    Some(serde_json::from_str(&text).unwrap())
}

/// Whether a signed text holds by a key or set of keys, read as an issuer's keys are.
fn holds(key: &Value, text: &str) -> bool {
    let set =
        if key.get("keys").is_some() { key.clone() } else { serde_json::json!({ "keys": [key] }) };
    let Ok(keys) = KeySet::read(set.to_string().as_bytes(), &Algorithm::ALL) else { return false };
    let Ok(signed) = Signed::read(text) else { return false };
    let mut candidates = keys.candidates(&signed.header);
    candidates.any(|key| key.verifies(signed.header.algorithm, signed.signed, &signed.signature))
}

/// What is valid and refused all the same: symmetric keys, an algorithm that does not exist, and
/// tokens with another algorithm than their key names (RFC 8725 §3.1), as in "Figure20".
fn is_not_taken(key: &Value, text: &str) -> bool {
    let algorithm = Signed::read(text).ok().map(|signed| signed.header.algorithm.name());
    key["kty"] == "oct" || key["alg"] == "ES521" || algorithm.is_some_and(|name| key["alg"] != name)
}

/// How many valid ones are taken, invalid ones refused, and valid ones not taken on purpose.
fn judge(file: &Value) -> (usize, usize, usize) {
    let (mut taken, mut refused, mut passed_over) = (0, 0, 0);
    let mut wrong = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let text = test["jws"].as_str().unwrap_or_default();
            let told = format!("{} {}", test["tcId"], test["comment"]);
            match (test["result"].as_str(), holds(key, text)) {
                (Some("valid"), true) => taken += 1,
                (Some("valid"), false) if is_not_taken(key, text) => passed_over += 1,
                (Some("valid"), false) => wrong.push(format!("refused though valid: {told}")),
                (Some("invalid"), true) => wrong.push(format!("taken though invalid: {told}")),
                (Some("invalid"), false) => refused += 1,
                (_, _) => passed_over += 1,
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    (taken, refused, passed_over)
}

#[test]
fn signatures_are_judged_as_wycheproof_does() {
    let Some(file) = vectors("json_web_signature_test.json") else { return };
    let (taken, refused, passed_over) = judge(&file);
    eprintln!(
        "signatures: {taken} valid taken, {refused} invalid refused, {passed_over} not taken"
    );
    assert!(taken > 20 && refused > 200, "{taken} {refused} {passed_over}");
}

#[test]
fn what_wycheproof_calls_an_invalid_key_set_lets_nothing_pass() {
    let Some(file) = vectors("json_web_key_test.json") else { return };
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let text = test["jws"].as_str().unwrap_or_default();
            if test["result"] == "invalid" {
                assert!(!holds(key, text), "{} {}", test["tcId"], test["comment"]);
            }
        }
    }
}
