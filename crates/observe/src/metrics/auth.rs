//! Fetches of issuers' keys.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::family::Families;

/// More issuers are not told apart.
const MAX_ISSUERS: usize = 200;

/// What is counted about the proof of identities.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// Successes and failures by issuer.
    keys: Mutex<BTreeMap<String, [u64; 2]>>,
}

impl Auth {
    pub(super) fn keys_fetched(&self, issuer: &str, succeeded: bool) {
        let mut keys = self.keys.lock();
        let known = keys.contains_key(issuer) || keys.len() < MAX_ISSUERS;
        let issuer = if known { issuer } else { "(other)" };
        let [successes, failures] = keys.entry(issuer.to_owned()).or_default();
        *(if succeeded { successes } else { failures }) += 1;
    }

    pub(super) fn show(&self, families: &mut Families) {
        let (name, help) =
            ("tidegate_auth_key_fetches_total", "Fetches of an issuer's keys, by result.");
        families.counters(name, help, |family| {
            for (issuer, [successes, failures]) in &*self.keys.lock() {
                let labels = |result| [("issuer", issuer.as_str()), ("result", result)];
                family.counter(&labels("failure"), *failures);
                family.counter(&labels("success"), *successes);
            }
        });
    }
}
