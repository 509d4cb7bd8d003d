//! The router against a naive one that tries every route: same precedence, no data structures.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use http::Method;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use regex::Regex;
use tidegate_core::Request;

use super::{Hosts, Lookup, PathMatch, RouteMatch, Router, Scheme, ValueMatch};
use crate::testing::RequestParts;

/// Larger precedes: host, path, methods given, number of conditions.
type Rank = ((u8, usize), (u8, usize), bool, usize);

fn matched_host(route: &RouteMatch, request: &Request<'_>) -> Option<(u8, usize)> {
    let Some(hosts) = &route.host else { return Some((0, 0)) };
    let rank = |host: &String| match host.strip_prefix('*') {
        Some(suffix) if request.host.ends_with(suffix) => Some((1, suffix.len())),
        None if host == request.host => Some((2, 0)),
        _ => None,
    };
    hosts.0.iter().filter_map(rank).max()
}

fn matched_path(route: &RouteMatch, path: &str) -> Option<((u8, usize), usize)> {
    match route.path.as_ref().unwrap_or(&PathMatch::Prefix("/".to_owned())) {
        PathMatch::Exact(exact) => (exact == path).then_some(((2, 0), path.len())),
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            let inside = path == prefix || path.starts_with(&format!("{prefix}/"));
            inside.then_some(((1, prefix.len()), prefix.len()))
        }
        PathMatch::Regex(pattern) => {
            let end = Regex::new(pattern).unwrap().find(path)?.end();
            Some(((0, pattern.len()), end))
        }
    }
}

fn conditions_hold(route: &RouteMatch, request: &Request<'_>) -> bool {
    let holds = |value: Option<&str>, test: &ValueMatch| match (test, value) {
        (ValueMatch::Exact(wanted), value) => value == Some(wanted),
        (ValueMatch::Present(wanted), value) => value.is_some() == *wanted,
        (ValueMatch::Regex(pattern), value) => {
            value.is_some_and(|value| Regex::new(pattern).unwrap().is_match(value))
        }
    };
    let parameters: Vec<(&str, &str)> = request
        .query()
        .into_iter()
        .flat_map(|q| q.split('&'))
        .filter_map(|p| p.split_once('='))
        .collect();
    route.scheme.is_none_or(|scheme| (scheme == Scheme::Https) == request.secure)
        && route.headers.iter().all(|(name, test)| {
            holds(request.headers().get(name).map(|value| value.to_str().unwrap()), test)
        })
        && route.query.iter().all(|(name, test)| {
            holds(parameters.iter().find(|(key, _)| key == name).map(|(_, value)| *value), test)
        })
}

/// The answer, and whether two routes tie for it.
fn find(routes: &[RouteMatch], request: &Request<'_>) -> (Lookup, bool) {
    let mut allowed: Vec<Method> = Vec::new();
    let mut found: Vec<(Rank, usize, usize)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let host = matched_host(route, request);
        let path = matched_path(route, request.path);
        let (Some(host), Some((path, len))) = (host, path) else { continue };
        if !conditions_hold(route, request) {
            continue;
        }
        let methods = route.methods.clone().unwrap_or_default();
        if !methods.is_empty() && !methods.contains(&request.method().to_string()) {
            allowed.extend(methods.iter().map(|method| method.parse::<Method>().unwrap()));
            continue;
        }
        let conditions =
            usize::from(route.scheme.is_some()) + route.headers.len() + route.query.len();
        found.push(((host, path, !methods.is_empty(), conditions), index, len));
    }
    found.sort_by_key(|(rank, ..)| Reverse(*rank));
    let tie = matches!(found.as_slice(), [(one, ..), (other, ..), ..] if one == other);
    allowed.sort_by_key(ToString::to_string);
    allowed.dedup();
    let lookup = match found.first() {
        Some((_, route, matched_len)) => Lookup::Found { route: *route, matched_len: *matched_len },
        None if allowed.is_empty() => Lookup::NotFound,
        None => Lookup::MethodNotAllowed(allowed),
    };
    (lookup, tie)
}

fn hosts() -> impl Strategy<Value = Option<Hosts>> {
    let names = vec!["x.t", "a.x.t", "b.a.x.t", "*.t", "*.x.t", "*.a.x.t", "y"];
    prop_oneof![
        2 => Just(None),
        3 => subsequence(names, 1..3).prop_map(|names| {
            Some(Hosts(names.into_iter().map(str::to_owned).collect()))
        }),
    ]
}

