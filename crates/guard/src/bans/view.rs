//! What look-ups read: the tables of all bans, and beside them the few that changed since those
//! were made. Both are immutable and change together.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::Network;

use super::book::{Book, Key, Line};
use super::names::{Named, Names};
use super::table::{End, Table};
use super::{InForce, Now, since_epoch};

/// The measures that hold somebody, the hardest first.
const HARDEST_FIRST: [Measure; 4] =
    [Measure::Block, Measure::Isolate, Measure::Tarpit, Measure::Throttle];

/// Everything at one moment.
#[derive(Debug, Default)]
pub(super) struct View {
    base: Arc<Layer>,
    recent: Layer,
    /// What `base` says and no longer holds.
    gone: BTreeSet<Key>,
}

/// Tables of bans: addresses by measure in the order of [`HARDEST_FIRST`], and the others.
#[derive(Debug, Default)]
pub(super) struct Layer {
    networks: [Table; HARDEST_FIRST.len()],
    names: Names,
}

impl View {
    pub(super) fn new(base: Arc<Layer>, book: &Book, now: Now) -> Self {
        let (lines, gone) = book.recent();
        Self { base, recent: Layer::new(lines, now), gone }
    }

    pub(super) fn base(&self) -> &Arc<Layer> {
        &self.base
    }

    pub(super) fn is_unsettled(&self) -> bool {
        !self.gone.is_empty() || !self.recent.is_empty()
    }

    pub(super) fn has_names(&self) -> bool {
        !self.base.names.is_empty() || !self.recent.names.is_empty()
    }

    /// The hardest measure that holds an address.
    pub(super) fn find(&self, client: IpAddr, now: Instant) -> Option<InForce> {
        let client = client.to_canonical();
        let tables = HARDEST_FIRST.into_iter().zip(self.recent.networks.iter());
        for ((measure, recent), base) in tables.zip(self.base.networks.iter()) {
            let found = recent.find(client, now).or_else(|| {
                base.find(client, now).filter(|(network, _)| !self.is_gone(network, measure))
            });
            if let Some((network, source)) = found {
                let source = Arc::clone(source);
                return Some(InForce { measure, target: Target::Network(*network), source });
            }
        }
        None
    }

    /// The hardest measure that holds somebody by name.
    pub(super) fn find_named(&self, name: &Named<'_>, now: Instant) -> Option<InForce> {
        let is_gone = |target: &Target, measure| {
            !self.gone.is_empty() && self.gone.contains(&Key { target: target.clone(), measure })
        };
        let recent = self.recent.names.find(name, now, |_, _| false);
        let base = self.base.names.find(name, now, is_gone);
        [recent, base].into_iter().flatten().max_by_key(|found| found.measure)
    }

    fn is_gone(&self, network: &Network, measure: Measure) -> bool {
        !self.gone.is_empty()
            && self.gone.contains(&Key { target: Target::Network(*network), measure })
    }
}

impl Layer {
    /// Makes the tables of bans that come in the order of their targets.
    pub(super) fn new(lines: Vec<Line>, now: Now) -> Self {
        let mut networks: [Vec<(Network, End, Arc<str>)>; HARDEST_FIRST.len()] = Default::default();
        let mut named = Vec::new();
        for (key, until, source) in lines {
            let end = end(until, now);
            match &key.target {
                Target::Network(network) => {
                    let at = HARDEST_FIRST.iter().position(|one| *one == key.measure);
                    if let Some(list) = at.and_then(|at| networks.get_mut(at)) {
                        list.push((*network, end, source));
                    }
                }
                Target::Endpoint { .. } | Target::Zone { .. } => {}
                Target::Subject(_) | Target::Client(_) | Target::Token(_) | Target::Route(_) => {
                    named.push((key, end, source));
                }
            }
        }
        Self { networks: networks.map(Table::new), names: Names::new(named) }
    }

    fn is_empty(&self) -> bool {
        self.networks.iter().all(Table::is_empty) && self.names.is_empty()
    }
}

fn end(until: Option<u64>, now: Now) -> End {
    let Some(until) = until else { return End::Never };
    let left = Duration::from_secs(until).checked_sub(since_epoch(now.wall)).unwrap_or_default();
    now.instant.checked_add(left).map_or(End::Never, End::At)
}
