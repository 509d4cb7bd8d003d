//! What the configuration says about bans.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::decision::Measure;
use tidegate_core::net::Network;
use tidegate_core::units::Span;
use tidegate_core::{Secret, SettingsError};

/// Who is refused, isolated, held back or throttled for a while, whatever they ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BansSettings {
    /// The file that keeps bans over a restart, one JSON object a line; it is written within a
    /// second of a change. Default: none, so a restart forgets them. Needs a restart.
    pub file: Option<PathBuf>,
    /// Block lists that others publish: an address or a network a line, `#` or `;` begins a
    /// comment. Default: none. A reload reads them again.
    pub lists: Vec<PathBuf>,
    /// How many bans there may be, those of lists not counted; further ones are refused. Default:
    /// 1000000. A reload applies it.
    pub max: NonZeroU32,
    /// Who is never banned, whatever a list or a policy says, beside loopback, `trusted_proxies`,
    /// the endpoints of upstreams and this machine's own addresses: your monitoring and health
    /// checkers, your own networks. Default: nobody. A reload applies it.
    pub never: Vec<Network>,
    /// Where a CrowdSec decides; its decisions about addresses and networks become bans. Default:
    /// nowhere.
    pub crowdsec: Option<CrowdsecSettings>,
}

/// A CrowdSec whose decisions are taken over.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct CrowdsecSettings {
    /// Its Local API, such as `http://127.0.0.1:8080`; on another machine with `https`. A reload
    /// applies it.
    pub url: String,
    /// Lets `url` be `http` although it is another machine: the key then crosses the network in
    /// clear, and whoever stands between decides who is banned. Default: false. A reload applies it.
    #[serde(default)]
    pub insecure_http: bool,
    /// The key that `cscli bouncers add` gave; not in the file itself but as `${file:path}` or
    /// `${env:NAME}`. A reload applies it.
    pub key: Secret,
    /// The certificate authorities to check its certificate against. Default: the system's. A
    /// reload applies it.
    pub ca: Option<PathBuf>,
    /// How often it is asked for what is new. Default: 10s. A reload applies it.
    #[serde(default = "default_every")]
    pub every: Span,
    /// The measure for decisions of the type `captcha`, which we have none for. Default: they are
    /// ignored. A reload applies it.
    #[serde(default)]
    pub captcha: Option<Measure>,
}

impl CrowdsecSettings {
    /// What is wrong with them.
    #[must_use]
    pub fn errors(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        let url = self.url.parse::<http::Uri>().ok();
        let host = url.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
        let wrong =
            |message: String, hint: &str| SettingsError::new(["url"], message).with_hint(hint);
        match (url.as_ref().and_then(http::Uri::scheme_str), host) {
            (Some("https"), Some(_)) => {}
            (Some("http"), Some(host)) if self.insecure_http || is_here(host) => {}
            (Some("http"), Some(_)) => errors.push(wrong(
                "the key would leave this machine without TLS".to_owned(),
                "write `https://`, or `insecure_http: true`",
            )),
            _ => errors.push(wrong(
                format!("`{}` is no address", self.url),
                "write one such as http://127.0.0.1:8080",
            )),
        }
        if self.every < Span::seconds(1) {
            errors.push(SettingsError::new(["every"], "every must be at least 1s"));
        }
        if self.captcha == Some(Measure::Alert) {
            errors.push(SettingsError::new(["captcha"], "an alert holds nobody"));
        }
        errors
    }
}

fn is_here(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const fn default_every() -> Span {
    Span::seconds(10)
}

impl BansSettings {
    /// How many bans there may be.
    #[must_use]
    pub fn max(&self) -> usize {
        usize::try_from(self.max.get()).unwrap_or(usize::MAX)
    }
}

impl Default for BansSettings {
    fn default() -> Self {
        let max = const { NonZeroU32::new(1_000_000).unwrap() };
        Self { file: None, lists: Vec::new(), max, never: Vec::new(), crowdsec: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, insecure_http: bool, expected: Option<&str>) {
        let text = format!(r#"{{"url":"{url}","key":"k","insecure_http":{insecure_http}}}"#);
        let settings: CrowdsecSettings = serde_json::from_str(&text).unwrap();
        let errors = settings.errors();
        let message = errors.first().map(|error| error.message.as_str());
        assert!(
            message.zip(expected).is_some_and(|(it, part)| it.contains(part))
                || message == expected,
            "{url}: {errors:?}"
        );
    }

    #[test]
    fn the_key_does_not_leave_the_machine_in_clear() {
        check("http://127.0.0.1:8080", false, None);
        check("http://[::1]:8080/", false, None);
        check("http://localhost:8080", false, None);
        check("https://crowdsec.example.com", false, None);
        check("http://10.1.1.1:8080", false, Some("without TLS"));
        check("http://10.1.1.1:8080", true, None);
        for url in ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://"] {
            check(url, true, Some("is no address"));
        }
    }
}
