//! Policy fields, compiled. What several routes inherit is compiled once and shared.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tidegate_audit::KeyEvent;
use tidegate_auth::{Access, AccessSettings, Auth};
use tidegate_core::SettingsError;
use tidegate_guard::{AddressPolicy, RateLimit, RateLimitSettings};
use tidegate_traffic::filters::{HeaderFilter, HeaderFilterSettings};
use tidegate_waf::{Policy as WafPolicy, WafSettings};

use super::Snapshot;
use super::rules::RuleSets;
use crate::config::Config;
use crate::settings::PolicySettings;

/// How many limits a request may have to pass; each has a bit in [`crate::Admitted`].
const MAX_RATE_LIMITS: usize = 16;

/// The parts of a policy that need compiling.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) access: Access,
    pub(super) addresses: Arc<AddressPolicy>,
    pub(super) rate_limits: Vec<Arc<RateLimit>>,
    pub(super) waf: WafPolicy,
    pub(super) waf_shadow: WafPolicy,
    pub(super) audit: Option<Arc<KeyEvent>>,
    pub(super) request_headers: HeaderFilter,
    pub(super) response_headers: HeaderFilter,
}

/// Compiles policies, and remembers what was compiled already.
pub(super) struct Policies<'c> {
    config: &'c Config,
    previous: Option<&'c Snapshot>,
    rules: RuleSets,
    /// Whether the policies have all that they inherit.
    merged: bool,
    auth: Arc<Auth>,
    addresses: FxHashMap<String, Arc<AddressPolicy>>,
    rate_limits: FxHashMap<String, Arc<RateLimit>>,
    waf: FxHashMap<String, WafPolicy>,
}

impl<'c> Policies<'c> {
    pub(super) fn new(config: &'c Config, previous: Option<&'c Snapshot>, auth: Arc<Auth>) -> Self {
        Self {
            config,
            previous,
            auth,
            rules: RuleSets::default(),
            merged: true,
            addresses: FxHashMap::default(),
            rate_limits: FxHashMap::default(),
            waf: FxHashMap::default(),
        }
    }

    /// Notes what is wrong with `defaults` and `policies`, whether a route uses them or not.
    pub(super) fn check_named(&mut self, errors: &mut Vec<SettingsError>) {
        let settings = &self.config.settings;
        let mut unused = Self::new(self.config, None, Arc::clone(&self.auth));
        unused.merged = !self.names_rules();
        let _checked = unused.compile(&settings.defaults, &["defaults"], "", errors);
        for (name, policy) in &settings.policies {
            let _checked = unused.compile(policy, &["policies", name], "", errors);
        }
    }

    /// Whether any firewall has rules beside the built-in ones; then it is not known which rules a
    /// policy by itself is about.
    fn names_rules(&self) -> bool {
        let settings = &self.config.settings;
        let own = settings.routes.iter().map(|route| &route.policy);
        let mut all = own.chain(settings.policies.values()).chain([&settings.defaults]);
        all.any(|policy| policy.waf.as_ref().is_some_and(WafSettings::names_rules))
    }

