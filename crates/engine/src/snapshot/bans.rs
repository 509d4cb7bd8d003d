//! What the lists of banned addresses say.

use std::sync::Arc;

use tidegate_core::SettingsError;
use tidegate_core::units::ByteSize;
use tidegate_guard::bans::{Ban, file};
use tidegate_guard::{Bans, BansSettings};

use super::Snapshot;
use crate::config::read_file;
use crate::settings::Settings;

/// A million networks need about 20 MB.
const MAX_LIST: ByteSize = ByteSize::mib(64);

/// The bans of the process, and what the configuration says of them.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) bans: Arc<Bans>,
    pub(super) listed: Vec<Ban>,
}

/// Reads the lists. Nothing is in force before [`Snapshot::enforce_bans`].
pub(super) fn compile(
    settings: &BansSettings,
    previous: Option<&Snapshot>,
    errors: &mut Vec<SettingsError>,
) -> Compiled {
    let mut listed = Vec::new();
    for (index, path) in settings.lists.iter().enumerate() {
        let error =
            |message: String| SettingsError::new(["bans", "lists", &index.to_string()], message);
        let name = path.to_string_lossy();
        match read_file(path, MAX_LIST) {
            Ok(text) => {
                let (bans, bad) = file::read_list(&text, &name, 0, None);
                listed.extend(bans);
                errors.extend(bad.iter().map(|bad| error(format!("`{name}`, {bad}"))));
            }
            Err(message) => errors.push(error(message)),
        }
    }
    let bans = previous.map(|previous| Arc::clone(previous.bans())).unwrap_or_default();
    Compiled { bans, listed }
}

impl Snapshot {
    /// The bans in force, which outlive a reload.
    #[must_use]
    pub fn bans(&self) -> &Arc<Bans> {
        &self.bans.bans
    }

    /// Puts in force what this configuration says about bans.
    pub fn enforce_bans(&self, now: tidegate_guard::bans::Now) {
        let Settings { bans, trusted_proxies, .. } = self.settings();
        let since = tidegate_guard::bans::seconds(now.wall);
        let listed = self.bans.listed.iter().map(|ban| Ban { since, ..ban.clone() }).collect();
        let never: Vec<_> = bans.never.iter().chain(trusted_proxies).copied().collect();
        self.bans.bans.configure(&never, bans.max(), listed, now);
    }
}
