//! Policies: `defaults`, then the named `policies` of a route in their order, then the route's own
//! policy fields. It happens on the tree, so that each value keeps the place where it was written.
//!
//! The last one wins per field. The fields in [`MERGED`], whose keys are all optional, merge key by
//! key, and so do the maps in them: a route may change `timeouts.total` and keep a policy's
//! `timeouts.connect`. Lists are replaced. A key written as `~` takes back what came before it.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::fields::fields;
use tidegate_core::suggest;

use super::path::Path;
use super::problem::Problem;
use super::tree::{Entry, Node, Origin, Value};
use crate::settings::{PolicySettings, RouteMatch};

/// Where a route's match fields are gathered for serde; [`split`] refuses users who write it.
pub(crate) const MATCH: &str = "(match)";
/// Where a route's policy fields are gathered.
pub(crate) const POLICY: &str = "(policy)";

/// The policy fields that merge key by key; all others are replaced as a whole.
const MERGED: [&str; 8] =
    ["audit", "auth", "hedge", "request_headers", "response_headers", "retries", "timeouts", "waf"];

/// The names of all policy fields.
pub(crate) fn policy_fields() -> &'static [&'static str] {
    fields::<PolicySettings>()
}

/// The names of all fields that say what a route matches.
pub(crate) fn match_fields() -> &'static [&'static str] {
    fields::<RouteMatch>()
}

/// The names that users can write, of those that serde knows.
pub(crate) fn visible(known: &[&'static str]) -> Vec<&'static str> {
    let expand = |name: &&'static str| match *name {
        MATCH => match_fields().to_vec(),
        POLICY => policy_fields().to_vec(),
        name => vec![name],
    };
    known.iter().flat_map(expand).collect()
}

/// Whether a key is one of ours, which adds no step to a path.
pub(crate) fn is_transparent(key: &str) -> bool {
    key == MATCH || key == POLICY
}

/// Whether the key is the one of ours under which a route's field `name` is gathered.
pub(crate) fn gathers(key: &str, name: &str) -> bool {
    match key {
        MATCH => match_fields().contains(&name),
        POLICY => policy_fields().contains(&name),
        _ => false,
    }
}

/// Gathers each route's match fields and policy fields, which stand side by side in the file.
pub(crate) fn split(root: &mut Node, problems: &mut Vec<Problem>) {
    for (index, route) in routes(root).iter_mut().enumerate() {
        let mark = route.mark;
        let Value::Map(entries) = &mut route.value else { continue };
        entries.retain(|entry| {
            let ours = is_transparent(&entry.key);
            if ours {
                let path = Path::default().key("routes").index(index).key(&entry.key);
                let message = format!("unknown key `{}`", entry.key);
                problems.push(Problem::at(entry.key_mark, message).with_path(path));
            }
            !ours
        });
        let take = |entries: &mut Vec<Entry>, names: &[&str], key: &str| {
            let (taken, rest) = std::mem::take(entries)
                .into_iter()
                .partition(|entry| names.contains(&entry.key.as_str()));
            *entries = rest;
            let value = Node::new(Value::Map(taken), mark);
            Entry { key: key.to_owned(), key_mark: mark, value }
        };
        let matches = take(entries, match_fields(), MATCH);
        let policy = take(entries, policy_fields(), POLICY);
        entries.insert(0, matches);
        entries.push(policy);
    }
}

fn routes(root: &mut Node) -> &mut [Node] {
    match root.get_mut("routes").map(|routes| &mut routes.value) {
        Some(Value::Seq(routes)) => routes,
        _ => &mut [],
    }
}

/// Gives each route the policy fields that it inherits. The routes must be [`split`].
pub(crate) fn merge(root: &mut Node, problems: &mut Vec<Problem>) {
    let defaults = root
        .get("defaults")
        .map(|node| Layer::new(node, &Path::default().key("defaults"), "defaults"));
    let named: FxHashMap<String, Layer> = root
        .get("policies")
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .map(|entry| (entry.key.clone(), Layer::named(entry)))
        .collect();
    for (index, route) in routes(root).iter_mut().enumerate() {
        let path = Path::default().key("routes").index(index);
        let mut layers: Vec<&Layer> = defaults.iter().collect();
        layers.extend(chosen(route, &path, &named, problems));
        if let Some(policy) = route.get_mut(POLICY) {
            apply(policy, &layers);
        }
    }
}

/// A set of policy fields that routes inherit, each marked with where it came from.
struct Layer(Vec<Entry>);

impl Layer {
    fn new(node: &Node, path: &Path, label: &str) -> Self {
        let inherited = |entry: &Entry| {
            let mut entry = entry.clone();
            mark(&mut entry.value, path.key(&entry.key), label, is_merged(&entry.key));
            entry
        };
        Self(node.entries().iter().map(inherited).collect())
    }

    fn named(entry: &Entry) -> Self {
        let path = Path::default().key("policies").key(&entry.key);
        Self::new(&entry.value, &path, &format!("policy {}", entry.key))
    }
}

/// The policies that a route names.
fn chosen<'l>(
    route: &Node,
    path: &Path,
    named: &'l FxHashMap<String, Layer>,
    problems: &mut Vec<Problem>,
) -> Vec<&'l Layer> {
    let mut layers = Vec::new();
    let Some(Value::Seq(names)) = route.get("policies").map(|node| &node.value) else {
        return layers;
    };
    for (position, node) in names.iter().enumerate() {
        let Value::String(name) = &node.value else { continue };
        match named.get(name) {
            Some(layer) => layers.push(layer),
            None => {
                let hint = suggest::hint(name, named.keys().map(String::as_str))
                    .or_else(|| Some("add it to `policies`".to_owned()));
                let problem = Problem::at(node.mark, format!("no policy is called `{name}`"))
                    .with_path(path.key("policies").index(position));
                problems.push(Problem { hint, ..problem });
            }
        }
    }
    layers
}

