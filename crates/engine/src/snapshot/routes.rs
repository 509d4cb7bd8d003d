//! Routes: what each does with a request, and the router that finds them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_audit::KeyEvent;
use tidegate_auth::Access;
use tidegate_core::units::{ByteSize, Span};
use tidegate_core::{Clock, SettingsError, suggest};
use tidegate_guard::{AddressPolicy, RateLimit};
use tidegate_traffic::filters::{HeaderFilter, Redirect, Rewrite};
use tidegate_traffic::hedge::Hedge;
use tidegate_traffic::retry::Retries;
use tidegate_traffic::settings::TimeoutSettings;
use tidegate_traffic::split::Destination;
use tidegate_traffic::{Pool, RouteError, Router, Split};
use tidegate_waf::Policy as WafPolicy;

use super::Snapshot;
use super::policies::Policies;
use crate::config::Config;
use crate::settings::{RouteSettings, Target};

const DEFAULT_MAX_BODY: ByteSize = ByteSize::mib(10);

/// One route, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its stable name in logs and metrics.
    pub id: Box<str>,
    /// What happens to a request that passes.
    pub action: Action,
    /// Who may pass, by what they can show.
    pub access: Access,
    /// From which addresses one may ask.
    pub addresses: Arc<AddressPolicy>,
    /// How often they may ask; each must have a token.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// What the web application firewall looks at here.
    pub waf: WafPolicy,
    /// What is evaluated beside it, and only reported.
    pub waf_shadow: WafPolicy,
    /// What is recorded of each request, if it is a key event.
    pub audit: Option<Arc<KeyEvent>>,
    /// Changes to the request's fields.
    pub request_headers: HeaderFilter,
    /// Changes to the response's fields.
    pub response_headers: HeaderFilter,
    /// How long the upstream may take.
    pub timeouts: Timeouts,
    /// When a request is tried again.
    pub retries: Retries,
    /// Whether slow requests are sent to a second endpoint.
    pub hedge: Option<Hedge>,
    /// The largest request body, in bytes.
    pub max_body: u64,
}

/// What happens to a request that passes.
#[derive(Debug)]
pub enum Action {
    /// It goes to an endpoint of a pool.
    Proxy {
        /// The pool, or several of which each client has its own.
        to: Destination,
        /// Changes to path and host.
        rewrite: Option<Rewrite>,
    },
    /// It is answered with a redirect.
    Redirect(Redirect),
}

/// How long the upstream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// From the request sent to the response header.
    pub first_byte: Duration,
    /// Between two reads of the response body.
    pub between_bytes: Duration,
    /// For the whole exchange; `None` means no limit.
    pub total: Option<Duration>,
}

impl Timeouts {
    fn new(settings: TimeoutSettings) -> Self {
        let or = |span: Option<Span>, seconds| span.unwrap_or(Span::seconds(seconds)).0;
        Self {
            connect: or(settings.connect, 2),
            first_byte: or(settings.first_byte, 30),
            between_bytes: or(settings.between_bytes, 30),
            total: settings.total.map(|span| span.0).filter(|span| !span.is_zero()),
        }
    }
}

/// Compiles the routes; one with errors is left out.
pub(super) fn compile(
    config: &Config,
    pools: &BTreeMap<String, Arc<Pool>>,
    policies: &mut Policies<'_>,
    previous: Option<&Snapshot>,
    errors: &mut Vec<SettingsError>,
) -> Vec<Arc<Route>> {
    let settings = &config.settings;
    if !config.has_elements("routes") {
        errors.push(
            SettingsError::new(["routes"], "there is no route")
                .with_hint("add `routes: [{ path: /, to: <upstream> }]`"),
        );
    }
    let mut routes = Vec::with_capacity(settings.routes.len());
    for (index, route) in settings.routes.iter().enumerate() {
        let index = index.to_string();
        let id = route.matches.id();
        let policy = policies.compile(&route.policy, &["routes", &index], &id, errors);
        let mut own = Vec::new();
        check_timeouts(route, &mut own);
        let retries = retries(route, &mut own);
        let hedge = hedge(route, previous, &mut own);
        let action = action(route, config, pools, &mut own);
        errors.extend(own.into_iter().map(|error| error.under(["routes", &index])));
        let Some(action) = action else { continue };
        routes.push(Arc::new(Route {
            id: id.into(),
            action,
            access: policy.access,
            addresses: policy.addresses,
            rate_limits: policy.rate_limits,
            waf: policy.waf,
            waf_shadow: policy.waf_shadow,
            audit: policy.audit,
            request_headers: policy.request_headers,
            response_headers: policy.response_headers,
            timeouts: Timeouts::new(route.policy.timeouts.unwrap_or_default()),
            retries,
            hedge,
            max_body: route.policy.max_body.unwrap_or(DEFAULT_MAX_BODY).0,
        }));
    }
    routes
}

