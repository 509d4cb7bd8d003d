//! The response policy: the shipped rules, and what it must know of the rest.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tidegate_core::SettingsError;
use tidegate_core::decision::Target;
use tidegate_core::units::ByteSize;
use tidegate_guard::Bans;
use tidegate_guard::response::settings::GeoSettings;
use tidegate_guard::response::{
    Geo, Place, Remaining, ResponsePolicy, ResponseSettings, RuleSettings, Surroundings, Upstreams,
};
use tidegate_traffic::Pool;
use tidegate_traffic::endpoint::Endpoint;

use super::{Route, Snapshot};
use crate::settings::Settings;

/// Where the shipped rules stand. To add a file, write it in `config/response` and add one row.
const SHIPPED: &[(&str, &str)] = &[
    ("attacks", include_str!("../../../../config/response/attacks.yaml")),
    ("credentials", include_str!("../../../../config/response/credentials.yaml")),
    ("probing", include_str!("../../../../config/response/probing.yaml")),
    ("upstreams", include_str!("../../../../config/response/upstreams.yaml")),
];

/// The rules that come with Tidegate.
///
/// # Errors
///
/// A shipped file is no list of rules; tests keep that from happening.
pub fn shipped_rules() -> Result<BTreeMap<String, RuleSettings>, SettingsError> {
    let mut rules = BTreeMap::new();
    for (name, text) in SHIPPED {
        let error = |what: String| {
            let file = format!("config/response/{name}.yaml");
            SettingsError::new(["response"], format!("the shipped {file} cannot be read: {what}"))
        };
        let json = crate::config::yaml_to_json(text).map_err(|found| error(found.to_string()))?;
        let read: BTreeMap<String, RuleSettings> =
            serde_json::from_value(json).map_err(|found| error(found.to_string()))?;
        rules.extend(read);
    }
    Ok(rules)
}

/// Compiles the policy, if there is one.
pub(super) fn compile(
    settings: &Settings,
    routes: &[Arc<Route>],
    upstreams: Arc<dyn Upstreams>,
    previous: Option<&Snapshot>,
    errors: &mut Vec<SettingsError>,
) -> Option<Arc<ResponsePolicy>> {
    let response = settings.response.as_ref()?;
    let builtin = shipped_rules().map_err(|error| errors.push(error)).ok()?;
    let geo = geo(&response.geo).map_err(|error| errors.push(error)).ok()?;
    let known: Vec<&str> = settings.upstreams.keys().map(String::as_str).collect();
    for (name, rule) in &response.rules {
        for (field, when) in [("when", &rule.when), ("unless", &rule.unless)] {
            let wanted = when.as_ref().map_or(&[][..], |when| &when.upstreams);
            let path = ["response", "rules", name, field, "upstreams"];
            super::unknown(("upstream", wanted), &known, &path, errors);
        }
    }
    let routes: Vec<&str> = routes.iter().map(|route| &*route.id).collect();
    let around = Surroundings { builtin: &builtin, routes: &routes, geo, upstreams, seed: seed() };
    let previous = previous.and_then(|previous| previous.response.as_deref());
    match ResponsePolicy::compile(response, around, previous) {
        Ok(policy) => Some(Arc::new(policy)),
        Err(found) => {
            errors.extend(found.into_iter().map(|error| error.under(["response"])));
            None
        }
    }
}

/// A number that nobody outside knows, from the system's randomness.
fn seed() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one("response policy")
}

/// City databases have 70 MB.
const MAX_DATABASE: ByteSize = ByteSize::mib(256);