/// Puts the layers below a route's own fields.
fn apply(own: &mut Node, layers: &[&Layer]) {
    let mut merged: Vec<Entry> = Vec::new();
    for entry in layers.iter().flat_map(|layer| &layer.0) {
        lay(&mut merged, entry.clone(), is_merged(&entry.key));
    }
    if let Value::Map(entries) = &mut own.value {
        for entry in std::mem::take(entries) {
            let deep = is_merged(&entry.key);
            lay(&mut merged, entry, deep);
        }
        *entries = merged;
    }
}

fn mark(node: &mut Node, path: Path, label: &str, deep: bool) {
    if let (true, Value::Map(entries)) = (deep, &mut node.value) {
        for entry in entries {
            mark(&mut entry.value, path.key(&entry.key), label, deep);
        }
    }
    node.origin = Some(Arc::new(Origin { path, label: label.to_owned() }));
}

fn is_merged(key: &str) -> bool {
    MERGED.contains(&key)
}

/// Puts one entry over those that are there; `deep` merges maps instead of replacing them.
fn lay(lower: &mut Vec<Entry>, upper: Entry, deep: bool) {
    let Some(below) = lower.iter_mut().find(|below| below.key == upper.key) else {
        lower.push(upper);
        return;
    };
    match (deep, &mut below.value.value, upper.value.value) {
        (true, Value::Map(entries), Value::Map(above)) => {
            for entry in above {
                lay(entries, entry, deep);
            }
            below.value.mark = upper.value.mark;
            below.value.origin = upper.value.origin;
            below.key_mark = upper.key_mark;
        }
        (_, _, value) => {
            *below = Entry { value: Node { value, ..upper.value }, ..upper };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut root = parse::parse(text, 0).unwrap();
        let mut problems = Vec::new();
        split(&mut root, &mut problems);
        merge(&mut root, &mut problems);
        assert_eq!(problems, []);
        let Some(Value::Seq(routes)) = root.get("routes").map(|node| &node.value) else { panic!() };
        assert_eq!(*routes[0].get(POLICY).unwrap(), parse::parse(expected, 0).unwrap());
    }

    #[test]
    fn the_last_one_wins_per_field() {
        check(
            "{defaults: {max_body: 1MiB, deny: [10.0.0.1]}, policies: {a: {max_body: 2MiB}, b: {max_body: 3MiB}}, \
             routes: [{path: /, policies: [b, a]}]}",
            "{max_body: 2MiB, deny: [10.0.0.1]}",
        );
        check(
            "{policies: {a: {deny: [10.0.0.1]}}, routes: [{policies: [a], deny: [10.0.0.2]}]}",
            "{deny: [10.0.0.2]}",
        );
    }

    #[test]
    fn fields_whose_keys_are_all_optional_merge_key_by_key() {
        check(
            "{defaults: {timeouts: {connect: 1s, total: 9s}, waf: {exclude: [{tags: [a]}]}}, \
             routes: [{timeouts: {total: 5s}, waf: {mode: detect}}]}",
            "{timeouts: {connect: 1s, total: 5s}, waf: {exclude: [{tags: [a]}], mode: detect}}",
        );
    }

    #[test]
    fn a_route_adds_a_header_and_keeps_those_of_its_policies() {
        check(
            "{defaults: {response_headers: {set: {a: 1, b: 1}, remove: [x]}}, \
             routes: [{response_headers: {set: {b: 2, c: 2}, remove: [y]}}]}",
            "{response_headers: {set: {a: 1, b: 2, c: 2}, remove: [y]}}",
        );
    }

    #[test]
    fn a_tilde_takes_back_what_came_before() {
        check("{defaults: {max_body: 1MiB}, routes: [{max_body: ~}]}", "{max_body: ~}");
    }
}
