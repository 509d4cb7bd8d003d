//! Endpoints and zones that are isolated take no new requests. What the bans say is compared with
//! the pools a few times a second, so that endpoints that come with a reload or a look-up are found,
//! and those whose time is over come back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tidegate_core::decision::Target;

use crate::bans::now;
use crate::edge::Edge;

/// What of one upstream is isolated.
#[derive(Debug, Default)]
struct Isolated {
    endpoints: Vec<SocketAddr>,
    zones: Vec<Box<str>>,
}

impl Edge {
    /// Makes the pools isolate what the bans say, and nothing else.
    pub(crate) fn isolate(&self) {
        let live = self.live();
        let bans = live.snapshot.bans();
        let mut wanted = BTreeMap::<Box<str>, Isolated>::new();
        for ban in bans.isolated(now(self.clock())) {
            match ban.target {
                Target::Endpoint { upstream, endpoint } => {
                    wanted.entry(upstream).or_default().endpoints.push(endpoint);
                }
                Target::Zone { upstream, zone } => {
                    wanted.entry(upstream).or_default().zones.push(zone);
                }
                _ => {}
            }
        }
        let nothing = Isolated::default();
        for (name, pool) in live.snapshot.pools() {
            let isolated = wanted.get(&**name).unwrap_or(&nothing);
            let changed = pool.quarantine(&isolated.endpoints, &isolated.zones);
            if changed > 0 {
                tracing::warn!(
                    upstream = name.as_str(),
                    changed,
                    endpoints = ?isolated.endpoints,
                    zones = ?isolated.zones,
                    "endpoints are isolated or back"
                );
            }
        }
    }
}
