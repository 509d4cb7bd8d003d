//! The report as JSON: by client what it was granted and what it used, by route what it needs and
//! who passed with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::store::{Batch, Client, Scope, Store};
use crate::access::Access;

/// Who passed, by scope.
type Passed<'s> = BTreeMap<&'s str, Vec<Value>>;

pub(super) fn view<'r>(
    store: &Store,
    routes: impl Iterator<Item = (&'r str, &'r Access)>,
    now: u64,
) -> Value {
    let mut clients = Vec::new();
    let mut passed: BTreeMap<&str, Passed<'_>> = BTreeMap::new();
    for (provider, names) in &store.clients {
        for (name, client) in names {
            clients.push(of_client((provider, name), client));
            for (scope, kept) in &client.scopes {
                for (route, batch) in &kept.routes {
                    let who = json!({ "provider": provider, "client": name });
                    let by_scope = passed.entry(route).or_default();
                    by_scope.entry(scope).or_default().push(with(who, *batch));
                }
            }
        }
    }
    let mut told = Vec::new();
    for (route, access) in routes.filter(|(_, access)| !access.is_open()) {
        told.push(of_route(route, access, passed.remove(route).unwrap_or_default()));
    }
    // Who passed a route that is there no longer used the scope all the same.
    for (route, passed) in passed {
        told.push(json!({ "route": route, "gone": true, "passed": by_scope(passed) }));
    }
    json!({
        "now": now, "since": store.since, "clients": clients, "routes": told,
        "left_out": store.left_out,
    })
}

fn of_client((provider, name): (&str, &str), client: &Client) -> Value {
    let unused = client.scopes.iter().filter(|(_, kept)| kept.is_unused());
    let unused: Vec<&str> = unused.map(|(scope, _)| &**scope).collect();
    let scopes = client.scopes.iter().map(|(scope, kept)| {
        let routes = kept.routes.iter();
        let routes = routes.map(|(route, batch)| with(json!({ "route": route }), *batch));
        json!({
            "scope": scope, "granted": kept.granted, "used": kept.used(),
            "routes": routes.collect::<Vec<_>>(), "elsewhere": kept.elsewhere,
        })
    });
    let scopes: Vec<Value> = scopes.collect();
    let told = json!({ "provider": provider, "client": name, "scopes": scopes, "unused": unused });
    with(told, client.seen)
}

impl Scope {
    fn is_unused(&self) -> bool {
        self.routes.is_empty() && self.elsewhere == 0
    }

    /// All passes that needed it on routes that are noted.
    fn used(&self) -> Option<Batch> {
        self.routes.values().copied().reduce(|mut sum, batch| {
            sum.merge(batch);
            sum
        })
    }
}

fn of_route(route: &str, access: &Access, passed: Passed<'_>) -> Value {
    let needs: Vec<Value> = access
        .demanded_scopes()
        .map(|(method, scopes)| json!({ "method": method, "all": scopes.all, "any": scopes.any }))
        .collect();
    let named: BTreeSet<&str> = access.scopes().collect();
    let never: Vec<&str> = named.into_iter().filter(|scope| !passed.contains_key(scope)).collect();
    json!({ "route": route, "needs": needs, "passed": by_scope(passed), "never": never })
}

fn by_scope(passed: Passed<'_>) -> Vec<Value> {
    let each = passed.into_iter();
    each.map(|(scope, clients)| json!({ "scope": scope, "clients": clients })).collect()
}

/// An object with when and how often.
fn with(mut value: Value, Batch { first, last, passes }: Batch) -> Value {
    if let Value::Object(members) = &mut value {
        members.insert("first".to_owned(), first.into());
        members.insert("last".to_owned(), last.into());
        members.insert("passes".to_owned(), passes.into());
    }
    value
}