fn geo(settings: &GeoSettings) -> Result<Geo, SettingsError> {
    let read = |field, path: &Option<std::path::PathBuf>| match path {
        Some(path) => {
            let error = |what| SettingsError::new(["response", "geo", field], what);
            bytes(path).map(Some).map_err(error)
        }
        None => Ok(None),
    };
    let country = Geo::new(read("country", &settings.country)?, None);
    let asn = Geo::new(None, read("asn", &settings.asn)?);
    let error =
        |field| move |what| SettingsError::new(["response", "geo", field], format!("{what}"));
    Ok(country.map_err(error("country"))?.with_asn(asn.map_err(error("asn"))?))
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let kind = fs::metadata(path).map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    if !kind.is_file() {
        return Err(format!("`{shown}` is not a regular file"));
    }
    if kind.len() > MAX_DATABASE.0 {
        return Err(format!("`{shown}` is larger than {MAX_DATABASE}"));
    }
    fs::read(path).map_err(|error| format!("cannot read `{shown}`: {error}"))
}

/// The pools and who is protected, as the policy asks about them.
#[derive(Debug, Default)]
pub(super) struct Ours {
    pub(super) pools: BTreeMap<String, Arc<Pool>>,
    pub(super) bans: Arc<Bans>,
}

impl Upstreams for Ours {
    fn is_ours(&self, address: IpAddr) -> bool {
        self.bans.is_protected(address)
    }

    fn zone(&self, upstream: &str, endpoint: SocketAddr) -> Option<Box<str>> {
        let all = self.pools.get(upstream)?.endpoints();
        let found = all.iter().find(|candidate| candidate.address() == endpoint)?;
        zone_of(found)
    }

    fn without(&self, target: &Target) -> Option<Remaining> {
        without(&self.pools, target)
    }
}

/// What is left of an upstream without one of its endpoints or zones.
fn without(pools: &BTreeMap<String, Arc<Pool>>, target: &Target) -> Option<Remaining> {
    let (Target::Endpoint { upstream, .. } | Target::Zone { upstream, .. }) = target else {
        return None;
    };
    let is_meant = |of: &Endpoint| match target {
        Target::Endpoint { endpoint, .. } => of.address() == *endpoint,
        Target::Zone { zone, .. } => of.locality().is_named(zone),
        _ => false,
    };
    let all = pools.get(&**upstream)?.endpoints();
    all.iter().any(|endpoint| is_meant(endpoint)).then(|| Remaining {
        able: all.iter().filter(|of| !is_meant(of) && of.is_open() && of.is_able()).count(),
        total: all.iter().filter(|of| of.is_open()).count(),
    })
}

/// The zone with its region, by which it is not mistaken for another region's.
fn zone_of(endpoint: &Endpoint) -> Option<Box<str>> {
    let place = endpoint.locality();
    place.zone.is_some().then(|| place.to_string().into())
}

impl Snapshot {
    /// Where an address is, by the databases of `response.geo`.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place<'_> {
        self.response().map(|policy| policy.geo().place(address)).unwrap_or_default()
    }

    /// Whether this endpoint or zone may be isolated: its upstream can do without it.
    #[must_use]
    pub fn can_isolate(&self, target: &Target) -> bool {
        without(self.pools(), target).is_some_and(Remaining::is_enough)
    }

    /// What is noticed in the requests, and decided about it; `None` without `response`.
    #[must_use]
    pub fn response(&self) -> Option<&Arc<ResponsePolicy>> {
        self.response.as_ref()
    }

    /// The settings of the policy.
    #[must_use]
    pub fn response_settings(&self) -> Option<&ResponseSettings> {
        self.settings().response.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_rule_compiles_and_says_what_it_is_about() {
        let builtin = shipped_rules().unwrap();
        let around = Surroundings {
            builtin: &builtin,
            routes: &[],
            geo: Geo::default(),
            upstreams: Arc::new(Ours::default()),
            seed: 1,
        };
        let policy = ResponsePolicy::compile(&ResponseSettings::default(), around, None).unwrap();
        assert!(policy.rules().all(|rule| !rule.about.is_empty() && !rule.enforce));
        assert_eq!(policy.rules().count(), builtin.len());
    }
}
