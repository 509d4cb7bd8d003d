//! Settings in, a pool out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_core::SettingsError;

use super::{Changes, Members, Pool, ResolvedName, places};
use crate::endpoint::Place;
use crate::health::HealthCheck;
use crate::settings::{EndpointAddress, UpstreamSettings, is_dns_name};
use crate::sticky::Sticky;

/// Weights above this would not balance any better.
const MAX_WEIGHT: u32 = 65_535;

impl Pool {
    /// Compiles an upstream. From `previous`, the pool of the same name before a reload, it takes
    /// over the state of endpoints by address, and what names resolve to.
    ///
    /// # Errors
    ///
    /// All settings that cannot be used, with paths relative to the upstream.
    pub fn compile(
        name: &str,
        settings: &UpstreamSettings,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        check_endpoints(settings, &mut errors);
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
        if errors.is_empty() {
            Ok(Self::new(name, settings, health, previous).with_sticky(sticky))
        } else {
            Err(errors)
        }
    }

    fn new(
        name: &str,
        settings: &UpstreamSettings,
        health: Option<HealthCheck>,
        previous: Option<&Self>,
    ) -> Self {
        let (fixed, names) = split_endpoints(settings);
        let resolved: Vec<_> = names.iter().map(|name| carried_answer(name, previous)).collect();
        let places = places(&fixed, &names, &resolved);
        let nothing = Members::new(Arc::new([]), &settings.balance);
        let before = previous.map(|pool| pool.members.load_full());
        let all = before.as_deref().unwrap_or(&nothing).carry(places, health.is_some());
        let members = Members::new(all, &settings.balance);
        let turns = previous.map_or(0, |pool| pool.turns.load(Ordering::Relaxed));
        Self {
            name: name.into(),
            settings: settings.clone(),
            health,
            sticky: None,
            fixed,
            names,
            members: ArcSwap::from_pointee(members),
            turns: AtomicU64::new(turns),
            in_flight: previous.map(|pool| Arc::clone(&pool.in_flight)).unwrap_or_default(),
            changes: Mutex::new(Changes { resolved, rebuilt: None }),
        }
    }

    fn with_sticky(mut self, sticky: Option<Sticky>) -> Self {
        if let Some(sticky) = &sticky {
            sticky.know(&self.endpoints());
        }
        self.sticky = sticky;
        self
    }
}

fn split_endpoints(settings: &UpstreamSettings) -> (Box<[Place]>, Box<[ResolvedName]>) {
    let mut fixed = Vec::new();
    let mut names = Vec::new();
    for endpoint in &settings.endpoints {
        let weight = endpoint.weight;
        match &endpoint.address {
            EndpointAddress::Name { host, port } => {
                names.push(ResolvedName { host: host.as_str().into(), port: *port, weight });
            }
            EndpointAddress::Socket(address) => {
                fixed.push(Place { address: *address, host: None, weight });
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
