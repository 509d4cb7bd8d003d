//! An issuer out of its settings, and what can be wrong with them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidegate_core::SettingsError;

use super::{Compiled, Issuer};
use crate::cache::TokenCache;
use crate::jose::KeySet;
use crate::key_store::KeyStore;
use crate::settings::{IssuerSettings, KeySource};

/// Larger key sets are none.
const MAX_FILE: u64 = 1 << 20;
/// Clocks that differ by more should be set.
const MAX_SKEW: Duration = Duration::from_secs(300);
/// RFC 8414 knows no limit; somebody who is asked too often stops to answer.
const LEAST_COOL_DOWN: Duration = Duration::from_secs(10);

impl Issuer {
    /// Compiles an issuer. Keys that were fetched and tokens that were verified are taken over
    /// from `previous` where the settings that they depend on are the same.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(name: &str, settings: &IssuerSettings, previous: Option<&Self>) -> Compiled {
        let mut errors = errors_in(settings);
        let keys = match keys(settings, previous) {
            Ok(keys) => Some(keys),
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let Some(keys) = keys.filter(|_| errors.is_empty()) else { return Err(errors) };
        let same = previous.filter(|previous| previous.settings == *settings);
        let verified = same.map_or_else(
            || Arc::new(TokenCache::new(settings.cache.as_usize())),
            |previous| Arc::clone(&previous.verified),
        );
        Ok(Self { name: name.into(), settings: settings.clone(), keys, verified })
    }
}

fn keys(
    settings: &IssuerSettings,
    previous: Option<&Issuer>,
) -> Result<Arc<KeyStore>, SettingsError> {
    let read = |text: &[u8], field: &str| {
        KeySet::read(text, &settings.algorithms)
            .map(|keys| Arc::new(KeyStore::fixed(keys)))
            .map_err(|error| SettingsError::new(["keys", field], error.to_string()))
    };
    match &settings.keys {
        KeySource::Inline(text) => read(text.as_bytes(), "inline"),
        KeySource::File(path) => {
            let text =
                read_file(path).map_err(|message| SettingsError::new(["keys", "file"], message))?;
            read(&text, "file")
        }
        KeySource::Discover | KeySource::Url(_) => {
            let same = |previous: &&Issuer| {
                let own = |settings: &IssuerSettings| {
                    let IssuerSettings { issuer, keys, algorithms, ca, .. } = settings.clone();
                    (issuer, keys, algorithms, ca, settings.insecure_http, settings.max_stale)
                };
                own(&previous.settings) == own(settings)
            };
            Ok(previous.filter(same).map_or_else(
                || Arc::new(KeyStore::new(settings.max_stale.0.as_secs())),
                |previous| Arc::clone(&previous.keys),
            ))
        }
    }
}

/// Reads a file of bounded size.
///
/// # Errors
/// One sentence about the file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    read_up_to(path, MAX_FILE)
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let file = File::open(path).map_err(told)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > limit {
        return Err(format!("`{}` is larger than {limit} bytes", path.display()));
    }
    Ok(bytes)
}

fn errors_in(settings: &IssuerSettings) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    if settings.issuer.is_empty() {
        errors.push(SettingsError::new(["issuer"], "no token has an empty issuer"));
    }
    if settings.audience.iter().all(String::is_empty) {
        errors.push(
            SettingsError::new(["audience"], "a token for anybody would be taken")
                .with_hint("name this API as the issuer does in `aud`"),
        );
    }
    if settings.algorithms.is_empty() {
        errors.push(SettingsError::new(["algorithms"], "no token could be verified"));
    }
    if settings.skew.0 > MAX_SKEW {
        errors.push(SettingsError::new(["skew"], "clocks may differ by 5m at most"));
    }
    if settings.cool_down.0 < LEAST_COOL_DOWN {
        errors.push(SettingsError::new(["cool_down"], "the issuer would be asked too often"));
    }
    for (field, span) in [("refresh", settings.refresh), ("timeout", settings.timeout)] {
        if span.0.is_zero() {
            errors.push(SettingsError::new([field], "zero would let nothing pass"));
        }
    }
    if !(256..=64 * 1024).contains(&settings.max_token.0) {
        errors.push(SettingsError::new(["max_token"], "write from 256B to 64KiB"));
    }
    let insecure = settings.insecure_http;
    match &settings.keys {
        KeySource::Discover => errors.extend(address_error(&settings.issuer, insecure, "issuer")),
        KeySource::Url(url) => {
            let error = address_error(url, insecure, "url");
            errors.extend(error.map(|error| error.under(["keys"])));
        }
        KeySource::File(_) | KeySource::Inline(_) => {}
    }
    errors
}

/// What is wrong with an address that something is fetched from.
pub(crate) fn address_error(url: &str, insecure: bool, field: &str) -> Option<SettingsError> {
    let wrong = |message: String| Some(SettingsError::new([field], message));
    let Ok(parsed) = url.parse::<http::Uri>() else {
        return wrong(format!("`{url}` is no address"));
    };
    let (Some(scheme), Some(authority)) = (parsed.scheme_str(), parsed.authority()) else {
        return wrong(format!("`{url}` is no address; write https://host/path"));
    };
    if authority.as_str().contains('@') {
        return wrong("an address must not hold a password".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => None,
        "http" if here || insecure => None,
        "http" => Some(
            SettingsError::new([field], "what is fetched without TLS is anybody's")
                .with_hint("use https; if plain HTTP is meant, add `insecure_http: true`"),
        ),
        _ => wrong(format!("`{scheme}` is neither https nor http")),
    }
}

/// A SHA-256 in base64url.
pub(super) fn thumbprint(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
