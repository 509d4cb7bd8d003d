//! Settings in, a router out.

use std::collections::BTreeMap;

use http::{HeaderName, Method};
use regex::bytes::Regex;
use rustc_hash::FxHashMap;
use tidegate_core::SettingsError;

use super::conditions::{Conditions, Test};
use super::host::HostPattern;
use super::paths::{HostPaths, ParsedPath};
use super::settings::{RouteMatch, Scheme, ValueMatch};
use super::table::PathTable;
use super::{RouteError, Router, analysis};

/// A route with each of its parts parsed.
#[derive(Debug)]
pub(super) struct ParsedRoute {
    pub(super) id: String,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: ParsedPath,
    pub(super) conditions: Conditions,
}

impl Router {
    /// Compiles the routes. What [`super::Lookup::Found`] says is an index into `routes`.
    ///
    /// # Errors
    ///
    /// All routes that cannot be used: parts that are malformed, ids and matches that come twice,
    /// ties that the precedence does not resolve, and routes that another one always precedes.
    pub fn compile(routes: Vec<RouteMatch>) -> Result<Self, Vec<RouteError>> {
        let mut errors = Vec::new();
        let parsed: Vec<_> = routes
            .into_iter()
            .enumerate()
            .filter_map(|(index, route)| {
                ParsedRoute::parse(&route)
                    .map_err(|found| {
                        let located = |error| RouteError { route: index, other: None, error };
                        errors.extend(found.into_iter().map(located));
                    })
                    .ok()
            })
            .collect();
        // Places in `parsed` are the routes' indices only if all of them were parsed.
        if !errors.is_empty() {
            return Err(errors);
        }
        let hosts = by_host(&parsed);
        let errors = analysis::check(&parsed, &hosts);
        if errors.is_empty() { Ok(Self::new(parsed, &hosts)) } else { Err(errors) }
    }

    fn new(routes: Vec<ParsedRoute>, paths: &BTreeMap<HostPattern, HostPaths>) -> Self {
        let mut router = Self {
            conditions: routes.into_iter().map(|route| route.conditions).collect(),
            hosts: FxHashMap::default(),
            wildcards: FxHashMap::default(),
            any_host: PathTable::new(&HostPaths::default()),
        };
        for (host, paths) in paths {
            let table = PathTable::new(paths);
            match host {
                HostPattern::Any => router.any_host = table,
                HostPattern::Exact(host) => {
                    router.hosts.insert(host.as_str().into(), table);
                }
                HostPattern::Wildcard(suffix) => {
                    router.wildcards.insert(suffix.as_str().into(), table);
                }
            }
        }
        router
    }
}

fn by_host(routes: &[ParsedRoute]) -> BTreeMap<HostPattern, HostPaths> {
    let mut hosts: BTreeMap<HostPattern, HostPaths> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        for host in &route.hosts {
            hosts.entry(host.clone()).or_default().insert(&route.path, index);
        }
    }
    hosts.values_mut().for_each(|paths| paths.sort(routes));
    hosts
}

impl ParsedRoute {
    fn parse(route: &RouteMatch) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        if route.id.as_ref().is_some_and(|id| id.trim().is_empty()) {
            errors.push(SettingsError::new(["id"], "the id is empty"));
        }
        let hosts = parse_hosts(route, &mut errors);
        let path = ParsedPath::parse(route.path.as_ref()).map_err(|error| errors.push(error));
        let methods = route.methods.as_ref().map(|names| parse_methods(names, &mut errors));
        let headers = parse_headers(&route.headers, &mut errors);
        let query = parse_tests("query", &route.query, &mut errors);
        match path {
            Ok(path) if errors.is_empty() => Ok(Self {
                id: route.id().into_owned(),
                hosts,
                path,
                conditions: Conditions {
                    methods: methods.map(|methods| methods.into_iter().collect()),
                    secure: route.scheme.map(|scheme| scheme == Scheme::Https),
                    headers,
                    query: query.into_iter().map(|(name, test)| (name.into(), test)).collect(),
                },
            }),
            _ => Err(errors),
        }
    }
}

