//! The process and its admin listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Secret;
use tidegate_core::units::Span;

use super::listener::BindAddress;

/// The process itself.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ServerSettings {
    /// Worker threads. Default: one per core. Needs a restart.
    pub threads: Option<NonZeroU16>,
    /// The region that this process runs in. Default: none. A reload applies it.
    pub region: Option<Arc<str>>,
    /// The zone that this process runs in: upstreams with endpoints there are asked there first.
    /// Default: none. A reload applies it.
    pub zone: Option<Arc<str>>,
    /// How long SIGTERM waits for running requests. Default: 30s. A reload applies it.
    pub drain_timeout: Span,
    /// After SIGTERM: how long the process says that it is unready, and still accepts, before it
    /// closes its listeners. Default: 0s. A reload applies it.
    pub unready_delay: Span,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            threads: None,
            region: None,
            zone: None,
            drain_timeout: Span::seconds(30),
            unready_delay: Span::seconds(0),
        }
    }
}

/// The admin listener: health, metrics, state and mutations.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct AdminSettings {
    /// Where it listens. Default: 127.0.0.1:9900. Needs a restart.
    pub address: BindAddress,
    /// The bearer token for mutations (POST), as `${env:NAME}` or `${file:path}`. Without it
    /// mutations are allowed from loopback only. A reload applies it.
    pub token: Option<Secret>,
    /// Allow an address that is not loopback, though the listener speaks plain HTTP. Default:
    /// false. Needs a restart.
    pub insecure_remote: bool,
}

impl Default for AdminSettings {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9900));
        Self { address: BindAddress(address), token: None, insecure_remote: false }
    }
}
