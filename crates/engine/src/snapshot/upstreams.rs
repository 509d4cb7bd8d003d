//! Upstreams: their pools, and the files that their TLS needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::SettingsError;
use tidegate_traffic::zones::Locality;
use tidegate_traffic::{Pool, UpstreamSettings};

use super::Snapshot;
use super::files::{self, Pem};

/// Compiles every upstream; a pool with errors is left out.
pub(super) fn compile(
    upstreams: &BTreeMap<String, UpstreamSettings>,
    here: &Locality,
    previous: Option<&Snapshot>,
    errors: &mut Vec<SettingsError>,
) -> BTreeMap<String, Arc<Pool>> {
    let mut pools = BTreeMap::new();
    for (name, settings) in upstreams {
        let mut own = Vec::new();
        check_tls(settings, &mut own);
        let carried = previous.and_then(|previous| previous.pools.get(name));
        if let Some(same) = carried
            .filter(|pool| pool.settings() == settings && pool.here() == here && own.is_empty())
        {
            // The very same pool: whatever works on it, such as a health check, goes on.
            pools.insert(name.clone(), Arc::clone(same));
            continue;
        }
        match Pool::compile(name, settings, here, carried.map(Arc::as_ref)) {
            Ok(pool) => {
                pools.insert(name.clone(), Arc::new(pool));
            }
            Err(found) => own.extend(found),
        }
        errors.extend(own.into_iter().map(|error| error.under(["upstreams", name])));
    }
    pools
}

fn check_tls(settings: &UpstreamSettings, errors: &mut Vec<SettingsError>) {
    let Some(tls) = &settings.tls else { return };
    let files = [
        (&tls.ca, Pem::Certificate, "ca"),
        (&tls.cert, Pem::Certificate, "cert"),
        (&tls.key, Pem::Key, "key"),
    ];
    for (file, pem, field) in files {
        if let Some(file) = file {
            files::check(file, pem, &["tls", field], errors);
        }
    }
}
