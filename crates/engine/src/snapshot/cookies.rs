//! The secrets that sign cookies: like all secrets they come from the environment or from files.

use tidegate_core::SettingsError;
use tidegate_traffic::cookies::CookieSettings;
use tidegate_traffic::split::SplitKey;

use crate::config::Config;
use crate::settings::Target;

/// Complains about secrets that stand in the configuration itself.
pub(super) fn check(config: &Config, errors: &mut Vec<SettingsError>) {
    for (name, upstream) in &config.settings.upstreams {
        if let Some(sticky) = &upstream.sticky {
            check_secret(config, sticky, &["upstreams", name, "sticky", "secret"], errors);
        }
    }
    for (index, route) in config.settings.routes.iter().enumerate() {
        let Some(Target::Split(split)) = &route.to else { continue };
        if let SplitKey::Cookie(cookie) = &split.by {
            let index = index.to_string();
            check_secret(config, cookie, &["routes", &index, "to", "by", "secret"], errors);
        }
    }
}

fn check_secret(
    config: &Config,
    cookie: &CookieSettings,
    path: &[&str],
    errors: &mut Vec<SettingsError>,
) {
    if !cookie.secret.0.is_empty() && !config.is_secret(path) {
        let message = "a secret stands in the configuration";
        errors.push(
            SettingsError::new(path.iter().copied(), message)
                .with_hint("write `${env:NAME}` or `${file:path}`"),
        );
    }
}