    /// Compiles the policy at `path`, which belongs to the route with this id.
    pub(super) fn compile(
        &mut self,
        settings: &PolicySettings,
        path: &[&str],
        route: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Policy {
        let mut own = Vec::new();
        let policy = Policy {
            access: self.access(settings.auth.as_ref(), route, &mut own),
            addresses: self.addresses(settings, path, &mut own),
            rate_limits: self.rate_limits(settings, path, route, &mut own),
            waf: self.waf(settings.waf.as_ref(), "", &mut own),
            waf_shadow: self.waf_shadow(settings.waf.as_ref(), &mut own),
            audit: self.key_event(settings, &mut own),
            request_headers: headers(&settings.request_headers, "request_headers", &mut own),
            response_headers: headers(&settings.response_headers, "response_headers", &mut own),
        };
        errors.extend(own.into_iter().map(|error| error.under(path.iter().copied())));
        policy
    }

    /// The rule sets that policies use.
    pub(super) fn take_rules(&mut self) -> RuleSets {
        self.rules.retain_used();
        std::mem::take(&mut self.rules)
    }

    /// All limits by their stable ids.
    pub(super) fn into_rate_limits(self) -> FxHashMap<String, Arc<RateLimit>> {
        self.rate_limits
    }

    /// Who may pass. A route has to say so where a provider is named; a policy of its own may be
    /// a part of what a route puts together.
    fn access(
        &self,
        settings: Option<&AccessSettings>,
        route: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Access {
        let of_a_route = !route.is_empty();
        let Some(settings) = settings else {
            if of_a_route && self.config.settings.auth.names_a_provider() {
                errors.push(
                    SettingsError::new([""; 0], "the route does not say who may pass").with_hint(
                        "add `auth: { jwt: <issuer> }`, or `auth: none` if everybody may",
                    ),
                );
            }
            return Access::default();
        };
        if !of_a_route && !settings.names_a_way() {
            return Access::default();
        }
        Access::compile(settings, &self.auth).unwrap_or_else(|found| {
            errors.extend(found.into_iter().map(|error| error.under(["auth"])));
            Access::default()
        })
    }

    fn addresses(
        &mut self,
        settings: &PolicySettings,
        path: &[&str],
        errors: &mut Vec<SettingsError>,
    ) -> Arc<AddressPolicy> {
        if settings.allow.is_none() && settings.deny.is_none() {
            return Arc::default();
        }
        let origin = |field| self.origin(path, field);
        let key = format!("{} {}", origin("allow"), origin("deny"));
        if let Some(known) = self.addresses.get(&key) {
            return Arc::clone(known);
        }
        let deny = settings.deny.as_deref().unwrap_or_default();
        match AddressPolicy::compile(settings.allow.as_deref(), deny) {
            Ok(policy) => {
                let policy = Arc::new(policy);
                self.addresses.insert(key, Arc::clone(&policy));
                policy
            }
            Err(found) => {
                errors.extend(found);
                Arc::default()
            }
        }
    }

    fn rate_limits(
        &mut self,
        settings: &PolicySettings,
        path: &[&str],
        route: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Vec<Arc<RateLimit>> {
        let Some(limits) = &settings.rate_limit else { return Vec::new() };
        let origin = match self.origin(path, "rate_limit") {
            own if own.starts_with("routes[") => format!("route {route}"),
            inherited => inherited,
        };
        if limits.0.len() > MAX_RATE_LIMITS {
            let message = format!("more than {MAX_RATE_LIMITS} rate limits");
            errors.push(SettingsError::new(["rate_limit"], message));
            return Vec::new();
        }
        let mut compiled = Vec::with_capacity(limits.0.len());
        for (index, limit) in limits.0.iter().enumerate() {
            let number = index.to_string();
            if let Some(first) = first_of_the_name(&limits.0, index) {
                let message = format!("the name is taken by rate_limit[{first}]");
                errors.push(SettingsError::new(["rate_limit", &number, "name"], message));
                continue;
            }
            let id = match &limit.name {
                Some(name) => format!("{origin} {name}"),
                None => format!("{origin} #{number}"),
            };
            if let Some(known) = self.rate_limits.get(&id) {
                compiled.push(Arc::clone(known));
                continue;
            }
            let carried = self.previous.and_then(|previous| previous.rate_limits.get(&id));
            match RateLimit::compile(&id, limit, carried.map(Arc::as_ref)) {
                Ok(limit) => {
                    let limit = Arc::new(limit);
                    self.rate_limits.insert(id, Arc::clone(&limit));
                    compiled.push(limit);
                }
                Err(found) => errors
                    .extend(found.into_iter().map(|error| error.under(["rate_limit", &number]))),
            }
        }
        compiled
    }

    fn waf(
        &mut self,
        settings: Option<&WafSettings>,
        below: &str,
        errors: &mut Vec<SettingsError>,
    ) -> WafPolicy {
        let Some(settings) = settings else { return WafPolicy::off() };
        let key = format!("{settings:?}");
        if let Some(known) = self.waf.get(&key) {
            return known.clone();
        }
        let previous = self.previous.map(|previous| &previous.rules);
        let compiled = if self.merged {
            let rules = self.rules.of(settings, previous);
            rules.and_then(|rules| WafPolicy::compile(settings, rules))
        } else {
            WafPolicy::check(settings).map(|()| WafPolicy::off())
        };
        match compiled {
            Ok(policy) => {
                self.waf.insert(key, policy.clone());
                policy
            }
            Err(found) => {
                let path = ["waf", below].into_iter().filter(|step| !step.is_empty());
                let found = found.into_iter().map(|error| error.under(path.clone()));
                errors.extend(found);
                WafPolicy::off()
            }
        }
    }

    /// The policy beside the one in force. Mistakes that the two share are told once.
    fn waf_shadow(
        &mut self,
        settings: Option<&WafSettings>,
        errors: &mut Vec<SettingsError>,
    ) -> WafPolicy {
        let Some(settings) = settings else { return WafPolicy::off() };
        let Some(mut shadow) = settings.shadow() else { return WafPolicy::off() };
        let own_exclusions = settings.shadow.as_ref().is_some_and(|it| it.exclude.is_some());
        if self.merged && !own_exclusions && shadow.sources() != settings.sources() {
            let previous = self.previous.map(|previous| &previous.rules);
            let rules = self.rules.of(&shadow, previous);
            rules.iter().for_each(|rules| shadow.keep_known_exclusions(rules));
        }
        let mut found = Vec::new();
        let policy = self.waf(Some(&shadow), "shadow", &mut found);
        let own = |error: &SettingsError| {
            let mut live = error.path.clone();
            if live.len() > 1 {
                live.remove(1);
            }
            !errors.iter().any(|known| known.path == live && known.message == error.message)
        };
        let own: Vec<SettingsError> = found.into_iter().filter(own).collect();
        errors.extend(own);
        policy
    }

    fn key_event(
        &self,
        settings: &PolicySettings,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Arc<KeyEvent>> {
        let log = self.config.settings.audit.as_ref();
        let compiled = KeyEvent::compile(settings.audit.as_ref()?, log).map(Arc::new);
        compiled
            .map_err(|found| {
                errors.extend(found.into_iter().map(|error| error.under(["audit"])));
            })
            .ok()
    }

    fn origin(&self, path: &[&str], field: &str) -> String {
        let path: Vec<String> =
            path.iter().copied().chain([field]).map(ToOwned::to_owned).collect();
        self.config.origin(&path)
    }
}

/// The earlier limit that has the same name, since state is kept by name.
fn first_of_the_name(limits: &[RateLimitSettings], index: usize) -> Option<usize> {
    let name = limits.get(index)?.name.as_ref()?;
    limits.iter().take(index).position(|earlier| earlier.name.as_ref() == Some(name))
}

fn headers(
    settings: &Option<HeaderFilterSettings>,
    field: &str,
    errors: &mut Vec<SettingsError>,
) -> HeaderFilter {
    let settings = settings.clone().unwrap_or_default();
    HeaderFilter::compile(&settings).unwrap_or_else(|found| {
        errors.extend(found.into_iter().map(|error| error.under([field])));
        HeaderFilter::default()
    })
}