fn parse_hosts(route: &RouteMatch, errors: &mut Vec<SettingsError>) -> Vec<HostPattern> {
    let Some(names) = &route.host else { return vec![HostPattern::Any] };
    if names.0.is_empty() {
        errors.push(SettingsError::new(["host"], "the list of hosts is empty"));
    }
    let mut hosts = Vec::new();
    for (index, name) in names.0.iter().enumerate() {
        let path = match names.0.len() {
            1 => vec!["host".to_owned()],
            _ => vec!["host".to_owned(), index.to_string()],
        };
        match HostPattern::parse(name) {
            Ok(host) if hosts.contains(&host) => {
                errors.push(SettingsError::new(path, format!("the host {name} is listed twice")));
            }
            Ok(host) => hosts.push(host),
            Err((message, hint)) => errors.push(SettingsError { path, message, hint }),
        }
    }
    hosts
}

fn parse_methods(names: &[String], errors: &mut Vec<SettingsError>) -> Vec<Method> {
    if names.is_empty() {
        let error = SettingsError::new(["methods"], "the list of methods is empty");
        errors.push(error.with_hint("leave `methods` out to take all of them"));
    }
    let mut methods = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut refuse = |message: String, hint: Option<String>| {
            let path = vec!["methods".to_owned(), index.to_string()];
            errors.push(SettingsError { path, message, hint });
        };
        let upper = name.to_ascii_uppercase();
        match Method::from_bytes(name.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => {
                refuse(format!("{name} is refused before any route is looked for"), None);
            }
            Ok(method) if methods.contains(&method) => {
                refuse(format!("the method {name} is listed twice"), None);
            }
            Ok(method) if *name == upper => methods.push(method),
            Ok(_) => {
                let message = format!("methods are case-sensitive, and {name} is not one");
                refuse(message, Some(format!("write {upper}")));
            }
            Err(_) => refuse(format!("`{name}` is not a method"), None),
        }
    }
    methods
}

fn parse_headers(
    headers: &BTreeMap<String, ValueMatch>,
    errors: &mut Vec<SettingsError>,
) -> Box<[(HeaderName, Test)]> {
    let mut parsed: Vec<(HeaderName, Test)> = Vec::new();
    for (name, test) in parse_tests("headers", headers, errors) {
        let mut refuse = |message, hint: &str| {
            errors.push(SettingsError::new(["headers", name], message).with_hint(hint));
        };
        match name.parse::<HeaderName>() {
            Ok(http::header::HOST) => {
                let message = "the Host field is not matched as a header".to_owned();
                refuse(message, "use `host`, which reads every form of it in one way");
            }
            Ok(known) if parsed.iter().any(|(other, _)| *other == known) => {
                refuse(format!("the header {known} is listed twice"), "names ignore case");
            }
            Ok(known) => parsed.push((known, test)),
            Err(_) => refuse(format!("`{name}` is not a header name"), "use letters and hyphens"),
        }
    }
    parsed.into_boxed_slice()
}

fn parse_tests<'a>(
    key: &str,
    values: &'a BTreeMap<String, ValueMatch>,
    errors: &mut Vec<SettingsError>,
) -> Vec<(&'a str, Test)> {
    let mut tests = Vec::new();
    for (name, value) in values {
        let test = match value {
            ValueMatch::Exact(value) => Test::Exact(value.as_bytes().into()),
            ValueMatch::Present(present) => Test::Present(*present),
            ValueMatch::Regex(pattern) => match Regex::new(pattern) {
                Ok(regex) => Test::Regex(regex),
                Err(error) => {
                    let message = format!("`{pattern}` is not a usable regex: {error}");
                    errors.push(SettingsError::new([key, name, "regex"], message));
                    continue;
                }
            },
        };
        tests.push((name.as_str(), test));
    }
    tests
}
