//! Which route takes a request.
//!
//! Precedence is fixed and never the order in the file. Of all routes that match a request, the
//! winner has
//! 1. the most specific host: exact, then the longest wildcard, then any;
//! 2. the most specific path: exact, then the longest prefix, then the longest pattern of a regex;
//! 3. methods given rather than none;
//! 4. the most conditions: scheme, headers and query parameters.
//!
//! Two routes that are equal in all of this and can match one request are refused when the router
//! is compiled, and so is a route that another one always precedes.
//!
//! A lookup hashes the host, then the path, then walks a trie of path segments; its cost depends on
//! the length of the request's path and on how many routes share one host and path, not on how many
//! routes there are. It allocates nothing unless the answer is a list of methods, or a regex looks
//! at a percent-encoded query value.

mod analysis;
mod compile;
mod conditions;
mod host;
mod paths;
mod settings;
mod table;

use std::ops::ControlFlow;

use http::Method;
use rustc_hash::FxHashMap;
use tidegate_core::{Request, SettingsError};

use self::conditions::{Conditions, Verdict};
pub use self::settings::{Hosts, PathMatch, RouteMatch, Scheme, ValueMatch};
use self::table::PathTable;

/// The compiled routes.
#[derive(Debug)]
pub struct Router {
    /// What each route asks for beyond host and path, in the order they were given.
    conditions: Box<[Conditions]>,
    hosts: FxHashMap<Box<str>, PathTable>,
    /// By what follows `*.`.
    wildcards: FxHashMap<Box<str>, PathTable>,
    any_host: PathTable,
}

/// What the router says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A route takes it.
    Found {
        /// The route's index in the list that was compiled.
        route: usize,
        /// How many bytes of the path the route's own path took, without a slash at the end: all
        /// for an exact path, the prefix for a prefix, up to the end of the match for a regex.
        matched_len: usize,
    },
    /// Routes would take it with one of these methods (RFC 9110 §15.5.6), in alphabetical order.
    MethodNotAllowed(Vec<Method>),
    /// No route takes it.
    NotFound,
}

/// Why a route cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route}: {error}")]
pub struct RouteError {
    /// The route's index.
    pub route: usize,
    /// The index of the route that it collides with, if it does.
    pub other: Option<usize>,
    /// What is wrong; the path is relative to the route.
    pub error: SettingsError,
}

impl Router {
    /// Which route takes the request.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> Lookup {
        let mut method_missed = false;
        let found = self.visit(request, |route, matched_len| {
            match self.conditions.get(route).map(|conditions| conditions.check(request)) {
                Some(Verdict::Holds) => {
                    return ControlFlow::Break(Lookup::Found { route, matched_len });
                }
                Some(Verdict::OtherMethod) => method_missed = true,
                Some(Verdict::Fails) | None => {}
            }
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(()) if method_missed => {
                Lookup::MethodNotAllowed(self.allowed(request))
            }
            ControlFlow::Continue(()) => Lookup::NotFound,
        }
    }

    /// The methods with which some route would take the request.
    fn allowed(&self, request: &Request<'_>) -> Vec<Method> {
        let mut methods = Vec::new();
        let visited: ControlFlow<()> = self.visit(request, |route, _| {
            let conditions = self.conditions.get(route);
            if let Some(conditions) = conditions.filter(|c| c.check(request) != Verdict::Fails) {
                methods.extend(conditions.methods());
            }
            ControlFlow::Continue(())
        });
        debug_assert!(visited.is_continue(), "nothing ends this visit");
        methods.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }

    /// Shows `visitor` the routes that match by host and path, in the order of precedence, with
    /// the matched length of the path.
    fn visit<B>(
        &self,
        request: &Request<'_>,
        mut visitor: impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if let Some(table) = self.hosts.get(request.host) {
            table.visit(request.path, &mut visitor)?;
        }
        if !self.wildcards.is_empty() {
            for suffix in host::suffixes(request.host) {
                if let Some(table) = self.wildcards.get(suffix) {
                    table.visit(request.path, &mut visitor)?;
                }
            }
        }
        self.any_host.visit(request.path, &mut visitor)
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
