//! The paths of one host: exact ones in a hash map, prefixes in a trie of whole segments, regexes
//! at the trie's node that the closed segments of their literal beginning reach.

use std::ops::ControlFlow;

use regex::bytes::Regex;
use rustc_hash::FxHashMap;

use super::paths::HostPaths;

/// The compiled paths of one host. Lists of routes are in the order of precedence.
#[derive(Debug)]
pub(super) struct PathTable {
    exact: FxHashMap<Box<str>, Box<[usize]>>,
    /// The first is the root; parents come before their children.
    nodes: Vec<Node>,
    regexes: Vec<(Regex, Box<[usize]>)>,
}

#[derive(Debug, Default)]
struct Node {
    /// The parent's place; `None` for the root.
    parent: Option<usize>,
    children: FxHashMap<Box<str>, usize>,
    /// The length of the path down to here, without a slash at the end.
    len: usize,
    /// The routes with this prefix.
    prefix: Box<[usize]>,
    /// Places in [`PathTable::regexes`] of those that begin here, and of all that begin above, in
    /// the order of precedence. Empty if none begins here: then those of an ancestor hold.
    regexes: Vec<usize>,
}

impl PathTable {
    pub(super) fn new(paths: &HostPaths) -> Self {
        let mut table = Self {
            exact: FxHashMap::default(),
            nodes: vec![Node::default()],
            regexes: Vec::with_capacity(paths.regex.len()),
        };
        for (path, routes) in &paths.exact {
            table.exact.insert(path.as_str().into(), routes.as_slice().into());
        }
        for (prefix, routes) in &paths.prefix {
            let place = table.insert(prefix);
            if let Some(node) = table.nodes.get_mut(place) {
                node.prefix = routes.as_slice().into();
            }
        }
        // In the order of precedence, so that every node's list is in it too.
        for pattern in &paths.regex {
            let place = table.insert(&pattern.below);
            if let Some(node) = table.nodes.get_mut(place) {
                node.regexes.push(table.regexes.len());
            }
            table.regexes.push((pattern.regex.clone(), pattern.routes.as_slice().into()));
        }
        table.inherit_regexes();
        table
    }

    /// The place of the node for `prefix`, which is made if it is missing.
    fn insert(&mut self, prefix: &str) -> usize {
        let mut place = 0;
        for segment in segments(prefix) {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(place) else { break };
            let len = node.len + 1 + segment.len();
            let child = *node.children.entry(segment.into()).or_insert(next);
            if child == next {
                self.nodes.push(Node { parent: Some(place), len, ..Node::default() });
            }
            place = child;
        }
        place
    }

    /// Gives each node that has regexes those of its nearest such ancestor, which are complete.
    fn inherit_regexes(&mut self) {
        for place in 1..self.nodes.len() {
            if self.nodes.get(place).is_none_or(|node| node.regexes.is_empty()) {
                continue;
            }
            let parent = self.nodes.get(place).and_then(|node| node.parent);
            let above = self.regexes_from(parent).to_vec();
            if let Some(node) = self.nodes.get_mut(place) {
                node.regexes.extend(above);
                node.regexes.sort_unstable();
            }
        }
    }

    /// The regexes of the first node that has any, from `place` upwards.
    fn regexes_from(&self, place: Option<usize>) -> &[usize] {
        self.upwards(place)
            .map(|node| node.regexes.as_slice())
            .find(|r| !r.is_empty())
            .unwrap_or(&[])
    }

    fn upwards(&self, place: Option<usize>) -> impl Iterator<Item = &Node> {
        std::iter::successors(place.and_then(|at| self.nodes.get(at)), |node| {
            node.parent.and_then(|at| self.nodes.get(at))
        })
    }

    /// The deepest node that whole segments of `path` reach. The walk ends with the trie, however
    /// long the path is.
    fn deepest(&self, path: &str) -> usize {
        let mut place = 0;
        for segment in segments(path) {
            match self.nodes.get(place).and_then(|node| node.children.get(segment)) {
                Some(child) => place = *child,
                None => break,
            }
        }
        place
    }

    /// Shows `visitor` the routes that match `path`, in the order of precedence, and how many of
    /// its bytes they matched.
    pub(super) fn visit<B>(
        &self,
        path: &str,
        visitor: &mut impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // `OPTIONS *` asks about the server and has no path (RFC 9112 §3.2.4).
        if !path.starts_with('/') {
            return ControlFlow::Continue(());
        }
        if let Some(routes) = self.exact.get(path) {
            routes.iter().try_for_each(|route| visitor(*route, path.len()))?;
        }
        let deepest = Some(self.deepest(path));
        for node in self.upwards(deepest) {
            node.prefix.iter().try_for_each(|route| visitor(*route, node.len))?;
        }
        for place in self.regexes_from(deepest) {
            let Some((regex, routes)) = self.regexes.get(*place) else { continue };
            if let Some(found) = regex.find(path.as_bytes()) {
                routes.iter().try_for_each(|route| visitor(*route, found.end()))?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The segments of a canonical path, without the empty one after a slash at the end.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    (!path.is_empty()).then(|| path.split('/')).into_iter().flatten()
}
