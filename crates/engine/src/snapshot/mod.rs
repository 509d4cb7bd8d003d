//! [`Snapshot`]: all that the request path reads, immutable, made from one configuration.
//!
//! Start, `check` and reload all go through [`Snapshot::compile`]. It opens no connection and
//! changes nothing of the previous snapshot: buckets and endpoint state are shared by stable id,
//! so a configuration that is refused leaves no trace.

mod audit;
mod bans;
mod cookies;
mod files;
mod listeners;
mod policies;
mod response;
mod routes;
mod rules;
mod tracing;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use rustc_hash::FxHashMap;
use tidegate_auth::Auth;
use tidegate_core::SettingsError;
use tidegate_core::net::AddressSet;
use tidegate_guard::{RateLimit, ResponsePolicy};
use tidegate_siem::SinkSet;
use tidegate_siem::settings::EventsSettings;
use tidegate_traffic::zones::Locality;
use tidegate_traffic::{Pool, Router};

use self::policies::Policies;
use self::response::Ours;
pub use self::response::shipped_rules;
pub use self::routes::{Action, Route, Timeouts};
use self::rules::RuleSets;
pub use self::tracing::{Begun, Tracing};
use crate::config::{Config, ConfigErrors};
use crate::enforcement::Enforcement;
use crate::settings::Settings;

/// One configuration, compiled.
pub struct Snapshot {
    settings: Settings,
    effective: String,
    enforcement: Arc<Enforcement>,
    response: Option<Arc<ResponsePolicy>>,
    router: Router,
    routes: Vec<Arc<Route>>,
    pools: BTreeMap<String, Arc<Pool>>,
    rate_limits: FxHashMap<String, Arc<RateLimit>>,
    trusted_proxies: AddressSet,
    auth: Arc<Auth>,
    identity_fields: Vec<HeaderName>,
    rules: RuleSets,
    sinks: SinkSet,
    tracing: Option<Tracing>,
}

impl Snapshot {
    /// Compiles a configuration. What outlives a reload is taken over from `previous`.
    ///
    /// # Errors
    ///
    /// Everything that makes no sense, such as unknown names, ambiguous or unreachable routes,
    /// addresses in conflict and certificate files that cannot be read.
    pub fn compile(config: &Config, previous: Option<&Self>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        match Self::parts(config, previous, &mut errors) {
            Some(snapshot) if errors.is_empty() => Ok(snapshot),
            _ => Err(config.errors(errors)),
        }
    }

