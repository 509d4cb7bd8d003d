//! What happened to a bundle whose entries are not those of its tile of hashes.

use std::collections::HashSet;

use super::Finding;
use crate::bundle::Entries;
use crate::hash::Hash;
use crate::tile::{TILE_WIDTH, Tile};

/// A bundle as it was found: the hashes of what it holds, up to where it is torn.
#[derive(Debug)]
pub(super) struct Found {
    /// The hashes of its entries.
    pub(super) hashes: Vec<Hash>,
    /// Whether bytes follow that are no entry.
    pub(super) torn: Option<String>,
}

impl Found {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut found = Self { hashes: Vec::with_capacity(256), torn: None };
        for entry in Entries::new(bytes) {
            match entry {
                Ok(entry) => found.hashes.push(Hash::of_leaf(entry)),
                Err(torn) => found.torn = Some(torn.to_string()),
            }
        }
        found
    }

    /// What happened to the entries, if `logged` are the hashes that were logged.
    pub(super) fn explain(&self, bundle: Tile, logged: &[Hash]) -> Finding {
        if let Some(torn) = &self.torn {
            return Finding::Damaged { tile: bundle, why: torn.clone() };
        }
        let same = self.hashes.iter().zip(logged).take_while(|(found, known)| found == known);
        let position = same.count();
        let first = bundle.index * TILE_WIDTH + position as u64;
        let found: HashSet<_> = self.hashes.iter().collect();
        let known: HashSet<_> = logged.iter().collect();
        if self.hashes.len() < logged.len() && found.is_subset(&known) {
            return Finding::EntriesRemoved { bundle, first };
        }
        if self.hashes.len() > logged.len() && known.is_subset(&found) {
            return Finding::EntriesInserted { bundle, first };
        }
        if self.hashes.len() != logged.len() {
            let (found, logged) = (self.hashes.len(), logged.len());
            let why = format!("it holds {found} entries, not {logged}, from {first} on others");
            return Finding::Damaged { tile: bundle, why };
        }
        if found == known {
            return Finding::EntriesReordered { bundle, first };
        }
        let differing = self.hashes.iter().zip(logged).filter(|(found, known)| found != known);
        if differing.count() == 1 {
            return Finding::EntryChanged { index: first };
        }
        let last = self.hashes.iter().zip(logged).rposition(|(found, known)| found != known);
        let last = bundle.index * TILE_WIDTH + last.unwrap_or(position) as u64;
        Finding::EntriesReplaced { range: first..last + 1 }
    }
}
