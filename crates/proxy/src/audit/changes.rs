//! What changed between two configurations, key by key. Secrets were hidden before they came here.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde_json::{Value, json};
use tidegate_audit::redact::clean;
use tidegate_engine::config::yaml_to_json;

/// More changes than this are only counted.
const MAX_CHANGES: usize = 100;
/// Longer values are cut.
const MAX_VALUE: usize = 200;

/// The SHA-256 of a text, in hexadecimal.
pub(super) fn hash(text: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, text);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The keys that differ, each with the value before and after; `null` where there was none.
pub(super) fn between(before: &str, after: &str) -> Value {
    let (before, after) = (flat(before), flat(after));
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = |key: &&&String| before.get(**key) != after.get(**key);
    let changed: Vec<_> = keys.iter().filter(differs).collect();
    let change = |key: &&&String| json!({ "key": clean(key), "before": before.get(**key), "after": after.get(**key) });
    let shown: Vec<Value> = changed.iter().take(MAX_CHANGES).map(change).collect();
    json!({ "count": changed.len(), "keys": shown })
}

/// Every leaf of a YAML document by its path.
fn flat(text: &str) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    match yaml_to_json(text) {
        Ok(value) => walk(&value, String::new(), &mut leaves),
        // What we printed ourselves reads back; if it does not, the whole text stands for it.
        Err(_error) => drop(leaves.insert(String::new(), hash(text.as_bytes()))),
    }
    leaves
}

fn walk(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    let below = |step: &str| match path.is_empty() {
        true => step.to_owned(),
        false => format!("{path}.{step}"),
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                walk(value, below(name), leaves);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                walk(item, format!("{path}[{index}]"), leaves);
            }
        }
        Value::String(text) => {
            leaves.insert(path, clean(text).chars().take(MAX_VALUE).collect());
        }
        other => {
            leaves.insert(path, other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_key() {
        let before = "routes:\n- path: /\n  to: api\nadmin:\n  token: <secret>\n";
        let after =
            "routes:\n- path: /\n  to: other\n  max_body: 1MiB\nadmin:\n  token: <secret>\n";
        let changes = between(before, after);
        assert_eq!(
            changes,
            json!({ "count": 2, "keys": [
                { "key": "routes[0].max_body", "before": null, "after": "1MiB" },
                { "key": "routes[0].to", "before": "api", "after": "other" },
            ]})
        );
        assert_eq!(between(after, after)["count"], 0);
    }

    #[test]
    fn many_changes_are_counted() {
        let keys: String = (0..150).map(|n| format!("k{n}: 1\n")).collect();
        let changes = between("{}", &keys);
        assert_eq!(changes["keys"].as_array().unwrap().len(), MAX_CHANGES);
        assert!(changes["count"].as_u64().unwrap() >= 150);
    }
}
