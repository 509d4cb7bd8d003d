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
    for (kind, all) in [("client", &store.clients), ("subject", &store.subjects)] {
        let each =
            all.iter().flat_map(|(provider, names)| names.iter().map(move |of| (provider, of)));
        for (provider, (name, client)) in each {
            // Who is not told apart has no name.
            let name = Some(&**name).filter(|name| !name.is_empty());
            let who = json!({ "provider": provider, kind: name });
            for (scope, kept) in &client.scopes {
                for (route, batch) in &kept.routes {
                    let by_scope = passed.entry(route).or_default();
                    by_scope.entry(scope).or_default().push(with(who.clone(), *batch));
                }
            }
            clients.push(of_client(who, client));
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
        "now": now, "since": store.since, "known_since": store.known_since(now), "clients": clients, "routes": told,
        "left_out": store.left_out,
    })
}

fn of_client(mut who: Value, client: &Client) -> Value {
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
    if let Value::Object(members) = &mut who {
        members.insert("scopes".to_owned(), scopes.into());
        members.insert("unused".to_owned(), unused.into());
    }
    with(who, client.seen)
}

impl Scope {
    fn is_unused(&self) -> bool {
        self.routes.is_empty() && self.elsewhere.is_none()
    }

    /// All passes that needed it.
    fn used(&self) -> Option<Batch> {
        self.routes.values().copied().chain(self.elsewhere).reduce(|mut sum, batch| {
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
