//! What the configuration says about bans and how measures are carried out.

use std::sync::Arc;

use tidegate_core::SettingsError;
use tidegate_core::net::Network;
use tidegate_core::units::ByteSize;
use tidegate_guard::Bans;
use tidegate_guard::bans::target::is_too_wide;
use tidegate_guard::bans::{Ban, file};
use tidegate_guard::response::ResponseSettings;

use super::Snapshot;
use crate::config::{Config, read_file};
use crate::enforcement::{Enforcement, Means};
use crate::settings::Settings;

/// A million networks need about 20 MB.
const MAX_LIST: ByteSize = ByteSize::mib(64);

/// Reads the lists. Nothing is in force before [`Snapshot::enforce_bans`].
pub(super) fn listed(config: &Config, errors: &mut Vec<SettingsError>) -> Vec<Ban> {
    let settings = &config.settings.bans;
    let mut listed = Vec::new();
    for (index, path) in settings.lists.iter().enumerate() {
        let error =
            |message: String| SettingsError::new(["bans", "lists", &index.to_string()], message);
        let name = path.to_string_lossy();
        match read_file(path, MAX_LIST) {
            Ok(text) => {
                let (bans, bad) = file::read_list(&text, &name, 0, None);
                let wide = bans.iter().filter(|ban| is_too_wide(&ban.target));
                errors.extend(wide.map(|ban| {
                    error(format!("`{name}` names {}, which is most of the internet", ban.target))
                }));
                listed.extend(bans);
                errors.extend(bad.iter().map(|bad| error(format!("`{name}`, {bad}"))));
            }
            Err(message) => errors.push(error(message)),
        }
    }
    if let Some(crowdsec) = &settings.crowdsec {
        let found = crowdsec.errors().into_iter();
        errors.extend(found.map(|error| error.under(["bans", "crowdsec"])));
        let path = ["bans", "crowdsec", "key"];
        if !config.is_secret(&path) {
            let error = SettingsError::new(path, "a secret stands in the configuration");
            errors.push(error.with_hint("write `${env:NAME}` or `${file:path}`"));
        }
    }
    listed
}

/// How measures are carried out.
pub(super) fn means(settings: &Settings, errors: &mut Vec<SettingsError>) -> Means {
    let Some(response) = &settings.response else { return Means::default() };
    let ResponseSettings { throttle, tarpit, isolate, .. } = response;
    let found = tarpit.errors().into_iter();
    errors.extend(found.map(|error| error.under(["response", "tarpit"])));
    if let Some(isolate) = isolate
        && !settings.upstreams.contains_key(&isolate.to)
    {
        let message = format!("no upstream is named `{}`", isolate.to);
        errors.push(SettingsError::new(["response", "isolate", "to"], message));
    }
    Means { throttle: *throttle, tarpit: *tarpit, isolate: isolate.clone() }
}

impl Snapshot {
    /// The measures in force, and how they are carried out.
    #[must_use]
    pub fn enforcement(&self) -> &Arc<Enforcement> {
        &self.enforcement
    }

    /// The bans in force, which outlive a reload.
    #[must_use]
    pub fn bans(&self) -> &Arc<Bans> {
        self.enforcement.bans()
    }

    /// Whom no measure holds, as far as the configuration says: what it names, and the addresses
    /// that it listens on and sends requests to.
    #[must_use]
    pub fn protected(&self) -> Vec<Network> {
        let Settings { bans, response, trusted_proxies, listeners, .. } = self.settings();
        let allowed = response.iter().flat_map(|response| &response.allow);
        let named = bans.never.iter().chain(trusted_proxies).chain(allowed).copied();
        let own = listeners.iter().map(|listener| listener.address.0.ip());
        let pools = self.pools().values();
        let endpoints = pools.flat_map(|pool| {
            let all = pool.endpoints();
            all.iter().map(|endpoint| endpoint.address().ip()).collect::<Vec<_>>()
        });
        let addresses = own.chain(endpoints).filter(|address| !address.is_unspecified());
        named.chain(addresses.map(Network::from)).collect()
    }

    /// The same with this machine's addresses.
    #[must_use]
    pub fn protected_with(&self, own: &[Network]) -> Vec<Network> {
        let mut all = self.protected();
        all.extend_from_slice(own);
        all
    }

    /// Puts in force what this configuration says about bans; `own` are this machine's addresses.
    pub fn enforce_bans(&self, own: &[Network], now: tidegate_guard::bans::Now) {
        let since = tidegate_guard::bans::seconds(now.wall);
        let listed = self.enforcement.listed.iter();
        let listed = listed.map(|ban| Ban { since, ..ban.clone() }).collect();
        let never = self.protected_with(own);
        self.bans().configure(&never, self.settings().bans.max(), listed, now);
    }
}
