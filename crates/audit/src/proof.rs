//! Proofs made from tiles: that an entry is in a log, and that a log only ever appended. Verifying
//! them needs no tiles: see `tree`.

use crate::hash::Hash;
use crate::tile::{Kind, TILE_WIDTH, Tile};
use crate::tiles::{Cached, TileError, Tiles};
use crate::tree::root_of;

/// Levels of the binary tree within one tile.
const TILE_HEIGHT: u32 = 8;

/// The tree of a log at a size, of which proofs are made.
#[expect(missing_debug_implementations, reason = "it holds a reference to any source of tiles")]
pub struct Prover<'a> {
    tiles: Cached<'a>,
    size: u64,
}

impl<'a> Prover<'a> {
    /// The tree of the first `size` entries. The tiles are believed: a proof from damaged ones
    /// does not verify.
    #[must_use]
    pub fn new(tiles: &'a dyn Tiles, size: u64) -> Self {
        Self { tiles: Cached::new(tiles), size }
    }

    /// The hash over its entries.
    ///
    /// # Errors
    /// When a tile is missing or damaged.
    pub fn root(&self) -> Result<Hash, TileError> {
        self.over(0, self.size)
    }

    /// The proof that the entry with `index` is in it (RFC 6962, 2.1.1); `None` beyond its end.
    ///
    /// # Errors
    /// When a tile is missing or damaged.
    pub fn inclusion(&self, index: u64) -> Result<Option<Vec<Hash>>, TileError> {
        if index >= self.size {
            return Ok(None);
        }
        let (mut from, mut to) = (0, self.size);
        let mut proof = Vec::new();
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                proof.push(self.over(middle, to)?);
                to = middle;
            } else {
                proof.push(self.over(from, middle)?);
                from = middle;
            }
        }
        proof.reverse();
        Ok(Some(proof))
    }

    /// The proof that its first `old` entries were the log at that size (RFC 6962, 2.1.2); `None`
    /// when it has fewer. Empty for nothing and for all of it.
    ///
    /// # Errors
    /// When a tile is missing or damaged.
    pub fn consistency(&self, old: u64) -> Result<Option<Vec<Hash>>, TileError> {
        if old > self.size {
            return Ok(None);
        }
        if old == 0 || old == self.size {
            return Ok(Some(Vec::new()));
        }
        let (mut from, mut to) = (0, self.size);
        let mut proof = Vec::new();
        while old < to {
            let middle = from + split(to - from);
            if old <= middle {
                proof.push(self.over(middle, to)?);
                to = middle;
            } else {
                proof.push(self.over(from, middle)?);
                from = middle;
            }
        }
        // The old tree's last subtree; known to the verifier where it is the whole old tree.
        if from > 0 {
            proof.push(self.over(from, to)?);
        }
        proof.reverse();
        Ok(Some(proof))
    }

    /// The hash over the entries from `from` to before `to`, where `from` is a multiple of the
    /// power of two that is at least their number.
    fn over(&self, from: u64, to: u64) -> Result<Hash, TileError> {
        let mut hash: Option<Hash> = None;
        // From the right, which is made of the smallest full subtrees.
        let mut right = to;
        while right > from {
            let height = (right - from).trailing_zeros();
            let left = right - (1 << height);
            let subtree = self.subtree(height, left >> height)?;
            hash = Some(hash.map_or(subtree, |rest| Hash::of_node(&subtree, &rest)));
            right = left;
        }
        Ok(hash.unwrap_or_else(Hash::of_empty_tree))
    }

    /// The root of the full subtree of 2^`height` entries that has `index` among those.
    fn subtree(&self, height: u32, index: u64) -> Result<Hash, TileError> {
        let within = height % TILE_HEIGHT;
        let level = u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX);
        let first = index << within;
        let kind = Kind::Hashes(level);
        let missing = Tile { kind, index: first / TILE_WIDTH, width: 256 };
        let tile = Tile::in_tree(kind, missing.index, self.size);
        let hashes = self.tiles.hashes(tile.ok_or(TileError::Missing { tile: missing })?)?;
        let start = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let slice = hashes.get(start..).and_then(|rest| rest.get(..1 << within));
        slice.map(root_of).ok_or(TileError::Missing { tile: missing })
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::memory::Memory;
    use crate::tree::{Frontier, ProofError, verify_consistency, verify_inclusion};

    /// Sizes at which a tree changes its shape.
    const SIZES: [u64; 14] =
        [1, 2, 3, 5, 8, 255, 256, 257, 511, 513, 1_000, 65_535, 65_536, 66_000];

    fn log(size: u64) -> (Memory, Vec<Hash>) {
        let log = Memory::of((0..size).map(|n| n.to_string().into_bytes()));
        let mut tree = Frontier::new();
        let mut roots = vec![tree.root()];
        for n in 0..size {
            tree.push(Hash::of_leaf(n.to_string().as_bytes()));
            roots.push(tree.root());
        }
        (log, roots)
    }

    #[test]
    fn every_entry_proves_to_be_in_the_log() {
        let (tiles, roots) = log(66_000);
        for size in SIZES {
            let prover = Prover::new(&tiles, size);
            let root = roots[usize::try_from(size).unwrap()];
            assert_eq!(prover.root().unwrap(), root);
            for index in (0..size).step_by(usize::try_from(size / 97 + 1).unwrap()) {
                let leaf = Hash::of_leaf(index.to_string().as_bytes());
                let proof = prover.inclusion(index).unwrap().unwrap();
                assert_eq!(verify_inclusion(leaf, index, (size, root), &proof), Ok(()));
                let other = Hash::of_leaf(b"other");
                let refused = verify_inclusion(other, index, (size, root), &proof);
                assert_eq!(refused, Err(ProofError::Root));
                if size > 1 {
                    let short = &proof[1..];
                    assert!(verify_inclusion(leaf, index, (size, root), short).is_err());
                    let beside = (index + 1) % size;
                    assert!(verify_inclusion(leaf, beside, (size, root), &proof).is_err());
                }
                let long = [proof.as_slice(), &[other]].concat();
                let refused = verify_inclusion(leaf, index, (size, root), &long);
                assert_eq!(refused, Err(ProofError::Length));
            }
            assert_eq!(prover.inclusion(size).unwrap(), None);
        }
    }

    #[test]
    fn every_earlier_size_proves_to_be_the_beginning() {
        let (tiles, roots) = log(66_000);
        let root = |size: u64| (size, roots[usize::try_from(size).unwrap()]);
        for new in SIZES {
            let prover = Prover::new(&tiles, new);
            for old in SIZES.into_iter().filter(|old| *old <= new).chain([0, new / 2, new - 1]) {
                let proof = prover.consistency(old).unwrap().unwrap();
                assert_eq!(verify_consistency(root(old), root(new), &proof), Ok(()), "{old} {new}");
                let forked = (old, Hash::of_leaf(b"another log"));
                assert!(verify_consistency(forked, root(new), &proof).is_err(), "{old} {new}");
                if !proof.is_empty() {
                    let forked = (new, Hash::of_leaf(b"another log"));
                    assert!(verify_consistency(root(old), forked, &proof).is_err());
                    assert!(verify_consistency(root(old), root(new), &proof[1..]).is_err());
                }
                let long = [proof.as_slice(), &[root(old).1]].concat();
                assert!(verify_consistency(root(old), root(new), &long).is_err(), "{old} {new}");
            }
            assert_eq!(prover.consistency(new + 1).unwrap(), None);
        }
    }
}
