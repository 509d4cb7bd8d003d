//! How TLS is spoken to a receiver, the same for each kind of sink and for traces.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// How TLS is spoken to a receiver.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ClientTls {
    /// PEM file of the authorities that vouch for the receiver. Default: the system's. A reload
    /// applies it.
    pub ca: Option<PathBuf>,
    /// PEM file of our certificate with its chain, if the receiver wants one. A reload applies it.
    pub cert: Option<PathBuf>,
    /// PEM file of its private key. A reload applies it.
    pub key: Option<PathBuf>,
}