fn paths() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(select(vec!["a", "b", "ab"]), 0..4);
    (segments, any::<bool>()).prop_map(|(segments, slash)| {
        let end = if slash && !segments.is_empty() { "/" } else { "" };
        format!("/{}{end}", segments.join("/"))
    })
}

fn path_matches() -> impl Strategy<Value = Option<PathMatch>> {
    let patterns = vec![
        "^/a",
        "^/a/b/",
        "^/(a|b)/",
        "^/a/[a-z]+$",
        "^/.*",
        "^/ab?/a$",
        "^(?i)/A/",
        "^/a/b.*/a",
    ];
    prop_oneof![
        1 => Just(None),
        2 => paths().prop_map(|path| Some(PathMatch::Exact(path))),
        3 => paths().prop_map(|path| Some(PathMatch::Prefix(path))),
        3 => select(patterns).prop_map(|pattern| Some(PathMatch::Regex(pattern.to_owned()))),
    ]
}

fn values(names: Vec<&'static str>) -> impl Strategy<Value = BTreeMap<String, ValueMatch>> {
    let value = prop_oneof![
        select(vec!["1", "2"]).prop_map(|value| ValueMatch::Exact(value.to_owned())),
        any::<bool>().prop_map(ValueMatch::Present),
        select(vec!["^1", "2$"]).prop_map(|pattern| ValueMatch::Regex(pattern.to_owned())),
    ];
    let entry = (select(names).prop_map(str::to_owned), value);
    prop_oneof![3 => Just(BTreeMap::new()), 1 => prop::collection::btree_map(entry.0, entry.1, 1..3)]
}

fn routes() -> impl Strategy<Value = RouteMatch> {
    let methods = subsequence(vec!["GET", "POST", "PURGE"], 1..3)
        .prop_map(|names| names.into_iter().map(str::to_owned).collect());
    let scheme =
        prop_oneof![8 => Just(None), 1 => Just(Some(Scheme::Http)), 1 => Just(Some(Scheme::Https))];
    (
        hosts(),
        path_matches(),
        prop::option::weighted(0.3, methods),
        scheme,
        values(vec!["x-a", "x-b"]),
        values(vec!["p", "q"]),
    )
        .prop_map(|(host, path, methods, scheme, headers, query)| RouteMatch {
            id: None,
            host,
            path,
            methods,
            scheme,
            headers,
            query,
        })
}

fn requests() -> impl Strategy<Value = RequestParts> {
    let host = select(vec!["x.t", "a.x.t", "b.a.x.t", "c.b.a.x.t", "t", "y", "z.y", "zx.t"]);
    let header = || prop::option::of(select(vec!["1", "2", "12", "3"]));
    let method = select(vec!["GET", "POST", "PURGE", "PUT"]);
    let query = prop::option::of(select(vec!["p=1", "p=2&q=1", "q=12&p=1&p=2", "p=&q=2", "r=1"]));
    let scheme = select(vec!["http", "https"]);
    (scheme, host, paths(), query, method, (header(), header())).prop_map(
        |(scheme, host, path, query, method, (a, b))| {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let mut builder = http::Request::builder()
                .method(method)
                .uri(format!("{scheme}://{host}{path}{query}"));
            for (name, value) in [("x-a", a), ("x-b", b)] {
                if let Some(value) = value {
                    builder = builder.header(name, value);
                }
            }
            RequestParts::new(builder)
        },
    )
}

/// Takes routes out until what is left compiles.
fn compile(mut routes: Vec<RouteMatch>) -> (Vec<RouteMatch>, Router) {
    loop {
        match Router::compile(routes.clone()) {
            Ok(router) => return (routes, router),
            Err(errors) => {
                let last = errors.iter().map(|error| error.route).max().unwrap();
                routes.remove(last);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_router_agrees_with_the_naive_one(
        routes in prop::collection::vec(routes(), 0..24),
        requests in prop::collection::vec(requests(), 40),
    ) {
        let (routes, router) = compile(routes);
        for parts in &requests {
            let request = parts.request();
            let (wanted, tie) = find(&routes, &request);
            prop_assert!(!tie, "a tie got through: {routes:?} {request:?}");
            prop_assert_eq!(router.find(&request), wanted, "{:?} {:?}", routes, request);
        }
    }
}
