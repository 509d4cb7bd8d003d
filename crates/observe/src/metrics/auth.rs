//! Fetches of issuers' keys, and exchanges of tokens.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::family::Families;

/// More issuers, or endpoints, are not told apart.
const MAX_NAMES: usize = 200;

/// What is counted about the proof of identities.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// Successes and failures by issuer.
    keys: Mutex<BTreeMap<String, [u64; 2]>>,
    /// What came of calls, by the endpoint's name.
    exchanges: Mutex<BTreeMap<String, [u64; 3]>>,
}

/// What came of a call for a token in exchange for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// No token, through no fault of the caller's.
    Failed,
    /// A token.
    Issued,
    /// The caller's token is not good enough.
    Refused,
}

/// The counters of a name, or of all that are not told apart.
fn of<'m, const N: usize>(map: &'m mut BTreeMap<String, [u64; N]>, name: &str) -> &'m mut [u64; N]
where
    [u64; N]: Default,
{
    let known = map.contains_key(name) || map.len() < MAX_NAMES;
    map.entry(if known { name } else { "(other)" }.to_owned()).or_default()
}

impl Auth {
    pub(super) fn keys_fetched(&self, issuer: &str, succeeded: bool) {
        let mut keys = self.keys.lock();
        let [successes, failures] = of(&mut keys, issuer);
        *(if succeeded { successes } else { failures }) += 1;
    }

    pub(super) fn exchanged(&self, exchange: &str, result: Exchanged) {
        let mut exchanges = self.exchanges.lock();
        let [issued, refused, failed] = of(&mut exchanges, exchange);
        *match result {
            Exchanged::Failed => failed,
            Exchanged::Issued => issued,
            Exchanged::Refused => refused,
        } += 1;
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
        let (name, help) = (
            "tidegate_auth_exchanges_total",
            "Calls for a token in exchange for the caller's, by result.",
        );
        families.counters(name, help, |family| {
            for (exchange, [issued, refused, failed]) in &*self.exchanges.lock() {
                let labels = |result| [("exchange", exchange.as_str()), ("result", result)];
                family.counter(&labels("failure"), *failed);
                family.counter(&labels("issued"), *issued);
                family.counter(&labels("refused"), *refused);
            }
        });
    }
}
