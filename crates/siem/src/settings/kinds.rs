//! The settings of each kind of sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Secret;
use tidegate_core::units::ByteSize;

use super::ClientTls;

/// A file, one record a line. SIGUSR1 opens it anew.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct FileSettings {
    /// The file to append to. A reload applies it.
    pub path: PathBuf,
    /// When a new file is begun by ourselves. Default: never. A reload applies it.
    pub rotate: Option<RotateSettings>,
}

/// When a new file is begun.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RotateSettings {
    /// Before the file would grow beyond this. Default: 100MiB. A reload applies it.
    #[serde(default = "hundred_mib")]
    pub size: ByteSize,
    /// How many old files are kept, as `<path>.1` (the youngest) and so on. Default: 5. A reload
    /// applies it.
    #[serde(default = "five")]
    pub keep: u32,
}

/// The standard output, one record a line.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct StdoutSettings {}

/// A receiver of syslog (RFC 5424): over TCP and TLS with octet counting (RFC 6587, RFC 5425),
/// over UDP one message a datagram (RFC 5426).
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct SyslogSettings {
    /// Where it listens: `tls://host:6514`, `tcp://host:port` or `udp://host:514`. A reload applies
    /// it.
    pub address: String,
    /// The facility of every message. Default: local4. A reload applies it.
    #[serde(default)]
    pub facility: Facility,
    /// The application's name in every message. Default: tidegate. A reload applies it.
    #[serde(default = "tidegate")]
    pub app: String,
    /// The host's name in every message. Default: the machine's. A reload applies it.
    pub host: Option<String>,
    /// Over UDP, longer messages are cut. Default: 8KiB. A reload applies it.
    #[serde(default = "eight_kib")]
    pub max_datagram: ByteSize,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
}

/// A facility of syslog.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are RFC 5424's and Unix's")]
pub enum Facility {
    User,
    Daemon,
    Auth,
    Authpriv,
    Local0,
    Local1,
    Local2,
    Local3,
    #[default]
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// Its number (RFC 5424 §6.2.1).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Daemon => 3,
            Self::Auth => 4,
            Self::Authpriv => 10,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

/// Splunk's HTTP Event Collector.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct SplunkHecSettings {
    /// The collector's address, such as `https://splunk.example.com:8088`; events are sent to
    /// `/services/collector/event` below it. A reload applies it.
    pub url: String,
    /// Its token, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub token: Secret,
    /// The index. Default: the token's. A reload applies it.
    pub index: Option<String>,
    /// The source. Default: tidegate. A reload applies it.
    #[serde(default = "tidegate")]
    pub source: String,
    /// The source type. Default: `_json` for formats in JSON, else the collector's. A reload
    /// applies it.
    pub sourcetype: Option<String>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// Elasticsearch or OpenSearch, through `_bulk`. The format has to be one in JSON.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ElasticSettings {
    /// The cluster's address; `/<index>/_bulk` follows. A reload applies it.
    pub url: String,
    /// The data stream or index. A reload applies it.
    pub index: String,
    /// The ingest pipeline. Default: the index's. A reload applies it.
    pub pipeline: Option<String>,
    /// An API key (`Authorization: ApiKey …`), as `${env:NAME}` or `${file:path}`. A reload applies
    /// it.
    pub api_key: Option<Secret>,
    /// A user, for HTTP Basic. A reload applies it.
    pub user: Option<String>,
    /// The user's password, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub password: Option<Secret>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// Grafana Loki.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct LokiSettings {
    /// Its address; records are sent to `/loki/api/v1/push` below it. A reload applies it.
    pub url: String,
    /// Labels of the stream. Default: `{service_name: tidegate}`. A reload applies it.
    #[serde(default = "own_labels")]
    pub labels: BTreeMap<String, String>,
    /// The tenant (`X-Scope-OrgID`). Default: none. A reload applies it.
    pub tenant: Option<String>,
    /// A bearer token, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub token: Option<Secret>,
    /// A user, for HTTP Basic. A reload applies it.
    pub user: Option<String>,
    /// The user's password, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub password: Option<Secret>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// A receiver of OpenTelemetry's logs, over HTTP with protobuf.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct OtlpSettings {
    /// The whole address, such as `https://collector.example.com:4318/v1/logs`. A reload applies
    /// it.
    pub url: String,
    /// Further fields of the request; secrets as `${env:NAME}` or `${file:path}`. A reload applies
    /// it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// Any receiver of POST; a 2xx takes the batch.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct WebhookSettings {
    /// The whole address; one that holds a token as `${env:NAME}` or `${file:path}`. A reload
    /// applies it.
    #[schemars(with = "String")]
    pub url: Secret,
    /// How a batch looks: `ndjson` (one record a line) or `array` (a JSON array; the format has to
    /// be one in JSON). Default: ndjson. A reload applies it.
    #[serde(default)]
    pub body: WebhookBody,
    /// Further fields of the request; secrets as `${env:NAME}` or `${file:path}`. A reload applies
    /// it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// Signs the body: `Tidegate-Signature: sha256=<hex>`, HMAC-SHA-256 with this key, as
    /// `${env:NAME}` or `${file:path}`. Default: no signature. A reload applies it.
    pub hmac_key: Option<Secret>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_http: bool,
}

