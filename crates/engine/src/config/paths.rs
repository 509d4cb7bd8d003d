//! File names in the configuration are relative to the file that has them.

use std::path::Path as FilePath;

use super::sources::Sources;
use super::tree::{Node, Value};

/// The settings that name files; `*` stands for every key or element.
const FILES: &[&[&str]] = &[
    &["auth", "api_keys", "*", "file"],
    &["auth", "authorizers", "*", "ca"],
    &["auth", "exchange", "*", "ca"],
    &["auth", "introspection", "*", "ca"],
    &["auth", "issuers", "*", "ca"],
    &["auth", "issuers", "*", "keys", "file"],
    &["auth", "report", "file"],
    &["auth", "revocations", "file"],
    &["listeners", "*", "tls", "cert"],
    &["listeners", "*", "tls", "key"],
    &["listeners", "*", "tls", "certificates", "*", "cert"],
    &["listeners", "*", "tls", "certificates", "*", "key"],
    &["listeners", "*", "tls", "client_auth", "ca"],
    &["upstreams", "*", "tls", "*"],
    &["access_log", "path"],
    &["audit", "path"],
    &["audit", "key"],
    &["audit", "head"],
    &["audit", "redaction", "subjects"],
    &["audit", "anchors", "*", "file"],
    &["audit", "anchors", "*", "ca"],
    &["bans", "file"],
    &["bans", "lists", "*"],
    &["sinks", "*", "file", "path"],
    &["sinks", "*", "nats", "credentials"],
    &["sinks", "*", "spool", "path"],
    &["sinks", "*", "*", "tls", "*"],
    &["tracing", "otlp", "tls", "*"],
    &["response", "geo", "*"],
    &["bans", "crowdsec", "ca"],
    &["response", "panic_file"],
];

/// The policies, each of which may have a firewall.
const POLICIES: [&[&str]; 3] = [&["defaults"], &["policies", "*"], &["routes", "*", "(policy)"]];

/// The settings of a firewall that name files.
const OF_WAF: [&[&str]; 5] =
    [&["crs"], &["crs", "path"], &["crs", "setup"], &["seclang", "*"], &["seclang", "*", "*"]];

/// Among the settings of an upstream's or a sink's TLS, those that name files.
const UPSTREAM_TLS: [&str; 3] = ["ca", "cert", "key"];

/// Makes every file name relative to the current folder, or absolute.
pub(crate) fn resolve(root: &mut Node, sources: &Sources) {
    for pattern in FILES {
        walk(root, pattern, sources);
    }
    for (policy, file) in POLICIES.iter().flat_map(|policy| OF_WAF.map(|file| (*policy, file))) {
        walk(root, &[policy, &["waf"], file].concat(), sources);
        walk(root, &[policy, &["waf", "shadow"], file].concat(), sources);
    }
}

fn walk(node: &mut Node, pattern: &[&str], sources: &Sources) {
    let Some((step, rest)) = pattern.split_first() else {
        return rebase(node, sources);
    };
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                let last = rest.is_empty() && *step == "*";
                let named = match last {
                    true => UPSTREAM_TLS.contains(&entry.key.as_str()),
                    false => *step == "*" || entry.key == *step,
                };
                if named {
                    walk(&mut entry.value, rest, sources);
                }
            }
        }
        Value::Seq(items) if *step == "*" => {
            for item in items {
                walk(item, rest, sources);
            }
        }
        _ => {}
    }
}

fn rebase(node: &mut Node, sources: &Sources) {
    let base = FilePath::new(sources.name(node.mark)).parent();
    if let (Value::String(text), Some(base)) = (&mut node.value, base)
        && text != "-"
        && !text.is_empty()
    {
        *text = base.join(&*text).to_string_lossy().into_owned();
    }
}
