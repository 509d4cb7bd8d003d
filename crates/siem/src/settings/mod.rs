//! The settings `sinks`, as users write them.

mod check;
mod events;
mod kinds;
mod tls;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::{ByteSize, Percent, Span};

use crate::formats::Format;

pub use self::check::check;
pub use self::events::{ChosenEvents, EventsSettings, SeveritySettings};
pub use self::kinds::{
    ElasticSettings, Facility, FileSettings, KafkaSettings, LokiSettings, NatsSettings,
    OtlpSettings, RedisSettings, RotateSettings, Sasl, SplunkHecSettings, StdoutSettings,
    SyslogSettings, WebhookBody, WebhookSettings,
};
pub use self::tls::ClientTls;

/// One sink: what it gets, in which format, and exactly one of `file`, `stdout`, `syslog`,
/// `splunk_hec`, `elastic`, `loki`, `otlp`, `webhook`, `kafka`, `nats` and `redis`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct SinkSettings {
    /// How a record looks. Default: json. A reload applies it.
    #[serde(default)]
    pub format: Format,
    /// Which events it gets: `security` (refusals, findings, failed proofs of identity, notices),
    /// `all`, or a map. Default: security. A reload applies it.
    #[serde(default)]
    pub events: EventsSettings,
    /// The share of ordinary requests that it gets, of those that `events` lets pass. What is about
    /// security, failures of upstreams and notices are always sent. Default: 100%. A reload applies
    /// it.
    #[serde(default = "every_request")]
    pub sample: Percent,
    /// The memory for records that wait. What finds no room is dropped and counted. Default: 8MiB.
    /// A reload applies it.
    #[serde(default = "eight_mib")]
    pub queue: ByteSize,
    /// Keeps records on the disk until the receiver has them. Default: memory only. A reload
    /// applies it.
    pub spool: Option<SpoolSettings>,
    /// When a batch that was not taken is sent again. A reload applies it.
    #[serde(default)]
    pub retry: RetrySettings,
    /// How much is sent at once. A reload applies it.
    #[serde(default)]
    pub batch: BatchSettings,
    /// For one attempt to send a batch. Default: 10s. A reload applies it.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// A file.
    pub file: Option<FileSettings>,
    /// The standard output.
    pub stdout: Option<StdoutSettings>,
    /// A receiver of syslog.
    pub syslog: Option<SyslogSettings>,
    /// Splunk's HTTP Event Collector.
    pub splunk_hec: Option<SplunkHecSettings>,
    /// Elasticsearch or OpenSearch.
    pub elastic: Option<ElasticSettings>,
    /// Grafana Loki.
    pub loki: Option<LokiSettings>,
    /// A receiver of OpenTelemetry's logs.
    pub otlp: Option<OtlpSettings>,
    /// Any receiver of POST.
    pub webhook: Option<WebhookSettings>,
    /// A topic of Kafka.
    pub kafka: Option<KafkaSettings>,
    /// A subject of NATS JetStream.
    pub nats: Option<NatsSettings>,
    /// A stream of Redis.
    pub redis: Option<RedisSettings>,
}

/// Records on the disk: they survive a crash, and are sent at least once.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct SpoolSettings {
    /// The folder, for this sink alone. A reload applies it.
    pub path: PathBuf,
    /// How large it may grow; when it is full, the queue in memory fills and then drops. Default:
    /// 1GiB. A reload applies it.
    #[serde(default = "one_gib")]
    pub max: ByteSize,
}

/// The pause before a batch is sent again: doubled with each failure, with a random part.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RetrySettings {
    /// After the first failure. Default: 500ms. A reload applies it.
    pub first: Span,
    /// At most. Default: 30s. A reload applies it.
    pub max: Span,
}

/// How much is sent at once.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BatchSettings {
    /// At most so many records, up to 10,000; files and syslog over TCP and TLS always take 10,000.
    /// Default: 500. A reload applies it.
    pub records: u32,
    /// At most so many bytes of records, from 4KiB to 16MiB; a larger record goes alone. Default:
    /// 1MiB. A reload applies it.
    pub bytes: ByteSize,
    /// How long the first record of a batch may wait for others. Default: 200ms. A reload applies
    /// it.
    pub wait: Span,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { first: Span::millis(500), max: Span::seconds(30) }
    }
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { records: 500, bytes: ByteSize::mib(1), wait: Span::millis(200) }
    }
}