/// How a batch for a webhook looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WebhookBody {
    /// One JSON array.
    Array,
    /// One record a line.
    #[default]
    Ndjson,
}

/// A topic of Kafka, or of what speaks its protocol.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct KafkaSettings {
    /// Some of the brokers, `host:port`; they name the others. A reload applies it.
    pub brokers: Vec<String>,
    /// The topic, which has to be there. Batches go to its partitions in turn. A reload applies it.
    pub topic: String,
    /// Speak TLS to the brokers: `{}`, or a map with files. Default: no TLS. A reload applies it.
    pub tls: Option<ClientTls>,
    /// How the user is proven (SASL): `plain`, `scram_sha_256` or `scram_sha_512`. Default: plain.
    /// A reload applies it.
    #[serde(default)]
    pub sasl: Sasl,
    /// A user. Default: nobody is proven. A reload applies it.
    pub user: Option<String>,
    /// The user's password, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub password: Option<Secret>,
    /// Send credentials without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_plaintext: bool,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Sasl {
    /// The password as it is (RFC 4616).
    #[default]
    Plain,
    /// A proof of the password, with SHA-256 (RFC 7677).
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// A proof of the password, with SHA-512.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

/// A subject of NATS, which a stream of JetStream takes in.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct NatsSettings {
    /// The server: `nats://host:4222`, or `tls://host:4222`. A reload applies it.
    pub url: String,
    /// The subject; a stream has to take it. A reload applies it.
    pub subject: String,
    /// A token, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub token: Option<Secret>,
    /// A user. A reload applies it.
    pub user: Option<String>,
    /// The user's password, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub password: Option<Secret>,
    /// A file with a user's JWT and key (`.creds`). A reload applies it.
    pub credentials: Option<PathBuf>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send credentials without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_plaintext: bool,
}

/// A stream of Redis or Valkey.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RedisSettings {
    /// The server: `redis://host:6379`, or `rediss://host:6379` over TLS; `/1` behind it chooses
    /// the database. A reload applies it.
    pub url: String,
    /// The stream's key. A reload applies it.
    pub stream: String,
    /// About how many entries the stream keeps (`MAXLEN ~`). Default: all. A reload applies it.
    pub max_length: Option<u64>,
    /// A user. Default: the server's default user. A reload applies it.
    pub user: Option<String>,
    /// The password, as `${env:NAME}` or `${file:path}`. A reload applies it.
    pub password: Option<Secret>,
    /// Whom to trust, and who we are. Default: the system's authorities, and nobody. A reload
    /// applies it.
    pub tls: Option<ClientTls>,
    /// Send credentials without TLS, to other machines than this one too. Default: false.
    #[serde(default)]
    pub insecure_plaintext: bool,
}

fn hundred_mib() -> ByteSize {
    ByteSize::mib(100)
}

fn eight_kib() -> ByteSize {
    ByteSize::kib(8)
}

fn five() -> u32 {
    5
}

fn tidegate() -> String {
    "tidegate".to_owned()
}

fn own_labels() -> BTreeMap<String, String> {
    BTreeMap::from([("service_name".to_owned(), tidegate())])
}
