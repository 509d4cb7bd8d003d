//! What is wrong with routes together: ids that come twice, ties, and routes that cannot be
//! reached. All that is reported is certain, but for regexes: where it cannot be told whether two
//! of equal rank can match one path, they count as a tie.

use std::collections::{BTreeMap, HashMap};

use tidegate_core::SettingsError;

use super::RouteError;
use super::compile::ParsedRoute;
use super::host::HostPattern;
use super::paths::{HostPaths, Pattern};

/// More errors than this help nobody.
const MAX_ERRORS: usize = 100;

pub(super) fn check(
    routes: &[ParsedRoute],
    hosts: &BTreeMap<HostPattern, HostPaths>,
) -> Vec<RouteError> {
    let mut findings = Findings { routes, errors: Vec::new() };
    let mut ids = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        if let Some(first) = ids.insert(route.id.as_str(), index) {
            findings.same_id(first, index);
        }
    }
    for (host, paths) in hosts {
        let lists = paths.exact.values().chain(paths.prefix.values());
        lists.chain(paths.regex.iter().map(|p| &p.routes)).for_each(|r| findings.ties(host, r));
        findings.regex_ties(host, &paths.regex);
        findings.unreachable(host, paths);
    }
    findings.errors.sort_by_key(|error| (error.route, error.other));
    findings.errors.dedup_by_key(|error| (error.route, error.other));
    findings.errors.truncate(MAX_ERRORS);
    findings.errors
}

/// Whether two routes have the same path, or patterns that differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paths {
    Differ,
    Same,
}

struct Findings<'a> {
    routes: &'a [ParsedRoute],
    errors: Vec<RouteError>,
}

impl Findings<'_> {
    fn same_id(&mut self, first: usize, second: usize) {
        let Some(route) = self.routes.get(second) else { return };
        let message = format!("the id `{}` is taken by another route", route.id);
        self.push(second, first, SettingsError::new(["id"], message));
    }

    /// Ties among the routes of one host and path, which are in the order of precedence.
    fn ties(&mut self, host: &HostPattern, routes: &[usize]) {
        for (place, one) in routes.iter().enumerate() {
            for other in routes.iter().skip(place + 1) {
                if self.rank(*one) != self.rank(*other) {
                    break;
                }
                self.tie(host, *one, *other, Paths::Same);
            }
        }
    }

    /// Ties among different patterns of equal length.
    fn regex_ties(&mut self, host: &HostPattern, patterns: &[Pattern]) {
        for (place, one) in patterns.iter().enumerate() {
            let len = one.regex.as_str().len();
            let rivals = patterns.iter().skip(place + 1);
            for other in rivals.take_while(|other| other.regex.as_str().len() == len) {
                if one.excludes(other) {
                    continue;
                }
                for (one, other) in
                    one.routes.iter().flat_map(|one| other.routes.iter().map(move |o| (*one, *o)))
                {
                    self.tie(host, one, other, Paths::Differ);
                }
            }
        }
    }

    /// Records a tie if both are of equal rank and some request can meet the conditions of both.
    fn tie(&mut self, host: &HostPattern, one: usize, other: usize, paths: Paths) {
        let (first, second) = (one.min(other), one.max(other));
        let (Some(a), Some(b)) = (self.routes.get(first), self.routes.get(second)) else { return };
        if a.conditions.rank() != b.conditions.rank() || !a.conditions.overlap(&b.conditions) {
            return;
        }
        let same = paths == Paths::Same
            && a.conditions.cover(&b.conditions)
            && b.conditions.cover(&a.conditions);
        let place = on(host);
        let error = if same {
            let message = format!("routes `{}` and `{}` match the same{place}", a.id, b.id);
            SettingsError::new([] as [&str; 0], message).with_hint("remove one of them")
        } else {
            let message = format!(
                "routes `{}` and `{}` tie: a request can match both{place}, and neither precedes",
                a.id, b.id
            );
            SettingsError::new([] as [&str; 0], message)
                .with_hint("give one of them a longer path or one more condition")
        };
        self.push(second, first, error);
    }

    /// Regexes below a prefix whose route takes all that they could match: prefixes precede.
    fn unreachable(&mut self, host: &HostPattern, paths: &HostPaths) {
        for pattern in &paths.regex {
            let mut below = Some(pattern.below.as_str());
            while let Some(prefix) = below {
                for before in paths.prefix.get(prefix).into_iter().flatten() {
                    for after in &pattern.routes {
                        self.shadowed(host, *before, *after);
                    }
                }
                below = prefix.rsplit_once('/').map(|(parent, _)| parent);
            }
        }
    }

    fn shadowed(&mut self, host: &HostPattern, before: usize, after: usize) {
        let (Some(a), Some(b)) = (self.routes.get(before), self.routes.get(after)) else { return };
        if !a.conditions.cover(&b.conditions) {
            return;
        }
        let message = format!(
            "route `{}` cannot be reached{}: the prefix of `{}` takes all its requests, and \
             prefixes precede regexes",
            b.id,
            on(host),
            a.id
        );
        let error = SettingsError::new(["path"], message)
            .with_hint(format!("write the path of `{}` as a shorter regex too", a.id));
        self.push(after, before, error);
    }

    fn rank(&self, route: usize) -> Option<(bool, usize)> {
        self.routes.get(route).map(|route| route.conditions.rank())
    }

    fn push(&mut self, route: usize, other: usize, error: SettingsError) {
        self.errors.push(RouteError { route, other: Some(other), error });
    }
}

fn on(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => String::new(),
        HostPattern::Exact(host) => format!(" on host {host}"),
        HostPattern::Wildcard(suffix) => format!(" on host *.{suffix}"),
    }
}
