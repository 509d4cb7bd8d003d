//! The authorities that providers' certificates are checked against, loaded with the
//! configuration, so that a bad file is found before anything is fetched.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHasher};
use tidegate_core::SettingsError;
use tidegate_engine::Snapshot;

use crate::outbound::Trust;
use crate::upstream_peer::authorities;

/// What is trusted, by the files' names.
#[derive(Default)]
pub(crate) struct Trusts(FxHashMap<PathBuf, Trust>);

impl Trusts {
    /// Loads every file that a provider names.
    ///
    /// # Errors
    /// Every file that cannot be used, with its path in the configuration.
    pub(crate) fn load(snapshot: &Snapshot) -> Result<Self, Vec<SettingsError>> {
        let mut loaded = FxHashMap::default();
        let mut errors = Vec::new();
        let auth = snapshot.auth();
        let issuers = auth.issuers().map(|one| ("issuers", one.name(), &one.settings().ca));
        let endpoints =
            auth.introspectors().map(|one| ("introspection", one.name(), &one.settings().ca));
        let services =
            auth.authorizers().map(|one| ("authorizers", one.name(), &one.settings().ca));
        let exchangers = auth.exchangers().map(|one| ("exchange", one.name(), &one.settings().ca));
        let all = issuers.chain(endpoints).chain(services).chain(exchangers);
        for (section, name, path) in all {
            let Some(path) = path else { continue };
            match load(path) {
                Ok(trust) => drop(loaded.insert(path.clone(), trust)),
                Err(error) => errors.push(error.under(["auth", section, &**name])),
            }
        }
        let crowdsec = snapshot.settings().bans.crowdsec.as_ref();
        if let Some(path) = crowdsec.and_then(|crowdsec| crowdsec.ca.as_ref()) {
            match load(path) {
                Ok(trust) => drop(loaded.insert(path.clone(), trust)),
                Err(error) => errors.push(error.under(["bans", "crowdsec"])),
            }
        }
        if errors.is_empty() { Ok(Self(loaded)) } else { Err(errors) }
    }

    /// What a provider with this file, or none, trusts.
    pub(crate) fn of(&self, path: Option<&Path>) -> Trust {
        path.and_then(|path| self.0.get(path)).cloned().unwrap_or_default()
    }
}

fn load(path: &Path) -> Result<Trust, SettingsError> {
    let ca = authorities(path)?;
    let certificates: Vec<_> = ca.iter().map(|ca| ca.borrow_raw_cert().clone()).collect();
    let group = BuildHasherDefault::<FxHasher>::default().hash_one(certificates);
    Ok(Trust { ca: Some(ca), identity: None, group })
}
