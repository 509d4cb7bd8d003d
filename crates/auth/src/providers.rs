//! Who vouches: the top-level `auth`, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::SettingsError;

use crate::issuer::Issuer;
use crate::refusal::Challenge;
use crate::resource::Resource;
use crate::settings::AuthSettings;

/// All providers, compiled.
#[derive(Debug, Default)]
pub struct Auth {
    issuers: BTreeMap<String, Arc<Issuer>>,
    resource: Option<Resource>,
    challenge: Arc<Challenge>,
}

impl Auth {
    /// Compiles the providers. What they keep is taken over from `previous`.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, with paths relative to them. The providers that
    /// are right are there all the same, so that routes can be looked at.
    pub fn compile(
        settings: &AuthSettings,
        previous: Option<&Self>,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let mut issuers = BTreeMap::new();
        for (name, own) in &settings.issuers {
            let before = previous.and_then(|previous| previous.issuer(name));
            match Issuer::compile(name, own, before.map(Arc::as_ref)) {
                Ok(issuer) => drop(issuers.insert(name.clone(), Arc::new(issuer))),
                Err(found) => {
                    errors.extend(found.into_iter().map(|error| error.under(["issuers", name])));
                }
            }
        }
        let resource = settings.resource.as_ref().and_then(|own| {
            let servers = settings.issuers.values().map(|issuer| issuer.issuer.as_str());
            let compiled = Resource::compile(own, servers);
            compiled.map_err(|error| errors.push(error.under(["resource"]))).ok()
        });
        let metadata = resource.as_ref().map(|resource| resource.address().into());
        Self { issuers, resource, challenge: Arc::new(Challenge { metadata }) }
    }

    /// The issuer with this name.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.issuers.get(name)
    }

    /// All issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.values()
    }

    /// The protected resource's description, if there is one.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        self.resource.as_ref()
    }

    pub(crate) fn issuer_names(&self) -> String {
        let names: Vec<&str> = self.issuers.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    pub(crate) fn challenge(&self) -> &Arc<Challenge> {
        &self.challenge
    }
}
