//! The walk from the entries up to the signed root.
//!
//! Every hash is known twice: recomputed from below, and as it stands in the tile. Where the two
//! differ, the level above decides which one was signed, and with it what was changed: a tile, or
//! what is below it. The last word has the root.

use std::ops::Range;

use super::bundle::Found;
use super::{Finding, MAX_FINDINGS};
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::tile::{Kind, MAX_LEVEL, TILE_WIDTH, Tile, hashes_at};
use crate::tiles::{TileError, Tiles, parse_hashes};
use crate::tree::{Frontier, root_of};

/// Walks over the bundles that hold the entries of `range`, and over the tiles above them.
pub(super) fn walk(
    tiles: &dyn Tiles,
    checkpoint: &Checkpoint,
    range: Range<u64>,
    progress: &mut dyn FnMut(u64),
) -> Vec<Finding> {
    let mut walk = Walk {
        tiles,
        size: checkpoint.size,
        bundles: range.start / TILE_WIDTH..range.end.div_ceil(TILE_WIDTH),
        findings: Vec::new(),
        roots: Vec::new(),
    };
    let (mut below, mut edges) = walk.entries(range, progress);
    for level in 1..=MAX_LEVEL {
        if hashes_at(level, walk.size) == 0 || walk.findings.len() >= MAX_FINDINGS {
            break;
        }
        let (above, edge) = walk.level(level, &below);
        edges.extend(edge);
        below = above;
    }
    walk.root(edges, checkpoint.root);
    walk.findings
}

struct Walk<'a> {
    tiles: &'a dyn Tiles,
    size: u64,
    bundles: Range<u64>,
    findings: Vec<Finding>,
    /// The roots that bundles with other entries have, to recognise those of another bundle.
    roots: Vec<(Tile, Hash)>,
}

/// Hashes known twice, and what to say of them once it is clear which were signed.
#[derive(Default)]
struct Known {
    /// Made of what is below.
    recomputed: Option<Vec<Hash>>,
    /// As they stand in the tile.
    stored: Option<Vec<Hash>>,
    /// To say if those in the tile were signed.
    if_stored: Vec<Finding>,
    /// To say if those recomputed were signed.
    if_recomputed: Vec<Finding>,
}

/// The hash of a full tile, from both.
struct Candidate {
    index: u64,
    recomputed: Option<Hash>,
    stored: Option<Hash>,
    if_stored: Vec<Finding>,
    if_recomputed: Vec<Finding>,
}

impl Known {
    /// A full tile goes on to the level above, a partial one to the root.
    fn pass_on(self, tile: Tile, candidates: &mut Vec<Candidate>, edges: &mut Vec<Self>) {
        if !tile.is_full() {
            edges.push(self);
            return;
        }
        candidates.push(Candidate {
            index: tile.index,
            recomputed: self.recomputed.as_deref().map(root_of),
            stored: self.stored.as_deref().map(root_of),
            if_stored: self.if_stored,
            if_recomputed: self.if_recomputed,
        });
    }
}

