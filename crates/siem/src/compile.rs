//! Settings of sinks, compiled: everything is checked and every file read, nothing is opened or
//! connected yet.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Secret, SettingsError, secret_names};

use crate::formats::Format;
use crate::pipe::PipeOptions;
use crate::queue::BatchLimits;
use crate::settings::{self, Kind, SinkSettings};
use crate::tls::TlsMaterial;

/// Over TCP a batch is confirmed by the connection's staying open a while, so it had better be
/// large.
const STREAM_RECORDS: usize = 10_000;

/// All sinks of one configuration.
#[derive(Clone, Debug, Default)]
pub struct SinkSet {
    pub(crate) sinks: Vec<Arc<Compiled>>,
}

/// One sink, compiled. Two that are equal need no change of what runs.
#[derive(PartialEq)]
pub(crate) struct Compiled {
    pub(crate) name: Arc<str>,
    pub(crate) settings: SinkSettings,
    pub(crate) kind: Kind,
    pub(crate) tls: Arc<TlsMaterial>,
    /// The text of NATS's file of credentials.
    pub(crate) credentials: Option<String>,
}

impl SinkSet {
    /// Compiles `sinks`; errors have paths from there on. `is_secret` says whether the setting at a
    /// path came from the environment or a file of its own.
    pub fn compile(
        sinks: &BTreeMap<String, SinkSettings>,
        is_secret: impl Fn(&[&str]) -> bool,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        settings::check(sinks, errors);
        let mut set = Self::default();
        for (name, settings) in sinks {
            let mut own = Vec::new();
            let mut kinds = settings.kinds();
            let (Some(kind), true) = (kinds.pop(), kinds.is_empty()) else { continue };
            for path in secrets(&kind) {
                if !is_secret(&[&[name.as_str()], &*path].concat()) {
                    let error = SettingsError::new(path, "a secret stands in the configuration");
                    own.push(error.with_hint("write `${env:NAME}` or `${file:path}`"));
                }
            }
            let sink = Compiled::new(name, settings, kind, &mut own);
            errors.extend(own.into_iter().map(|error| error.under([name])));
            set.sinks.push(Arc::new(sink));
        }
        set
    }
}

/// Without the settings, which may hold secrets.
impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Compiled {
    fn new(
        name: &str,
        settings: &SinkSettings,
        kind: Kind,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let mut own = Vec::new();
        let tls = TlsMaterial::load(kind.tls(), &mut own);
        errors.extend(own.into_iter().map(|error| error.under([kind.name(), "tls"])));
        let credentials = match &kind {
            Kind::Nats(nats) => nats.credentials.as_ref().and_then(|path| {
                let wrong = |error| {
                    let message = format!("cannot read `{}`: {error}", path.display());
                    errors.push(SettingsError::new(["nats", "credentials"], message));
                };
                fs::read_to_string(path).map_err(wrong).ok()
            }),
            _ => None,
        };
        let settings = settings.clone();
        Self { name: name.into(), settings, kind, tls: Arc::new(tls), credentials }
    }

    pub(crate) fn format(&self) -> Format {
        self.settings.format
    }

    /// What its pipe does.
    pub(crate) fn options(&self) -> PipeOptions {
        let settings = &self.settings;
        let records = usize::try_from(settings.batch.records).unwrap_or(usize::MAX);
        let is_stream = match &self.kind {
            Kind::File(_) | Kind::Stdout => true,
            Kind::Syslog(syslog) => !syslog.address.starts_with("udp:"),
            _ => false,
        };
        let records = if is_stream { records.max(STREAM_RECORDS) } else { records };
        PipeOptions {
            name: Arc::clone(&self.name),
            kind: self.kind.name(),
            queue: settings.queue.as_usize(),
            batch: BatchLimits { records, bytes: settings.batch.bytes.as_usize() },
            wait: settings.batch.wait.0,
            retry: (settings.retry.first.0, settings.retry.max.0),
            // What a sink keeps for itself ends before its pipe gives up.
            timeout: settings.timeout.0 + Duration::from_millis(500),
        }
    }
}

/// The paths of the settings of a kind that are secret, as far as they are given.
fn secrets(kind: &Kind) -> Vec<Vec<&str>> {
    fn given<'a>(kind: &'static str, fields: &[(&'static str, bool)]) -> Vec<Vec<&'a str>> {
        let given = fields.iter().filter(|(_, given)| *given);
        given.map(|(field, _)| vec![kind, *field]).collect()
    }
    fn fields<'a>(
        kind: &'static str,
        headers: &'a BTreeMap<String, Secret>,
    ) -> impl Iterator<Item = Vec<&'a str>> {
        let names = headers.keys().map(String::as_str);
        names.filter(|name| secret_names::is_secret(name)).map(move |n| vec![kind, "headers", n])
    }
    match kind {
        Kind::Elastic(elastic) => {
            let password = ("password", elastic.password.is_some());
            given("elastic", &[("api_key", elastic.api_key.is_some()), password])
        }
        Kind::Kafka(kafka) => given("kafka", &[("password", kafka.password.is_some())]),
        Kind::Loki(loki) => {
            let password = ("password", loki.password.is_some());
            given("loki", &[("token", loki.token.is_some()), password])
        }
        Kind::Nats(nats) => {
            let password = ("password", nats.password.is_some());
            given("nats", &[("token", nats.token.is_some()), password])
        }
        Kind::Otlp(otlp) => fields("otlp", &otlp.headers).collect(),
        Kind::Redis(redis) => given("redis", &[("password", redis.password.is_some())]),
        Kind::SplunkHec(_) => given("splunk_hec", &[("token", true)]),
        Kind::Webhook(webhook) => {
            let mut all = given("webhook", &[("hmac_key", webhook.hmac_key.is_some())]);
            all.extend(fields("webhook", &webhook.headers));
            all
        }
        Kind::File(_) | Kind::Stdout | Kind::Syslog(_) => Vec::new(),
    }
}
