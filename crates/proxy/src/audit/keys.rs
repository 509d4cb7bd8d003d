//! Which certificates are in force, by their fingerprints, so that the log shows when they change.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_engine::Snapshot;

use super::changes::hash;

/// The certificate files of a configuration, each with the SHA-256 of what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprints(BTreeMap<String, String>);

impl Fingerprints {
    /// Reads the files that a configuration names. One that cannot be read now was read when the
    /// configuration was put in force.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let settings = snapshot.settings();
        let mut files: Vec<&Path> = Vec::new();
        for tls in settings.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
            files.extend(tls.cert.as_deref());
            files.extend(tls.certificates.iter().map(|certificate| certificate.cert.as_path()));
            files.extend(tls.client_auth.as_ref().map(|auth| auth.ca.as_path()));
        }
        for tls in settings.upstreams.values().filter_map(|upstream| upstream.tls.as_ref()) {
            files.extend(tls.ca.as_deref().into_iter().chain(tls.cert.as_deref()));
        }
        let fingerprint = |file: &Path| {
            let text = std::fs::read(file).map_or_else(|_gone| "unreadable".into(), |b| hash(&b));
            (file.display().to_string(), text)
        };
        Self(files.into_iter().map(fingerprint).collect())
    }

    pub(super) fn to_json(&self) -> Value {
        let file = |(file, sha256): (&String, &String)| json!({ "file": file, "sha256": sha256 });
        self.0.iter().map(file).collect()
    }

    /// The files that are new, gone or different in `after`.
    pub(crate) fn changed<'k>(&'k self, after: &'k Self) -> Vec<&'k str> {
        let files: std::collections::BTreeSet<_> = self.0.keys().chain(after.0.keys()).collect();
        let differs = |file: &&String| self.0.get(*file) != after.0.get(*file);
        files.into_iter().filter(differs).map(String::as_str).collect()
    }

    /// What is new, gone or different in `after`.
    pub(super) fn changes(&self, after: &Self) -> Vec<Value> {
        let change = |file: &str| json!({ "file": file, "before": self.0.get(file), "after": after.0.get(file) });
        self.changed(after).into_iter().map(change).collect()
    }
}