/// Compiles the router over all routes, unless it is unknown what some of them match.
pub(super) fn router(config: &Config, errors: &mut Vec<SettingsError>) -> Option<Router> {
    if config.has_pruned(&["routes"]) {
        return None;
    }
    let matches = config.settings.routes.iter().map(|route| route.matches.clone()).collect();
    let found = match Router::compile(matches) {
        Ok(router) => return Some(router),
        Err(found) => found,
    };
    for RouteError { route, other, mut error } in found {
        if let Some(other) = other {
            let place = config.place(&["routes", &other.to_string()]);
            let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            error.hint = Some(format!("the other route is at {place}{hint}"));
        }
        errors.push(error.under(["routes", &route.to_string()]));
    }
    None
}

fn check_timeouts(route: &RouteSettings, errors: &mut Vec<SettingsError>) {
    let timeouts = route.policy.timeouts.unwrap_or_default();
    let waits = [
        ("connect", timeouts.connect),
        ("first_byte", timeouts.first_byte),
        ("between_bytes", timeouts.between_bytes),
    ];
    for (name, span) in waits {
        if span.is_some_and(|span| span.0.is_zero()) {
            errors.push(
                SettingsError::new(["timeouts", name], "no upstream answers in no time")
                    .with_hint("remove the key to get the default"),
            );
        }
    }
}

fn retries(route: &RouteSettings, errors: &mut Vec<SettingsError>) -> Retries {
    let Some(settings) = &route.policy.retries else { return Retries::default() };
    Retries::compile(settings).unwrap_or_else(|found| {
        errors.extend(found.into_iter().map(|error| error.under(["retries"])));
        Retries::none()
    })
}

fn hedge(
    route: &RouteSettings,
    previous: Option<&Snapshot>,
    errors: &mut Vec<SettingsError>,
) -> Option<Hedge> {
    let settings = route.policy.hedge.as_ref()?;
    let id = route.matches.id();
    let mut routes = previous.iter().flat_map(|snapshot| snapshot.routes());
    let before = routes.find(|before| *before.id == *id).and_then(|route| route.hedge.as_ref());
    let compiled = Hedge::compile(settings, before, Clock::System.now());
    compiled
        .map_err(|found| {
            errors.extend(found.into_iter().map(|error| error.under(["hedge"])));
        })
        .ok()
}

fn action(
    route: &RouteSettings,
    config: &Config,
    pools: &BTreeMap<String, Arc<Pool>>,
    errors: &mut Vec<SettingsError>,
) -> Option<Action> {
    match (&route.to, &route.redirect) {
        (Some(target), None) => {
            let rewrite = route.rewrite.as_ref().map(Rewrite::compile).transpose();
            let rewrite = rewrite.map_err(|found| {
                errors.extend(found.into_iter().map(|error| error.under(["rewrite"])));
            });
            let to = destination(target, config, pools, errors);
            Some(Action::Proxy { to: to?, rewrite: rewrite.ok()? })
        }
        (None, Some(redirect)) => {
            if route.rewrite.is_some() {
                let message = "a redirect sends nothing upstream that could be rewritten";
                errors.push(SettingsError::new(["rewrite"], message));
            }
            let compiled = Redirect::compile(redirect).map_err(|found| {
                errors.extend(found.into_iter().map(|error| error.under(["redirect"])));
            });
            compiled.ok().map(Action::Redirect)
        }
        (Some(_), Some(_)) => {
            let message = "a route has either `to` or `redirect`, not both";
            errors.push(SettingsError::new(["redirect"], message));
            None
        }
        (None, None) => {
            errors.push(
                SettingsError::new([""; 0], "the route leads nowhere")
                    .with_hint("add `to: <upstream>` or `redirect: { … }`"),
            );
            None
        }
    }
}

fn destination(
    target: &Target,
    config: &Config,
    pools: &BTreeMap<String, Arc<Pool>>,
    errors: &mut Vec<SettingsError>,
) -> Option<Destination> {
    match target {
        Target::Upstream(name) => {
            check_known(name, &["to"], config, errors);
            pools.get(name).map(|pool| Destination::pool(Arc::clone(pool)))
        }
        Target::Split(settings) => {
            let split = Split::compile(settings).map_err(|found| {
                errors.extend(found.into_iter().map(|error| error.under(["to"])));
            });
            for name in settings.split.keys() {
                check_known(name, &["to", "split", name], config, errors);
            }
            let sides: Option<Vec<_>> = settings.split.keys().map(|name| pools.get(name)).collect();
            Some(Destination::split(split.ok()?, sides?.into_iter().cloned()))
        }
    }
}

fn check_known(name: &str, path: &[&str], config: &Config, errors: &mut Vec<SettingsError>) {
    let known = config.keys("upstreams");
    if !known.contains(&name) {
        let message = format!("no upstream is called `{name}`");
        let hint = suggest::hint(name, known).or_else(|| Some("add it to `upstreams`".to_owned()));
        errors.push(SettingsError { hint, ..SettingsError::new(path.iter().copied(), message) });
    }
}