/// What kind of sink it is, with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Elasticsearch or OpenSearch.
    Elastic(ElasticSettings),
    /// A file.
    File(FileSettings),
    /// A topic of Kafka.
    Kafka(KafkaSettings),
    /// Grafana Loki.
    Loki(LokiSettings),
    /// A subject of NATS JetStream.
    Nats(NatsSettings),
    /// A receiver of OpenTelemetry's logs.
    Otlp(OtlpSettings),
    /// A stream of Redis.
    Redis(RedisSettings),
    /// Splunk's HTTP Event Collector.
    SplunkHec(SplunkHecSettings),
    /// The standard output.
    Stdout,
    /// A receiver of syslog.
    Syslog(SyslogSettings),
    /// Any receiver of POST.
    Webhook(WebhookSettings),
}

impl SinkSettings {
    /// Every kind that is given: it has to be one.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let all = [
            self.elastic.clone().map(Kind::Elastic),
            self.file.clone().map(Kind::File),
            self.kafka.clone().map(Kind::Kafka),
            self.loki.clone().map(Kind::Loki),
            self.nats.clone().map(Kind::Nats),
            self.otlp.clone().map(Kind::Otlp),
            self.redis.clone().map(Kind::Redis),
            self.splunk_hec.clone().map(Kind::SplunkHec),
            self.stdout.as_ref().map(|_| Kind::Stdout),
            self.syslog.clone().map(Kind::Syslog),
            self.webhook.clone().map(Kind::Webhook),
        ];
        all.into_iter().flatten().collect()
    }
}

impl Kind {
    /// Its key in the settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Elastic(_) => "elastic",
            Self::File(_) => "file",
            Self::Kafka(_) => "kafka",
            Self::Loki(_) => "loki",
            Self::Nats(_) => "nats",
            Self::Otlp(_) => "otlp",
            Self::Redis(_) => "redis",
            Self::SplunkHec(_) => "splunk_hec",
            Self::Stdout => "stdout",
            Self::Syslog(_) => "syslog",
            Self::Webhook(_) => "webhook",
        }
    }

    /// How TLS is spoken, if that is said.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        match self {
            Self::Elastic(elastic) => elastic.tls.as_ref(),
            Self::Kafka(kafka) => kafka.tls.as_ref(),
            Self::Loki(loki) => loki.tls.as_ref(),
            Self::Nats(nats) => nats.tls.as_ref(),
            Self::Otlp(otlp) => otlp.tls.as_ref(),
            Self::Redis(redis) => redis.tls.as_ref(),
            Self::SplunkHec(splunk) => splunk.tls.as_ref(),
            Self::Syslog(syslog) => syslog.tls.as_ref(),
            Self::Webhook(webhook) => webhook.tls.as_ref(),
            Self::File(_) | Self::Stdout => None,
        }
    }
}

fn every_request() -> Percent {
    Percent::new(100)
}

fn eight_mib() -> ByteSize {
    ByteSize::mib(8)
}

fn one_gib() -> ByteSize {
    ByteSize(1 << 30)
}

fn ten_seconds() -> Span {
    Span::seconds(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_secret_is_shown() {
        let all = r#"{
            "splunk_hec": { "url": "https://x", "token": "hush" },
            "elastic": { "url": "https://x", "index": "i", "api_key": "hush", "password": "hush" },
            "loki": { "url": "https://x", "token": "hush", "password": "hush" },
            "otlp": { "url": "https://x", "headers": { "x-team": "hush" } },
            "webhook": { "url": "https://x/hush", "headers": { "x-team": "hush" }, "hmac_key": "hush" },
            "kafka": { "brokers": ["x:1"], "topic": "t", "password": "hush" },
            "nats": { "url": "tls://x", "subject": "s", "token": "hush", "password": "hush" },
            "redis": { "url": "rediss://x", "stream": "s", "password": "hush" }
        }"#;
        let settings: SinkSettings = serde_json::from_str(all).unwrap();
        let shown = format!("{settings:?} {:?}", settings.kinds());
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(shown.matches("<secret>").count(), 2 * 13, "{shown}");
    }
}
