//! All transformation chains of a rule set as one trie, so that what two chains share is computed
//! once per value.

use super::Transformation;

/// The node of untransformed values.
pub(crate) const ROOT: usize = 0;

/// A chain's last step; the root has none.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) parent: usize,
    pub(crate) step: Option<&'static Transformation>,
}

/// The chains. A node's parent comes before it, so that one walk in order computes all.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node { parent: ROOT, step: None }] }
    }
}

impl Trie {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether `node` is on the way to `below`, not being it.
    pub(crate) fn is_above(&self, node: usize, below: usize) -> bool {
        let mut at = below;
        while let Some(parent) =
            self.nodes.get(at).map(|known| known.parent).filter(|parent| *parent < at)
        {
            if parent == node {
                return true;
            }
            at = parent;
        }
        false
    }

    /// The node at the end of `chain`; made if there is none yet.
    pub(crate) fn node(&mut self, chain: &[&'static Transformation]) -> usize {
        let mut at = ROOT;
        for step in chain {
            let known = self.nodes.iter().position(|node| {
                node.parent == at && node.step.is_some_and(|known| known.name == step.name)
            });
            at = known.unwrap_or_else(|| {
                self.nodes.push(Node { parent: at, step: Some(step) });
                self.nodes.len() - 1
            });
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transformations::TRANSFORMATIONS;

    #[test]
    fn chains_share_their_beginning() {
        let all: Vec<&'static Transformation> = TRANSFORMATIONS.iter().collect();
        let mut trie = Trie::default();
        assert_eq!(trie.node(&[]), ROOT);
        let (long, short) = (trie.node(&all), trie.node(&all[..1]));
        assert_eq!(trie.nodes().len(), all.len() + 1);
        assert_eq!(trie.node(&all), long);
        assert_eq!(trie.nodes()[short].parent, ROOT);
    }
}
