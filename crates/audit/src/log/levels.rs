//! The growing edge of the tree: of each level the hashes of its last tile, and the entries of the
//! last bundle. Entries go in; tiles that became full come out, and the partial ones on demand.

use crate::bundle::{self, BundleError};
use crate::hash::Hash;
use crate::tile::{self, Kind, MAX_LEVEL, TILE_WIDTH, Tile};
use crate::tree::{Frontier, root_of};

/// A tile or bundle with what stands in it.
pub(crate) type Filled = (Tile, Vec<u8>);

/// The edge of a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    frontier: Frontier,
    bundle: Vec<u8>,
    levels: Vec<Vec<Hash>>,
}

impl Levels {
    /// Reads the edge of a tree of `size` entries out of the tiles of one with `available`, which
    /// is not smaller. `read` gives a tile's bytes.
    pub(crate) fn load<E: From<String>>(
        size: u64,
        available: u64,
        mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut levels = Vec::new();
        for level in (0..=MAX_LEVEL).take_while(|level| tile::hashes_at(*level, size) > 0) {
            let width = tile::hashes_at(level, size) % TILE_WIDTH;
            let mut hashes = Vec::new();
            if width > 0 {
                let index = tile::hashes_at(level, size) / TILE_WIDTH;
                let bytes = read(reaching(Kind::Hashes(level), index, available)?)?;
                hashes = hashes_of(&bytes, width)
                    .ok_or_else(|| format!("tile {index} of level {level} is too short"))?;
            }
            levels.push(hashes);
        }
        let (index, width) = (size / TILE_WIDTH, size % TILE_WIDTH);
        let mut tail = Vec::new();
        if width > 0 {
            let bytes = read(reaching(Kind::Entries, index, available)?)?;
            let torn = |error| format!("entries {index}: {error}");
            for entry in bundle::Entries::new(&bytes).take(usize::try_from(width).unwrap_or(0)) {
                bundle::push(&mut tail, entry.map_err(torn)?).map_err(torn)?;
            }
        }
        let frontier = Frontier::from_subtrees(size, subtrees(&levels));
        let frontier = frontier.ok_or_else(|| "the tiles are too short".to_owned())?;
        Ok(Self { frontier, bundle: tail, levels })
    }

    /// How many entries the tree has.
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The tree, without its tiles.
    pub(crate) const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The hash over all of them.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends an entry; what became full is added to `full`.
    pub(crate) fn push(&mut self, entry: &[u8], full: &mut Vec<Filled>) -> Result<(), BundleError> {
        bundle::push(&mut self.bundle, entry)?;
        let leaf = Hash::of_leaf(entry);
        self.frontier.push(leaf);
        let size = self.frontier.size();
        if size.is_multiple_of(TILE_WIDTH) {
            let tile = Tile { kind: Kind::Entries, index: size / TILE_WIDTH - 1, width: 256 };
            full.push((tile, std::mem::take(&mut self.bundle)));
        }
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(place) else { break };
            hashes.push(hash);
            if u64::try_from(hashes.len()) != Ok(TILE_WIDTH) {
                break;
            }
            hash = root_of(hashes);
            let index = tile::hashes_at(level, size) / TILE_WIDTH - 1;
            full.push((Tile { kind: Kind::Hashes(level), index, width: 256 }, bytes_of(hashes)));
            hashes.clear();
        }
        Ok(())
    }

    /// The partial tiles and bundle of the tree as it is.
    pub(crate) fn partials(&self) -> impl Iterator<Item = Filled> {
        Tile::partials(self.size()).map(|tile| {
            let bytes = match tile.kind {
                Kind::Entries => self.bundle.clone(),
                Kind::Hashes(level) => {
                    self.levels.get(usize::from(level)).map(|l| bytes_of(l)).unwrap_or_default()
                }
            };
            (tile, bytes)
        })
    }
}

/// The tile with `index` as a tree of `available` entries has it.
fn reaching(kind: Kind, index: u64, available: u64) -> Result<Tile, String> {
    Tile::in_tree(kind, index, available)
        .ok_or_else(|| format!("a tree of {available} has no tile {index}"))
}

fn hashes_of(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, _rest) = bytes.as_chunks();
    let hashes = hashes.get(..usize::try_from(width).ok()?)?;
    Some(hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect())
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The roots of the full subtrees, largest first: from the highest level down, and within a tile
/// as its width has bits.
fn subtrees(levels: &[Vec<Hash>]) -> Vec<Hash> {
    let mut roots = Vec::new();
    for hashes in levels.iter().rev() {
        let mut rest = hashes.as_slice();
        while let Some(largest) = rest.len().checked_ilog2() {
            let Some((subtree, after)) = rest.split_at_checked(1 << largest) else { break };
            roots.push(root_of(subtree));
            rest = after;
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_edge_that_was_loaded_goes_on_like_the_one_that_grew() {
        let mut grown = Levels::default();
        let mut tiles: HashMap<Tile, Vec<u8>> = HashMap::new();
        let mut plain = Frontier::new();
        let mut full = Vec::new();
        for n in 0..66_000_u32 {
            if n % 251 == 0 || (65_500..65_600).contains(&n) {
                tiles.extend(grown.partials());
                let size = u64::from(n);
                let load = |size| {
                    Levels::load(size, u64::from(n), |tile| Ok::<_, String>(tiles[&tile].clone()))
                };
                let loaded = load(size).unwrap();
                assert_eq!(loaded.levels, grown.levels, "{n}");
                assert_eq!((loaded.root(), &loaded.bundle), (grown.root(), &grown.bundle), "{n}");
                assert_eq!(loaded.root(), plain.root());
                load(size / 2).unwrap();
            }
            let entry = n.to_le_bytes();
            grown.push(&entry, &mut full).unwrap();
            plain.push(Hash::of_leaf(&entry));
            tiles.extend(full.drain(..));
        }
        assert!(tiles.contains_key(&Tile { kind: Kind::Hashes(1), index: 0, width: 256 }));
    }
}
