//! All errors at once: read the tree, note the error, repair it, read again. A misspelt key gets
//! the name that was meant, so that its value is looked at, too; anything else is taken out.
//!
//! What only follows from an earlier error is not reported: a key that is missing because its
//! value was wrong, and a map that is incomplete for the same reason.

use rustc_hash::FxHashSet;
use serde::de::DeserializeOwned;

use super::de;
use tidegate_core::suggest;

use super::path::{Path, Segment};
use super::policy::{self, is_transparent};
use super::problem::Problem;
use super::tree::{Entry, Node, Value};
use super::tree_error::Kind;

const MAX_ROUNDS: usize = 200;

/// Reads a `T` and adds all that is wrong to `problems`. The tree loses what was wrong. `None`
/// when not even what is left can be read.
pub(crate) fn collect<T: DeserializeOwned>(
    tree: &mut Node,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut pruned = FxHashSet::default();
    for _ in 0..MAX_ROUNDS {
        let error = match de::from_tree(tree) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let kind = error.kind().clone();
        let problem = error.into_problem();
        let path = problem.path.clone();
        if let Kind::UnknownKey(known) = &kind
            && correct(tree, &path, known).is_some()
        {
            problems.push(problem);
            continue;
        }
        if !follows(&kind, &path, &pruned, tree) {
            problems.push(problem);
        }
        if path.0.is_empty() || !prune(tree, &path) {
            return None;
        }
        pruned.insert(path);
    }
    let message = "there may be more errors than these";
    problems.push(Problem::at(tree.mark, message).with_hint("correct these first"));
    None
}

/// Whether an error is only the consequence of what was pruned before.
fn follows(kind: &Kind, path: &Path, pruned: &FxHashSet<Path>, tree: &Node) -> bool {
    match kind {
        Kind::MissingKey(key) => {
            let key = path.key(key);
            let there = find(tree, &key);
            pruned.contains(&key) || there.is_some_and(|node| node.value == Value::Pruned)
        }
        Kind::UnknownKey(_) => false,
        Kind::Value => match find(tree, path).map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                entries.iter().any(|entry| entry.value.value == Value::Pruned)
            }
            Some(Value::Seq(items)) => items.iter().any(|item| item.value == Value::Pruned),
            _ => false,
        },
    }
}

/// The node at `path`, seen through transparent entries.
pub(crate) fn find<'t>(tree: &'t Node, path: &Path) -> Option<&'t Node> {
    path.0.iter().try_fold(tree, |node, segment| step(node, segment).map(|(_, child)| child))
}

/// One step down: the child, and the node that holds it, which may be a transparent one.
pub(crate) fn step<'t>(node: &'t Node, segment: &Segment) -> Option<(&'t Node, &'t Node)> {
    match (segment, &node.value) {
        (Segment::Index(index), Value::Seq(items)) => Some((node, items.get(*index)?)),
        (Segment::Key(key), Value::Map(entries)) => {
            let transparent = entries.iter().filter(|entry| is_transparent(&entry.key));
            let holders = std::iter::once(node).chain(transparent.map(|entry| &entry.value));
            holders.filter_map(|holder| Some((holder, holder.get(key)?))).next()
        }
        _ => None,
    }
}

/// Gives a misspelt key the name that was meant; `None` if that is unknown or taken.
fn correct(tree: &mut Node, path: &Path, known: &[&str]) -> Option<()> {
    let Segment::Key(key) = path.0.last()? else { return None };
    let meant = suggest::closest(key, known.iter().copied())?;
    let around = find_mut(tree, &path.parent()?)?;
    if meant == "include" || step(around, &Segment::Key(meant.to_owned())).is_some() {
        return None;
    }
    let Value::Map(entries) = &mut around.value else { return None };
    let position = entries.iter().position(|entry| entry.key == *key)?;
    let entry = Entry { key: meant.to_owned(), ..entries.remove(position) };
    let group = entries.iter_mut().find(|group| policy::gathers(&group.key, meant));
    match group.map(|group| &mut group.value.value) {
        Some(Value::Map(gathered)) => gathered.push(entry),
        _ => entries.push(entry),
    }
    Some(())
}

fn prune(tree: &mut Node, path: &Path) -> bool {
    let found = find_mut(tree, path);
    found.map(|node| node.value = Value::Pruned).is_some()
}

/// Like [`find`], to change the node.
fn find_mut<'t>(tree: &'t mut Node, path: &Path) -> Option<&'t mut Node> {
    path.0.iter().try_fold(tree, |node, segment| match (segment, &mut node.value) {
        (Segment::Index(index), Value::Seq(items)) => items.get_mut(*index),
        (Segment::Key(key), Value::Map(entries)) => entry_mut(entries, key),
        _ => None,
    })
}

fn entry_mut<'t>(entries: &'t mut [Entry], key: &str) -> Option<&'t mut Node> {
    let own = entries.iter().position(|entry| entry.key == key);
    match own {
        Some(position) => entries.get_mut(position).map(|entry| &mut entry.value),
        None => entries
            .iter_mut()
            .filter(|entry| is_transparent(&entry.key))
            .find_map(|entry| entry.value.get_mut(key)),
    }
}
