//! The tree over the entries (RFC 6962, section 2.1): its root, kept up while it grows, and the
//! proofs that an entry is in it and that a later tree has an earlier one as its beginning.
//! Verifying asks for nothing but hashes; making proofs reads tiles (`proof`).

use thiserror::Error;

use crate::hash::Hash;

/// The roots of the full subtrees that a tree is made of, largest first: all that has to be known
/// to append to it. A clone of it is a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

/// A proof that does not show what it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The entry or the earlier tree lies beyond the tree.
    #[error("{what} is beyond a tree of {size} entries")]
    Beyond {
        /// The entry's index, or the earlier size.
        what: u64,
        /// The tree's size.
        size: u64,
    },
    /// More or fewer hashes than a proof at this place has.
    #[error("it has not the number of hashes of a proof at this place")]
    Length,
    /// The hashes lead to another root.
    #[error("it leads to another root")]
    Root,
}

impl Frontier {
    /// A tree without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` entries by the roots of its full subtrees, largest first; `None` when
    /// there are not as many as `size` has bits set.
    #[must_use]
    pub fn from_subtrees(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (subtrees.len() == expected).then_some(Self { size, subtrees })
    }

    /// How many entries it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = Hash::of_node(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The hash over all entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        let Some(&last) = subtrees.next() else { return Hash::of_empty_tree() };
        subtrees.fold(last, |right, left| Hash::of_node(left, &right))
    }
}

/// The root over some hashes, as those of a tile.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    hashes.iter().for_each(|hash| tree.push(*hash));
    tree.root()
}

/// That the entry `leaf` has `index` in the tree of `size` with `root` (RFC 9162, 2.1.3.2).
///
/// # Errors
/// When the proof does not show it.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    (size, root): (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Beyond { what: index, size });
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::of_node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    arrived(last == 0, &[(hash, root)])
}

/// That the tree `old` is the beginning of the tree `new`, each given by its size and root
/// (RFC 9162, 2.1.4.2). An empty tree is the beginning of every tree, and its proof is empty.
///
/// # Errors
/// When the proof does not show it.
pub fn verify_consistency(
    old: (u64, Hash),
    new: (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old.0 > new.0 {
        return Err(ProofError::Beyond { what: old.0, size: new.0 });
    }
    if old.0 == new.0 || old.0 == 0 {
        let expected = if old.0 == 0 { Hash::of_empty_tree() } else { new.1 };
        return arrived(proof.is_empty(), &[(old.1, expected)]);
    }
    // Where the old tree is one full subtree, its root is the first hash and left out.
    let (first, rest) = match proof.split_first() {
        _ if old.0.is_power_of_two() => (old.1, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length),
    };
    let (mut node, mut last) = (old.0 - 1, new.0 - 1);
    let skip = node.trailing_ones();
    node >>= skip;
    last >>= skip;
    let (mut old_root, mut new_root) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_root = Hash::of_node(sibling, &old_root);
            new_root = Hash::of_node(sibling, &new_root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_root = Hash::of_node(&new_root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    arrived(last == 0, &[(old_root, old.1), (new_root, new.1)])
}

fn arrived(complete: bool, roots: &[(Hash, Hash)]) -> Result<(), ProofError> {
    if !complete {
        return Err(ProofError::Length);
    }
    let same = roots.iter().all(|(found, expected)| found == expected);
    if same { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, 2.1, word by word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of_empty_tree(),
            [leaf] => *leaf,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                Hash::of_node(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition() {
        let leaves: Vec<_> = (0..300_u32).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect();
        let mut tree = Frontier::new();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), mth(&leaves[..size]), "{size}");
            tree.push(*leaf);
        }
        assert_eq!(root_of(&leaves), tree.root());
        let again = Frontier::from_subtrees(tree.size, tree.subtrees.clone());
        assert_eq!(again.as_ref(), Some(&tree));
        assert_eq!(Frontier::from_subtrees(299, tree.subtrees), None);
    }
}
