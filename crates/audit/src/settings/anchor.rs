//! Where checkpoints are sent.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::Span;
use tidegate_core::{Secret, SettingsError};

/// Where checkpoints are sent: one of `file`, `http` and `witness`. An anchor that fails is tried
/// again, and never holds a request up.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct AnchorSettings {
    /// A file elsewhere, to which the latest checkpoint is appended, with an empty line behind
    /// it. A reload applies it.
    pub file: Option<PathBuf>,
    /// A URL to which the latest checkpoint is sent by POST; any 2xx takes it. A reload applies
    /// it.
    pub http: Option<String>,
    /// The prefix of a C2SP witness (tlog-witness): `POST <witness>/add-checkpoint`. Its
    /// cosignatures are kept beside the log's checkpoint. A reload applies it.
    pub witness: Option<String>,
    /// The witness's verifier key, `name+hash+key`. A reload applies it.
    pub key: Option<String>,
    /// A bearer token for `http`, as `${file:path}` or `${env:NAME}`. Default: none. A reload
    /// applies it.
    pub token: Option<Secret>,
    /// PEM file of the authorities that vouch for the receiver's certificate. Default: the
    /// system's. A reload applies it.
    pub ca: Option<PathBuf>,
    /// How often the latest checkpoint is sent, if it is new. Default: 10s. A reload applies it.
    pub every: Option<Span>,
}

/// Where checkpoints are sent, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Appended to a file.
    File(PathBuf),
    /// Sent by POST.
    Http(String),
    /// Sent to a witness, with its verifier key.
    Witness {
        /// The prefix of its URL.
        url: String,
        /// Its verifier key.
        key: String,
    },
}

impl AnchorSettings {
    /// Which anchor it is.
    ///
    /// # Errors
    /// None or several are given, a URL is none, or a witness has no key.
    pub fn anchor(&self) -> Result<Anchor, SettingsError> {
        match (&self.file, &self.http, &self.witness) {
            (Some(file), None, None) => Ok(Anchor::File(file.clone())),
            (None, Some(url), None) => Ok(Anchor::Http(checked(url, "http")?)),
            (None, None, Some(url)) => match &self.key {
                Some(key) => Ok(Anchor::Witness {
                    url: checked(url, "witness")?.trim_end_matches('/').to_owned(),
                    key: key.clone(),
                }),
                None => Err(SettingsError::new(["witness"], "a witness needs its `key`")
                    .with_hint("add `key: name+hash+key`, as the witness publishes it")),
            },
            _ => Err(SettingsError::new(
                [""; 0],
                "an anchor has one of `file`, `http` and `witness`",
            )),
        }
    }
}

fn checked(url: &str, field: &str) -> Result<String, SettingsError> {
    let parsed = url.parse::<http::Uri>().ok();
    let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
    let has_host = parsed.as_ref().and_then(http::Uri::host).is_some_and(|host| !host.is_empty());
    if has_host && matches!(scheme, Some("http" | "https")) {
        return Ok(url.to_owned());
    }
    Err(SettingsError::new([field], "this is no URL")
        .with_hint("write it with its scheme, such as https://witness.example.com"))
}