impl Walk<'_> {
    /// The bundles against the tiles of the lowest level.
    fn entries(
        &mut self,
        range: Range<u64>,
        progress: &mut dyn FnMut(u64),
    ) -> (Vec<Candidate>, Vec<Known>) {
        let (mut candidates, mut edges) = (Vec::new(), Vec::new());
        for index in self.bundles.clone() {
            let Some(tile) = Tile::in_tree(Kind::Hashes(0), index, self.size) else { break };
            let known = self.bundle(tile);
            known.pass_on(tile, &mut candidates, &mut edges);
            progress(((index + 1) * TILE_WIDTH).min(range.end) - range.start);
            if self.findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        let last = self.size / TILE_WIDTH;
        let edge = Tile::in_tree(Kind::Hashes(0), last, self.size);
        if let Some(edge) = edge.filter(|_| !self.bundles.contains(&last)) {
            let stored = self.stored(edge);
            edges.push(Known { stored, ..Known::default() });
        }
        (candidates, edges)
    }

    fn bundle(&mut self, tile: Tile) -> Known {
        let bundle = Tile { kind: Kind::Entries, ..tile };
        let stored = self.stored(tile);
        let Some(found) = self.found(bundle) else { return Known { stored, ..Known::default() } };
        let Some(logged) = &stored else {
            let whole = found.torn.is_none() && found.hashes.len() == usize::from(tile.width);
            let recomputed = whole.then_some(found.hashes);
            return Known { recomputed, ..Known::default() };
        };
        if found.torn.is_none() && found.hashes == *logged {
            return Known { recomputed: Some(found.hashes), stored, ..Known::default() };
        }
        let if_stored = vec![found.explain(bundle, logged)];
        if found.torn.is_some() || found.hashes.len() != logged.len() {
            self.findings.extend(if_stored);
            return Known { stored, ..Known::default() };
        }
        if tile.is_full() {
            self.roots.push((bundle, root_of(&found.hashes)));
        }
        let if_recomputed = vec![changed(tile, &found.hashes, logged)];
        Known { recomputed: Some(found.hashes), stored, if_stored, if_recomputed }
    }

    /// A level against the one below.
    fn level(&mut self, level: u8, below: &[Candidate]) -> (Vec<Candidate>, Vec<Known>) {
        let kind = Kind::Hashes(level);
        let (mut candidates, mut edges) = (Vec::new(), Vec::new());
        let edge = hashes_at(level, self.size) / TILE_WIDTH;
        let mut indexes: Vec<u64> = below.iter().map(|c| c.index / TILE_WIDTH).collect();
        indexes.push(edge);
        indexes.dedup();
        for index in indexes {
            let Some(tile) = Tile::in_tree(kind, index, self.size) else { continue };
            let children = below.iter().filter(|c| c.index / TILE_WIDTH == index);
            let known = self.children(tile, children);
            known.pass_on(tile, &mut candidates, &mut edges);
        }
        (candidates, edges)
    }

    /// A tile against the tiles that it stands over.
    fn children<'c>(&mut self, tile: Tile, children: impl Iterator<Item = &'c Candidate>) -> Known {
        let stored = self.stored(tile);
        let swapped = self.swapped(tile, stored.as_deref().unwrap_or_default());
        let mut known = Known::default();
        let mut recomputed = match &stored {
            Some(stored) => stored.iter().copied().map(Some).collect(),
            None => vec![None; usize::from(tile.width)],
        };
        for child in children {
            let position = usize::try_from(child.index % TILE_WIDTH).unwrap_or_default();
            let above = stored.as_ref().and_then(|stored| stored.get(position)).copied();
            let swap = swapped.iter().find(|(index, _)| *index == child.index);
            let hash = self.decide(child, above, swap.map(|(_, finding)| finding));
            if let (Some(hash), Some(above)) = (hash, above)
                && hash != above
            {
                known.if_recomputed.push(Finding::TileChanged { tile, position });
                known.if_stored.push(replaced(tile, child.index, self.size));
            }
            if let Some(slot) = recomputed.get_mut(position) {
                *slot = hash.or(above);
            }
        }
        known.recomputed = recomputed.into_iter().collect();
        known.stored = stored;
        known
    }

    /// Which of a tile's two hashes the level above confirms; says what that means.
    fn decide(
        &mut self,
        child: &Candidate,
        above: Option<Hash>,
        swap: Option<&Finding>,
    ) -> Option<Hash> {
        let (recomputed, stored) = (child.recomputed, child.stored);
        if recomputed == stored || recomputed.is_none() || stored.is_none() {
            return recomputed.or(stored);
        }
        if above == recomputed {
            self.findings.extend(child.if_recomputed.iter().cloned());
            return recomputed;
        }
        match swap {
            Some(swap) => self.findings.push(swap.clone()),
            None => self.findings.extend(child.if_stored.iter().cloned()),
        }
        stored
    }

    /// The bundles that hold the entries of another, by the hashes of the level above them.
    fn swapped(&self, tile: Tile, stored: &[Hash]) -> Vec<(u64, Finding)> {
        if tile.kind != Kind::Hashes(1) {
            return Vec::new();
        }
        let swapped = self.roots.iter().filter_map(|(bundle, root)| {
            let position = stored.iter().position(|hash| hash == root)?;
            let index = tile.index * TILE_WIDTH + position as u64;
            let (bundle, other) = (*bundle, Tile { index, ..*bundle });
            let is_another = index != bundle.index;
            is_another.then_some((bundle.index, Finding::BundleSwapped { bundle, other }))
        });
        swapped.collect()
    }

    /// The partial tiles at the right edge, lowest level first, against the signed root.
    fn root(&mut self, edges: Vec<Known>, signed: Hash) {
        if self.findings.len() >= MAX_FINDINGS {
            return;
        }
        let doubtful: Vec<_> = (0..edges.len())
            .filter(|n| edges.get(*n).is_some_and(|known| !known.if_stored.is_empty()))
            .collect();
        for choice in 0..1_u32 << doubtful.len() {
            let stored = |n: usize| {
                doubtful.iter().position(|d| *d == n).is_none_or(|bit| choice >> bit & 1 == 0)
            };
            if self.root_with(&edges, stored) != Some(signed) {
                continue;
            }
            for (n, known) in edges.into_iter().enumerate() {
                self.findings.extend(if stored(n) { known.if_stored } else { known.if_recomputed });
            }
            return;
        }
        if self.root_with(&edges, |_| true).is_some() {
            self.findings.push(Finding::Root { size: self.size });
        }
        self.findings.extend(edges.into_iter().flat_map(|known| known.if_stored));
    }

    /// The root that the edges give, each as it stands in its tile or as recomputed.
    fn root_with(&self, edges: &[Known], stored: impl Fn(usize) -> bool) -> Option<Hash> {
        let mut subtrees = Vec::new();
        for (n, known) in edges.iter().enumerate().rev() {
            let (first, second) = (known.stored.as_deref(), known.recomputed.as_deref());
            let hashes = if stored(n) { first.or(second) } else { second.or(first) };
            let mut rest = hashes?;
            while !rest.is_empty() {
                let (subtree, next) = rest.split_at_checked(1 << rest.len().ilog2())?;
                subtrees.push(root_of(subtree));
                rest = next;
            }
        }
        Frontier::from_subtrees(self.size, subtrees).map(|tree| tree.root())
    }

    /// The hashes of a tile as it stands; other widths of it have to agree with it.
    fn stored(&mut self, tile: Tile) -> Option<Vec<Hash>> {
        let mut first: Option<Vec<Hash>> = None;
        for (stored, bytes) in self.versions(tile) {
            let hashes = match parse_hashes(&bytes, stored) {
                Ok(hashes) => hashes,
                Err(why) => {
                    self.damaged(stored, why);
                    continue;
                }
            };
            let Some(known) = &first else {
                first = Some(hashes.into_iter().take(usize::from(tile.width)).collect());
                continue;
            };
            if hashes.iter().zip(known).any(|(one, other)| one != other) {
                self.findings.push(changed(stored, &hashes, known));
            }
        }
        first
    }

    /// The entries of a bundle as it stands; other widths of it have to agree with it.
    fn found(&mut self, bundle: Tile) -> Option<Found> {
        let mut first: Option<Found> = None;
        for (stored, bytes) in self.versions(bundle) {
            let mut found = Found::read(&bytes);
            let Some(known) = &first else {
                if found.hashes.len() == usize::from(stored.width) {
                    found.hashes.truncate(usize::from(bundle.width));
                }
                first = Some(found);
                continue;
            };
            if found.hashes.len() == usize::from(stored.width) {
                found.hashes.truncate(known.hashes.len());
            }
            let width = usize::from(stored.width).min(known.hashes.len());
            let known = known.hashes.get(..width).unwrap_or_default();
            if found.hashes != known || found.torn.is_some() {
                self.findings.push(found.explain(stored, known));
            }
        }
        first
    }

    /// Every stored form of a tile: the one asked for or a wider one first.
    fn versions(&mut self, tile: Tile) -> Vec<(Tile, Vec<u8>)> {
        let mut widths = self.tiles.widths(tile);
        // Those that are wide enough first, the least of them leading; then the narrower ones.
        widths.sort_unstable_by_key(|width| (*width < tile.width, *width));
        let mut versions = Vec::new();
        for width in widths {
            let stored = Tile { width, ..tile };
            match self.tiles.read(stored) {
                Ok(bytes) => versions.push((stored, bytes)),
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self
                    .findings
                    .push(Finding::Unreadable { what: stored.path(), why: error.to_string() }),
            }
        }
        if versions.first().is_none_or(|(stored, _)| stored.width < tile.width) {
            self.findings.push(Finding::Missing { tile });
            versions.clear();
        }
        versions
    }

    fn damaged(&mut self, tile: Tile, error: TileError) {
        let why = match error {
            TileError::Shape { why, .. } => why,
            TileError::Missing { .. } | TileError::Read { .. } => error.to_string(),
        };
        self.findings.push(Finding::Damaged { tile, why });
    }
}

fn changed(tile: Tile, recomputed: &[Hash], stored: &[Hash]) -> Finding {
    let position = recomputed.iter().zip(stored).take_while(|(one, other)| one == other).count();
    Finding::TileChanged { tile, position }
}

/// What is below hash `index` of the tile's level was changed together with its tiles.
fn replaced(tile: Tile, index: u64, size: u64) -> Finding {
    let Kind::Hashes(level) = tile.kind else { return Finding::Missing { tile } };
    let each = TILE_WIDTH.saturating_pow(u32::from(level));
    let start = index.saturating_mul(each);
    Finding::EntriesReplaced { range: start..start.saturating_add(each).min(size) }
}
