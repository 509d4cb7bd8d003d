//! How the response policy stands, for metrics and the admin listener: its rules, what they count,
//! and the clients that its cap looks at.

use http::{Response, StatusCode};
use serde_json::json;
use tidegate_observe::ResponseSample;

use crate::admin::{json_answer, text};
use crate::bans;
use crate::edge::Edge;

impl Edge {
    /// How the policy stands; zeros without one.
    pub(crate) fn response_sample(&self) -> ResponseSample {
        let live = self.live();
        let Some(policy) = live.snapshot.response() else { return ResponseSample::default() };
        let now = bans::now(self.clock());
        let (counted, capped) = policy.population(now);
        let bytes = policy.bytes(now);
        ResponseSample { clients: counted.clients, hit: counted.hit, capped, bytes }
    }
}

/// Answers `GET /response`.
pub(crate) fn answer(edge: &Edge) -> Response<Vec<u8>> {
    let live = edge.live();
    let Some(policy) = live.snapshot.response() else {
        return text(StatusCode::NOT_FOUND, "there is no response policy\n");
    };
    let now = bans::now(edge.clock());
    let rules = policy.rules().zip(policy.fill(now)).map(|(rule, fill)| {
        json!({
            "name": rule.name,
            "about": rule.about,
            "enforce": rule.enforce,
            "keys": fill.counts.keys,
            "max_keys": fill.counts.max_keys,
            "evicted": fill.counts.evicted,
            "offenders": fill.offenders.keys,
            "bytes": fill.counts.bytes + fill.offenders.bytes,
        })
    });
    let rules: Vec<_> = rules.collect();
    let (counted, capped) = policy.population(now);
    let body = json!({
        "clients": counted.clients,
        "clients_hit": counted.hit,
        "capped": capped,
        "bytes": policy.bytes(now),
        "rules": rules,
    });
    json_answer(StatusCode::OK, &body)
}
