//! `tracing:` as users write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::net::Network;
use tidegate_core::units::{ByteSize, Percent, Span};
use tidegate_core::{Secret, SettingsError};

use crate::settings::ClientTls;

/// Traces of requests (W3C Trace Context, OpenTelemetry). Present, every request belongs to a
/// trace, and upstreams are told which; absent, `traceparent` passes as any other field.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct TracingSettings {
    /// The share of the traces that begin here that is recorded; a trusted sender's own decision
    /// is kept. Default: 1%. A reload applies it.
    pub sample: Percent,
    /// Peers whose `traceparent` and `tracestate` are believed: their traces go on. For everybody
    /// else a new trace begins. A proxy that passes its clients' own `traceparent` on, as most do,
    /// is not to be named here. Default: nobody. A reload applies it.
    pub trust: Vec<Network>,
    /// What becomes of the trace that a sender names who is not trusted: `link` notes it at the
    /// span of the new trace, `drop` forgets it. Default: `link`. A reload applies it.
    pub untrusted: Untrusted,
    /// What spans say of whom they come from (`service.name`). Default: `tidegate`. A reload
    /// applies it.
    pub service: Box<str>,
    /// Where spans are sent. Default: nowhere; ids are made and passed on all the same. A reload
    /// applies it.
    pub otlp: Option<OtlpSettings>,
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self {
            sample: Percent::new(1),
            trust: Vec::new(),
            untrusted: Untrusted::Link,
            service: "tidegate".into(),
            otlp: None,
        }
    }
}

/// What becomes of the trace of a sender who is not trusted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Untrusted {
    /// It is forgotten.
    Drop,
    /// The span of the new trace links to it.
    #[default]
    Link,
}

/// A collector that takes spans with OTLP over HTTP, as protobuf.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct OtlpSettings {
    /// The whole address, such as `http://127.0.0.1:4318/v1/traces`. A reload applies it.
    pub url: Box<str>,
    /// Further fields of each call, such as `authorization`; values that are secret are written
    /// `${env:NAME}` or `${file:path}`. Default: none. A reload applies it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<Box<str>, Secret>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send without TLS to other machines than this one too. Default: false. A reload applies it.
    #[serde(default)]
    pub insecure_http: bool,
    /// For one call. Default: 10s. A reload applies it.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How many bytes of spans may wait; what finds no room is dropped and counted. Default: 8MiB.
    /// A reload applies it.
    #[serde(default = "default_queue")]
    pub queue: ByteSize,
    /// The longest pause between two calls while the collector takes nothing; it begins with
    /// 500ms. Default: 30s. A reload applies it.
    #[serde(default = "default_max_pause")]
    pub max_pause: Span,
}

fn default_timeout() -> Span {
    Span::seconds(10)
}

fn default_queue() -> ByteSize {
    ByteSize::mib(8)
}

fn default_max_pause() -> Span {
    Span::seconds(30)
}

impl TracingSettings {
    /// What makes no sense, relative to `tracing`.
    #[must_use]
    pub fn errors(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        if self.service.is_empty() {
            errors.push(SettingsError::new(["service"], "a service has a name"));
        }
        if let Some(otlp) = &self.otlp {
            let found = super::collector::Target::new(otlp).err().unwrap_or_default();
            errors.extend(found.into_iter().map(|error| error.under(["otlp"])));
        }
        errors
    }
}
