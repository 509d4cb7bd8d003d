//! Settings in, a pool out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_core::SettingsError;

use super::members::Members;
use super::{Changes, Pool, ResolvedName, places};
use crate::endpoint::Place;
use crate::health::HealthCheck;
use crate::settings::{EndpointAddress, UpstreamSettings, is_dns_name};
use crate::sticky::Sticky;
use crate::zones::Locality;

/// Weights above this would not balance any better.
const MAX_WEIGHT: u32 = 65_535;

impl Pool {
    /// Compiles an upstream. From `previous`, the pool of the same name before a reload, it takes
    /// over the state of endpoints by address, and what names resolve to. `here` is where this
    /// process runs.
    ///
    /// # Errors
    ///
    /// All settings that cannot be used, with paths relative to the upstream.
    pub fn compile(
        name: &str,
        settings: &UpstreamSettings,
        here: &Locality,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        check_endpoints(settings, &mut errors);
        check_resilience(settings, &mut errors);
        check_tls(settings, &mut errors);
        if settings.keepalive.idle_timeout.0.is_zero() {
            let path = ["keepalive", "idle_timeout"];
            errors.push(SettingsError::new(path, "idle_timeout must be longer than 0"));
        }
        let health = settings.health.as_ref().map(HealthCheck::compile).transpose();
        let health = health.unwrap_or_else(|found| {
            errors.extend(found.into_iter().map(|error| error.under(["health"])));
            None
        });
        let sticky = settings.sticky.as_ref().map(|sticky| Sticky::compile(name, sticky));
        let sticky = sticky.transpose().unwrap_or_else(|found| {
            errors.extend(found.into_iter().map(|error| error.under(["sticky"])));
            None
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        let (fixed, names) = split_endpoints(settings);
        let resolved: Vec<_> = names.iter().map(|name| carried_answer(name, previous)).collect();
        let places = places(&fixed, &names, &resolved);
        let nothing = Members::new(Arc::new([]), settings, here);
        let before = previous.map(|pool| pool.members.load_full());
        let before = before.as_deref().unwrap_or(&nothing);
        let (all, new) = before.carry(places, health.is_some());
        let returned = all.iter().filter(|endpoint| {
            endpoint.is_open() && before.get(endpoint.address()).is_some_and(|old| !old.is_open())
        });
        // Nothing of what runs already is changed here: the configuration may still be refused.
        let slow_start = settings.slow_start.as_ref().filter(|_| !before.all.is_empty());
        for endpoint in new.iter().chain(returned) {
            endpoint.enter(slow_start);
        }
        let shared = previous.map(|pool| Arc::clone(&pool.shared)).unwrap_or_default();
        let out = shared.zones_out();
        for endpoint in &new {
            endpoint.set_isolated(out.iter().any(|zone| endpoint.locality().is_named(zone)));
        }
        if let Some(sticky) = &sticky {
            sticky.know(&all);
        }
        let members = Members::new(all, settings, here);
        Ok(Self {
            name: name.into(),
            settings: settings.clone(),
            here: here.clone(),
            health,
            sticky,
            fixed,
            names,
            members: ArcSwap::from_pointee(members),
            shared,
            changes: Mutex::new(Changes { resolved, ..Changes::default() }),
        })
    }
}

fn split_endpoints(settings: &UpstreamSettings) -> (Box<[Place]>, Box<[ResolvedName]>) {
    let mut fixed = Vec::new();
    let mut names = Vec::new();
    for endpoint in &settings.endpoints {
        let (weight, priority) = (endpoint.weight, endpoint.priority);
        let locality = endpoint.locality.clone();
        let closed = settings.zones.drained.iter().any(|name| locality.is_named(name));
        let mut place = |address| {
            let locality = locality.clone();
            fixed.push(Place { address, host: None, weight, locality, priority, closed });
        };
        match &endpoint.address {
            EndpointAddress::Socket(address) => place(*address),
            EndpointAddress::Name { host, port } => {
                let host = host.as_str().into();
                names.push(ResolvedName { host, port: *port, weight, locality, priority, closed });
            }
        }
    }
    (fixed.into_boxed_slice(), names.into_boxed_slice())
}

/// What the name resolved to before the reload.
fn carried_answer(name: &ResolvedName, previous: Option<&Pool>) -> Vec<IpAddr> {
    let answer = previous.and_then(|pool| {
        let at = pool.names.iter().position(|n| n.host == name.host && n.port == name.port)?;
        pool.changes.lock().resolved.get(at).cloned()
    });
    answer.unwrap_or_default()
}

fn check_endpoints(settings: &UpstreamSettings, errors: &mut Vec<SettingsError>) {
    let endpoints = &settings.endpoints;
    if endpoints.is_empty() {
        errors.push(SettingsError::new(["endpoints"], "an upstream needs at least one endpoint"));
    } else if endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        errors.push(
            SettingsError::new(["endpoints"], "all weights are 0, so that nothing would be served")
                .with_hint("leave at least one endpoint with a weight above 0"),
        );
    }
    let mut seen = BTreeSet::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = ["endpoints".to_owned(), index.to_string()];
        let address = endpoint.address.to_string();
        if endpoint.weight > MAX_WEIGHT {
            let message = format!("the weight {} is above {MAX_WEIGHT}", endpoint.weight);
            errors.push(SettingsError::new(path.clone(), message));
        }
        if !seen.insert(address.clone()) {
            errors.push(
                SettingsError::new(path, format!("the endpoint {address} is listed twice"))
                    .with_hint("give it a larger weight instead"),
            );
        }
    }
}

fn check_resilience(settings: &UpstreamSettings, errors: &mut Vec<SettingsError>) {
    let localities: Vec<_> = settings.endpoints.iter().map(|e| &e.locality).collect();
    let found = [
        ("outlier", settings.outlier.map_or_else(Vec::new, |outlier| outlier.check())),
        ("slow_start", settings.slow_start.map_or_else(Vec::new, |slow_start| slow_start.check())),
        ("breaker", settings.breaker.map_or_else(Vec::new, |breaker| breaker.check())),
        ("zones", settings.zones.check(&localities)),
    ];
    for (key, found) in found {
        errors.extend(found.into_iter().map(|error| error.under([key])));
    }
}

fn check_tls(settings: &UpstreamSettings, errors: &mut Vec<SettingsError>) {
    let Some(tls) = &settings.tls else { return };
    match (&tls.cert, &tls.key) {
        (Some(_), None) => errors.push(SettingsError::new(["tls", "cert"], "cert needs a key")),
        (None, Some(_)) => errors.push(SettingsError::new(["tls", "key"], "key needs a cert")),
        _ => {}
    }
    if tls.insecure_skip_verify && tls.ca.is_some() {
        let message = "with insecure_skip_verify the ca would not be used";
        errors.push(SettingsError::new(["tls", "ca"], message));
    }
    let by_address = |endpoint: &crate::settings::EndpointSettings| {
        matches!(endpoint.address, EndpointAddress::Socket(_))
    };
    match &tls.sni {
        Some(sni) if !is_dns_name(&sni.to_ascii_lowercase()) => {
            errors.push(SettingsError::new(["tls", "sni"], format!("`{sni}` is not a name")));
        }
        None if !tls.insecure_skip_verify && settings.endpoints.iter().any(by_address) => errors
            .push(
                SettingsError::new(
                    ["tls"],
                    "endpoints are given by address, so that sni has to name the certificate",
                )
                .with_hint("add `sni: name`, with a name that the endpoints' certificate carries"),
            ),
        _ => {}
    }
}