    /// What makes no sense in a configuration, of which parts may be missing.
    pub(crate) fn errors_in(config: &Config) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        let _incomplete = Self::parts(config, None, &mut errors);
        errors
    }

    /// Compiles as much as is possible. Without errors that is everything.
    fn parts(
        config: &Config,
        previous: Option<&Self>,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Self> {
        let settings = &config.settings;
        listeners::check(config, errors);
        if let Some(log) = &settings.audit {
            audit::check_log(log, errors);
        }
        cookies::check(config, errors);
        let server = &settings.server;
        let here = Locality { region: server.region.clone(), zone: server.zone.clone() };
        let pools = upstreams::compile(&settings.upstreams, &here, previous, errors);
        let auth = auth(config, previous, errors);
        let mut policies = Policies::new(config, previous, Arc::clone(&auth));
        policies.check_named(errors);
        let routes = routes::compile(config, &pools, &mut policies, previous, errors);
        let sinks = sinks(config, &routes, errors);
        let fields = routes.iter().flat_map(|route| route.access.identity_fields());
        let fields: BTreeSet<&str> = fields.map(HeaderName::as_str).collect();
        let listed = bans::listed(config, errors);
        let means = bans::means(settings, errors);
        let before = previous.map(|previous| &*previous.enforcement);
        let enforcement = Enforcement::new(means, listed, Arc::clone(&auth), before);
        let ours = Ours { pools: pools.clone(), bans: Arc::clone(enforcement.bans()) };
        let response = response::compile(settings, &routes, Arc::new(ours), previous, errors);
        Some(Self {
            auth,
            identity_fields: fields.into_iter().filter_map(|name| name.parse().ok()).collect(),
            effective: config.effective(),
            enforcement: Arc::new(enforcement),
            router: routes::router(config, errors)?,
            response,
            sinks,
            routes,
            pools,
            trusted_proxies: AddressSet::new(&settings.trusted_proxies),
            rules: policies.take_rules(),
            rate_limits: policies.into_rate_limits(),
            tracing: tracing::compile(settings, errors),
            settings: settings.clone(),
        })
    }

    /// The settings that it was compiled from: listeners, limits, timeouts and the rest.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The merged configuration as YAML, secrets hidden.
    #[must_use]
    pub fn effective(&self) -> &str {
        &self.effective
    }

    /// Finds the route of a request.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The routes, by the indices that the router gives.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The upstreams' pools, by name.
    #[must_use]
    pub fn pools(&self) -> &BTreeMap<String, Arc<Pool>> {
        &self.pools
    }

    /// Every rate limit once, in no order.
    pub fn rate_limits(&self) -> impl Iterator<Item = &Arc<RateLimit>> {
        self.rate_limits.values()
    }

    /// The peers whose `X-Forwarded-For` or `Forwarded` is believed.
    #[must_use]
    pub fn trusted_proxies(&self) -> &AddressSet {
        &self.trusted_proxies
    }

    /// How requests are traced, if they are.
    #[must_use]
    pub fn tracing(&self) -> Option<&Tracing> {
        self.tracing.as_ref()
    }

    /// Who vouches for clients.
    #[must_use]
    pub fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// The fields that tell some upstream who asks; no client may send them.
    #[must_use]
    pub fn identity_fields(&self) -> &[HeaderName] {
        &self.identity_fields
    }

    /// Where events go beside the access log.
    #[must_use]
    pub fn sinks(&self) -> &SinkSet {
        &self.sinks
    }

    /// What rule files say that has no effect here, or means less than its author may think: one
    /// line each, with file and line.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.rules.notes()
    }
}

/// Without the settings, which may hold secrets.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("routes", &self.routes.len())
            .field("pools", &self.pools.len())
            .finish_non_exhaustive()
    }
}

fn auth(
    config: &Config,
    previous: Option<&Snapshot>,
    errors: &mut Vec<SettingsError>,
) -> Arc<Auth> {
    let (mut own, settings) = (Vec::new(), &config.settings);
    let auth = Auth::compile(&settings.auth, previous.map(|before| &*before.auth), &mut own);
    let endpoints = settings.auth.introspection.keys().map(|name| ("introspection", name));
    let exchangers = settings.auth.exchange.keys().map(|name| ("exchange", name));
    for (section, name) in endpoints.chain(exchangers) {
        let path = ["auth", section, name, "client_secret"];
        if !config.is_secret(&path) {
            let error = SettingsError::new(path, "a secret stands in the configuration");
            errors.push(error.with_hint("write `${env:NAME}` or `${file:path}`"));
        }
    }
    errors.extend(own.into_iter().map(|error| error.under(["auth"])));
    Arc::new(auth)
}

fn sinks(config: &Config, routes: &[Arc<Route>], errors: &mut Vec<SettingsError>) -> SinkSet {
    let mut own = Vec::new();
    for (name, sink) in &config.settings.sinks {
        let EventsSettings::Chosen(chosen) = &sink.events else { continue };
        let wanted = chosen.routes.as_deref().unwrap_or_default();
        let known: Vec<&str> = routes.iter().map(|route| &*route.id).collect();
        unknown(("route", wanted), &known, &[name, "events", "routes"], &mut own);
    }
    let is_secret = |path: &[&str]| config.is_secret(&[&["sinks"], path].concat());
    let sinks = SinkSet::compile(&config.settings.sinks, is_secret, &mut own);
    errors.extend(own.into_iter().map(|error| error.under(["sinks"])));
    sinks
}

/// Complains of names that nothing in the configuration has.
fn unknown(
    (what, names): (&str, &[String]),
    known: &[&str],
    path: &[&str],
    errors: &mut Vec<SettingsError>,
) {
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(&&***name)) {
        let path = path.iter().copied().map(str::to_owned).chain([index.to_string()]);
        let error = SettingsError::new(path, format!("no {what} is called `{name}`"));
        errors.push(error.meaning(name, known.iter().copied()));
    }
}
